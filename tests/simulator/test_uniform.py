"""Over HTTP a sender of bad bytes learns a code and nothing else, and everybody else notices nothing."""

from __future__ import annotations

import random
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING

from starlette.testclient import TestClient

from semfed_secure.client.transport import HttpTransport
from semfed_secure.ids import hex_digest
from semfed_secure.server.http import create_app
from semfed_secure.server.service import Service
from semfed_secure.wire.cose import parse_signed, signed_limits
from semfed_secure.wire.messages import CONSENSUS_LIMITS, encode_consensus, parse_consensus
from tests.simulator.holding import hold
from tests.simulator.members import Copying, Equivocating, Liar, taken
from tests.simulator.seats import said_by
from tests.simulator.world import FIRST, ROUNDS, TRUTH, Phase

if TYPE_CHECKING:
    from collections.abc import Iterator

    import httpx

    from semfed_secure.ids import RoundId
    from semfed_secure.testing import LocalFederation
    from tests.simulator.dumping import Simulate
    from tests.simulator.seats import Seat
    from tests.simulator.world import World

NAMES = ("bay", "hill", "lake")
PLACES = 150
"""How many bits of one contribution are flipped here; tests/simulator/test_flips.py flips the others."""
Seen = defaultdict[str, set[tuple[int, str, bytes]]]


def http(federation: LocalFederation) -> httpx.Client:
    """The server's real application, without a socket between."""
    return TestClient(create_app(Service(federation.context, version="test")), raise_server_exceptions=False)


def over_http(federation: LocalFederation) -> HttpTransport:
    """The production transport to it."""
    return HttpTransport("http://testserver", client=http(federation), sleep=lambda _: None)


class Flipping(Liar):
    """Posts one contribution many times, each time with another flipped bit, and notes every answer."""

    def __init__(self) -> None:
        """Nothing is answered yet."""
        self.answers: Seen = defaultdict(set)
        self.receipts: set[bytes] = set()

    def lie(self, seat: Seat, round_id: RoundId, body: bytes) -> Iterator[Phase]:
        """Bits everywhere but in the sealed blob, which is answered with a receipt, once."""
        source, line = random.Random(seat.world.seed), http(seat.world.federation)
        signed = body.index(taken(body).commitment) + 32
        for place in source.sample(range(8 * signed), PLACES):
            self._post(line, round_id, body, place)
        yield Phase.OPEN
        for place in source.sample(range(8 * (len(body) - 900), 8 * len(body)), 5):
            self._post(line, round_id, body, place)
        seat.world.expected[seat.name, round_id].append("SF311")

    def _post(self, line: httpx.Client, round_id: RoundId, body: bytes, place: int) -> None:
        changed = bytearray(body)
        changed[place // 8] ^= 1 << place % 8
        answer = line.post(
            f"/v1/rounds/{round_id}/contributions",
            content=bytes(changed),
            headers={"content-type": "application/cose"},
        )
        if answer.status_code == 422:
            self.receipts.add(answer.content)
        else:
            code = answer.json()["code"]
            self.answers[code].add((answer.status_code, repr(sorted(answer.headers.items())), answer.content))


def test_the_sender_of_flipped_bits_learns_one_code_and_no_more(simulate: Simulate) -> None:
    """For each code one and the same answer, to the byte; one receipt for all that was wrong behind the signatures."""
    flipping = Flipping()
    with simulate(seed=41, names=NAMES, rounds=ROUNDS[:1], liars={"lake": flipping}, reach=over_http) as world:
        world.run()
        assert len(flipping.answers) > 1
        assert set(flipping.answers) <= {f"SF3{step:02d}" for step in range(1, 8)}
        for code, answers in flipping.answers.items():
            assert len(answers) == 1, code
        assert [said_by(receipt) for receipt in flipping.receipts] == ["SF311"]
        for name in NAMES[:2]:
            assert world.seats[name].labels == {FIRST: tuple(TRUTH.values())}
        hold(world)


def consensus_without_names(world: World) -> bytes:
    """The consensus, after checking that it names no member and no statement."""
    data = world.federation.coordinator.consensus(FIRST)
    said = parse_consensus(parse_signed(data, limits=signed_limits(CONSENSUS_LIMITS)).payload)
    # Any letters may stand in signatures, which are random: those of the message and of the log's checkpoint in it.
    unsigned = encode_consensus(replace(said, log_checkpoint=""))
    for name in NAMES:
        assert name.encode() not in unsigned
    for each in world.transcript.posted(end="server"):
        if each.sent is not None and each.answered is not None:
            digest = taken(each.sent).digest
            assert digest not in data
            assert hex_digest(digest).encode() not in data
    return data


def test_peers_see_a_count_by_code_of_whoever_was_refused(simulate: Simulate) -> None:
    """Who lied, and with what, is not in what the others receive: only how many were refused, by code."""
    liars = {"hill": Equivocating(), "lake": Copying()}
    names = (*NAMES, "moor")
    with simulate(seed=42, names=names, rounds=ROUNDS[:1], liars=liars, reach=over_http) as world:
        world.run()
        assert consensus_without_names(world)
        hold(world)


def test_over_http_a_seed_gives_the_same_world(simulate: Simulate) -> None:
    """The in-process line and HTTP differ in nothing that a member sees: calls, refusals, ends."""
    outlines = []
    for reach in (over_http, None):
        settings = {} if reach is None else {"reach": reach}
        with simulate(seed=43, names=NAMES, rounds=ROUNDS[:1], liars={"lake": Equivocating()}, **settings) as world:
            world.run()
            outlines.append(world.transcript.outline())
    assert outlines[0] == outlines[1]
