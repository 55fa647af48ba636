"""What the database holds of a round, held to the signatures on it whenever it is read.

Whoever acts on a stored round acts on what its members and its server signed: a changed byte of a manifest, prompt set,
statement, payload, receipt or consensus is ``SF531`` and never a changed round.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from semfed_secure.crypto.signing import verify
from semfed_secure.errors import IntegrityError, PeerError
from semfed_secure.identity.records import Role
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.server.admission import RoundTerms
from semfed_secure.server.round import FINAL, RoundState, collecting_by_now
from semfed_secure.units import OutputKind
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import (
    COMMITMENTS_LIMITS,
    CONSENSUS_LIMITS,
    MANIFEST_LIMITS,
    RECEIPT_LIMITS,
    STATEMENT_LIMITS,
    Commitments,
    Consensus,
    ContributionStatement,
    MessageType,
    RoundManifest,
    commit,
    parse_commitments,
    parse_consensus,
    parse_manifest,
    parse_payload,
    parse_receipt,
    parse_statement,
)
from semfed_secure.wire.prompts import PromptSet, parse_prompt_set

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from semfed_secure.crypto.keys import VerificationKey
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.identity.roster import Roster
    from semfed_secure.ids import Digest
    from semfed_secure.server.rosters import RosterKeeper
    from semfed_secure.storage.round_rows import ContributionRow, RoundRow


@dataclass(frozen=True, slots=True)
class StoredTerms:
    """The parts of a round that were signed when it was opened, as bytes and as objects.

    Only `read_terms` makes one; ``roster`` is the one that the manifest names.
    """

    manifest_bytes: bytes
    prompt_set_bytes: bytes
    manifest: RoundManifest
    prompt_set: PromptSet
    roster: Roster
    server: MemberRecord

    def at(self, state: RoundState) -> RoundTerms:
        """What admission looks at."""
        return RoundTerms(self.manifest, self.prompt_set, collecting_by_now(state))


def read_terms(row: RoundRow, rosters: RosterKeeper) -> StoredTerms:
    """The round as its server signed it, under the roster that its manifest names.

    Raises:
        IntegrityError: ``SF531``.
    """
    with _damage(f"the manifest and prompt set of {row.round_id}"):
        # Unverified it says under which roster it was signed; nothing else of it is used before it has verified.
        unverified = parse_manifest(parse_signed(row.manifest, limits=signed_limits(MANIFEST_LIMITS)).payload)
        roster = rosters.pinned(unverified)
        servers = [record for record in roster.records if Role.SERVER in record.roles]
        signers = {key: record for record in servers for key in record.signing_keys}
        verified = verify(MessageType.MANIFEST, row.manifest, tuple(signers), limits=MANIFEST_LIMITS)
        manifest = parse_manifest(verified.payload)
        _require((manifest.round_id, manifest.closes_at_ms) == (row.round_id, row.closes_at_ms))
        _require(manifest.prompt_set_digest == sha256(row.prompt_set))
        server = next(record for key, record in signers.items() if key.key_id == verified.key_id)
        return StoredTerms(row.manifest, row.prompt_set, manifest, parse_prompt_set(row.prompt_set), roster, server)


def server_keys(terms: StoredTerms, current: Roster) -> tuple[VerificationKey, ...]:
    """The keys under which the round's server answers: those that opened it, and those it may have changed to since."""
    newest = [record for record in current.records if record.member_id == terms.server.member_id]
    return tuple(dict.fromkeys(key for record in (terms.server, *newest) for key in record.signing_keys))


def require_contributions(
    rows: Iterable[ContributionRow], terms: StoredTerms, own: Sequence[VerificationKey], *, state: RoundState
) -> None:
    """Accept only contributions that their members signed, with the payloads that they sealed and our answers to them.

    A round that has ended has no payloads any more.

    Raises:
        IntegrityError: ``SF531``.
    """
    for row in rows:
        with _damage(f"a contribution to {terms.manifest.round_id}"):
            _check_statement(row, terms.manifest, _keys_of(row, terms))
            _check_receipt(row, terms.manifest, own)
            _require((row.payload is not None) == (row.outcome == "admitted" and state not in FINAL))


def read_statement(row: ContributionRow, terms: StoredTerms) -> ContributionStatement:
    """The statement of a contribution, as its member signed it.

    Raises:
        IntegrityError: ``SF531``.
    """
    with _damage(f"a contribution to {terms.manifest.round_id}"):
        return _check_statement(row, terms.manifest, _keys_of(row, terms))


def read_commitments(row: RoundRow, terms: StoredTerms, own: Sequence[VerificationKey]) -> Commitments | None:
    """The signed list of what a round of texts was committed to; None before it was made, and for other rounds.

    Raises:
        IntegrityError: ``SF531``.
    """
    if row.commitments is None:
        return None
    with _damage(f"the commitments of {row.round_id}"):
        signed = verify(MessageType.COMMITMENTS, row.commitments, own, limits=COMMITMENTS_LIMITS)
        commitments = parse_commitments(signed.payload)
        _require((commitments.manifest_digest, commitments.round_id) == (terms.manifest.digest, row.round_id))
        return commitments


def committed_to(
    row: RoundRow, terms: StoredTerms, rows: Iterable[ContributionRow], own: Sequence[VerificationKey]
) -> tuple[Digest, ...] | None:
    """The statements that a closed round of texts was committed to, each admitted one among them; None of other rounds.

    Raises:
        IntegrityError: ``SF531``.
    """
    commitments = read_commitments(row, terms, own)
    if commitments is None and terms.manifest.kind is not OutputKind.TEXT:
        return None
    with _damage(f"the commitments of {row.round_id}"):
        _require(commitments is not None)
        assert commitments is not None
        admitted = {each.statement_digest for each in rows if each.outcome == "admitted"}
        _require(admitted <= set(commitments.statements))
        return commitments.statements


def read_consensus(row: RoundRow, terms: StoredTerms, own: Sequence[VerificationKey]) -> Consensus:
    """The consensus of a round that has one, as the server signed it.

    Raises:
        IntegrityError: ``SF531``.
    """
    with _damage(f"the consensus of {row.round_id}"):
        signed = verify(MessageType.CONSENSUS, row.consensus or b"", own, limits=CONSENSUS_LIMITS)
        consensus = parse_consensus(signed.payload)
        _require(consensus.manifest_digest == terms.manifest.digest)
        return consensus


def read_report(row: RoundRow, terms: StoredTerms, own: Sequence[VerificationKey]) -> dict[str, Any] | None:
    """The report on the consensus, once the consensus is known to be the signed one; None before it was formed.

    Raises:
        IntegrityError: ``SF531``.
    """
    if row.report is None and row.consensus is None:
        return None
    consensus = read_consensus(row, terms, own)
    with _damage(f"the consensus of {row.round_id}"):
        report: dict[str, Any] = json.loads(row.report or "")
        _require(report["consensus_digest"] == hex_digest(consensus.digest))
        return report


def _keys_of(row: ContributionRow, terms: StoredTerms) -> Sequence[VerificationKey]:
    return next(record.signing_keys for record in terms.roster.records if record.member_id == row.member_id)


def _check_statement(
    row: ContributionRow, manifest: RoundManifest, keys: Sequence[VerificationKey]
) -> ContributionStatement:
    signed = verify(MessageType.STATEMENT, row.statement, keys, limits=STATEMENT_LIMITS)
    statement = parse_statement(signed.payload)
    _require((statement.digest, statement.manifest_digest) == (row.statement_digest, manifest.digest))
    if row.payload is not None:
        _require(commit(parse_payload(row.payload).salt, row.payload) == statement.commitment)
    return statement


def _check_receipt(row: ContributionRow, manifest: RoundManifest, keys: Sequence[VerificationKey]) -> None:
    signed = verify(MessageType.RECEIPT, row.receipt or b"", keys, limits=RECEIPT_LIMITS)
    receipt = parse_receipt(signed.payload)
    answer = (receipt.statement_digest, receipt.round_id, receipt.outcome, receipt.code)
    _require(answer == (row.statement_digest, manifest.round_id, row.outcome, row.code))


class _OtherwiseError(Exception):
    """What is stored is not what was signed."""


def _require(same: bool) -> None:  # noqa: FBT001 - reads as a sentence
    if not same:
        raise _OtherwiseError


@contextmanager
def _damage(what: str) -> Iterator[None]:
    try:
        yield
    except (PeerError, _OtherwiseError, ValueError, KeyError, TypeError, StopIteration) as error:
        cause = {"cause": error.code} if isinstance(error, PeerError) else {}
        raise IntegrityError("SF531", f"what the database holds as {what} is not what was signed", **cause) from error
