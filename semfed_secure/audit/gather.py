"""What a report is about: the entries of one period of a log, sorted by what they are evidence of."""

from __future__ import annotations

from collections import Counter, deque
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from semfed_secure.audit.events import Entry, EventType, PrivacyFields, parse_entry
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.verify import LogVerdict, verify_log
from semfed_secure.audit.vouched import NOBODY, Witnesses
from semfed_secure.clock import to_iso
from semfed_secure.errors import IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterator
    from datetime import datetime
    from pathlib import Path

ROWS = 5_000
"""How many entries of a kind a report shows, the last ones: a page that opens, however long the log is."""
PAPER_ROWS = 1_000
"""As many on paper: some two hundred pages, and seconds to set them."""

V = TypeVar("V")
Account: TypeAlias = tuple[str, str, str]
"""Population, privacy unit and relation: one account of the ledger."""

_BUDGET = frozenset({EventType.BUDGET_RESERVED, EventType.BUDGET_REFUSED})
_RECEIVED = frozenset({EventType.BUNDLE_ADMITTED, EventType.BUNDLE_REJECTED})
_ROUNDS = frozenset({EventType.ROUND_OPENED, EventType.ROUND_CLOSED, EventType.ROUND_ABORTED})
_POLICY = frozenset({EventType.POLICY_LOADED, EventType.POLICY_REJECTED})
_TRUST = frozenset(kind for kind in EventType if kind.startswith(("key.", "member.", "roster.")))
_RETENTION = frozenset({EventType.LOG_PRUNED, EventType.LOG_HELD, EventType.LOG_HOLD_LIFTED})
_DELIVERY = frozenset({EventType.BUNDLE_SENT, EventType.RECEIPT_RECEIVED})


class Kept(deque[Entry]):
    """The last `ROWS` entries of a kind, and in ``total`` how many there were."""

    def __init__(self) -> None:
        """Nothing yet."""
        super().__init__(maxlen=ROWS)
        self.total = 0

    def append(self, entry: Entry) -> None:
        """One more."""
        self.total += 1
        super().append(entry)


@dataclass(slots=True)
class Spending:
    """One account over the period.

    Attributes:
        before: Total when the period began; None if nothing had been spent.
        entries: Charges and refusals in the period.
        limit: The lifetime budget, as the newest charge states it.
    """

    before: PrivacyFields | None = None
    entries: Kept = field(default_factory=Kept)
    limit: str | None = None

    @property
    def after(self) -> str:
        """Total when the period ended."""
        totals = [self.before, *(entry.event.privacy for entry in self.entries)]
        return next((privacy.epsilon for privacy in reversed(totals) if privacy is not None), "0")


@dataclass(slots=True)
class Gathered:
    """The entries of a period.

    Attributes:
        since: First instant of the period; None for the beginning of the log.
        until: First instant after it; None for the end of the log.
        verdict: What verification found; None if the log does not verify.
        failure: Why it does not verify.
        claimed: Whose log it says it is, if it does not verify.
        unreadable: Entries that are not ours, of a log that does not verify.
        total: Entries of the whole log that were read.
        approvals: By round, the approvals under which the policy permitted its release.
        versions: By digest, the version of each policy that the log says was loaded.
    """

    since: datetime | None
    until: datetime | None
    verdict: LogVerdict | None = None
    failure: IntegrityError | None = None
    claimed: str | None = None
    unreadable: int = 0
    total: int = 0
    timeline: Kept = field(default_factory=Kept)
    releases: Kept = field(default_factory=Kept)
    received: Kept = field(default_factory=Kept)
    rounds: Kept = field(default_factory=Kept)
    published: dict[str, Entry] = field(default_factory=dict)
    refusals: Kept = field(default_factory=Kept)
    policies: list[Entry] = field(default_factory=list)
    trust: Kept = field(default_factory=Kept)
    cosigned: Kept = field(default_factory=Kept)
    retention: Kept = field(default_factory=Kept)
    delivery: dict[str, list[Entry]] = field(default_factory=dict)
    approvals: dict[str, tuple[str, ...]] = field(default_factory=dict)
    versions: dict[str, str] = field(default_factory=dict)
    accounts: dict[Account, Spending] = field(default_factory=dict)
    outcomes: Counter[str] = field(default_factory=Counter)

    def add(self, entry: Entry) -> None:
        """Sort one entry in; what lies before the period only counts for what still held in it."""
        self.total += 1
        event = entry.event
        if event.type in _RETENTION:  # whenever that was: it says what is missing in the period
            self.retention.append(entry)
        if self.until is not None and entry.at >= self.until:
            self._deliver(entry)  # a bundle of the period may be answered after it
            return
        early = self.since is not None and entry.at < self.since
        if event.type in _BUDGET and event.privacy is not None:
            self._charge(entry, event.privacy, early=early)
        approvals = event.details.get("approvals")
        if approvals and event.details.get("action") == "release" and event.details.get("dry_run") is not True:
            _put(self.approvals, event.round_id or "", tuple(approvals))
        if event.type in _POLICY:
            self._policy(entry, early=early)
        if event.type in _TRUST and event.round_id is None and not early:  # every round has a key: the log lists those
            self.trust.append(entry)
        if not early:
            self._sort(entry)

    def shorten(self, rows: int) -> None:
        """Show no more than the last ``rows`` of each kind."""
        charged = [spending.entries for spending in self.accounts.values()]
        tables = [self.timeline, self.releases, self.received, self.rounds, self.refusals, self.trust, self.cosigned]
        tables.append(self.retention)
        for kept in [*tables, *charged]:
            while len(kept) > rows:
                kept.popleft()

    def _sort(self, entry: Entry) -> None:
        event = entry.event
        self.timeline.append(entry)
        self.outcomes[event.outcome] += 1
        self._deliver(entry)
        if event.type is EventType.BUNDLE_RELEASED and event.outcome == "success":
            self.releases.append(entry)
        elif event.type in _RECEIVED:
            self.received.append(entry)
        elif event.type in _ROUNDS:
            self.rounds.append(entry)
        elif event.type is EventType.CONSENSUS_PUBLISHED and event.round_id is not None:
            _put(self.published, event.round_id, entry)
        elif event.type is EventType.LOG_COSIGNED:
            self.cosigned.append(entry)
        if event.outcome != "success":
            self.refusals.append(entry)

    def _deliver(self, entry: Entry) -> None:
        if entry.event.type in _DELIVERY and entry.event.bundle_digest is not None:
            told = self.delivery.pop(entry.event.bundle_digest, [])
            _put(self.delivery, entry.event.bundle_digest, [*told[-1:], entry])

    def _charge(self, entry: Entry, privacy: PrivacyFields, *, early: bool) -> None:
        key = privacy.population, privacy.unit, privacy.relation
        spending = self.accounts.setdefault(key, Spending())
        charged = entry.event.type is EventType.BUDGET_RESERVED
        if charged and entry.event.details.get("period") == "lifetime":
            spending.limit = entry.event.details.get("limit", spending.limit)
        if early:
            spending.before = privacy if charged else spending.before
        else:
            spending.entries.append(entry)

    def _policy(self, entry: Entry, *, early: bool) -> None:
        if entry.event.policy_digest is not None and entry.event.outcome == "success":
            self.versions[entry.event.policy_digest] = str(entry.event.details.get("version", "not stated"))
        if early:  # only the last one of each policy was still in force when the period began
            same = entry.event.policy_id
            self.policies = [other for other in self.policies if other.event.policy_id != same]
        self.policies.append(entry)


def _put(kept: dict[str, V], name: str, value: V) -> None:
    """Remember a value; of more than a report shows, the oldest are forgotten."""
    kept[name] = value
    if len(kept) > 2 * ROWS:  # a bundle may be answered after some more were released
        del kept[next(iter(kept))]


def gather(
    place: str | Path,
    *,
    since: datetime | None,
    until: datetime | None,
    key: str | None,
    witnesses: Witnesses = NOBODY,
) -> Gathered:
    """Verify a log and sort the entries of a period; of a damaged log, whatever of it can still be read.

    What is kept in memory does not grow with the log beyond `ROWS` of each kind.

    Raises:
        ConfigurationError: There is no log to read at ``place``.
    """
    gathered = Gathered(since, until)
    try:
        gathered.verdict = verify_log(place, key=key, witnesses=witnesses, visit=gathered.add)
    except IntegrityError as failure:
        gathered = Gathered(since, until, failure=failure)
        for entry in _readable(place, gathered):
            gathered.add(entry)
    return gathered


def _readable(place: str | Path, gathered: Gathered) -> Iterator[Entry]:
    try:
        with open_source(place) as source:
            gathered.claimed = source.head().verification_key.partition("+")[0]
            for stored in source.entries():
                if not stored.body:
                    continue
                try:
                    yield parse_entry(stored.body)
                except IntegrityError:
                    gathered.unreadable += 1
    except IntegrityError:
        gathered.unreadable += 1  # the rest cannot be read: the verdict says so in the first place


def period_text(since: datetime | None, until: datetime | None) -> str:
    """The period as a reader says it."""
    begin = "the beginning of the log" if since is None else moment(to_iso(since))
    end = "the end of the log" if until is None else moment(to_iso(until))
    return f"from {begin} until {end}"


def moment(time: str) -> str:
    """A time of an entry for reading, to the second, in UTC."""
    return f"{time[:10]} {time[11:19]}"
