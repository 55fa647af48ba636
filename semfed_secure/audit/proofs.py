"""One file that proves one entry to somebody who has nothing but the log's key: ``tlog-proof@v1``, with the entry.

Of an entry whose content was removed only its hash can be proven: to somebody who has that from elsewhere.
"""

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
        index: Number of the entry.
        leaf: Its hash.
        entry: The entry; None if its content was removed from the log before the proof was made.
        checkpoint: Of which state of the log it is a part.
        vouching: The given witnesses that vouch for that state.
    """

    index: int
    leaf: bytes
    entry: Entry | None
    checkpoint: Checkpoint
    vouching: tuple[str, ...]


def make_proof(source: LogSource, index: int, key: LogVerificationKey) -> str:
    """The proof file of entry ``index``, under the checkpoint that most witnesses cosigned, the newest of those.

    Guarantee: what is returned verifies with ``key`` alone, or if the entry's content was removed with ``key`` and the
    entry's hash; nothing is written.

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
        found = next(stored for stored in source.entries(index) if stored.position == index)
        text = LogProof(index, merkle.prove(ranges, hashes), note, found.body or None).encoded
        check_proof(text, key, leaf=None if found.body else found.leaf)
    except (StopIteration, KeyError, PeerError) as error:
        message = f"entry {index} cannot be proven: it, or what the proof is made of, was changed; verify the log"
        raise IntegrityError("SF501", message, index=index) from error
    return text


def check_proof(
    text: str, key: LogVerificationKey, witnesses: Witnesses = NOBODY, *, leaf: bytes | None = None
) -> ProvenEntry:
    """Accept only a proof of the entry that it carries, in the log of ``key``, for which the witnesses vouch.

    A proof that carries none is of an entry whose content was removed; it proves ``leaf``, the hash of that entry.

    Raises:
        PeerError: ``SF328`` it proves nothing; ``SF330`` too few of the given witnesses vouch for it.
    """
    proof = parse_log_proof(text)
    proven = leaf if proof.entry is None else merkle.leaf_hash(proof.entry)
    if proven is None:
        raise PeerError("SF328", "the proof file carries no entry: name the hash of the entry that it is to prove")
    if leaf not in {None, proven}:
        raise PeerError("SF328", "the proof file carries another entry than the one with that hash")
    tree = verify_log_proof(text, leaf=proven, key=key).checkpoint
    entry = None if proof.entry is None else _entry(proof.entry, proof.index)
    lines = parse_note(proof.checkpoint).signatures
    vouching = tuple(sorted({line.name for line in lines if witnesses.cosigned_at(tree, line) is not None}))
    if len(vouching) < witnesses.quorum:
        message = f"{witnesses.quorum} of the given witnesses were expected to vouch for the proof, {len(vouching)} do"
        raise PeerError("SF330", message, quorum=witnesses.quorum)
    return ProvenEntry(proof.index, proven, entry, tree, vouching)


def _entry(body: bytes, index: int) -> Entry:
    try:
        entry = parse_entry(body)
    except IntegrityError as error:
        raise PeerError("SF328", "the entry in the proof file is not one that this software writes") from error
    if entry.seq != index:
        raise PeerError("SF328", f"entry {index} was written as entry {entry.seq}")
    return entry


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
