"""What of a damaged log is lost, and what can be computed from its entries again.

`verify_log` stops at the first thing that is wrong, because then the log is no evidence any more. This looks at every
part, for who has to restore it: entries and signatures exist once, everything else follows from them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from enum import StrEnum
from typing import TYPE_CHECKING

from semfed_secure.audit import merkle
from semfed_secure.audit.events import parse_entry
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.notes import parse_checkpoint, parse_note, verify_checkpoint
from semfed_secure.audit.reading import brief_of
from semfed_secure.audit.removals import Removals
from semfed_secure.errors import IntegrityError, PeerError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.audit.notes import Checkpoint
    from semfed_secure.audit.sources import LogSource, StoredEntry, StoredHead
    from semfed_secure.crypto.log_keys import LogVerificationKey


class State(StrEnum):
    """How a part of a log is."""

    SOUND = "sound"
    DERIVED = "derived"
    """It is damaged, and can be computed from the entries again."""
    LOST = "lost"
    """It is damaged, and only a backup, an export or another member has it."""


@dataclass(frozen=True, slots=True)
class Part:
    """One part of a log, how it is, and why that is said."""

    name: str
    state: State
    sentence: str


@dataclass(slots=True)
class _Found:
    """What one pass over the entries gathers."""

    frontier: Frontier = field(default_factory=Frontier)
    whole: bool = True
    lost: list[str] = field(default_factory=list)
    removals: Removals = field(default_factory=Removals)
    wrong_leaves: int = 0
    wrong_nodes: int = 0
    roots: dict[int, bytes] = field(default_factory=dict)

    def lose(self, what: str) -> None:
        """Entries are gone, or others stand in their place: what follows cannot be held against a signature."""
        self.lost.append(what)
        self.whole = False


def examine(source: LogSource, key: LogVerificationKey) -> tuple[Part, ...]:
    """Every part of a log with its state; nothing is changed.

    Guarantee: if no part is lost, every stored signature is the key's and fits the entries, and what is derived can be
    made again from them exactly as it was.

    Raises:
        IntegrityError: ``SF504``, ``SF518`` or ``SF531``: there is no log at all, or none that can be read.
    """
    head = source.head()
    notes = [("the newest checkpoint", head.checkpoint)]
    notes += [(f"the checkpoint kept at {size} entries", note) for size, note in head.kept]
    signed = [(what, _signed(note, key)) for what, note in notes]
    newest = signed[0][1]
    found = _read(source, {tree.size for _, tree in signed if tree is not None}, newest.size if newest else None)
    return (
        _entries(found, newest),
        _removed(found.removals),
        _derived("hashes of entries", found.wrong_leaves, "stored beside an entry"),
        _derived("hashes of the tree", found.wrong_nodes, "of a complete part of the tree"),
        _continuation(head, found),
        *(_checkpoint(what, tree, found) for what, tree in signed),
        _kept(head),
        _cosignatures(head),
    )


def _signed(note: str, key: LogVerificationKey) -> Checkpoint | None:
    try:
        return verify_checkpoint(note, key).checkpoint
    except PeerError:
        return None


def _read(source: LogSource, sizes: set[int], newest: int | None) -> _Found:
    found, nodes = _Found(), _Nodes(source)
    found.roots[0] = found.frontier.root()
    expected = 0
    try:
        for stored in source.entries():
            if stored.position != expected:
                found.lose(f"entries {expected} to {stored.position - 1} are missing")
            elif newest is not None and expected >= newest:
                found.lose(f"entry {expected} stands behind the newest signature")
                break
            else:
                _take(stored, found, nodes)
            expected = stored.position + 1
            if found.whole and found.frontier.size in sizes:
                found.roots[found.frontier.size] = found.frontier.root()
        if newest is not None and expected < newest:
            found.lose(f"entries {expected} to {newest - 1} are missing")
        found.wrong_nodes = nodes.wrong + nodes.left_over()
    except IntegrityError as error:
        found.lose(error.message)
    return found


def _take(stored: StoredEntry, found: _Found, nodes: _Nodes) -> None:
    leaf = stored.leaf
    found.wrong_leaves += leaf != stored.leaf_hash
    if not stored.body and len(leaf) == merkle.HASH_BYTES:
        found.removals.missing(stored.position, leaf)
    else:
        _read_content(stored, found)
    for (level, position), value in found.frontier.add(leaf) if found.whole else ():
        nodes.compare(level, position, value)


def _read_content(stored: StoredEntry, found: _Found) -> None:
    try:
        brief = brief_of(parse_entry(stored.body))
    except IntegrityError:
        found.lose(f"what stands as entry {stored.position} is not one that this software writes")
        return
    if brief.seq != stored.position:
        found.lose(f"what stands as entry {stored.position} was written as entry {brief.seq}")
    else:
        found.removals.whole(brief.seq, brief.type, brief.time, brief.event)


class _Nodes:
    """The stored hashes of the tree, in step with the rebuilt ones; those that are missing or added are counted."""

    def __init__(self, source: LogSource) -> None:
        self._source = source
        self._levels: dict[int, Iterator[tuple[int, bytes]]] = {}
        self._ahead: dict[int, tuple[int, bytes] | None] = {}
        self._sought = 0
        self.wrong = 0

    def compare(self, level: int, position: int, value: bytes) -> None:
        """Hold the next hash of a level against this one."""
        if not self._source.has_level(level):
            return
        if level not in self._levels:
            self._levels[level] = self._source.nodes(level)
            self._ahead[level] = next(self._levels[level], None)
        self._sought += 1
        while (stored := self._ahead[level]) is not None and stored[0] <= position:
            self._ahead[level] = next(self._levels[level], None)
            if stored[0] == position:
                self.wrong += stored[1] != value
                return
        self.wrong += 1

    def left_over(self) -> int:
        """How many hashes are stored of entries that are not there, as far as the number of all tells."""
        count = self._source.node_count()
        return 0 if count is None else max(0, count - self._sought)


def _entries(found: _Found, newest: Checkpoint | None) -> Part:
    if found.lost:
        more = f", and {len(found.lost) - 1} more" if len(found.lost) > 1 else ""
        return Part("entries", State.LOST, f"{found.lost[0]}{more}: look in a backup, an export, or at other members")
    if newest is not None and found.roots.get(newest.size) != newest.root:
        return Part("entries", State.LOST, "they are not the ones that were signed: look in a backup or an export")
    signature = "the newest signature" if newest is not None else "no good signature"
    return Part("entries", State.SOUND, f"{found.frontier.size}, in order, under {signature}")


def _removed(removals: Removals) -> Part:
    try:
        removals.judge()
    except IntegrityError as error:
        return Part("removed content", State.LOST, error.message)
    return Part("removed content", State.SOUND, f"of {removals.count} entries, each under an entry that says so")


def _derived(name: str, wrong: int, what: str) -> Part:
    if wrong:
        return Part(name, State.DERIVED, f"{wrong} {what} were changed, removed or added")
    return Part(name, State.SOUND, f"each one {what} follows from the entries")


def _continuation(head: StoredHead, found: _Found) -> Part:
    name = "place where the log goes on"
    if head.frontier is not None and found.whole and head.frontier != (found.frontier.size, found.frontier.encode()):
        return Part(name, State.DERIVED, "it does not fit the entries")
    return Part(name, State.SOUND, "it follows from the entries, or an export has none")


def _checkpoint(what: str, tree: Checkpoint | None, found: _Found) -> Part:
    if tree is None:
        return Part(what, State.LOST, "its signature is not good; members and witnesses may hold it")
    if found.roots.get(tree.size) == tree.root:
        return Part(what, State.SOUND, f"signed over {tree.size} entries, which are these")
    return Part(what, State.LOST, f"signed over {tree.size} entries, which are not these: they, or it, are lost")


def _kept(head: StoredHead) -> Part:
    moved = [size for size, note in head.kept if _size(note) != size]
    if moved:
        return Part("kept checkpoints", State.LOST, f"another one stands in the place of {moved[0]} entries")
    return Part("kept checkpoints", State.SOUND, f"{len(head.kept)}, each in its place")


def _cosignatures(head: StoredHead) -> Part:
    sizes = {_size(note) for note in (head.checkpoint, *(note for _, note in head.kept))}
    stray = sum(size not in sizes or not _is_line(line) for size, line in head.cosignatures)
    if stray:
        sentence = f"{stray} of {len(head.cosignatures)} stand under no checkpoint or cannot be read: ask the witnesses"
        return Part("cosignatures", State.LOST, sentence)
    return Part("cosignatures", State.SOUND, f"{len(head.cosignatures)} of witnesses, each under a checkpoint")


def _is_line(line: str) -> bool:
    try:
        return len(parse_note(f"x\n\n{line}").signatures) == 1
    except PeerError:
        return False


def _size(note: str) -> int | None:
    try:
        return parse_checkpoint(parse_note(note).text).size
    except PeerError:
        return None
