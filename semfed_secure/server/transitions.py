"""The transitions of a round, each durable together with its audit entry, each taken once.

A transition is a compare-and-set on the round's state inside one transaction: of two processes that want the
same one, the second finds it done and is told so by ``None``.
"""

from __future__ import annotations

from collections import Counter
from dataclasses import replace
from typing import TYPE_CHECKING, Literal

from semfed_secure.audit.events import Event, EventType
from semfed_secure.clock import from_ms, to_iso
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import IntegrityError
from semfed_secure.ids import RoundId, hex_digest, sha256
from semfed_secure.server.anchors import answers_in, committed_text, keep_anchors, kept_text
from semfed_secure.server.forming import Ballot, batch_root, cast_by_group, form_consensus
from semfed_secure.server.receipts import answer, placed
from semfed_secure.server.reporting import FormingFigures, report_document
from semfed_secure.server.round import RoundInput, RoundState, after
from semfed_secure.server.standing import PUBLISHED, remembered_rounds, report_digest
from semfed_secure.server.stored import (
    committed_to,
    read_report,
    read_statement,
    require_contributions,
    server_keys,
)
from semfed_secure.storage import pin_rows, round_rows
from semfed_secure.storage.round_rows import ContributionRow, RoundRow
from semfed_secure.wire.messages import (
    Commitments,
    MessageType,
    Outcome,
    encode_commitments,
    encode_consensus,
    encode_manifest,
)

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from semfed_secure.server.context import ServerContext
    from semfed_secure.server.overview import Overview
    from semfed_secure.server.refusals import Refusals
    from semfed_secure.server.stored import StoredTerms
    from semfed_secure.storage import Transaction
    from semfed_secure.units import OutputKind
    from semfed_secure.wire.messages import RoundManifest

UNOPENED = "SF316"
"""Code for what was committed to and not opened in time."""


class Transitions:
    """Everything that changes a round's state."""

    def __init__(self, context: ServerContext, overview: Overview, refusals: Refusals) -> None:
        """Act with the keys, disk and log of ``context``."""
        self._context, self._overview, self._refusals = context, overview, refusals
        self._store = overview.store

    def announce(
        self, tx: Transaction, manifest: RoundManifest, prompt_set_bytes: bytes, gold: Mapping[str, str]
    ) -> None:
        """Sign and insert a new round, and commit to its gold prompts where it has any."""
        signed = sign(MessageType.MANIFEST, encode_manifest(manifest), self._context.keys.signing)
        row = RoundRow(manifest.round_id, RoundState.ANNOUNCED, signed, prompt_set_bytes, manifest.closes_at_ms)
        round_rows.insert_round(tx, row)
        self._store.remember_prompts(tx, manifest.prompt_set_digest, manifest.round_id)
        details = {
            "kind": manifest.kind.value,
            "aggregation": manifest.aggregation.value,
            "prompts": manifest.prompt_count,
            "prompt_set_digest": hex_digest(manifest.prompt_set_digest),
            "manifest_digest": hex_digest(manifest.digest),
            "roster_digest": hex_digest(manifest.roster_digest),
            "rule": manifest.rule.name,
            "opens_at": to_iso(from_ms(manifest.opens_at_ms)),
            "closes_at": to_iso(from_ms(manifest.closes_at_ms)),
            **_opening_end(manifest),
            **_groups(manifest),
            "min_clients": manifest.rule.min_clients,
            "weights": manifest.rule.weights,
        }
        if not gold:
            self._log(tx, EventType.ROUND_OPENED, manifest.round_id, details)
            return
        text = committed_text(gold, manifest.round_id, self._context.randomness)
        details |= {"anchors": len(gold), "anchors_digest": hex_digest(sha256(text))}
        entry = self._log(tx, EventType.ROUND_OPENED, manifest.round_id, details)
        keep_anchors(tx, manifest.round_id, text, entry=entry)

    def take(self, round_id: RoundId, state: RoundState, happening: RoundInput) -> RoundState | None:
        """Do what is due; the new state, or None if another process did it first."""
        if happening is RoundInput.UNSEAL:
            return self.unseal(round_id, state)
        if happening is RoundInput.CLOSE:
            return self.close(round_id, state)
        if happening is RoundInput.FORM:
            return self._form(round_id, state)
        if happening is RoundInput.PUBLISH:
            return self._publish(round_id, state)
        with self._context.database.transaction() as tx:
            return _move(tx, round_id, state, happening, None)

    def unseal(self, round_id: RoundId, state: RoundState) -> RoundState | None:
        """Take no more commitments: sign the list of them, put its root in the log, and ask for the payloads."""
        terms = self._store.terms(round_id)
        expected = self._overview.expected(terms)  # reads the roster's file, and may write: before the transaction
        with self._context.database.transaction() as tx:
            following = _move(tx, round_id, state, RoundInput.UNSEAL, terms.manifest.kind)
            if following is not None:
                rows = having(round_rows.list_contributions(tx, round_id), "committed")
                statements = tuple(sorted(read_statement(row, terms).digest for row in rows))
                details = {
                    "kind": terms.manifest.kind.value,
                    "manifest_digest": hex_digest(terms.manifest.digest),
                    "expected": len(expected),
                    "committed": len(statements),
                    "commitments_root": hex_digest(batch_root(statements)),
                }
                index = self._log(tx, EventType.COMMITMENTS_CLOSED, round_id, details)
                checkpoint, proof = placed(tx, self._context, index)
                commitments = Commitments(
                    manifest_digest=terms.manifest.digest,
                    round_id=round_id,
                    statements=statements,
                    log_index=index,
                    log_checkpoint=checkpoint,
                    inclusion_proof=proof,
                )
                signed = sign(MessageType.COMMITMENTS, encode_commitments(commitments), self._context.keys.signing)
                round_rows.keep_commitments(tx, round_id, signed)
        return following

    def close(self, round_id: RoundId, state: RoundState) -> RoundState | None:
        """Take no more contributions; what was committed to and never opened is refused."""
        terms = self._store.terms(round_id)
        expected = self._overview.expected(terms)  # reads the roster's file, and may write: before the transaction
        with self._context.database.transaction() as tx:
            following = _move(tx, round_id, state, RoundInput.CLOSE, terms.manifest.kind)
            if following is not None:
                self._refuse_unopened(tx, terms)
                rows = round_rows.list_contributions(tx, round_id)
                details = {
                    "kind": terms.manifest.kind.value,
                    "expected": len(expected),
                    "admitted": len(having(rows, "admitted")),
                    "rejected_by_code": rejections(rows),
                }
                self._log(tx, EventType.ROUND_CLOSED, round_id, details)
        return following

    def _refuse_unopened(self, tx: Transaction, terms: StoredTerms) -> None:
        for row in having(round_rows.list_contributions(tx, terms.manifest.round_id), "committed"):
            receipt = answer(tx, self._context, read_statement(row, terms), Outcome.REJECTED, UNOPENED)
            round_rows.settle_contribution(tx, replace(row, outcome="rejected", code=UNOPENED, receipt=receipt))

    def abort(self, round_id: RoundId, state: RoundState, code: str, reason: str) -> RoundState | None:
        """End the round without a consensus."""
        self._context.sharding.forget()
        with self._context.database.transaction() as tx:
            following = _move(tx, round_id, state, RoundInput.ABORT, None, reason=f"{code} {reason}")
            if following is not None:
                round_rows.drop_payloads(tx, round_id)
                self._log(tx, EventType.ROUND_ABORTED, round_id, {}, outcome="failed", code=code, reason=reason)
        return following

    def is_complete(self, round_id: RoundId, state: RoundState, terms: StoredTerms) -> bool:
        """Whether nobody is expected any more: all have sent what ``state`` takes."""
        with self._context.database.snapshot() as tx:
            committed = round_rows.members_with(tx, round_id, "committed")
            present = committed | round_rows.members_with(tx, round_id, "admitted")
        if state is RoundState.OPENING:
            return not committed - self._overview.revoked(terms)
        return self._context.close_when_complete and set(self._overview.expected(terms)) <= present

    def _form(self, round_id: RoundId, state: RoundState) -> RoundState | None:
        terms = self._store.terms(round_id)
        with self._context.database.snapshot() as tx:
            head = round_rows.read_round_head(tx, round_id)
            rows = round_rows.list_contributions(tx, round_id)
            anchors = kept_text(tx, round_id, self._context.audit)
            earlier = remembered_rounds(tx, self._context.audit)
        if head is None or head.state != state:  # another process ended the round: the payloads are gone
            return None
        own = server_keys(terms, self._context.rosters.current())
        require_contributions(rows, terms, own, state=state)
        commitments = committed_to(self._store.row(round_id), terms, rows, own)
        revoked = self._overview.revoked(terms)
        counted = [row for row in having(rows, "admitted") if row.member_id not in revoked]
        ballots = [Ballot(row.member_id, row.statement_digest, row.payload or b"") for row in counted]
        most = max(map(len, cast_by_group(ballots, terms.manifest)))
        if most < terms.manifest.rule.min_clients:
            without = "" if not revoked else f", without {', '.join(sorted(revoked))}, revoked"
            of = " of a group" if terms.manifest.groups else ""
            wanted = f"{terms.manifest.rule.min_clients} admitted contributions{of} were expected"
            return self.abort(round_id, state, "SF402", f"{wanted}, found {most}{without}")
        with self._context.sharding.runner() as runner:
            formed = form_consensus(
                ballots,
                terms.at(state),
                commitments=commitments,
                rejections=rejections(rows),
                log_checkpoint=self._context.audit.checkpoint(),
                embedder=self._context.embedder,
                clock=self._context.clock,
                gold={} if anchors is None else answers_in(anchors),
                earlier=tuple(earlier.values()),
                runner=runner,
            )
        signed = sign(MessageType.CONSENSUS, encode_consensus(formed.consensus), self._context.keys.signing)
        figures = FormingFigures(
            consensus_digest=formed.consensus.digest,
            consensus_bytes=len(signed),
            seconds=formed.seconds,
            refused_before_signature=self._refusals.of_round(round_id),
            remembers=tuple(earlier),
        )
        report = report_document(formed.reports, counted, terms, figures)
        with self._context.database.transaction() as tx:
            kind = terms.manifest.kind
            following = _move(tx, round_id, state, RoundInput.FORM, kind, consensus=signed, report=report)
        self._context.sharding.forget()
        return following

    def _publish(self, round_id: RoundId, state: RoundState) -> RoundState | None:
        terms = self._store.terms(round_id)
        kind = terms.manifest.kind
        revoked, own = self._overview.revoked(terms), server_keys(terms, self._context.rosters.current())
        with self._context.database.transaction() as tx:
            row = round_rows.read_round(tx, round_id)
            report = None if row is None else read_report(row, terms, own)
            assert row is not None
            assert report is not None  # INVARIANT: written on the way into this state; rounds are never deleted
            groups = report["groups"]
            counted = [client["member"] for group in groups for client in group["clients"]]
            if revoked.intersection(counted):
                return _move(tx, round_id, state, RoundInput.REVOKE, kind)
            following = _move(tx, round_id, state, RoundInput.PUBLISH, kind)
            if following is not None:
                round_rows.drop_payloads(tx, round_id)
                details = {
                    "kind": kind.value,
                    "manifest_digest": hex_digest(terms.manifest.digest),
                    "consensus_digest": report["consensus_digest"],
                    **{name: sum(group[name] for group in groups) for name in ("agreed", "contested", "too_few")},
                    "admitted": len(counted),
                    "bytes": report["bytes"]["consensus"],
                    "report_digest": report_digest(row.report or ""),
                }
                index = self._log(tx, EventType.CONSENSUS_PUBLISHED, round_id, details)
                pin_rows.set_pin_once(tx, PUBLISHED.format(round_id), index.to_bytes(8, "big"))
        return following

    def _log(
        self,
        tx: Transaction,
        kind: EventType,
        round_id: RoundId,
        details: Mapping[str, object],
        *,
        outcome: Literal["success", "failed"] = "success",
        code: str | None = None,
        reason: str | None = None,
    ) -> int:
        event = Event(
            type=kind,
            outcome=outcome,
            actor=self._context.member,
            round_id=round_id,
            codes=() if code is None else (code,),
            reason=reason,
            details=details,
        )
        return self._context.audit.append(event, tx)


def published_at(tx: Transaction, round_id: RoundId) -> int:
    """Number of the log entry that published the consensus of this round.

    Raises:
        IntegrityError: ``SF531`` it is not noted.
    """
    noted = pin_rows.read_pin(tx, PUBLISHED.format(round_id))
    if noted is None:
        raise IntegrityError("SF531", "the log entry of the consensus was expected to be noted")
    return int.from_bytes(noted, "big")


def having(rows: Sequence[ContributionRow], outcome: str) -> list[ContributionRow]:
    """Those with this outcome."""
    return [row for row in rows if row.outcome == outcome]


def rejections(rows: Sequence[ContributionRow]) -> dict[str, int]:
    """How many were rejected, by code."""
    return dict(Counter(row.code for row in rows if row.code is not None))


def _opening_end(manifest: RoundManifest) -> dict[str, str]:
    end_ms = manifest.opening_ends_at_ms
    return {} if end_ms is None else {"opening_ends_at": to_iso(from_ms(end_ms))}


def _groups(manifest: RoundManifest) -> dict[str, list[str]]:
    return {"groups": [group.name for group in manifest.groups]} if manifest.groups else {}


def _move(
    tx: Transaction,
    round_id: RoundId,
    state: RoundState,
    happening: RoundInput,
    kind: OutputKind | None,
    *,
    consensus: bytes | None = None,
    reason: str | None = None,
    report: str | None = None,
) -> RoundState | None:
    following = after(state, happening, kind)
    moved = round_rows.move_round(
        tx, round_id, before=state, after=following, consensus=consensus, reason=reason, report=report
    )
    return following if moved else None
