"""One file that proves one entry to somebody who has nothing but the log's key: ``tlog-proof@v1``, with the entry."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit import merkle
from semfed_secure.audit.events import Entry, parse_entry
from semfed_secure.audit.notes import (
    MAX_SIGNATURES,
    Checkpoint,
    LogProof,
    parse_checkpoint,
    parse_log_proof,
    parse_note,
    verify_log_proof,
)
from semfed_secure.audit.vouched import NOBODY, Witnesses
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.audit.sources import LogSource, StoredHead
    from semfed_secure.crypto.log_keys import LogVerificationKey


@dataclass(frozen=True, slots=True)
class ProvenEntry:
    """What a proof file proves.

    Attributes:
        entry: The entry.
        checkpoint: Of which state of the log it is a part.
        vouching: The given witnesses that vouch for that state.
    """

    entry: Entry
    checkpoint: Checkpoint
    vouching: tuple[str, ...]


def make_proof(source: LogSource, index: int, key: LogVerificationKey) -> str:
    """The proof file of entry ``index``, under the checkpoint that most witnesses cosigned, the newest of those.

    Guarantee: what is returned verifies with ``key`` alone; nothing is written.

    Raises:
        ConfigurationError: ``SF105`` no signed checkpoint covers such an entry.
        IntegrityError: ``SF501`` the log is damaged where the proof comes from: `verify_log` will say how.
    """
    covering = [note for note in _notes(source.head()) if parse_checkpoint(parse_note(note).text).size > index]
    if index < 0 or not covering:
        raise ConfigurationError("SF105", f"the log has no entry {index} under a signed checkpoint")
    note = max(covering, key=_strength)
    size = parse_checkpoint(parse_note(note).text).size
    ranges = merkle.inclusion_ranges(index, size)
    hashes = source.hashes([place for part in ranges for place in merkle.places_of(part)])
    try:
        body = next(stored.body for stored in source.entries(index) if stored.position == index)
        text = LogProof(index, merkle.prove(ranges, hashes), note, body).encoded
        check_proof(text, key)
    except (StopIteration, KeyError, PeerError) as error:
        message = f"entry {index} cannot be proven: it, or what the proof is made of, was changed; verify the log"
        raise IntegrityError("SF501", message, index=index) from error
    return text


def check_proof(text: str, key: LogVerificationKey, witnesses: Witnesses = NOBODY) -> ProvenEntry:
    """Accept only a proof of the entry that it carries, in the log of ``key``, for which the witnesses vouch.

    Raises:
        PeerError: ``SF328`` it proves nothing; ``SF330`` too few of the given witnesses vouch for it.
    """
    proof = parse_log_proof(text)
    if proof.entry is None:
        raise PeerError("SF328", "a proof file that carries its entry was expected")
    tree = verify_log_proof(text, leaf=merkle.leaf_hash(proof.entry), key=key).checkpoint
    try:
        entry = parse_entry(proof.entry)
    except IntegrityError as error:
        raise PeerError("SF328", "the entry in the proof file is not one that this software writes") from error
    if entry.seq != proof.index:
        raise PeerError("SF328", f"entry {proof.index} was written as entry {entry.seq}")
    lines = parse_note(proof.checkpoint).signatures
    vouching = tuple(sorted({line.name for line in lines if witnesses.cosigned_at(tree, line) is not None}))
    if len(vouching) < witnesses.quorum:
        message = f"{witnesses.quorum} of the given witnesses were expected to vouch for the proof, {len(vouching)} do"
        raise PeerError("SF330", message, quorum=witnesses.quorum)
    return ProvenEntry(entry, tree, vouching)


def _notes(head: StoredHead) -> Iterator[str]:
    """Every checkpoint of the log, each with what witnesses said of it."""
    for note in (head.checkpoint, *(note for _, note in head.kept)):
        parsed = parse_note(note)
        size = parse_checkpoint(parsed.text).size
        said = [line for at, line in head.cosignatures if at == size]
        yield note + "".join(said[: MAX_SIGNATURES - len(parsed.signatures)])


def _strength(note: str) -> tuple[int, int]:
    parsed = parse_note(note)
    return len(parsed.signatures), parse_checkpoint(parsed.text).size
