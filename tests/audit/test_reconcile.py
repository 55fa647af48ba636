"""Several members' logs are held against each other: what one proves and another lacks or denies is named."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure import cli
from semfed_secure.audit.crosscheck import Kind
from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.reconcile import Reconciliation, reconcile
from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.audit.verify import verify_log
from semfed_secure.client.site import DATABASE_FILE
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ExitCode
from semfed_secure.storage import Database, log_guard
from semfed_secure.testing import Silent, TransportWrapper
from tests.audit.federation_logs import TEXT_ROUND, Rounds, held
from tests.client.world import MEMBERS, NOW, ROUND

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from semfed_secure.audit.events import Entry
    from semfed_secure.client.transport import Transport
    from semfed_secure.ids import RoundId

__all__ = ["held"]

OTHER = "sha256:" + "0" * 64


def entries(place: Path, kind: EventType, round_id: str = ROUND) -> list[Entry]:
    """The entries of one kind and round."""
    with open_source(place) as source:
        return [one for one in read_entries(source) if (one.event.type, one.event.round_id) == (kind, round_id)]


def kinds(result: Reconciliation) -> set[Kind]:
    """In which ways logs were found to contradict each other."""
    return {one.kind for one in result.discrepancies}


def named(result: Reconciliation, kind: Kind) -> Any:
    """The first finding of a kind."""
    return next(one for one in result.discrepancies if one.kind is kind)


def test_the_logs_of_a_whole_federation_agree(held: Rounds) -> None:
    """Votes and texts, four logs: nothing is missing anywhere, and everything that names another log was looked up."""
    result = reconcile(list(held.places.values()))
    assert result.discrepancies == []
    assert result.remarks == []
    assert result.unchecked == {}
    assert set(result.logs) == {"server", *MEMBERS}
    with open_source(held.places["bay"]) as source:
        about_the_server = [one.event for one in read_entries(source) if one.event.peer == "server"]
    # Each site: two rounds, sent and answered, the texts sent twice; the list seen, two results; as many at the server.
    assert {event.type for event in about_the_server} >= {
        EventType.BUNDLE_SENT,
        EventType.RECEIPT_RECEIVED,
        EventType.COMMITMENTS_VERIFIED,
        EventType.CONSENSUS_VERIFIED,
    }
    assert result.compared == 36


def test_every_message_leaves_the_others_checkpoint_in_the_log(held: Rounds) -> None:
    """Statement, receipt, list of commitments and consensus: each entry states size and root of the peer's log."""
    for kind in (EventType.BUNDLE_ADMITTED, EventType.BUNDLE_COMMITTED):
        of_sites = entries(held.places["server"], kind, TEXT_ROUND)
        assert len(of_sites) == len(MEMBERS)
        assert all(one.event.details["log_size"] > 0 and len(one.event.details["log_root"]) == 64 for one in of_sites)
    for kind in (EventType.RECEIPT_RECEIVED, EventType.COMMITMENTS_VERIFIED, EventType.CONSENSUS_VERIFIED):
        of_server = entries(held.places["bay"], kind, TEXT_ROUND)
        assert of_server
        assert all(one.event.details["log_size"] > (one.event.peer_entry or 0) for one in of_server)


@pytest.mark.parametrize("absent", ["server", "bay"])
def test_some_of_the_logs_are_compared_and_the_absent_one_is_named(held: Rounds, absent: str) -> None:
    """What cannot be checked is counted by whose log is missing, and is no contradiction."""
    places = [place for member, place in held.places.items() if member != absent]
    result = reconcile(places)
    assert result.discrepancies == []
    assert set(result.unchecked) == {absent}
    assert set(result.unchecked[absent]) == ({"server"} if absent == "bay" else set(MEMBERS))
    assert absent in result.sentence


def test_exported_tiles_are_as_good_as_databases(held: Rounds, tmp_path: Path) -> None:
    """A log that its owner handed out as static files is compared like the others."""
    assert cli.main(["audit", "export", str(held.places["server"]), "--out", str(tmp_path / "tiles")]) == ExitCode.OK
    result = reconcile([tmp_path / "tiles", *(held.places[name] for name in MEMBERS)])
    assert (result.discrepancies, result.compared) == ([], 36)


def replaced(**changes: Any) -> Callable[[Event], Iterable[Event]]:
    """The event with other fields; ``details`` are laid over its own."""
    over = changes.pop("details", {})
    return lambda event: [event.model_copy(update={**changes, "details": {**event.details, **over}})]


def dropped(event: Event) -> Iterable[Event]:
    """Nothing."""
    del event
    return []


FORGERIES: Mapping[str, tuple[str, EventType, Callable[[Event], Iterable[Event]], Kind]] = {
    "server-drops-received": ("server", EventType.BUNDLE_ADMITTED, dropped, Kind.BUNDLE_NOT_RECEIVED),
    "server-logs-other-bundle": (
        "server",
        EventType.BUNDLE_ADMITTED,
        replaced(bundle_digest=OTHER),
        Kind.BUNDLE_NOT_SENT,
    ),
    "server-logs-other-round": (
        "server",
        EventType.BUNDLE_ADMITTED,
        replaced(round_id="another-round"),
        Kind.BUNDLE_NOT_SENT,
    ),
    "server-logs-other-sender": (
        "server",
        EventType.BUNDLE_ADMITTED,
        replaced(peer="lake"),
        Kind.BUNDLE_NOT_RECEIVED,
    ),
    "server-rejects-in-log": (
        "server",
        EventType.BUNDLE_ADMITTED,
        replaced(type=EventType.BUNDLE_REJECTED, outcome="denied", codes=("SF314",)),
        Kind.ANSWER_NOT_IN_LOG,
    ),
    "server-publishes-other-result": (
        "server",
        EventType.CONSENSUS_PUBLISHED,
        replaced(details={"consensus_digest": OTHER}),
        Kind.CONSENSUS_DIFFERS,
    ),
    "server-publishes-nothing": ("server", EventType.CONSENSUS_PUBLISHED, dropped, Kind.CONSENSUS_DIFFERS),
    "server-counts-more": (
        "server",
        EventType.CONSENSUS_PUBLISHED,
        replaced(details={"admitted": 4}),
        Kind.CONSENSUS_COUNTS_MORE,
    ),
    "site-withholds-sent": ("bay", EventType.BUNDLE_SENT, dropped, Kind.BUNDLE_NOT_SENT),
    "site-sent-in-other-round": (
        "bay",
        EventType.BUNDLE_SENT,
        replaced(round_id="another-round"),
        Kind.BUNDLE_NOT_SENT,
    ),
    "site-forges-peer-entry": ("bay", EventType.RECEIPT_RECEIVED, replaced(peer_entry=2), Kind.ANSWER_NOT_IN_LOG),
    "site-forges-far-entry": ("bay", EventType.RECEIPT_RECEIVED, replaced(peer_entry=9_999), Kind.ANSWER_NOT_IN_LOG),
    "site-invents-result": (
        "bay",
        EventType.CONSENSUS_VERIFIED,
        replaced(details={"consensus_digest": OTHER}),
        Kind.CONSENSUS_DIFFERS,
    ),
    "site-learned-unverified": ("bay", EventType.CONSENSUS_VERIFIED, dropped, Kind.LEARNED_UNVERIFIED),
    "site-forges-checkpoint": (
        "bay",
        EventType.RECEIPT_RECEIVED,
        replaced(details={"log_root": "0" * 64}),
        Kind.LOG_FORKED,
    ),
}


@pytest.mark.parametrize("forgery", FORGERIES)
def test_a_member_that_rewrites_its_log_with_its_own_key_is_contradicted(
    held: Rounds, tmp_path: Path, forgery: str
) -> None:
    """Each log verifies; the finding names the round, the entry that proves it, and the bundle if it is about one."""
    member, kind, change, expected = FORGERIES[forgery]
    target = next(one for one in entries(held.places[member], kind) if one.event.peer in {None, "bay", "server"})
    forged = held.rewritten(
        member, tmp_path / "forged", lambda one: change(one.event) if one.seq == target.seq else [one.event]
    )
    result = reconcile([forged, held.places["bay" if member == "server" else "server"]])
    assert expected in kinds(result)
    assert kinds(result) <= {*Kind} - {Kind.LOG_DAMAGED}
    finding = named(result, expected)
    if expected is not Kind.LOG_FORKED:
        assert finding.round_id in {ROUND, "another-round"}
        assert ROUND in finding.sentence or "another-round" in finding.sentence
    if finding.bundle is not None:
        assert finding.bundle in finding.sentence
    assert finding.entry is not None


def test_a_rewritten_log_is_not_the_one_that_its_messages_carried(held: Rounds, tmp_path: Path) -> None:
    """An entry of no other's interest is changed: the checkpoints in statements and receipts give it away."""
    for member, kind in (("bay", EventType.DECISION), ("server", EventType.ROUND_OPENED)):
        target = entries(held.places[member], kind)[0].seq
        forged = held.rewritten(
            member,
            tmp_path / member,
            lambda one, at=target: replaced(reason="as it suits")(one.event) if one.seq == at else [one.event],
        )
        result = reconcile([forged, held.places["bay" if member == "server" else "server"]])
        assert kinds(result) == {Kind.LOG_FORKED}
        assert {one.log for one in result.discrepancies} == {member}


def test_a_server_that_shortens_its_list_of_commitments_is_found_out(held: Rounds, tmp_path: Path) -> None:
    """The root in its log is that of the commitments it took, or the log contradicts itself."""
    target = entries(held.places["server"], EventType.BUNDLE_COMMITTED, TEXT_ROUND)[0].seq
    forged = held.rewritten("server", tmp_path / "x", lambda one: [] if one.seq == target else [one.event])
    assert Kind.COMMITMENTS_DIFFER in kinds(reconcile([forged]))


def test_an_untouched_log_that_is_written_again_is_the_same_log(held: Rounds, tmp_path: Path) -> None:
    """Or the rewriting itself, and no forgery, would be what the tests above find."""
    for member in ("server", "bay"):
        again = held.rewritten(member, tmp_path / member, lambda one: [one.event])
        result = reconcile([again, held.places["bay" if member == "server" else "server"]])
        assert result.discrepancies == []


class Deaf(TransportWrapper):
    """A server that takes a contribution and neither logs nor answers it."""

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """As if nothing had come."""
        return Silent(self._inner).post(round_id, body)


@pytest.fixture(scope="module")
def broken(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Rounds, Path]]:
    """A round in which the server drops one bundle, a site logs not what it sends, and another restores a backup."""
    directory = tmp_path_factory.mktemp("broken")

    def reach(name: str, way: Transport) -> Transport:
        return Deaf(way) if name == "bay" else way

    rounds = Rounds(directory, reach=reach)
    rounds.world.open_round()
    with rounds.client("lake") as client:
        client.join(ROUND)
    backup = rounds.copy("lake", directory / "backup")
    append = AuditLog.append

    def silent(self: AuditLog, event: Event, *arguments: Any) -> int:
        withheld = event.actor == "hill" and event.type is EventType.BUNDLE_SENT
        return 0 if withheld else append(self, event, *arguments)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(AuditLog, "append", silent)
        rounds.run(texts=False, opened=True)
    yield rounds, backup
    rounds.world.federation.close()


def test_a_bundle_that_the_server_took_and_did_not_log_is_named(broken: tuple[Rounds, Path]) -> None:
    """With the site's entry, the round and the digest; a missing answer is no proof that the network lost it."""
    rounds, _ = broken
    result = reconcile([rounds.places["server"], rounds.places["bay"]])
    sent = entries(rounds.places["bay"], EventType.BUNDLE_SENT)[0]
    (finding,) = result.discrepancies
    assert (finding.kind, finding.log, finding.proved_by) == (Kind.BUNDLE_NOT_RECEIVED, "server", "bay")
    assert (finding.entry, finding.round_id, finding.bundle) == (sent.seq, ROUND, sent.event.bundle_digest)
    assert "is withheld" in finding.sentence


def test_a_site_that_does_not_log_what_it_sends_is_named(broken: tuple[Rounds, Path]) -> None:
    """The server's entry proves it."""
    rounds, _ = broken
    result = reconcile([rounds.places["server"], rounds.places["hill"]])
    (finding,) = result.discrepancies
    admitted = next(
        one for one in entries(rounds.places["server"], EventType.BUNDLE_ADMITTED) if one.event.peer == "hill"
    )
    assert (finding.kind, finding.log, finding.proved_by) == (Kind.BUNDLE_NOT_SENT, "hill", "server")
    assert (finding.entry, finding.bundle) == (admitted.seq, admitted.event.bundle_digest)


def test_a_site_log_that_was_set_back_is_told_by_the_server(broken: tuple[Rounds, Path]) -> None:
    """Its statement carried a checkpoint over more entries than the restored copy has."""
    rounds, backup = broken
    result = reconcile([rounds.places["server"], backup])
    assert kinds(result) == {Kind.LOG_SET_BACK, Kind.BUNDLE_NOT_SENT}
    assert {one.log for one in result.discrepancies} == {"lake"}
    # The backup beside the log that it was taken from is no contradiction, but an older copy of it.
    both = reconcile([rounds.places["server"], backup, rounds.places["lake"]])
    assert both.discrepancies == []


def test_the_honest_remainder_of_a_broken_round_agrees(broken: tuple[Rounds, Path]) -> None:
    """Server and lake had nothing to do with what the others did."""
    rounds, _ = broken
    assert reconcile([rounds.places["server"], rounds.places["lake"]]).discrepancies == []


class Late(TransportWrapper):
    """A site whose bundle arrives when its round takes no more."""

    close: Callable[[], object] = staticmethod(lambda: None)

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """After the round was closed."""
        self.close()
        return super().post(round_id, body)


def test_a_refusal_that_is_only_counted_is_explained_by_its_count(tmp_path: Path) -> None:
    """A bundle that came too late is in no entry of its own: site and server name the same code of the same round."""
    rounds = Rounds(tmp_path, reach=lambda name, way: Late(way) if name == "lake" else way)
    federation = rounds.world.federation
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Late, "close", lambda self: federation.close_round(ROUND))
        rounds.run(texts=False)
    places = [rounds.places["server"], rounds.places["lake"]]
    (lost,) = reconcile(places).discrepancies
    assert lost.kind is Kind.BUNDLE_NOT_RECEIVED, "as long as the server has not logged its counts"
    events = federation.coordinator.refusals.take_events(federation.context.member, now=rounds.world.clock.now())
    federation.context.audit.append_all(events)
    result = reconcile(places)
    assert result.discrepancies == []
    assert any("was refused with SF304 before it was clear who sent it" in one.sentence for one in result.remarks)
    federation.close()


def test_a_log_that_does_not_verify_is_named_and_nothing_is_taken_from_it(held: Rounds, tmp_path: Path) -> None:
    """The other logs are still compared."""
    copied = held.copy("bay", tmp_path / "bay")
    with Database.open(copied / DATABASE_FILE, kind="client") as database, database.transaction() as tx:
        log_guard.lift(tx.connection)
        tx.connection.exec_driver_sql("UPDATE log_entry SET body = leaf_hash WHERE position = 3")
    result = reconcile([copied, *(held.places[name] for name in ("server", "hill", "lake"))])
    (finding,) = result.discrepancies
    assert (finding.kind, finding.log, finding.entry) == (Kind.LOG_DAMAGED, "bay", 3)
    assert set(result.unchecked) == {"bay"}
    assert "bay" not in result.logs


def test_keys_say_whose_logs_they_are(held: Rounds, tmp_path: Path) -> None:
    """A log under another key than the one given for its name is not that member's, whatever it says."""
    keys = [verify_log(place, key=None).verification_key for place in held.places.values()]
    assert reconcile(list(held.places.values()), keys=keys).discrepancies == []
    name = keys[1].partition("+")[0]
    stranger = LogSigningKey.generate(name)
    path = tmp_path / "site.db"
    with Database.open(path, kind="client") as database:
        AuditLog(database, key=stranger, clock=FixedClock(NOW), writer="bay/client")
    result = reconcile([held.places["server"], path], keys=keys)
    assert kinds(result) == {Kind.LOG_DAMAGED}


def test_the_command_prints_one_verdict_and_exits_by_it(held: Rounds, broken, tmp_path: Path, capsys) -> None:
    """0 where the logs agree; 12 with code SF551, all findings in the document, where they do not."""
    places = [str(place) for place in held.places.values()]
    assert cli.main(["audit", "reconcile", *places]) == ExitCode.OK
    assert capsys.readouterr().out.startswith("4 logs agree in all 36 places where one names another")
    assert cli.main(["audit", "reconcile", *places, "--json"]) == ExitCode.OK
    assert json.loads(capsys.readouterr().out)["agree"] is True
    rounds, _ = broken
    bad = [str(place) for place in rounds.places.values()]
    assert cli.main(["audit", "reconcile", *bad, "--json"]) == ExitCode.INTEGRITY
    error = json.loads(capsys.readouterr().out)["error"]
    assert (error["code"], error["fields"]["agree"]) == ("SF551", False)
    assert {one["kind"] for one in error["fields"]["discrepancies"]} == {"bundle-not-received", "bundle-not-sent"}
    assert cli.main(["audit", "reconcile", *bad]) == ExitCode.INTEGRITY
    out, err = capsys.readouterr()
    assert "bundle-not-received: the log of server does not say that it received" in out
    assert "2 things do not add up" in err
