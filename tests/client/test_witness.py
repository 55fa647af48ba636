"""A witness vouches for one history of the server's log only, and a site demands the word of enough witnesses."""

from __future__ import annotations

import shutil
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.audit.events import Event, EventType
from semfed_secure.audit.notes import parse_checkpoint, parse_note, verify_checkpoint
from semfed_secure.client.config import MemberConfig
from semfed_secure.client.pins import server_checkpoint
from semfed_secure.client.witness import AGAIN_SECONDS, EVERY_SECONDS, vouch
from semfed_secure.client.witness_office import open_witness
from semfed_secure.clock import FixedClock
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.member_files import RECORD_FILE, load_member_keys
from semfed_secure.identity.records import Role, create_record
from semfed_secure.plain_toml import parse_toml
from semfed_secure.testing import LocalFederation, SiteSettings, TableModel, TransportWrapper
from semfed_secure.testing.federation import PASSPHRASE
from tests.client.world import MEMBERS, NOW, PROMPTS, ROUND, TRUTH, UNSAFE
from tests.simulator.world import copy_database

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.client.session import Client
    from semfed_secure.client.transport import Transport


class Killed(BaseException):
    """A process that dies; nothing catches it."""


class Town:
    """A federation whose sites are witnesses, of whom two must vouch."""

    def __init__(self, directory: Path) -> None:
        self.clock, self.directory = FixedClock(NOW), directory
        self.federation = self.open(directory / "one")
        self.federation.coordinator.advance()

    def open(self, directory: Path) -> LocalFederation:
        return LocalFederation(directory, members=MEMBERS, prompt_sets=(PROMPTS,), clock=self.clock, min_witnesses=2)

    def fork(self) -> LocalFederation:
        """The server once more: same keys, and from now on a history of its own."""
        place = self.directory / "two"
        leave = shutil.ignore_patterns("server.db*")
        shutil.copytree(self.directory / "one", place, ignore=leave)
        copy_database(self.directory / "one" / "server" / "server.db", place / "server" / "server.db")
        return self.open(place)

    def client(self, name: str, transport: Transport | None = None, quorum: int = 2, **opening: Any) -> Client:
        policy = {"limits": {"peers": {"min_witnesses": quorum}}}
        settings = SiteSettings(mechanism=UNSAFE, policy=policy)
        opening |= {"model": TableModel(TRUTH)}
        if transport is not None:
            opening["transport"] = transport
        return self.federation.client(name, settings=settings, **opening)

    def watch(self, *names: str, transport: Transport | None = None) -> None:
        for name in names:
            with self.client(name, transport) as client:
                client.keep_watch()

    def open_round(self, name: str = ROUND) -> None:
        self.federation.open_round(name, PROMPTS, mechanisms=(UNSAFE,), max_epsilon="Infinity")

    def keys(self) -> str:
        return self.federation.context.keys.record.log_key


@pytest.fixture
def town(tmp_path: Path) -> Iterator[Town]:
    """Founded, and nothing is vouched for."""
    found = Town(tmp_path)
    yield found
    found.federation.close()


def grow(federation: LocalFederation, note: str = "") -> None:
    """One more entry in the server's log."""
    federation.context.audit.append(Event(type=EventType.LOG_STARTED, outcome="success", actor="server", reason=note))


def pinned(client: Client) -> int:
    """The size of the log that the site keeps."""
    with client.site.database.snapshot() as tx:
        return parse_checkpoint(parse_note(server_checkpoint(tx) or "").text).size


def events(client: Client) -> list[tuple[str, str]]:
    """What the site's log says, but for decisions."""
    kinds = {"log.cosigned", "peer.refused"}
    entries = client.site.audit.entries(0, 1_000)
    return [(str(each.event.type), each.event.outcome) for each in entries if str(each.event.type) in kinds]


def lines(transport: Transport) -> int:
    """How many vouch for the newest checkpoint."""
    return len(parse_note(transport.checkpoint()).signatures) - 2


def test_sites_vouch_while_they_take_part(town: Town) -> None:
    """Two look first, so a round opens; all three join it, and by that vouch for what the log has become."""
    town.watch("bay", "hill")
    town.open_round()
    for name in MEMBERS:
        with town.client(name) as client, client.join(ROUND) as joined:
            assert ("log.cosigned", "success") in events(client)
            joined.contribute()
    town.federation.close_round(ROUND)
    with town.client("lake") as client:
        assert client.join(ROUND).wait_for_consensus().consensus.admitted_count == 3


def test_a_site_refuses_a_log_that_too_few_vouch_for(town: Town) -> None:
    """SF330 in its log and in its face; a site that demands fewer takes part; no look at another round is needed."""
    town.watch("bay", "hill")
    town.open_round()
    with town.client("lake", quorum=3) as client:
        with pytest.raises(PeerError, match=r"SF330.*3 witnesses .* 2 vouch"):
            client.join(ROUND)
        assert events(client) == [("peer.refused", "denied")]
    with town.client("bay", quorum=2) as client:
        client.join(ROUND)


def test_a_quorum_of_witnesses_that_left_is_none(town: Town) -> None:
    """The roster that the site sees decides, not the one of the day of the cosignature."""
    town.watch("bay", "hill")
    town.open_round()
    town.federation.publish_roster(sequence=2, revoked=["bay"])
    with town.client("lake") as client, pytest.raises(PeerError, match="SF330"):
        client.join(ROUND)


def test_who_joined_is_not_asked_again(town: Town) -> None:
    """What was vouched for at joining stays joined, however old it grows."""
    town.watch("bay", "hill")
    town.open_round()
    with town.client("lake") as client:
        client.join(ROUND)
    town.federation.publish_roster(sequence=2, revoked=["bay"])
    with town.client("lake") as client:
        client.join(ROUND)


def test_neither_fork_reaches_the_quorum(town: Town) -> None:
    """Two histories, one witness each: no site that demands two joins a round of either; and no witness has both."""
    fork = town.fork()
    for federation, note in ((town.federation, "one"), (fork, "two")):
        grow(federation, note)
    town.watch("bay")
    town.watch("hill", transport=fork.transport())
    assert (lines(town.federation.transport()), lines(fork.transport())) == (1, 1)
    for federation in (town.federation, fork):
        with pytest.raises(PeerError, match="SF330"):
            federation.open_round(ROUND, PROMPTS)
    # Whoever is shown the other history afterwards refuses it, and says so in its log.
    with town.client("bay", fork.transport()) as client:
        with pytest.raises(PeerError, match="SF323"):
            client.keep_watch()
        assert events(client)[-1] == ("peer.refused", "denied")
    assert lines(fork.transport()) == 1
    # A server that holds the round anyway, on what one witness said, is refused.
    object.__setattr__(fork.context, "min_witnesses", 1)
    fork.open_round(ROUND, PROMPTS, mechanisms=(UNSAFE,), max_epsilon="Infinity")
    with town.client("lake", fork.transport()) as client, pytest.raises(PeerError, match="SF330"):
        client.join(ROUND)
    fork.close()


@pytest.mark.parametrize("step", range(1, 6))
def test_a_witness_that_dies_vouches_for_one_history_still(town: Town, step: int) -> None:
    """Killed after any step: the same log is vouched for later, and a fork from before never is."""
    fork = town.fork()
    grow(fork, "two")
    grow(town.federation, "one")

    def die(name: str) -> None:
        if name == f"witness {step}":
            raise Killed

    with town.client("bay", on_step=die) as client:
        with pytest.raises(Killed):
            client.keep_watch()
        durable = step > 1
    assert lines(town.federation.transport()) == (step == 5)
    with town.client("bay", fork.transport()) as client:
        if durable:
            with pytest.raises(PeerError, match="SF323"):
                client.keep_watch()
            assert lines(fork.transport()) == 0
    town.watch("bay")
    assert lines(town.federation.transport()) == 1
    fork.close()


def test_what_is_signed_is_what_is_on_the_disk(town: Town) -> None:
    """A server that shows an older checkpoint again gets no new word for it."""
    old = town.federation.transport().checkpoint()
    with town.client("bay") as client:
        client.keep_watch()
        grow(town.federation)
        town.clock.advance(EVERY_SECONDS)
        client.keep_watch()
        newer = pinned(client)

    class Older(TransportWrapper):
        said: str = ""

        def checkpoint(self) -> str:
            return old

        def cosign(self, note: str) -> None:
            self.said = note

    shown = Older(town.federation.transport())
    town.watch("bay", transport=shown)
    assert parse_checkpoint(parse_note(shown.said).text).size == newer


def test_a_site_looks_now_and_then_only(town: Town) -> None:
    """Once a minute at most; it vouches when the log has grown, or a day has passed."""

    class Counting(TransportWrapper):
        looked = told = 0

        def checkpoint(self) -> str:
            self.looked += 1
            return super().checkpoint()

        def cosign(self, note: str) -> None:
            self.told += 1
            super().cosign(note)

    line = Counting(town.federation.transport())
    with town.client("bay", line) as client:
        client.keep_watch()
        client.keep_watch()
        assert (line.looked, line.told) == (1, 1)
        town.clock.advance(EVERY_SECONDS)
        client.keep_watch()
        assert (line.looked, line.told) == (2, 1)
        grow(town.federation)
        town.clock.advance(EVERY_SECONDS)
        client.keep_watch()
        assert line.told == 2
        town.clock.advance(AGAIN_SECONDS)
        client.keep_watch()
        assert line.told == 3


@pytest.mark.parametrize("code", ["SF341", "SF342"])
def test_a_server_that_takes_no_cosignature_loses_a_witness_and_no_site(town: Town, code: str) -> None:
    """The site goes on; its log says that it could not hand in its word."""
    town.watch("hill", "lake")
    town.open_round()

    class Deaf(TransportWrapper):
        def cosign(self, note: str) -> None:
            raise PeerError(code, f"{len(note)} bytes were not taken")

    with town.client("bay", Deaf(town.federation.transport())) as client:
        client.join(ROUND).contribute()
        assert events(client) == [("log.cosigned", "success"), ("log.cosigned", "failed")]


def test_a_site_that_lost_the_role_goes_on_without_it(town: Town) -> None:
    """Its own record still says witness; the roster in force does not, and no word leaves."""
    town.watch("hill", "lake")
    town.open_round()
    directory = town.federation.site("bay") / "keys"
    keys = load_member_keys(directory, PASSPHRASE)
    plain = replace(keys.record, roles=frozenset({Role.CLIENT}))
    kept = (directory / RECORD_FILE).read_bytes()
    (directory / RECORD_FILE).write_bytes(create_record(plain, [keys.signing]))
    town.federation.publish_roster(sequence=2)
    (directory / RECORD_FILE).write_bytes(kept)
    with town.client("bay") as client:
        client.join(ROUND)
        assert events(client) == []


# -- a member that only watches -------------------------------------------------------------------------------


def office(town: Town, name: str) -> Any:
    """A witness file's office, on the keys of a site."""
    path = town.federation.site_file(name)
    sections = parse_toml(path.read_text())
    document = {key: sections[key] for key in ("site", "identity", "federation", "server")}
    config = MemberConfig.model_validate(document, context={"base": path.parent})
    return open_witness(config, clock=town.clock)


def test_a_member_without_data_vouches_too(town: Town) -> None:
    """Its file has four sections; what it signs verifies with the log key of its record."""
    witness = office(town, "bay")
    seen = vouch(witness, town.federation.transport())
    note = town.federation.transport().checkpoint()
    assert verify_checkpoint(note, LogVerificationKey.parse(town.keys())).checkpoint == seen
    assert parse_note(note).signatures[-1].name == witness.keys.log.name
    assert [str(each.event.type) for each in witness.audit.entries(1, 9)] == ["roster.accepted", "log.cosigned"]
    witness.close()


def test_a_member_without_the_role_does_not_vouch(tmp_path: Path) -> None:
    """A site that is none looks at nothing; and a witness file needs the role."""
    plain = Town.__new__(Town)
    plain.clock, plain.directory = FixedClock(NOW), tmp_path
    plain.federation = LocalFederation(tmp_path / "one", members=MEMBERS, prompt_sets=(PROMPTS,), clock=plain.clock)
    plain.federation.coordinator.advance()
    with plain.client("bay", quorum=0) as client:
        client.keep_watch()
        assert events(client) == []
    with pytest.raises(ConfigurationError, match=r"SF101.*role witness"):
        office(plain, "bay")
    plain.federation.close()
