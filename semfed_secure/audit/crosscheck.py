"""Comparing the logs of several members: what one of them proves, the other must not lack or deny."""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING

from semfed_secure.audit.events import EventType
from semfed_secure.audit.merkle import root_over
from semfed_secure.audit.testimony import RECEIVED, Mention, Testimony
from semfed_secure.ids import Digest, hex_digest, parse_digest

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

_ANSWERS = {
    "committed": EventType.BUNDLE_COMMITTED,
    "admitted": EventType.BUNDLE_ADMITTED,
    "rejected": EventType.BUNDLE_REJECTED,
}
_DONE = {kind: word for word, kind in _ANSWERS.items()}


class Kind(StrEnum):
    """In which way logs contradict each other."""

    LOG_DAMAGED = "log-damaged"
    LOG_SET_BACK = "log-set-back"
    LOG_FORKED = "log-forked"
    BUNDLE_NOT_RECEIVED = "bundle-not-received"
    BUNDLE_NOT_SENT = "bundle-not-sent"
    ANSWER_NOT_IN_LOG = "answer-not-in-log"
    COMMITMENTS_DIFFER = "commitments-differ"
    CONSENSUS_DIFFERS = "consensus-differs"
    CONSENSUS_COUNTS_MORE = "consensus-counts-more"
    LEARNED_UNVERIFIED = "learned-unverified"


@dataclass(frozen=True, slots=True)
class Discrepancy:
    """One thing that does not add up.

    Attributes:
        kind: In which way.
        sentence: What is missing or contradicted, for a reader without our source.
        log: Whose log lacks it, or contradicts.
        proved_by: Whose log shows that.
        entry: Number of the entry there.
        round_id: In which round.
        bundle: Digest of the contribution statement.
    """

    kind: Kind
    sentence: str
    log: str
    proved_by: str
    entry: int | None = None
    round_id: str | None = None
    bundle: str | None = None


@dataclass(frozen=True, slots=True)
class Remark:
    """Something that is explained, or not finished, and contradicts nothing."""

    sentence: str


def compare(logs: Mapping[str, Testimony]) -> Iterator[Discrepancy | Remark]:
    """Everything that the members' verified logs, by member, have to say about each other's."""
    for log in logs.values():
        yield from _own_rounds(log)
        yield from _learned(log)
        for other in logs.values():
            if other is not log:
                yield from _sent(log, other)
                yield from _received(log, other)
                yield from _answered(log, other)
                yield from _published(log, other)
    yield from _told_differently(logs)


def _sent(site: Testimony, server: Testimony) -> Iterator[Discrepancy | Remark]:
    """What the site sent, the server received."""
    received = server.bundles(*RECEIVED, peer=site.member)
    answers = site.bundles(EventType.RECEIPT_RECEIVED, peer=server.member)
    for sent in site.of(EventType.BUNDLE_SENT):
        if sent.peer != server.member or (sent.round_id, sent.bundle) in received:
            continue
        told = answers.get((sent.round_id, sent.bundle), [])
        proof = next((one for one in told if one.peer_entry is not None), None)
        what = f"{_named(sent)}, which {site.member} sent (its entry {sent.entry})"
        counted = [code for one in told for code in one.codes if server.refused[sent.round_id, code]]
        if proof is None and counted:
            count = server.refused[sent.round_id, counted[-1]]
            yield Remark(
                f"{what}, was refused with {counted[-1]} before it was clear who sent it; "
                f"{server.member} counts {count} such refusals in the round"
            )
            continue
        lack = f"the log of {server.member} does not say that it received {what}"
        if proof is None:
            lack += "; no answer verified: it was lost on the way, or is withheld"
        else:
            lack += f", although its receipt names its entry {proof.peer_entry} (entry {proof.entry} of {site.member})"
        yield _discrepancy(Kind.BUNDLE_NOT_RECEIVED, lack, log=server, by=site, one=sent)


def _received(server: Testimony, site: Testimony) -> Iterator[Discrepancy | Remark]:
    """What the server received of the site, the site sent, and knows what became of it."""
    sent = site.bundles(EventType.BUNDLE_SENT, peer=server.member)
    answers = site.bundles(EventType.RECEIPT_RECEIVED, peer=server.member)
    for bundle, mentions in server.bundles(*RECEIVED, peer=site.member).items():
        last = mentions[-1]
        done = f"{server.member} {_DONE[last.kind]} {_named(last)} (its entry {last.entry})"
        if bundle not in sent:
            elsewhere = sorted(round_id for round_id, digest in sent if digest == last.bundle)
            rest = f"; it says that this was sent in {elsewhere[0]}" if elsewhere else ""
            lack = f"the log of {site.member} does not say that it sent what {done}{rest}"
            yield _discrepancy(Kind.BUNDLE_NOT_SENT, lack, log=site, by=server, one=last)
        elif not any(one.said == _DONE[last.kind] for one in answers.get(bundle, ())):
            yield Remark(f"{done}, and {site.member} holds no receipt that says so: it was lost, or not asked for")


def _answered(site: Testimony, server: Testimony) -> Iterator[Discrepancy]:
    """The entries that the server's receipts and lists name are there, and say the same."""
    for told in site.of(EventType.RECEIPT_RECEIVED):
        if told.peer == server.member and told.peer_entry is not None:
            wanted = _ANSWERS.get(told.said or "")
            found = server.by_entry.get(told.peer_entry)
            expected = wanted, told.codes, site.member, told.round_id, told.bundle
            if found is None or (found.kind, found.codes, found.peer, found.round_id, found.bundle) != expected:
                text = f"entry {told.entry} of {site.member} says that {server.member} {told.said} {_named(told)}"
                rest = _instead(server, told.peer_entry)
                sentence = f"{text} in its entry {told.peer_entry}; {rest}"
                yield _discrepancy(Kind.ANSWER_NOT_IN_LOG, sentence, log=server, by=site, one=told)


def _published(site: Testimony, server: Testimony) -> Iterator[Discrepancy | Remark]:
    """What the site was shown of a round, all others were shown too: it stands in the server's log, once."""
    pairs = (
        (EventType.COMMITMENTS_VERIFIED, EventType.COMMITMENTS_CLOSED, Kind.COMMITMENTS_DIFFER, "list of commitments"),
        (EventType.CONSENSUS_VERIFIED, EventType.CONSENSUS_PUBLISHED, Kind.CONSENSUS_DIFFERS, "consensus"),
    )
    for verified, published, kind, what in pairs:
        for one in site.of(verified):
            if one.peer != server.member:
                continue
            found = None if one.peer_entry is None else server.by_entry.get(one.peer_entry)
            if found is None or (found.kind, found.round_id, found.digest) != (published, one.round_id, one.digest):
                sentence = (
                    f"entry {one.entry} of {site.member} says that {server.member} published a {what} of "
                    f"{one.round_id} in its entry {one.peer_entry}; {_instead(server, one.peer_entry)}"
                )
                yield _discrepancy(kind, sentence, log=server, by=site, one=one)
    admitted = {one.round_id for one in server.of(EventType.BUNDLE_ADMITTED) if one.peer == site.member}
    collected = {one.round_id for one in site.of(EventType.CONSENSUS_VERIFIED) if one.peer == server.member}
    for one in server.of(EventType.CONSENSUS_PUBLISHED):
        if one.round_id in admitted - collected:
            yield Remark(f"{site.member} has not collected the consensus of {one.round_id} that it contributed to")


def _own_rounds(server: Testimony) -> Iterator[Discrepancy]:
    """A server's own entries about a round add up: the list is that of its commitments, and nobody is counted twice."""
    for closed in server.of(EventType.COMMITMENTS_CLOSED):
        taken = {
            one.bundle
            for one in server.of(EventType.BUNDLE_COMMITTED)
            if one.round_id == closed.round_id and one.entry < closed.entry
        }
        root = hex_digest(Digest(root_over(sorted(parse_digest(digest) for digest in taken))))
        if (closed.count, closed.digest) != (len(taken), root):
            sentence = (
                f"{server.member} closed a list of {closed.count} commitments of {closed.round_id} (its entry "
                f"{closed.entry}) that is not the {len(taken)} that its own log took"
            )
            yield _discrepancy(Kind.COMMITMENTS_DIFFER, sentence, log=server, by=server, one=closed)
    for published in server.of(EventType.CONSENSUS_PUBLISHED):
        admitted = {one.peer for one in server.of(EventType.BUNDLE_ADMITTED) if one.round_id == published.round_id}
        if published.count is not None and published.count > len(admitted):
            sentence = (
                f"{server.member} published a consensus of {published.count} contributions to {published.round_id} "
                f"(its entry {published.entry}), and its log admitted {len(admitted)}"
            )
            yield _discrepancy(Kind.CONSENSUS_COUNTS_MORE, sentence, log=server, by=server, one=published)


def _learned(site: Testimony) -> Iterator[Discrepancy]:
    """Labels were learned from a consensus that the site had verified."""
    verified = {(one.round_id, one.digest) for one in site.of(EventType.CONSENSUS_VERIFIED)}
    for one in site.of(EventType.LABELS_ACCEPTED):
        if (one.round_id, one.digest) not in verified:
            sentence = (
                f"{site.member} accepted labels from a consensus of {one.round_id} (its entry {one.entry}) that its "
                "log does not say it verified"
            )
            yield _discrepancy(Kind.LEARNED_UNVERIFIED, sentence, log=site, by=site, one=one)


def _told_differently(logs: Mapping[str, Testimony]) -> Iterator[Discrepancy]:
    """Two sites were shown two results of one round; that shows even where the server's own log is not at hand."""
    shown: dict[tuple[str | None, str], tuple[Testimony, Mention]] = {}
    for log in logs.values():
        for one in log.of(EventType.CONSENSUS_VERIFIED):
            first, before = shown.setdefault((one.peer, one.round_id), (log, one))
            if before.digest != one.digest:
                sentence = (
                    f"{one.peer} showed two results of {one.round_id}: one to {first.member} (its entry "
                    f"{before.entry}), another to {log.member} (its entry {one.entry})"
                )
                yield Discrepancy(Kind.CONSENSUS_DIFFERS, sentence, one.peer or "", log.member, one.entry, one.round_id)


def unchecked(logs: Mapping[str, Testimony]) -> dict[str, dict[str, int]]:
    """By member whose log is not at hand: how many entries of which others could not be compared with it."""
    found: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for log in logs.values():
        for one in log.by_entry.values():
            if one.peer is not None and one.peer not in logs:
                found[one.peer][log.member] += 1
    return {member: dict(counts) for member, counts in sorted(found.items())}


def _discrepancy(kind: Kind, sentence: str, *, log: Testimony, by: Testimony, one: Mention) -> Discrepancy:
    return Discrepancy(kind, sentence, log.member, by.member, one.entry, one.round_id or None, one.bundle or None)


def _named(one: Mention) -> str:
    what = one.said if one.kind is EventType.BUNDLE_SENT and one.said is not None else "bundle"
    return f"the {what} {one.bundle} of {one.round_id}"


def _instead(log: Testimony, entry: int | None) -> str:
    """What stands where something else was expected."""
    found = None if entry is None else log.by_entry.get(entry)
    if found is not None:
        about = f" of {found.round_id}" if found.round_id else ""
        bundle = f", bundle {found.bundle}" if found.bundle else ""
        return f"that entry is {found.kind}{about}{bundle}"
    if entry is None or entry < log.size:
        return "that entry is about something else"
    return f"that log has {log.size} entries only"
