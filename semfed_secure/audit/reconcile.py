"""Verifying the logs of several members, and holding each of them against what the others prove."""

from __future__ import annotations

from collections import defaultdict
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field
from typing import TYPE_CHECKING

from semfed_secure.audit.crosscheck import Discrepancy, Kind, Remark, compare, unchecked
from semfed_secure.audit.merkle import Frontier
from semfed_secure.audit.sources import LogSource, open_source
from semfed_secure.audit.testimony import Testimony
from semfed_secure.audit.verify import verify_source
from semfed_secure.errors import ConfigurationError, IntegrityError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path


@dataclass(slots=True)
class Reconciliation:
    """What came of comparing several logs.

    Attributes:
        logs: The logs that verify, by member.
        discrepancies: What does not add up.
        remarks: What is explained, or not finished.
        unchecked: By member whose log is not at hand: how many entries of others could not be compared with it.
        compared: How many references from one log to another were looked up.
    """

    logs: dict[str, Testimony]
    discrepancies: list[Discrepancy] = field(default_factory=list)
    remarks: list[Remark] = field(default_factory=list)
    unchecked: dict[str, dict[str, int]] = field(default_factory=dict)
    compared: int = 0

    @property
    def document(self) -> dict[str, object]:
        """The same, ready for JSON."""
        return {
            "agree": not self.discrepancies,
            "verdict": self.sentence,
            "logs": [
                {"member": log.member, "place": log.place, "entries": log.size, "root": log.root}
                for log in self.logs.values()
            ],
            "compared": self.compared,
            "discrepancies": [asdict(one) for one in self.discrepancies],
            "remarks": [one.sentence for one in self.remarks],
            "unchecked": self.unchecked,
        }

    @property
    def sentence(self) -> str:
        """The verdict in one line."""
        count = len(self.discrepancies)
        if count:
            return f"{count} {'thing does' if count == 1 else 'things do'} not add up between the logs"
        absent = ", ".join(self.unchecked)
        rest = f"; not checked, because their logs are not here: {absent}" if absent else ""
        return f"{len(self.logs)} logs agree in all {self.compared} places where one names another{rest}"


def reconcile(places: Sequence[str | Path], *, keys: Iterable[str] = ()) -> Reconciliation:
    """Verify several logs, and compare what each says of its dealings with the others.

    Guarantee: if nothing is found, every log verifies; every bundle that one of these members says it sent to another
    is one that the other says it received, and the other way round; every receipt, closed list of commitments and
    consensus that one of them was shown stands in the other's log at the named entry; and every checkpoint that a
    message carried is of the very history of the log that it names. What concerns members whose logs are absent is
    counted in `Reconciliation.unchecked`. Nothing is written.

    Args:
        places: State directories, database files or URLs, directories of exported tiles; two copies of one log are
            compared with each other.
        keys: Verification keys of logs from a source other than the logs; each is used for the log that it names.

    Raises:
        ConfigurationError: There is no log to read at one of ``places``, or two members have one name.
    """
    given = {key.partition("+")[0]: key for key in keys}
    claims = _Claims()
    damaged: list[Discrepancy] = []
    with ExitStack() as stack:
        open_logs: dict[str, tuple[Testimony, LogSource, str]] = {}
        for place in places:
            source = stack.enter_context(open_source(place))
            found = _read(str(place), source, given)
            if isinstance(found, Discrepancy):
                damaged.append(found)
            else:
                _settle(found[0], source, found[1], open_logs, claims)
        logs = {member: log for member, (log, _, _) in open_logs.items()}
        result = Reconciliation(logs, damaged)
        for one in compare(logs):
            if isinstance(one, Remark):
                result.remarks.append(one)
            else:
                result.discrepancies.append(one)
        claims.of_messages(logs)
        for member, (log, source, _) in open_logs.items():
            result.discrepancies += claims.check(log, source, claims.by_log.pop(member, {}))
    result.discrepancies += claims.between_others()
    result.unchecked = unchecked(logs)
    references = sum(one.peer is not None for log in logs.values() for one in log.by_entry.values())
    result.compared = references - sum(sum(counts.values()) for counts in result.unchecked.values())
    return result


def _read(place: str, source: LogSource, keys: Mapping[str, str]) -> tuple[Testimony, str] | Discrepancy:
    """What a log says and the key that it verifies under, or that it does not verify."""
    origin = place
    try:
        origin = source.head().checkpoint.partition("\n")[0]
        testimony = Testimony(origin.rpartition("/")[2], place)
        verdict = verify_source(source, key=keys.get(origin), visit=testimony.add)
    except IntegrityError as error:
        sentence = f"the log of {origin} at {place} does not verify, and nothing is taken from it: {error.message}"
        member = origin.rpartition("/")[2]
        index = error.fields.get("index")
        return Discrepancy(Kind.LOG_DAMAGED, sentence, member, member, index if isinstance(index, int) else None)
    testimony.size, testimony.root = verdict.size, verdict.root
    return testimony, verdict.verification_key


def _settle(
    log: Testimony,
    source: LogSource,
    key: str,
    logs: dict[str, tuple[Testimony, LogSource, str]],
    claims: _Claims,
) -> None:
    """Take a log in; of two copies the longer one stands, and the other is a claim about it."""
    standing = logs.get(log.member)
    if standing is None:
        logs[log.member] = log, source, key
        return
    if standing[2] != key:
        raise ConfigurationError(
            "SF105",
            f"one log of {log.member} was expected, found two under different keys: {standing[0].place} and "
            f"{log.place}",
        )
    shorter, longer = sorted((standing, (log, source, key)), key=lambda one: one[0].size)
    logs[log.member] = longer
    claims.add(log.member, shorter[0].size, shorter[0].root, f"the copy at {shorter[0].place}", log.member, None)


@dataclass(frozen=True, slots=True)
class _Claim:
    """Somebody has seen this root of a log."""

    root: str
    where: str
    by: str
    entry: int | None


@dataclass(slots=True)
class _Claims:
    """Sizes and roots of logs, as others have seen them: by log, then by size."""

    by_log: dict[str, dict[int, list[_Claim]]] = field(default_factory=dict)

    def add(self, log: str, size: int, root: str, where: str, by: str, entry: int | None) -> None:
        self.by_log.setdefault(log, defaultdict(list))[size].append(_Claim(root, where, by, entry))

    def of_messages(self, logs: Mapping[str, Testimony]) -> None:
        """What the messages between the members carried."""
        for log in logs.values():
            for one in log.by_entry.values():
                if one.peer is not None and one.seen is not None:
                    self.add(one.peer, *one.seen, f"entry {one.entry} of {log.member}", log.member, one.entry)

    def check(self, log: Testimony, source: LogSource, claims: Mapping[int, list[_Claim]]) -> Iterable[Discrepancy]:
        """Hold a log that is at hand against what others have seen of it."""
        roots = _roots_at(source, sorted(size for size in claims if size <= log.size))
        for size, seen in sorted(claims.items()):
            for claim in seen:
                about = f"{claim.where} holds a checkpoint of the log of {log.member} over {size} entries"
                if size > log.size:
                    sentence = (
                        f"{about}, and here are {log.size}: an older copy was given, or restored, or the last entries "
                        "were removed"
                    )
                    yield Discrepancy(Kind.LOG_SET_BACK, sentence, log.member, claim.by, claim.entry)
                elif roots[size] != claim.root:
                    sentence = f"{about} that are not the first {size} of this one: two histories of it exist"
                    yield Discrepancy(Kind.LOG_FORKED, sentence, log.member, claim.by, claim.entry)

    def between_others(self) -> Iterable[Discrepancy]:
        """Hold what several have seen of a log that is not at hand against each other."""
        for log, sizes in sorted(self.by_log.items()):
            for size, seen in sorted(sizes.items()):
                other = next((claim for claim in seen if claim.root != seen[0].root), None)
                if other is not None:
                    sentence = (
                        f"{seen[0].where} and {other.where} hold checkpoints of two different logs of {log} over "
                        f"{size} entries: two histories of it exist"
                    )
                    yield Discrepancy(Kind.LOG_FORKED, sentence, log, other.by, other.entry)


def _roots_at(source: LogSource, sizes: Sequence[int]) -> dict[int, str]:
    """The roots of the first so many entries, of a log that was verified."""
    frontier, roots = Frontier(), {}
    wanted = set(sizes)
    if 0 in wanted:
        roots[0] = frontier.root().hex()
    if wanted - {0}:
        for stored in source.entries():
            frontier.add(stored.leaf_hash)
            if frontier.size in wanted:
                roots[frontier.size] = frontier.root().hex()
                if frontier.size == sizes[-1]:
                    break
    return roots
