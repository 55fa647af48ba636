"""Verify a whole log offline, needing only the log and the key of its owner.

Every finding is a sentence for a reader who does not know how the log works: what was done to it, and where.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import TYPE_CHECKING

from semfed_secure.audit import findings, merkle, reading
from semfed_secure.audit.events import Entry, EventType
from semfed_secure.audit.marks import Marks
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.misplaced import misplaced
from semfed_secure.audit.notes import Checkpoint, verify_checkpoint
from semfed_secure.audit.reading import Brief, Read
from semfed_secure.audit.removals import Removals
from semfed_secure.audit.sources import LogSource, StoredEntry, StoredHead, open_source
from semfed_secure.audit.vouched import NOBODY, Witnesses
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError

if TYPE_CHECKING:
    from pathlib import Path

ONCE = frozenset({EventType.ROUND_OPENED, EventType.COMMITMENTS_CLOSED, EventType.CONSENSUS_PUBLISHED})
"""What happens once in a round: a second such entry means that members were shown different things."""
Visit = Callable[[Entry], None]
"""Called with each entry once its own content has been checked; the log as a whole has not been yet."""
_Reader = Callable[[Iterable[StoredEntry]], Iterator[Read]]


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
        vouched_size: Up to which size the given witnesses vouch; zero if none were given.
        first_time: Time of the first entry; None for an empty log.
        last_time: Time of the last entry.
        clock_steps: Entries whose clock stood before the one of the entry before them.
        writers: Every program that wrote, in order of appearance.
        pruned: How many entries lost their content when their time to be kept was over; their hashes are verified.
        holds: Names of the legal holds that are in force.
    """

    origin: str
    size: int
    root: str
    verification_key: str
    key_was_given: bool
    checkpoints: int
    cosigned_size: int
    known_checkpoints: int
    vouched_size: int
    first_time: str | None
    last_time: str | None
    clock_steps: tuple[int, ...]
    writers: tuple[str, ...]
    pruned: int
    holds: tuple[str, ...]


def verify_log(
    place: str | Path,
    *,
    key: str | None,
    known: Sequence[str] = (),
    witnesses: Witnesses = NOBODY,
    visit: Visit | None = None,
    processes: int = 1,
) -> LogVerdict:
    """Accept only a log that is whole, in order, unchanged and signed.

    Guarantee: if this returns, every entry is one that this software wrote, numbered without gaps, and the tree over
    exactly these entries is what the log's key signed, in its newest checkpoint and in every one that was kept. No
    byte of an entry, hash or checkpoint can be changed, dropped, swapped, repeated or cut off without an error.
    And no round was opened, had its commitments closed or was published twice. Where content was removed when its time
    was over, its hash stands for it, and a signed entry says so; nothing else is missing. Nothing is written.

    Args:
        place: A state directory, database file or URL, or a directory of exported tiles.
        key: The log's verification key from a source other than the log (its member record); without it only the
            log's agreement with itself is shown.
        known: Checkpoints of the same log that somebody else has kept: they show a restored backup or a second
            history, which a log alone cannot show.
        witnesses: Who must vouch for it: a log that was written again as a whole, under its own key, lacks them.
        visit: Called with every entry on the way that has its content.
        processes: How many processes may read entries of a large log, if nobody visits them; they begin by importing
            the caller's main module.

    Raises:
        IntegrityError: As `semfed_secure.audit.findings` has it, a code for each way of tampering; ``SF531`` for a
            damaged database; ``fields["index"]`` is the first bad entry where one is to blame.
        ConfigurationError: There is no log to read at ``place``.
    """
    with open_source(place) as source:
        return verify_source(source, key=key, known=known, witnesses=witnesses, visit=visit, processes=processes)


def verify_source(
    source: LogSource,
    *,
    key: str | None,
    known: Sequence[str] = (),
    witnesses: Witnesses = NOBODY,
    visit: Visit | None = None,
    processes: int = 1,
) -> LogVerdict:
    """`verify_log` of a log that is open already, so that what is read beside it is of the same moment."""
    head = source.head()
    owner = _owner(head, key)
    marks = Marks(owner, witnesses)
    newest = marks.add_own(head.checkpoint, "the newest checkpoint")
    for size, note in head.kept:
        marks.add_kept(size, note)
    own = len(marks.verified)
    cosigned = marks.cosigned_size(newest.checkpoint.size)
    for note in known:
        marks.add_known(note)
    helped = newest.checkpoint.size >= reading.WORTHWHILE
    reader = partial(reading.read_in_order, processes=processes if helped else 1, visit=visit)
    walk = _walk(source, newest.checkpoint, head, marks, reader)
    return LogVerdict(
        origin=owner.name,
        size=newest.checkpoint.size,
        root=newest.checkpoint.root.hex(),
        verification_key=owner.encode(),
        key_was_given=key is not None,
        checkpoints=own,
        cosigned_size=cosigned,
        known_checkpoints=len(known),
        vouched_size=marks.vouched_size(head, newest.checkpoint.size, walk.last_time),
        first_time=walk.first_time,
        last_time=walk.last_time,
        clock_steps=tuple(walk.clock_steps),
        writers=tuple(walk.writers),
        pruned=walk.removals.count,
        holds=tuple(sorted(walk.removals.holds)),
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


@dataclass(slots=True)
class _Walk:
    """What one pass over the entries gathers."""

    frontier: Frontier = field(default_factory=Frontier)
    removals: Removals = field(default_factory=Removals)
    first_time: str | None = None
    last_time: str | None = None
    clock_steps: list[int] = field(default_factory=list)
    writers: dict[str, None] = field(default_factory=dict)
    told: set[tuple[EventType, str | None]] = field(default_factory=set)
    again: Brief | None = None
    agreed: int = 0
    disputed: int | None = None
    doubt: tuple[int, int] | None = None

    def note(self, entry: Brief) -> None:
        """Take down when and by whom; the one form of a time sorts as text."""
        if self.last_time is not None and entry.time < self.last_time:
            self.clock_steps.append(entry.seq)
        self.first_time = self.first_time or entry.time
        self.last_time = entry.time
        self.writers[entry.writer] = None
        if entry.type in ONCE:
            said = entry.type, entry.round_id
            self.again = self.again or (entry if said in self.told else None)
            self.told.add(said)
        self.removals.whole(entry.seq, entry.type, entry.time, entry.event)

    def doubts(self, first: int, last: int) -> None:
        """Remember the first entries that the fingerprints stored beside them do not fit; the signatures will tell."""
        self.doubt = self.doubt or (first, last)

    def compare(self, roots: Mapping[int, bytes]) -> None:
        """Hold the tree so far against a checkpoint of its size; remember the first that differs."""
        signed = roots.get(self.frontier.size)
        if signed is None or self.disputed is not None:
            return
        if signed == self.frontier.root():
            self.agreed = self.frontier.size
        else:
            self.disputed = self.frontier.size


def _walk(source: LogSource, newest: Checkpoint, head: StoredHead, marks: Marks, reader: _Reader) -> _Walk:
    walk = _Walk()
    stored = _StoredTree(source)
    walk.compare(marks.roots)
    try:
        for index, (entry, leaf, fits) in enumerate(_entries(source, newest.size, reader)):
            if entry is None:
                walk.removals.missing(index, leaf)
            else:
                walk.note(entry)
            if not fits:
                walk.doubts(index, index)
            for (level, position), value in walk.frontier.add(leaf):
                if walk.doubt is None and not stored.agrees(level, position, value):
                    walk.doubts(position << level, ((position + 1) << level) - 1)
            walk.compare(marks.roots)
    except IntegrityError:
        if walk.doubt is not None:  # the first that was touched is named
            raise _changed(walk.doubt) from None
        raise
    _judge(walk, newest, max(marks.roots))
    _judge_derived(walk, newest, head, stored)
    return walk


def _judge(walk: _Walk, newest: Checkpoint, largest: int) -> None:
    """Hold what was read against what was signed, the gravest finding first."""
    if walk.disputed is not None:
        raise _rewritten(walk, walk.disputed, newest_agrees=walk.frontier.root() == newest.root)
    if largest > newest.size:
        raise findings.set_back(largest, newest.size)
    if walk.again is not None:
        raise findings.told_twice(walk.again.seq, walk.again.type, walk.again.round_id)
    walk.removals.judge()


def _judge_derived(walk: _Walk, newest: Checkpoint, head: StoredHead, stored: _StoredTree) -> None:
    """Hold what is stored beside the entries, and can be computed from them, against them."""
    if walk.doubt is not None:
        raise findings.derived_of(*walk.doubt)
    if not stored.is_all(newest.size):
        raise findings.derived("the log holds fingerprints of entries that are not there")
    if head.frontier is not None and head.frontier != (newest.size, walk.frontier.encode()):
        raise findings.derived("the place where the log goes on was changed")


def _rewritten(walk: _Walk, disputed: int, *, newest_agrees: bool) -> IntegrityError:
    """Entries under a signature differ; if the newest signature fits them nevertheless, they were signed again."""
    if newest_agrees:
        return findings.forked(disputed, index=walk.agreed)
    if walk.doubt is not None and walk.agreed <= walk.doubt[0] < disputed:
        return _changed(walk.doubt)
    return findings.not_signed(walk.agreed, disputed - 1)


def _changed(doubt: tuple[int, int]) -> IntegrityError:
    first, last = doubt
    whose = "its content does not match the fingerprint stored with it"
    return findings.changed(first, last, whose if first == last else "they do not match the fingerprint over them")


def _entries(source: LogSource, size: int, reader: _Reader) -> Iterator[tuple[Brief | None, bytes, bool]]:
    """Each entry with its recomputed hash, and whether the stored one is the same, after checking place and content.

    Of one whose content was removed nothing is said but the stored hash, which the tree will prove.
    """
    expected = 0
    for stored, brief in reader(source.entries()):
        if stored.position != expected:
            raise findings.dropped(expected, stored.position - 1, size)
        if expected >= size:
            raise findings.unsigned(expected)
        leaf = stored.leaf
        fits = leaf == stored.leaf_hash
        if stored.body:
            if brief is None:
                raise findings.foreign(expected) if fits else _changed((expected, expected))
            if brief.seq != expected:
                raise misplaced(source, expected, brief.seq)
        elif len(leaf) != merkle.HASH_BYTES:
            raise findings.changed(expected, expected, "it is empty, and has no fingerprint")
        yield brief, leaf, fits
        expected += 1
    if expected < size:
        raise findings.cut_off(expected, size)


class _StoredTree:
    """The hashes that were stored beside the entries, read in step with the rebuilt ones."""

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._levels: dict[int, Iterator[tuple[int, bytes]]] = {}

    def agrees(self, level: int, position: int, value: bytes) -> bool:
        """Whether the next hash of a level is this one."""
        if not self._source.has_level(level):
            return True
        if level not in self._levels:
            self._levels[level] = self._source.nodes(level)
        return next(self._levels[level], None) == (position, value)

    def is_all(self, size: int) -> bool:
        """Each entry completes as many subtrees as its number ends in binary ones: ``size`` less its ones in all."""
        return self._source.node_count() in {None, size - size.bit_count()}


def _owner(head: StoredHead, key: str | None) -> LogVerificationKey:
    try:
        named = LogVerificationKey.parse(head.verification_key or key or "")
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
