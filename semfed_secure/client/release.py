"""The only door out of a site. Nothing else in this package protects, seals or sends outputs.

 1. The round's manifest, roster and prompts are verified and it is open; the outputs answer exactly its prompt set.
 2. The facts of the act are gathered: names, digests and counts, no content; the round admits what would be declared.
 3. Detectors read every text; a text with a finding is withheld, a detector that breaks blocks the release. Votes
    carry no text: then none runs, and none is said to have run.
 4. The policy decides; the answer is an audit entry; a denial ends here. Where records vote it decides on opening the
    data set too; only then are they read, and their opening is written down before.
 5. The budget is reserved. Under ``dp_sgd`` the charge was made before training: it is found, committed.
 6. The mechanism is applied: what leaves this step may be seen by others.
 7. The outputs are salted and committed to.
 8. They are sealed to the round's server, bound to the whole context and the commitment.
 9. The statement over the ciphertext is signed.
10. One transaction: charge committed, audit entry, progress, finished bytes in the outbox.
11. The bytes are sent, after that commit; whoever tries again sends the same bytes.
12. The receipt is verified, found in the server's log, kept and logged.

Trust is a type: `DraftOutputs` → `PermittedOutputs` → `ReleasedOutputs` → `OutboxRow` → `Receipt`, and each arrow is
one function: `permit` (1-4), `privatise` (5-6), `finish` (7-10), `deliver` (11-12). A crash between any two steps costs
at most a reserved charge: the resumed release finds it under the same key and pays nothing more.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

from semfed_secure.client.bundle_events import (
    receipt_event,
    released_event,
    screened_event,
    sent_event,
    unanswered_event,
)
from semfed_secure.client.decisions import RELATION, UNIT, account, ask, budgets_for, delta_of
from semfed_secure.client.facts import dataset_facts, history_facts, model_facts, peer_facts, prompt_facts
from semfed_secure.client.finished import require_finished
from semfed_secure.client.opening import ask_to_open, open_records
from semfed_secure.client.outputs import Ballots, DraftOutputs, Outputs, Texts, Unread, Votes, require_fit
from semfed_secure.client.pins import next_sequence
from semfed_secure.client.progress import Step, advance
from semfed_secure.client.protection import charge_of, declaration, noised, require_training_charges
from semfed_secure.client.round import require_admissible, require_open, verify_receipt
from semfed_secure.client.screening import Screened, screen
from semfed_secure.client.server_log import follow, verify_receipt_entry
from semfed_secure.clock import to_ms
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import PeerError
from semfed_secure.ids import Digest, hex_digest, sha256
from semfed_secure.policy.engine import Decision, Outcome, require
from semfed_secure.policy.facts import Action, Facts, ReleaseFacts
from semfed_secure.storage.outbox_rows import OutboxRow, insert_outbox, mark_answered, mark_sent, read_outbox
from semfed_secure.units import Mechanism, Period, PrivacyDeclaration
from semfed_secure.wire.messages import (
    ITEM_TYPES,
    SALT_BYTES,
    Contribution,
    ContributionStatement,
    MessageType,
    Payload,
    Receipt,
    commit,
    encode_contribution,
    encode_payload,
    encode_statement,
    statement_info,
)

if TYPE_CHECKING:
    from decimal import Decimal

    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.client.transport import Transport
    from semfed_secure.privacy.budget import Charge

KIND = "contribution"
"""What the outbox calls these messages."""


class _Door:
    """Held by everything that came through a step of this module; nobody else makes one."""


_DOOR = _Door()


@dataclass(frozen=True, slots=True)
class PermittedOutputs:
    """Outputs that the policy permits to leave, once protected. Only `permit` makes one."""

    draft: DraftOutputs
    outputs: Outputs
    charge: Charge | None
    door: _Door

    def __post_init__(self) -> None:
        """Refuse a shortcut."""
        _came_through(self.door)


@dataclass(frozen=True, slots=True)
class ReleasedOutputs:
    """Protected outputs: what others may see. Only `privatise` makes one."""

    round: VerifiedRound
    votes: tuple[int, ...] = field(repr=False)
    texts: tuple[str | None, ...] = field(repr=False)
    from_caller: bool
    privacy: PrivacyDeclaration
    charge: Charge | None
    door: _Door

    def __post_init__(self) -> None:
        """Refuse a shortcut."""
        _came_through(self.door)


@dataclass(frozen=True, slots=True)
class DecisionPreview:
    """What the policy and the ledger would say: nothing was spent, nothing will be sent.

    ``epsilon_before`` is the population's lifetime total now, ``epsilon_after`` what it would be.
    """

    decision: Decision
    epsilon_before: Decimal
    epsilon_after: Decimal


def preview(draft: DraftOutputs, site: Site) -> DecisionPreview:
    """Steps 1 to 4 as a question: the full decision, and what the act would cost; no record is read."""
    asked = _examine(draft, site, dry_run=True)
    before, after = account(site), account(site, adding=asked.charge)
    decision = _decide(draft, asked, site, dry_run=True)
    return DecisionPreview(decision, before.spent[Period.LIFETIME], after.spent[Period.LIFETIME])


def permit(draft: DraftOutputs, site: Site) -> PermittedOutputs:
    """Steps 1 to 4: whether these outputs may leave.

    Raises:
        ConsensusError: SF401 or SF404, the round is not open.
        ConfigurationError: SF104, the outputs do not answer the round, or SF104 and SF142 of the records that vote.
        PeerError: SF310, the round would not admit what this site can declare.
        PolicyDenied: SF201 with every reason.
        ApprovalNeeded: SF203, where nothing but approvals is missing.
    """
    asked = _examine(draft, site, dry_run=False)
    # 4. the policy
    require(_decide(draft, asked, site, dry_run=False))
    outputs = asked.screened.outputs
    if isinstance(outputs, Unread):
        outputs = outputs.cast(open_records(site, draft.round.manifest.round_id, outputs.records))
        require_open(draft.round.manifest, site.clock.now())  # a model may have been asked for long
    site.on_step("release 4")
    return PermittedOutputs(draft, outputs, asked.charge, _DOOR)


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
    released = ReleasedOutputs(
        round=draft.round,
        votes=outputs.indexes if isinstance(outputs, Votes) else (),
        texts=outputs.answers if isinstance(outputs, Texts) else (),
        from_caller=draft.from_caller,
        privacy=declaration(draft, permitted.charge, site),
        charge=permitted.charge,
        door=_DOOR,
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
    manifest, server = released.round.manifest, released.round.server
    # 7. the commitment
    salt = site.randomness.token_bytes(SALT_BYTES)
    payload = encode_payload(Payload(salt=salt, kind=manifest.kind, votes=released.votes, texts=released.texts))
    unsealed = _statement(released, site, commitment=commit(salt, payload))
    site.on_step("release 7")
    # 8. the seal
    assert server.sealing_key is not None  # verify_manifest compared it with the manifest
    sealed = seal(payload, info=statement_info(unsealed), to=server.sealing_key)
    site.on_step("release 8")
    # 9. the signature
    statement = replace(unsealed, ciphertext_digests=(sha256(sealed),))
    signed = sign(MessageType.STATEMENT, encode_statement(statement), site.keys.signing)
    body = encode_contribution(Contribution(signed, (sealed,)))
    site.on_step("release 9")
    # 10. one transaction
    event = released_event(released, statement, len(body), site)
    with site.database.transaction() as tx:
        standing = read_outbox(tx, manifest.round_id, KIND)
        if standing is not None:
            return standing
        if released.charge is not None:
            site.ledger.commit(released.charge.idempotency_key, tx)
        result = {"statement": hex_digest(statement.digest), "bytes": len(body)}
        advance(tx, manifest.round_id, Step.RELEASE, result, at_ms=statement.created_at_ms)
        row = insert_outbox(tx, OutboxRow(manifest.round_id, KIND, statement.digest, body))
        site.audit.append(event, tx)
    site.on_step("release 10")
    return row


def deliver(row: OutboxRow, round_: VerifiedRound, site: Site, transport: Transport) -> Receipt:
    """Steps 11 and 12: send the finished bytes, and hold the server to its answer.

    Raises:
        PeerError: SF341 unreachable (whoever tries again sends the same bytes), SF342 refused without a receipt,
            SF326 or SF323 where the receipt or the server's log does not verify.
        IntegrityError: SF531, the bytes in the outbox are not those of step 10.
    """
    digest = Digest(row.statement_digest)
    if row.receipt is not None:
        return verify_receipt(row.receipt, round_=round_, statement_digest=digest)
    require_finished(row, site.keys.record.signing_keys)
    assert row.id is not None  # the row came from the database
    try:
        # 11. the bytes leave, after the commit of step 10
        with site.database.transaction() as tx:
            if row.state == "pending" and mark_sent(tx, row.id):
                site.audit.append(sent_event(row, site), tx)
        data = transport.post(round_.manifest.round_id, row.body)
        site.on_step("release 11")
        # 12. the receipt
        receipt = verify_receipt(data, round_=round_, statement_digest=digest)
        checkpoint = follow(site.database, transport, round_.server, receipt.log_checkpoint)
        verify_receipt_entry(transport.log_entry(receipt.log_index, checkpoint.size), receipt, checkpoint)
    except PeerError as error:
        site.audit.append(unanswered_event(error, row, site))
        raise
    with site.database.transaction() as tx:
        if mark_answered(tx, row.id, data):
            site.audit.append(receipt_event(receipt, row, site), tx)
    site.on_step("release 12")
    return receipt


@dataclass(frozen=True, slots=True)
class _Asked:
    """What the policy is asked, the outputs it is about, and what they cost."""

    facts: Facts
    screened: Screened
    charge: Charge | None


def _examine(draft: DraftOutputs, site: Site, *, dry_run: bool) -> _Asked:
    """Steps 1 to 3; nothing is decided here."""
    manifest = draft.round.manifest
    # 1. the round (a `VerifiedRound` exists only verified)
    require_open(manifest, site.clock.now())
    require_fit(draft, site.config.privacy.mechanism)
    site.on_step("release 1")
    # 2. the facts
    charge = charge_of(draft, site)
    epsilon, delta = account(site, adding=charge).spent[Period.LIFETIME], delta_of(site)
    require_admissible(manifest, mechanism=site.config.privacy.mechanism, epsilon=epsilon, delta=delta)
    with site.database.snapshot() as tx:
        history = history_facts(tx, site.keys.record, site.clock.now())
    facts = Facts(
        action=Action.RELEASE,
        dataset=dataset_facts(site.config),
        prompts=prompt_facts(draft.round),
        model=model_facts(site.config, draft.model_digest),
        peer=peer_facts(draft.round),
        history=history,
    )
    site.on_step("release 2")
    # 3. the detectors
    screened = screen(draft.outputs, max_new_tokens=manifest.decoding.max_new_tokens)
    site.audit.append(screened_event(screened, draft.round, site, dry_run=dry_run))
    site.on_step("release 3")
    released = _release_facts(draft, screened, epsilon, site)
    return _Asked(replace(facts, release=released), screened, charge)


def _decide(draft: DraftOutputs, asked: _Asked, site: Site, *, dry_run: bool) -> Decision:
    """The answer to all that the release does, which is to open the data set too where records vote."""
    round_id = draft.round.manifest.round_id
    if isinstance(draft.outputs, Unread):
        opening = ask_to_open(site, round_id, dry_run=dry_run)
        if opening.outcome is not Outcome.PERMIT:
            return opening
    return ask(site, asked.facts, spent=account(site), round_id=round_id, dry_run=dry_run)


def _release_facts(draft: DraftOutputs, screened: Screened, epsilon: Decimal, site: Site) -> ReleaseFacts:
    return ReleaseFacts(
        kind=draft.round.manifest.kind,
        items=draft.round.manifest.prompt_count,
        mechanism=site.config.privacy.mechanism,
        epsilon_total=epsilon,
        delta=delta_of(site),
        unit=UNIT,
        relation=RELATION,
        aggregation=draft.round.manifest.aggregation,
        model_trained_with_dp=draft.adapter is not None and draft.adapter.mechanism is Mechanism.DP_SGD,
        texts=screened.texts,
        detectors_run=screened.detectors,
        findings=screened.findings,
        detector_error=screened.failed,
    )


def _statement(released: ReleasedOutputs, site: Site, *, commitment: bytes) -> ContributionStatement:
    """The statement, still without the digest of the ciphertext."""
    manifest = released.round.manifest
    with site.database.transaction() as tx:
        sequence = next_sequence(tx)
    return ContributionStatement(
        manifest_digest=released.round.manifest_digest,
        federation=manifest.federation,
        round_id=manifest.round_id,
        nonce=manifest.nonce,
        prompt_set_digest=manifest.prompt_set_digest,
        kind=manifest.kind,
        sender=site.member_id,
        signing_key_id=site.keys.signing.key_id,
        recipient_key_id=manifest.recipient_key_id,
        sequence=sequence,
        created_at_ms=to_ms(site.clock.now()),
        commitment=commitment,
        ciphertext_digests=(),
        item_count=manifest.prompt_count,
        dtype=ITEM_TYPES[manifest.kind],
        scale=1,
        privacy=released.privacy,
        policy_digest=site.policy.digest,
        log_checkpoint=site.audit.checkpoint(),
    )


def _came_through(door: object) -> None:
    if door is not _DOOR:
        raise TypeError("outputs come through the steps of semfed_secure.client.release only")
