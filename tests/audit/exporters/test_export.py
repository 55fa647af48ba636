"""Exporting a log: verified first, entered in the log, resumed without a gap, whatever stops it."""

from __future__ import annotations

import json
import os
import shutil
import signal
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.exporters import export
from semfed_secure.audit.exporters.cursor import read_cursor
from semfed_secure.audit.exporters.destinations import NewFile
from semfed_secure.audit.exporters.export import Exported, Wanted, export_log
from semfed_secure.audit.exporters.formats import FORMATS, FormatName
from semfed_secure.audit.exporters.own_log import OwnLog, open_own_log
from semfed_secure.audit.exporters.receiver import SyslogReceiver, parse_address, receiver_context
from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.merkle import leaf_hash
from semfed_secure.audit.tiles import export_tiles
from semfed_secure.audit.verify import verify_log
from semfed_secure.clock import SystemClock
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import ConfigurationError, IntegrityError, PeerError
from semfed_secure.storage import Database
from tests.audit.exporters.receivers import Certificates, Receiver, confirm, receiving
from tests.audit.intruder import bodies_of, forge, sql
from tests.audit.samples import START, Site, sample
from tests.soak.named import in_a_child

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path


def to_file(site: Site, out: Path, *, cursor: Path | None = None, enter: bool = True, **wanted) -> Exported:
    """Export as CloudEvents into a file, by the log's own key or without it."""
    destination = NewFile(out, FORMATS[FormatName.CLOUDEVENTS])
    what = Wanted("cloudevents", cursor=cursor, **wanted)
    if not enter:
        return export_log(site.path, destination, what, key=site.vkey, own=None)
    with open_own_log(str(site.path), site.key, clock=site.clock) as own:
        return export_log(site.path, destination, what, key=site.vkey, own=own)


def numbers(out: Path) -> list[int]:
    """Which entries a file of CloudEvents holds."""
    return [int(json.loads(line)["logindex"]) for line in out.read_text().splitlines()]


def refused(site: Site, out: Path, **how) -> str:
    """The code by which an export was refused, that left nothing behind."""
    before = site.log.size()
    with pytest.raises((IntegrityError, ConfigurationError)) as caught:
        to_file(site, out, **how)
    assert not out.exists()
    assert [path.name for path in out.parent.iterdir() if path.name.startswith(f".{out.name}")] == []
    with Database.open(site.path, kind="client") as database, database.snapshot() as tx:
        assert tx.connection.exec_driver_sql("SELECT count(*) FROM log_entry").scalar() <= before
    return caught.value.code


@pytest.mark.parametrize("name", list(FORMATS))
def test_an_export_is_entered_and_takes_its_own_entry_with_it(site: Site, tmp_path: Path, name: FormatName) -> None:
    """Its format, its destination and the first and last number, and nothing of where the file lies."""
    site.fill(5)
    out = tmp_path / "a secret place"
    with open_own_log(str(site.path), site.key, clock=site.clock) as own:
        done = export_log(site.path, NewFile(out, FORMATS[name]), Wanted(name.value), key=site.vkey, own=own)
    assert done == Exported("hospitals.example/north", 6, 0, 5)
    (entry,) = site.log.entries(5, 9)
    assert (entry.event.type, entry.event.outcome, entry.event.actor) == ("log.exported", "success", "north")
    assert entry.event.details == {"format": name.value, "destination": "file", "first": 0, "last": 5}
    text = out.read_text(encoding="utf-8")
    assert all(leaf_hash(body).hex() in text for body in bodies_of(site))
    assert "secret" not in text
    verify_log(site.path, key=site.vkey)


def test_without_the_logs_key_nothing_is_entered(site: Site, tmp_path: Path) -> None:
    """The log is as it was, and the export ends where it ended."""
    site.fill(5)
    assert to_file(site, tmp_path / "out", enter=False) == Exported("hospitals.example/north", 5, 0, 4)
    assert site.log.size() == 5
    assert numbers(tmp_path / "out") == [0, 1, 2, 3, 4]


def test_a_cursor_goes_on_exactly_where_the_last_export_ended(site: Site, tmp_path: Path) -> None:
    """Each entry once; an export that finds nothing new does nothing, and enters nothing."""
    cursor, found = tmp_path / "cursor", list[int]()
    for number in range(3):
        site.fill(3 + number)
        to_file(site, tmp_path / f"{number}", cursor=cursor)
        found += numbers(tmp_path / f"{number}")
        before = site.log.size()
        assert to_file(site, tmp_path / "none", cursor=cursor).entries == 0
        assert not (tmp_path / "none").exists()
        assert site.log.size() == before
    assert found == list(range(site.log.size())) == list(range(15))


def test_a_cursor_is_a_checkpoint_of_what_was_exported(site: Site, tmp_path: Path) -> None:
    """The verifier takes it as one that somebody else has kept."""
    site.fill(3)
    cursor = tmp_path / "cursor"
    to_file(site, tmp_path / "out", cursor=cursor)
    assert read_cursor(cursor, site.vkey)[0] == 4
    assert verify_log(site.path, key=site.vkey, known=[cursor.read_text()]).known_checkpoints == 1


def test_a_log_that_does_not_verify_is_not_exported(site: Site, tmp_path: Path) -> None:
    """One changed entry: an integrity error, no file, no entry, no cursor."""
    site.fill(5)
    sql(site, "UPDATE log_entry SET body = leaf_hash WHERE position = 3")
    code = refused(site, tmp_path / "out", cursor=tmp_path / "cursor")
    assert code.startswith("SF50")
    assert not (tmp_path / "cursor").exists()


def test_a_cursor_of_another_log_is_refused(site: Site, tmp_path: Path) -> None:
    """SF503: of another key, cut, or no checkpoint at all."""
    site.fill(3)
    cursor = tmp_path / "cursor"
    other = LogSigningKey("hospitals.example/north", b"\x03" * 32, b"\x04" * 32)
    with Database.open(tmp_path / "other.db", kind="client") as database:
        strange = AuditLog(database, key=other, clock=site.clock, writer="w").checkpoint().encode()
    for content in (strange, site.log.checkpoint().encode()[:-9], b"", b"\xff", b"3\n"):
        cursor.write_bytes(content)
        assert refused(site, tmp_path / "out", cursor=cursor) == "SF503"
        assert cursor.read_bytes() == content


def test_a_log_that_was_set_back_behind_its_cursor_is_refused(site: Site, tmp_path: Path) -> None:
    """SF504 for an older copy; SF505 once it has grown again differently; the cursor stays."""
    site.fill(3)
    site.database.close()
    shutil.copy(site.path, tmp_path / "older.db")
    cursor = tmp_path / "cursor"
    to_file(site, tmp_path / "out", cursor=cursor)
    shutil.copy(tmp_path / "older.db", site.path)
    for name in ("site.db-wal", "site.db-shm"):
        (site.path.parent / name).unlink(missing_ok=True)
    kept = cursor.read_text()
    assert refused(site, tmp_path / "again", cursor=cursor) == "SF504"
    with Database.open(site.path, kind="client") as database:
        AuditLog(database, key=site.key, clock=site.clock, writer="w").append_all([sample(9), sample(8)])
    assert refused(site, tmp_path / "again", cursor=cursor) == "SF505"
    assert cursor.read_text() == kept


def test_a_file_that_stands_there_is_not_touched(site: Site, tmp_path: Path) -> None:
    """SF123, before the log says that anything was exported."""
    site.fill(3)
    out = tmp_path / "out"
    out.write_text("mine")
    with pytest.raises(ConfigurationError) as caught:
        to_file(site, out)
    assert (caught.value.code, out.read_text(), site.log.size()) == ("SF123", "mine", 3)


def test_an_export_that_fails_after_it_was_entered_is_entered_as_failed(site: Site, tmp_path: Path) -> None:
    """The log says what was tried, and by which code it ended; the cursor does not move."""
    site.fill(3)
    out = tmp_path / "out"

    class Meanwhile(NewFile):
        def finish(self) -> None:
            out.write_text("somebody was faster")
            super().finish()

    with pytest.raises(ConfigurationError):
        interrupted(site, Meanwhile(out, FORMATS[FormatName.CSV]), tmp_path / "c")
    said, failed = site.log.entries(3, 9)
    assert (said.event.outcome, failed.event.outcome, failed.event.codes) == ("success", "failed", ("SF123",))
    assert failed.event.details == said.event.details
    assert not (tmp_path / "c").exists()
    assert out.read_text() == "somebody was faster"


def test_a_period_is_exported_without_what_lies_outside(site: Site, tmp_path: Path) -> None:
    """Entries are a second apart; an export up to an instant does not take its own entry with it."""
    from datetime import timedelta

    site.fill(6)
    since, until = START + timedelta(seconds=2), START + timedelta(seconds=4)
    assert to_file(site, tmp_path / "a", since=since, until=until) == Exported("hospitals.example/north", 2, 2, 3)
    assert to_file(site, tmp_path / "b", since=since).first == 2
    assert numbers(tmp_path / "b") == [2, 3, 4, 5, 6, 7]
    assert to_file(site, tmp_path / "c", since=START + timedelta(days=9)).entries == 0
    assert site.log.entries(6, 7)[0].event.details["last"] == 3


def test_what_others_write_meanwhile_is_proved_and_exported_too(site: Site, tmp_path: Path) -> None:
    """Between the verification and the entry of the export another process writes: nothing is left out."""
    site.fill(3)
    destination = Interrupted(tmp_path / "out", lambda: site.log.append_all([sample(1), sample(2)]))
    assert interrupted(site, destination, tmp_path / "cursor").entries == 6
    assert numbers(tmp_path / "out") == [0, 1, 2, 3, 4, 5]
    assert read_cursor(tmp_path / "cursor", site.vkey)[0] == site.log.size() == 6


def test_what_is_changed_meanwhile_is_not_exported(site: Site, tmp_path: Path) -> None:
    """An entry that was written after the verification, and changed with its hash: SF501, and no file."""
    site.fill(3)

    def tamper() -> None:
        site.log.append(sample(1))
        body = forge(bodies_of(site)[3])
        sql(
            site,
            f"UPDATE log_entry SET body = x'{body.hex()}', leaf_hash = x'{leaf_hash(body).hex()}' WHERE position = 3",
        )

    with pytest.raises(IntegrityError) as caught:
        interrupted(site, Interrupted(tmp_path / "out", tamper), tmp_path / "cursor")
    assert caught.value.code == "SF501"
    assert not (tmp_path / "out").exists()
    assert not (tmp_path / "cursor").exists()


class Interrupted(NewFile):
    """Something happens when the destination is reached."""

    def __init__(self, out: Path, act: Callable[[], object]) -> None:
        super().__init__(out, FORMATS[FormatName.CLOUDEVENTS])
        self._act = act

    def open(self, log: str) -> None:
        self._act()
        super().open(log)


def interrupted(site: Site, destination: NewFile, cursor: Path) -> Exported:
    """An export during which something happens."""
    with open_own_log(str(site.path), site.key, clock=site.clock) as own:
        return export_log(site.path, destination, Wanted("x", cursor=cursor), key=site.vkey, own=own)


def test_tiles_are_exported_as_their_database_is(full: Site, tmp_path: Path) -> None:
    """Line by line the same, and a cursor of the one goes on with the other."""
    checkpoint = full.log.checkpoint()
    with full.database.snapshot() as tx:
        export_tiles(tx, checkpoint=checkpoint, verification_key=full.vkey, directory=tmp_path / "tiles")
    form = FORMATS[FormatName.OCSF]
    for place, out in ((full.path, "a"), (tmp_path / "tiles", "b")):
        wanted = Wanted("ocsf", cursor=tmp_path / f"cursor-{out}")
        export_log(place, NewFile(tmp_path / out, form), wanted, key=full.vkey, own=None)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes()
    assert {read_cursor(tmp_path / f"cursor-{out}", full.vkey)[0] for out in "ab"} == {270}


@pytest.fixture(scope="module")
def certificates(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Of a receiver on this machine."""
    return Certificates(tmp_path_factory.mktemp("tls") / "ours")


def send(site: Site, to: Receiver, ca: Path, cursor: Path, own: OwnLog | None = None) -> Exported:
    """Export to a receiver."""
    message = FORMATS[FormatName.SYSLOG].message
    assert message is not None
    context = receiver_context(None, ca=ca, environ={}, now=SystemClock().now())
    destination = SyslogReceiver(parse_address(to.address), message, context=context, sleep=lambda _: None)
    return export_log(site.path, destination, Wanted("syslog", cursor=cursor), key=site.vkey, own=own)


def fill_in_stages(site: Site, *, stages: int = 6, each: int = 20) -> None:
    """A log with signed checkpoints on the way, where a cursor may stand."""
    for _ in range(stages):
        site.log.append_all([sample(number) for number in range(each)])
        site.log.checkpoint()


def got(receiver: Receiver) -> dict[int, set[bytes]]:
    """What came, by number of the entry."""
    found: dict[int, set[bytes]] = {}
    for message in receiver.received:
        number = int(message.split(b' index="')[1].split(b'"')[0])
        found.setdefault(number, set()).add(message)
    return found


def test_a_break_on_the_way_costs_what_was_not_confirmed_only(
    site: Site, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The receiver stops confirming; the cursor stands where it confirmed last, and the next export goes on there."""
    monkeypatch.setattr(export, "BATCH", 40)
    fill_in_stages(site)
    cursor, healthy = tmp_path / "cursor", False

    def end(number: int, session) -> None:
        if number <= 2 or healthy:
            confirm(number, session)

    with receiving(certificates.issue("127.0.0.1"), end=end) as receiver:
        with pytest.raises(PeerError) as caught:
            send(site, receiver, certificates.ca, cursor)
        assert caught.value.code == "SF349"
        assert read_cursor(cursor, site.vkey)[0] == 80
        healthy = True
        assert send(site, receiver, certificates.ca, cursor) == Exported("hospitals.example/north", 40, 80, 119)
    assert sorted(got(receiver)) == list(range(120))
    assert all(len(same) == 1 for same in got(receiver).values())


POINTS = ("announce", "deliver", "move_cursor")


def die_at(point: str, side: str, times: int) -> None:
    """This process is killed before or after it has passed a point so many times."""
    where = {
        "announce": (OwnLog, "announce"),
        "deliver": (SyslogReceiver, "deliver"),
        "move_cursor": (export, "move_cursor"),
    }
    owner, name = where[point]
    act, passed = getattr(owner, name), 0

    def watched(*arguments):
        nonlocal passed
        passed += 1
        if (side, passed) == ("before", times):
            os.kill(os.getpid(), signal.SIGKILL)
        result = act(*arguments)
        if (side, passed) == ("after", times):
            os.kill(os.getpid(), signal.SIGKILL)
        return result

    setattr(owner, name, watched)


def kill_everywhere(site: Site, to: Receiver, ca: Path, cursor: Path) -> int:
    """Kill an export at each side of each point, the first and the second time; how often it was killed.

    After each kill the cursor promises nothing that the receiver has not got.
    """
    kills = 0
    for point, side, times in [(point, side, n) for n in (1, 2) for point in POINTS for side in ("before", "after")]:
        site.log.append_all([sample(number) for number in range(8)])
        site.log.checkpoint()

        def act(point=point, side=side, times=times) -> None:
            die_at(point, side, times)
            with open_own_log(str(site.path), site.key, clock=site.clock) as own:
                send(site, to, ca, cursor, own)

        kills += in_a_child(act) == -signal.SIGKILL
        if cursor.exists():
            promised = read_cursor(cursor, site.vkey)[0]
            missing = set(range(promised)) - set(got(to))
            assert not missing, f"a kill {side} {point} leaves a gap"
    return kills


def test_kills_lead_to_repetitions_under_the_same_ids_and_never_to_gaps(
    site: Site, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Killed for real at every point of the way; in the end the receiver has every entry, and each in one form."""
    monkeypatch.setattr(export, "BATCH", 4)
    fill_in_stages(site, stages=2, each=6)
    cursor = tmp_path / "cursor"
    with receiving(certificates.issue("127.0.0.1")) as receiver:
        assert kill_everywhere(site, receiver, certificates.ca, cursor) >= 10
        with open_own_log(str(site.path), site.key, clock=site.clock) as own:
            send(site, receiver, certificates.ca, cursor, own)
    found = got(receiver)
    assert sorted(found) == list(range(site.log.size()))
    assert all(len(same) == 1 for same in found.values())
    assert len(receiver.received) > len(found), "what a kill left in doubt was sent again"
    verify_log(site.path, key=site.vkey, known=[cursor.read_text()])


def test_a_cursor_that_moves_before_the_receiver_has_the_entries_is_found_out(
    site: Site, tmp_path: Path, certificates: Certificates, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Mutant: a batch counts when it was put by to be sent. The kills show the gap."""
    monkeypatch.setattr(export, "BATCH", 4)
    deliver, waiting = SyslogReceiver.deliver, []

    def put_by(self, records) -> bool:
        waiting.extend(records)
        return True

    def finish(self) -> None:
        deliver(self, waiting)

    monkeypatch.setattr(SyslogReceiver, "deliver", put_by)
    monkeypatch.setattr(SyslogReceiver, "finish", finish)
    fill_in_stages(site, stages=2, each=6)
    with receiving(certificates.issue("127.0.0.1")) as receiver, pytest.raises(AssertionError, match="leaves a gap"):
        kill_everywhere(site, receiver, certificates.ca, tmp_path / "cursor")


def test_a_servers_log_is_exported_from_any_database(database_url: str, tmp_path: Path, key: LogSigningKey) -> None:
    """By its address: entered, and resumed by a cursor, whoever the database belongs to."""
    with Database.open(database_url, kind="server") as database:
        log = AuditLog(database, key=key, clock=SystemClock(), writer="hub/server")
        log.append_all([sample(number) for number in range(3)])
        for number, wanted in enumerate([[0, 1, 2, 3], [4, 5]]):
            out = tmp_path / str(number)
            with open_own_log(database_url, key, clock=SystemClock()) as own:
                destination = NewFile(out, FORMATS[FormatName.CLOUDEVENTS])
                what = Wanted("cloudevents", cursor=tmp_path / "cursor")
                export_log(database_url, destination, what, key=key.public.encode(), own=own)
            assert numbers(out) == wanted
            log.append(sample(1))
