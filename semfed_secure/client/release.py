"""The only door out of a site. Nothing else in this package protects, seals or sends outputs.

 1. The round's manifest, roster and prompts are verified, it is open and takes this site's key; the outputs answer
    exactly its prompt set.
 2. The facts of the act are gathered: names, digests and counts, no content; the round admits what would be declared;
    what the release can be good for is forecast from public numbers.
 3. Detectors read every text; a text with a finding is withheld, a detector that breaks blocks the release. Votes
    carry no text: then none runs, and none is said to have run.
 4. The policy decides; the answer is an audit entry; a denial ends here. Where records vote it decides on opening the
    data set too; only then are they read, and their opening is written down before.
 5. The budget is reserved. Under ``dp_sgd`` the charge was made before training: it is found, committed.
 6. The mechanism is applied, and outside of the topics that the site declares it abstains: what leaves this step may
    be seen by others.
 7. The outputs are salted and committed to.
 8. They are sealed to the round's server, bound to the whole context and the commitment.
 9. The statement over the ciphertext is signed.
10. One transaction: charge committed, audit entry, progress, finished bytes in the outbox.
11. The bytes are sent, after that commit; whoever tries again sends the same bytes. Of texts only the signed statement
    is sent, which is a commitment to the rest.
12. The receipt is verified, found in the server's log, kept and logged.
13. Of texts: the server's signed list of all commitments, with this one in it, is verified and found in its log.
14. Only then the sealed texts are sent.
15. The receipt, as in 12.

Trust is a type: `DraftOutputs` → `PermittedOutputs` → `ReleasedOutputs` → `OutboxRow` → `VerifiedReceipt`, and each
arrow is one function: `permit` (1-4), `privatise` (5-6), `finish` (7-10), `deliver` (11-12), of texts then `unseal`
(13-15). A crash between any two steps costs at most a reserved charge: the resumed release finds it and pays no more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

from semfed_secure.client.bundle_events import (
    receipt_event,
    released_event,
    screened_event,
    sent_event,
    unanswered_event,
)
from semfed_secure.client.commitments import see_commitments
from semfed_secure.client.decisions import DecisionPreview, account, ask, budgets_for, delta_of
from semfed_secure.client.door import DOOR, PermittedOutputs, ReleasedOutputs
from semfed_secure.client.facts import (
    dataset_facts,
    history_facts,
    model_facts,
    peer_facts,
    prompt_facts,
    release_facts,
)
from semfed_secure.client.finished import require_finished
from semfed_secure.client.forecasts import forecast_release
from semfed_secure.client.opening import ask_to_open, open_records
from semfed_secure.client.outgoing import COMMITMENT, CONTRIBUTION, answer_to, first_message, keep_finished
from semfed_secure.client.outputs import Ballots, DraftOutputs, Texts, Unread, Votes, require_fit, within_topics
from semfed_secure.client.progress import RoundState, Step, advance, state_of
from semfed_secure.client.protection import charge_of, declaration, noised, require_training_charges
from semfed_secure.client.requirements import require_admissible, require_open, require_opening, require_own_key
from semfed_secure.client.reviews import verdicts_for
from semfed_secure.client.screening import Screened, screen
from semfed_secure.client.server_log import follow, verify_receipt_entry
from semfed_secure.client.statements import state_unsealed
from semfed_secure.crypto.private import Secret
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import PeerError
from semfed_secure.ids import Digest, hex_digest, sha256
from semfed_secure.policy import engine
from semfed_secure.policy.facts import Action, Facts
from semfed_secure.storage.outbox_rows import OutboxRow, mark_answered, mark_sent, read_outbox
from semfed_secure.units import Mechanism, Period
from semfed_secure.wire.messages import (
    SALT_BYTES,
    Contribution,
    MessageType,
    Outcome,
    Payload,
    commit,
    encode_contribution,
    encode_payload,
    encode_statement,
    statement_info,
)

if TYPE_CHECKING:
    from semfed_secure.client.round import VerifiedReceipt, VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.client.transport import Transport
    from semfed_secure.privacy.budget import Charge
    from semfed_secure.privacy.forecast import Forecast


def preview(draft: DraftOutputs, site: Site) -> DecisionPreview:
    """Steps 1 to 4 as a question: the full decision, and what the act would cost; no record is read."""
    asked = _examine(draft, site, dry_run=True)
    before, after = account(site), account(site, adding=asked.charge)
    decision = _decide(draft, asked, site, dry_run=True)
    return DecisionPreview(decision, before.spent[Period.LIFETIME], after.spent[Period.LIFETIME], asked.forecast)


def permit(draft: DraftOutputs, site: Site) -> PermittedOutputs:
    """Steps 1 to 4: whether these outputs may leave.

    Raises:
        ConsensusError: SF401 or SF404, the round is not open.
        ConfigurationError: SF104, the outputs do not answer the round, or SF104 and SF142 of the records that vote;
            SF141, the round is larger than a histogram.
        PeerError: SF307 or SF310, the round would not admit what this site can sign, or declare.
        PolicyDenied: SF201 with every reason.
        ApprovalNeeded: SF203, where nothing but approvals is missing.
    """
    asked = _examine(draft, site, dry_run=False)
    # 4. the policy
    engine.require(_decide(draft, asked, site, dry_run=False))
    outputs = asked.screened.outputs
    if isinstance(outputs, Unread):
        outputs = outputs.cast(open_records(site, draft.round.manifest.round_id, outputs.records))
        require_open(draft.round.manifest, site.clock.now())  # a model may have been asked for long
    site.on_step("release 4")
    return PermittedOutputs(draft, outputs, asked.charge, DOOR)


def privatise(permitted: PermittedOutputs, site: Site) -> ReleasedOutputs:
    """Steps 5 and 6: pay, then protect.

    Raises:
        BudgetExhausted: SF202; ``budget.refused`` is in the audit log.
        IntegrityError: SF511, the ledger lacks a training charge that the adapter names.
    """
    draft, outputs = permitted.draft, permitted.outputs
    # 5. the budget
    if permitted.charge is not None:
        site.ledger.reserve(permitted.charge, budgets_for(site, permitted.charge.mechanism))
    else:
        require_training_charges(draft.adapter, site)
    site.on_step("release 5")
    # 6. the mechanism
    if isinstance(outputs, Ballots):
        outputs = noised(outputs, draft.round, site)
    outputs = within_topics(outputs, draft.round.prompts, site.config.answers.topics)
    released = ReleasedOutputs(
        round=draft.round,
        votes=outputs.indexes if isinstance(outputs, Votes) else (),
        texts=outputs.answers if isinstance(outputs, Texts) else (),
        from_caller=draft.from_caller,
        alike=draft.alike,
        privacy=declaration(draft, permitted.charge, site),
        charge=permitted.charge,
        door=DOOR,
    )
    site.on_step("release 6")
    return released


def finish(released: ReleasedOutputs, site: Site) -> OutboxRow:
    """Steps 7 to 10: from protected outputs to finished bytes in the outbox.

    The bytes in the outbox are the release. If another process finished first, its bytes are returned and these are
    forgotten: one round never has two different bundles of one site.

    Raises:
        IntegrityError: SF502, the log cannot be written: then nothing was released.
    """
    manifest = released.round.manifest
    # 7. the commitment
    payload, commitment = _salted(released, site)
    unsealed = state_unsealed(released.round, released.privacy, site, commitment=commitment)
    site.on_step("release 7")
    # 8. the seal
    sealed = seal(payload.reveal(), info=statement_info(unsealed), to=released.round.recipient)
    site.on_step("release 8")
    # 9. the signature
    statement = replace(unsealed, ciphertext_digests=(sha256(sealed),))
    signed = sign(MessageType.STATEMENT, encode_statement(statement), site.keys.signing)
    contribution = Contribution(signed, (sealed,))
    size = len(encode_contribution(contribution))
    site.on_step("release 9")
    # 10. one transaction
    event = released_event(released, statement, size, site)
    with site.database.transaction() as tx:
        standing = first_message(tx, manifest.round_id)
        if standing is not None:
            return standing
        if released.charge is not None:
            site.ledger.commit(released.charge.idempotency_key, tx)
        result = {"statement": hex_digest(statement.digest), "bytes": size}
        advance(tx, manifest.round_id, Step.RELEASE, result, at_ms=statement.created_at_ms)
        row = keep_finished(tx, contribution, statement)
        site.audit.append(event, tx)
    site.on_step("release 10")
    return row


def _salted(released: ReleasedOutputs, site: Site) -> tuple[Secret, bytes]:
    """The payload, which no traceback with its variables shows, and the commitment to it."""
    salt = Secret(site.randomness.token_bytes(SALT_BYTES))
    kind = released.round.manifest.kind
    encoded = encode_payload(Payload(salt=salt.reveal(), kind=kind, votes=released.votes, texts=released.texts))
    return Secret(encoded), commit(salt.reveal(), encoded)


def deliver(
    row: OutboxRow, round_: VerifiedRound, site: Site, transport: Transport, *, step: int = 11
) -> VerifiedReceipt:
    """Steps 11 and 12: send the finished bytes, and hold the server to its answer.

    Raises:
        PeerError: SF341 unreachable (whoever tries again sends the same bytes), SF342 refused without a receipt,
            SF326 or SF323 where the receipt or the server's log does not verify.
        IntegrityError: SF531, the bytes in the outbox are not those of step 10.
    """
    if row.receipt is not None:
        return answer_to(row, row.receipt, round_)
    require_finished(row, site.keys.record.signing_keys)
    assert row.id is not None  # the row came from the database
    try:
        # 11. the bytes leave, after the commit of step 10
        with site.database.transaction() as tx:
            if row.state == "pending" and mark_sent(tx, row.id):
                site.audit.append(sent_event(row, site), tx)
        data = transport.post(round_.manifest.round_id, row.body)
        site.on_step(f"release {step}")
        # 12. the receipt; what came damaged is sent once more, the same bytes
        receipt = answer_to(row, data, round_)
        if receipt.code == "SF311":
            data = transport.post(round_.manifest.round_id, row.body)
            receipt = answer_to(row, data, round_)
        checkpoint = follow(site.database, transport, round_.server, receipt.log_checkpoint)
        verify_receipt_entry(transport.log_entry(receipt.log_index, checkpoint.size), receipt, checkpoint)
    except PeerError as error:
        site.audit.append(unanswered_event(error, row, site))
        raise
    with site.database.transaction() as tx:
        if mark_answered(tx, row.id, data):
            site.audit.append(receipt_event(receipt, row, site), tx)
    site.on_step(f"release {step + 1}")
    return receipt


def unseal(round_: VerifiedRound, site: Site, transport: Transport) -> VerifiedReceipt | None:
    """Steps 13 to 15: send the texts that this site committed to, once nothing more can be committed to.

    Nothing is sent, and None returned, where nothing waits to be opened: the server did not take the commitment, there
    is none, or the round is over for this site.

    Raises:
        ConsensusError: SF401, commitments are still taken; SF404, the time to open them is over.
        PeerError: SF329 or SF323, what the server shows of the commitments does not verify: the texts stay here.
            Otherwise as `deliver`.
    """
    round_id = round_.manifest.round_id
    with site.database.snapshot() as tx:
        committed, row = read_outbox(tx, round_id, COMMITMENT), read_outbox(tx, round_id, CONTRIBUTION)
        waiting = state_of(tx, round_id) in {RoundState.RELEASED, RoundState.OPENED}
    if committed is None or row is None or not waiting:
        return None
    if deliver(committed, round_, site, transport).outcome is not Outcome.COMMITTED:
        return None
    # 13. the closed list, unless it was seen before
    if row.receipt is None:
        require_opening(round_.manifest, site.clock.now())
        see_commitments(round_, Digest(row.statement_digest), site, transport)
        site.on_step("release 13")
    # 14. the sealed texts leave, as in 11
    # 15. their receipt, as in 12
    return deliver(row, round_, site, transport, step=14)


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the policy is asked, the outputs it is about, what they cost and can be good for."""

    facts: Facts
    screened: Screened
    charge: Charge | None
    forecast: Forecast


def _examine(draft: DraftOutputs, site: Site, *, dry_run: bool) -> _Asked:
    """Steps 1 to 3; nothing is decided here."""
    manifest = draft.round.manifest
    # 1. the round (a `VerifiedRound` exists only verified)
    require_open(manifest, site.clock.now())
    require_own_key(draft.round, site.keys.signing.public, site.clock.now())
    require_fit(draft, site.config.privacy.mechanism)
    site.on_step("release 1")
    # 2. the facts
    charge = charge_of(draft, site)
    epsilon, delta = account(site, adding=charge).spent[Period.LIFETIME], delta_of(site)
    require_admissible(manifest, mechanism=site.config.privacy.mechanism, epsilon=epsilon, delta=delta)
    forecast = forecast_release(draft.round, site.config, charge, site.clock.now())
    with site.database.snapshot() as tx:
        history = history_facts(tx, site.keys.record, site.clock.now())
        verdicts = verdicts_for(tx, manifest)
    facts = Facts(
        action=Action.RELEASE,
        dataset=dataset_facts(site.config),
        prompts=prompt_facts(draft.round, verdicts),
        model=model_facts(site.config, draft.model_digest),
        peer=peer_facts(draft.round),
        history=history,
    )
    site.on_step("release 2")
    # 3. the detectors
    screened = screen(draft.outputs, max_new_tokens=manifest.decoding.max_new_tokens)
    site.audit.append(screened_event(screened, draft.round, site, dry_run=dry_run))
    site.on_step("release 3")
    with_dp = draft.adapter is not None and draft.adapter.mechanism is Mechanism.DP_SGD
    release = release_facts(
        draft.round,
        screened,
        site.config.privacy.mechanism,
        epsilon,
        delta,
        with_dp=with_dp,
        forecast_ppm=forecast.right_ppm,
    )
    return _Asked(replace(facts, release=release), screened, charge, forecast)


def _decide(draft: DraftOutputs, asked: _Asked, site: Site, *, dry_run: bool) -> engine.Decision:
    """The answer to all that the release does, which is to open the data set too where records vote."""
    round_id = draft.round.manifest.round_id
    if isinstance(draft.outputs, Unread):
        opening = ask_to_open(site, round_id, dry_run=dry_run)
        if opening.outcome is not engine.Outcome.PERMIT:
            return opening
    return ask(site, asked.facts, spent=account(site), round_id=round_id, dry_run=dry_run)
