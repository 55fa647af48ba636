"""What one log says of a member's dealings with the others: all that the others' logs have to agree with."""

from __future__ import annotations

from collections import Counter, defaultdict
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.audit.events import EventType

if TYPE_CHECKING:
    from semfed_secure.audit.events import Entry

Bundle: TypeAlias = tuple[str, str]
"""Round and digest of the contribution statement: how both sides name the same thing."""

RECEIVED = frozenset({EventType.BUNDLE_COMMITTED, EventType.BUNDLE_ADMITTED, EventType.BUNDLE_REJECTED})
_KEPT = RECEIVED | {
    EventType.BUNDLE_SENT,
    EventType.RECEIPT_RECEIVED,
    EventType.COMMITMENTS_CLOSED,
    EventType.COMMITMENTS_VERIFIED,
    EventType.CONSENSUS_PUBLISHED,
    EventType.CONSENSUS_VERIFIED,
    EventType.LABELS_ACCEPTED,
    EventType.LOG_COSIGNED,
}


@dataclass(frozen=True, slots=True)
class Mention:
    """One entry, as far as another log must agree with it.

    Attributes:
        entry: Its number.
        kind: What happened.
        good: Whether it succeeded.
        round_id: In which round.
        peer: With which other member.
        bundle: Digest of the contribution statement.
        peer_entry: Number of the peer's entry about the same thing.
        codes: Codes of refusals.
        said: The peer's answer in a receipt, or what a site sent: a contribution or a commitment.
        digest: Digest of a consensus, or root of a list of commitments.
        count: How many commitments or contributions were counted.
        seen: Size and root of the peer's log, as its message carried them.
    """

    entry: int
    kind: EventType
    good: bool
    round_id: str
    peer: str | None
    bundle: str
    peer_entry: int | None
    codes: tuple[str, ...]
    said: str | None
    digest: str | None
    count: int | None
    seen: tuple[int, str] | None


@dataclass(slots=True)
class Testimony:
    """The dealings of one member, from its verified log.

    Attributes:
        member: Whose log it is.
        place: Where it lies.
        size: Its number of entries.
        root: Root of its tree, in hexadecimal.
        mentions: What the others must agree with, in order, by kind.
        by_entry: The same by number of the entry.
        refused: How many messages were refused before it was clear who sent them, by round and code.
    """

    member: str
    place: str
    size: int = 0
    root: str = ""
    mentions: dict[EventType, list[Mention]] = field(default_factory=lambda: defaultdict(list))
    by_entry: dict[int, Mention] = field(default_factory=dict)
    refused: Counter[tuple[str, str]] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Take down what concerns others."""
        event = entry.event
        if event.type is EventType.PEER_REFUSED:
            for code, count in event.details.get("by_code", {}).items():
                self.refused[event.round_id or "", code] += count
        if event.type in _KEPT:
            mention = _mention(entry)
            self.mentions[event.type].append(mention)
            self.by_entry[entry.seq] = mention

    def of(self, *kinds: EventType) -> list[Mention]:
        """The mentions of these kinds, in order."""
        return sorted((one for kind in kinds for one in self.mentions.get(kind, ())), key=lambda one: one.entry)

    def bundles(self, *kinds: EventType, peer: str) -> dict[Bundle, list[Mention]]:
        """What was exchanged with ``peer``, by round and digest."""
        found: dict[Bundle, list[Mention]] = defaultdict(list)
        for one in self.of(*kinds):
            if one.peer == peer:
                found[one.round_id, one.bundle].append(one)
        return found


def _mention(entry: Entry) -> Mention:
    event, details = entry.event, entry.event.details
    size, root = details.get("log_size"), details.get("log_root")
    if event.type is EventType.LOG_COSIGNED:
        size, root = details.get("size"), details.get("root")
    return Mention(
        entry=entry.seq,
        kind=event.type,
        good=event.outcome == "success",
        round_id=event.round_id or "",
        peer=None if event.type is EventType.LABELS_ACCEPTED else event.peer,  # held against this log's own entry
        bundle=event.bundle_digest or "",
        peer_entry=event.peer_entry,
        codes=event.codes,
        said=details.get("source" if event.type is EventType.BUNDLE_SENT else "outcome"),
        digest=details.get("consensus_digest") or details.get("commitments_root"),
        count=details.get("committed", details.get("admitted")),
        seen=None if size is None or root is None else (size, root),
    )
