"""Verify a whole log offline, needing only the log and the key of its owner.

Every finding is a sentence for a reader who does not know how the log works: what was done to it, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from semfed_secure.audit import merkle
from semfed_secure.audit.events import Entry, EventType, parse_entry
from semfed_secure.audit.log import COSIGN_EVERY
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.notes import Checkpoint, VerifiedCheckpoint, verify_checkpoint
from semfed_secure.audit.sources import LogSource, StoredHead, open_source
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError

if TYPE_CHECKING:
    from pathlib import Path

ONCE = frozenset({EventType.ROUND_OPENED, EventType.COMMITMENTS_CLOSED, EventType.CONSENSUS_PUBLISHED})
"""What happens once in a round: a second such entry means that members were shown different things."""
Visit = Callable[[Entry], None]
"""Called with each entry once its own content has been checked; the log as a whole has not been yet."""


@dataclass(frozen=True, slots=True)
class LogVerdict:
    """What a log that verifies was found to be.

    Attributes:
        origin: Its name.
        size: Its number of entries.
        root: Root of its tree, in hexadecimal.
        verification_key: The key that it verifies under.
        key_was_given: Whether the caller gave that key; otherwise the log itself named it, which proves no owner.
        checkpoints: How many signed checkpoints were verified.
        cosigned_size: Up to which size the post-quantum signature reaches.
        known_checkpoints: How many checkpoints, seen by others before, were found to be of this history.
        first_time: Time of the first entry; None for an empty log.
        last_time: Time of the last entry.
        clock_steps: Entries whose clock stood before the one of the entry before them.
        writers: Every program that wrote, in order of appearance.
    """

    origin: str
    size: int
    root: str
    verification_key: str
    key_was_given: bool
    checkpoints: int
    cosigned_size: int
    known_checkpoints: int
    first_time: str | None
    last_time: str | None
    clock_steps: tuple[int, ...]
    writers: tuple[str, ...]


def verify_log(
    place: str | Path, *, key: str | None, known: Sequence[str] = (), visit: Visit | None = None
) -> LogVerdict:
    """Accept only a log that is whole, in order, unchanged and signed.

    Guarantee: if this returns, every entry is one that this software wrote, numbered without gaps, and the tree over
    exactly these entries is what the log's key signed, in its newest checkpoint and in every one that was kept. No
    byte of an entry, hash or checkpoint can be changed, dropped, swapped, repeated or cut off without an error.
    And no round was opened, had its commitments closed or was published twice. Nothing is written.

    Args:
        place: A state directory, database file or URL, or a directory of exported tiles.
        key: The log's verification key from a source other than the log (its member record); without it only the
            log's agreement with itself is shown.
        known: Checkpoints of the same log that somebody else has kept: they show a restored backup or a second
            history, which a log alone cannot show.
        visit: Called with every entry on the way.

    Raises:
        IntegrityError: ``SF501`` for changed content, ``SF503`` for a bad signature or key, ``SF504`` for missing
            entries or a restored older state, ``SF505`` for two histories, ``SF506`` for a round that is told twice,
            ``SF531`` for a damaged database; ``fields["index"]`` is the first bad entry where one is to blame.
        ConfigurationError: There is no log to read at ``place``.
    """
    with open_source(place) as source:
        return verify_source(source, key=key, known=known, visit=visit)


def verify_source(
    source: LogSource, *, key: str | None, known: Sequence[str] = (), visit: Visit | None = None
) -> LogVerdict:
    """`verify_log` of a log that is open already, so that what is read beside it is of the same moment."""
    head = source.head()
    owner = _owner(head, key)
    marks = _Marks(owner)
    newest = marks.add_own(head.checkpoint, "the newest checkpoint")
    for size, note in head.kept:
        marks.add_kept(size, note)
    own = len(marks.verified)
    cosigned = marks.cosigned_size(newest.checkpoint.size)
    for note in known:
        marks.add_known(note)
    walk = _walk(source, newest.checkpoint, head, marks, visit)
    return LogVerdict(
        origin=owner.name,
        size=newest.checkpoint.size,
        root=newest.checkpoint.root.hex(),
        verification_key=owner.encode(),
        key_was_given=key is not None,
        checkpoints=own,
        cosigned_size=cosigned,
        known_checkpoints=len(known),
        first_time=walk.first_time,
        last_time=walk.last_time,
        clock_steps=tuple(walk.clock_steps),
        writers=tuple(walk.writers),
    )


def verify_consistency(
    old_checkpoint: str, new_checkpoint: str, proof: Sequence[bytes], key: LogVerificationKey
) -> Checkpoint:
    """Accept only a newer checkpoint of the same history as the older one; return it.

    Raises:
        PeerError: ``SF328`` if a signature is not good, ``SF323`` if the histories differ.
    """
    old = verify_checkpoint(old_checkpoint, key).checkpoint
    new = verify_checkpoint(new_checkpoint, key).checkpoint
    try:
        merkle.verify_consistency(
            old_size=old.size, old_root=old.root, new_size=new.size, new_root=new.root, proof=proof
        )
    except PeerError as error:
        message = f"the log of {new.size} entries does not extend the one of {old.size} entries already seen"
        raise PeerError("SF323", message, old_size=old.size, new_size=new.size) from error
    return new


class _Marks:
    """Signed checkpoints by size: what the rebuilt tree must agree with."""

    def __init__(self, owner: LogVerificationKey) -> None:
        self._owner = owner
        self.verified: list[VerifiedCheckpoint] = []
        self.roots: dict[int, bytes] = {}

    def add_own(self, note: str, what: str) -> VerifiedCheckpoint:
        """Verify a checkpoint of the log itself, which holds the log's signatures and nothing else."""
        verified = self._add(note, what)
        if verified.others:
            raise IntegrityError("SF503", f"the signatures of {what} were changed or added to")
        return verified

    def add_kept(self, size: int, note: str) -> None:
        """Verify a checkpoint that the log keeps because it carries both signatures."""
        verified = self.add_own(note, f"the checkpoint kept at {size} entries")
        if verified.checkpoint.size != size or (self._owner.mldsa44 is not None and verified.cosigned_at is None):
            raise IntegrityError("SF503", f"the checkpoint kept at {size} entries was exchanged", size=size)

    def add_known(self, note: str) -> None:
        """Verify a checkpoint that somebody else kept, maybe with signatures of witnesses."""
        self._add(note, "a checkpoint kept elsewhere")

    def _add(self, note: str, what: str) -> VerifiedCheckpoint:
        try:
            verified = verify_checkpoint(note, self._owner)
        except PeerError as error:
            message = f"the signature of {what} is not good: it was changed, or somebody else made it"
            raise IntegrityError("SF503", message) from error
        size, root = verified.checkpoint.size, verified.checkpoint.root
        if self.roots.setdefault(size, root) != root:
            raise _forked(size)
        self.verified.append(verified)
        return verified

    def cosigned_size(self, newest: int) -> int:
        """Up to where the post-quantum signature reaches; it may lag by less than one tile."""
        reached = [mark.checkpoint.size for mark in self.verified if mark.cosigned_at is not None]
        largest = max(reached, default=0)
        if self._owner.mldsa44 is not None and largest // COSIGN_EVERY < newest // COSIGN_EVERY:
            message = f"the post-quantum signature ends at {largest} of {newest} entries: checkpoints were removed"
            raise IntegrityError("SF503", message)
        return largest


@dataclass(slots=True)
class _Walk:
    """What one pass over the entries gathers."""

    frontier: Frontier = field(default_factory=Frontier)
    first_time: str | None = None
    last_time: str | None = None
    clock_steps: list[int] = field(default_factory=list)
    writers: dict[str, None] = field(default_factory=dict)
    told: set[tuple[EventType, str | None]] = field(default_factory=set)
    again: Entry | None = None
    agreed: int = 0
    disputed: int | None = None

    def note(self, entry: Entry) -> None:
        """Take down when and by whom; the one form of a time sorts as text."""
        if self.last_time is not None and entry.time < self.last_time:
            self.clock_steps.append(entry.seq)
        self.first_time = self.first_time or entry.time
        self.last_time = entry.time
        self.writers[entry.writer] = None
        if entry.event.type in ONCE:
            said = entry.event.type, entry.event.round_id
            self.again = self.again or (entry if said in self.told else None)
            self.told.add(said)

    def compare(self, roots: Mapping[int, bytes]) -> None:
        """Hold the tree so far against a checkpoint of its size; remember the first that differs."""
        signed = roots.get(self.frontier.size)
        if signed is None or self.disputed is not None:
            return
        if signed == self.frontier.root():
            self.agreed = self.frontier.size
        else:
            self.disputed = self.frontier.size


def _walk(source: LogSource, newest: Checkpoint, head: StoredHead, marks: _Marks, visit: Visit | None) -> _Walk:
    walk = _Walk()
    stored = _StoredTree(source)
    walk.compare(marks.roots)
    for entry, leaf in _entries(source, newest.size):
        walk.note(entry)
        if visit is not None:
            visit(entry)
        for (level, position), value in walk.frontier.add(leaf):
            stored.compare(level, position, value)
        walk.compare(marks.roots)
    if walk.disputed is not None:
        raise _rewritten(walk, newest_agrees=walk.frontier.root() == newest.root)
    stored.require_no_more(newest.size)
    if head.frontier is not None and head.frontier != (newest.size, walk.frontier.encode()):
        raise IntegrityError("SF501", "the place where the log goes on was changed: it no longer fits its entries")
    largest = max(marks.roots)
    if largest > newest.size:
        message = (
            f"the log was set back: a signed checkpoint of {largest} entries exists, but only {newest.size} are here; "
            "an older copy was restored, or the last entries were removed"
        )
        raise IntegrityError("SF504", message, index=newest.size)
    if walk.again is not None:
        event, index = walk.again.event, walk.again.seq
        message = f"entry {index} is a second {event.type} of {event.round_id}: what members were shown may differ"
        raise IntegrityError("SF506", message, index=index)
    return walk


def _rewritten(walk: _Walk, *, newest_agrees: bool) -> IntegrityError:
    """Entries under a signature differ; if the newest signature fits them nevertheless, they were signed again."""
    if newest_agrees:
        return _forked(walk.disputed or 0, index=walk.agreed)
    message = f"entries {walk.agreed} to {(walk.disputed or 0) - 1} are not the ones that were signed"
    return IntegrityError("SF501", message, index=walk.agreed)


def _forked(size: int, **fields: int) -> IntegrityError:
    message = f"the log was forked: two different histories of its first {size} entries were signed"
    return IntegrityError("SF505", message, size=size, **fields)


def _entries(source: LogSource, size: int) -> Iterator[tuple[Entry, bytes]]:
    """Each entry with its recomputed hash, after checking place, hash and content."""
    expected = 0
    for stored in source.entries():
        if stored.position != expected:
            raise _missing(expected, stored.position, size)
        if expected >= size:
            message = f"entry {expected} was added without a signature: the newest checkpoint ends before it"
            raise IntegrityError("SF501", message, index=expected)
        leaf = merkle.leaf_hash(stored.body)
        if leaf != stored.leaf_hash:
            message = f"entry {expected} was changed: its content does not match the fingerprint stored with it"
            raise IntegrityError("SF501", message, index=expected)
        yield _parse(stored.body, expected), leaf
        expected += 1
    if expected < size:
        raise _missing(expected, size, size)


def _parse(body: bytes, expected: int) -> Entry:
    try:
        entry = parse_entry(body)
    except IntegrityError as error:
        message = f"entry {expected} is not one that this software writes: its content was replaced"
        raise IntegrityError("SF501", message, index=expected) from error
    if entry.seq != expected:
        message = f"entry {expected} is in the wrong place: it was written as entry {entry.seq}"
        raise IntegrityError("SF501", message, index=expected)
    return entry


def _missing(first: int, following: int, size: int) -> IntegrityError:
    last = min(following, size) - 1
    what = f"entry {first} is" if last <= first else f"entries {first} to {last} are"
    message = f"{what} missing: a signed checkpoint covers {size} entries"
    return IntegrityError("SF504", message, index=first)


class _StoredTree:
    """The hashes that were stored beside the entries, read in step with the rebuilt ones."""

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._levels: dict[int, Iterator[tuple[int, bytes]]] = {}

    def compare(self, level: int, position: int, value: bytes) -> None:
        if not self._source.has_level(level):
            return
        if level not in self._levels:
            self._levels[level] = self._source.nodes(level)
        if next(self._levels[level], None) != (position, value):
            first, last = position << level, ((position + 1) << level) - 1
            message = f"the stored fingerprint over entries {first} to {last} was changed or removed"
            raise IntegrityError("SF501", message, index=first)

    def require_no_more(self, size: int) -> None:
        """Each entry completes as many subtrees as its number ends in binary ones: ``size`` less its ones in all."""
        count = self._source.node_count()
        if count is not None and count != size - size.bit_count():
            raise IntegrityError("SF501", "the log holds fingerprints of entries that are not there")


def _owner(head: StoredHead, key: str | None) -> LogVerificationKey:
    try:
        named = LogVerificationKey.parse(head.verification_key)
    except PeerError as error:
        raise IntegrityError("SF503", "the key that the log names cannot be read") from error
    if key is None:
        return named
    try:
        given = LogVerificationKey.parse(key)
    except PeerError as error:
        raise ConfigurationError("SF104", "the key that was given is not a log's verification key") from error
    if (given.name, given.ed25519) != (named.name, named.ed25519) or given.mldsa44 not in {None, named.mldsa44}:
        raise IntegrityError("SF503", f"the log belongs to another key than the one given for {given.name}")
    return named
