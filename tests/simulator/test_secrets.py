"""Nothing that leaves a process during a whole round holds a private key, a passphrase, a salt or somebody's answer.

The objects in memory have a test of their own (tests/client/test_secrets.py); here it is what they write, send, log,
print and raise. A search that finds nothing proves nothing, so each place is searched once more with a secret planted.
"""

from __future__ import annotations

import logging
import secrets
import traceback
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import dataclass, field
from io import StringIO
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
from starlette.testclient import TestClient

from semfed_secure import cli
from semfed_secure.client import release
from semfed_secure.client.transport import HttpTransport
from semfed_secure.crypto.key_files import load_signing_key
from semfed_secure.errors import IntegrityError, SemfedError
from semfed_secure.identity.member_files import SIGNING_FILE, load_member_keys
from semfed_secure.server.http import create_app
from semfed_secure.server.service import Service
from semfed_secure.storage import Database, round_rows
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import encode_contribution, parse_contribution, parse_payload
from tests.secrets_held import forms, seeds_of
from tests.simulator.members import Honest
from tests.simulator.world import FIRST, ROUNDS, TEXTS, TRUTH, Phase, World

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import httpx
    from numpy.typing import NDArray

    from semfed_secure.storage import Transaction
    from semfed_secure.storage.round_rows import ContributionRow
    from semfed_secure.testing import LocalFederation
    from tests.simulator.seats import Seat

NAMES = ("bay", "hill", "lake")
PRIVATE = {"bay": "quaint magenta xylophone", "hill": "brisk turquoise accordion", "lake": "lofty vermilion bassoon"}
"""What each member alone answers to the first phrase: no consensus comes of it, so nobody but the server may see it."""


@dataclass(repr=False)
class Heard:
    """Everything that came out of a round, by the place that it came out of."""

    world: World
    places: dict[str, bytes] = field(default_factory=dict)
    keys: list[bytes] = field(default_factory=list)
    """Private keys and the passphrase: nowhere."""
    salts: list[bytes] = field(default_factory=list)
    payloads: list[bytes] = field(default_factory=list)
    """What the server opened: in its database until the round ended."""
    before_opening: dict[str, bytes] = field(default_factory=dict)
    """What lay on all disks, and was sent, when everybody had committed and nobody had opened."""

    def add(self, place: str, output: bytes | str) -> None:
        """Keep one output."""
        self.places[place] = output if isinstance(output, bytes) else output.encode(errors="surrogateescape")


class Noting:
    """The generator of all sites; what it gives is noted."""

    def __init__(self, given: list[bytes]) -> None:
        """Note in ``given``."""
        self._given = given

    def token_bytes(self, count: int) -> bytes:
        """Unpredictable, as in production."""
        self._given.append(secrets.token_bytes(count))
        return self._given[-1]


class Telling(Honest):
    """Honest, with an answer of its own to one prompt."""

    def __init__(self, name: str, before_opening: Callable[[], None]) -> None:
        """Call ``before_opening`` when everybody has committed."""
        self.knows = TRUTH | {TEXTS[0]: PRIVATE[name]}
        self._before_opening = before_opening

    def play(self, seat: Seat) -> Iterator[Phase]:
        """Look around before opening."""
        looked = False
        for phase in super().play(seat):
            if phase is Phase.OPENING and not looked:
                yield phase
                self._before_opening()
                looked = True
            yield phase


def files_of(directory: Path) -> dict[str, bytes]:
    """Every file below a directory, but the one that holds the passphrase on purpose."""
    return {
        f"file {path.relative_to(directory)}": path.read_bytes()
        for path in sorted(directory.rglob("*"))
        if path.is_file() and path.name != "passphrase"
    }


def found(hidden: list[bytes], places: dict[str, bytes]) -> set[str]:
    """Where one of the secrets shows: as it is, as hex, base64 or Python prints it, whole or half."""
    patterns: set[bytes] = set()
    for secret in hidden:
        halves = (secret, secret[: len(secret) // 2], secret[len(secret) // 2 :])
        patterns |= {secret, *(form.encode() for half in halves for form in forms(half) if len(half) >= 8)}
    beginnings = np.array(sorted({int.from_bytes(pattern[:8], "little") for pattern in patterns}), np.uint64)
    return {
        place
        for place, output in places.items()
        if np.isin(_windows(output), beginnings).any() and any(pattern in output for pattern in patterns)
    }


def _windows(output: bytes) -> NDArray[np.uint64]:
    """Each eight neighbouring bytes as one number, so that thousands of patterns are looked for at once."""
    data = np.frombuffer(output, np.uint8).astype(np.uint64)
    count = max(len(data) - 7, 0)
    shifted = [data[at : at + count] << np.uint64(8 * at) for at in range(8)]
    return np.bitwise_or.reduce(shifted) if count else np.zeros(0, np.uint64)


@pytest.fixture(scope="module")
def heard(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Heard]:
    """A round of texts over HTTP, from its announcement to every command that looks at it afterwards."""
    logged = logging.StreamHandler(StringIO())
    logger = logging.getLogger()
    logger.addHandler(logged)
    level = logger.level
    logger.setLevel(logging.DEBUG)
    held: Heard

    def reach(federation: LocalFederation) -> HttpTransport:
        return HttpTransport("http://testserver", client=client_of(held, federation), sleep=lambda _: None)

    def look() -> None:
        if not held.before_opening:  # by the first to open
            held.before_opening |= files_of(held.world.directory) | spoken(held.world)

    held = Heard(
        World(
            tmp_path_factory.mktemp("secrets") / "world",
            names=NAMES,
            rounds=ROUNDS[:1],
            kind=OutputKind.TEXT,
            reach=reach,
        )
    )
    world = held.world
    world.randomness = Noting(held.salts)
    world.strategies = {name: Telling(name, look) for name in NAMES}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(round_rows, "settle_contribution", noting(held.payloads))
        world.run()
    for directory in (*(world.federation.site(name) for name in NAMES), world.federation.directory / "server"):
        held.keys += seeds_of(load_member_keys(directory / "keys", PASSPHRASE))
    root_key = load_signing_key(world.federation.directory / "root-1.key", PASSPHRASE).export_secret()
    of_round = world.federation.context.round_keys.of(FIRST)
    assert of_round is None, "a key that is not destroyed opens more than was admitted"
    held.keys += [root_key[:32], root_key[32:], PASSPHRASE]
    commands(held)
    provoked(held)
    for place, output in (files_of(world.directory) | spoken(world)).items():
        held.add(place, output)
    held.add("logging", logged.stream.getvalue())
    logger.removeHandler(logged)
    logger.setLevel(level)
    yield held
    world.close()


def client_of(held: Heard, federation: LocalFederation) -> httpx.Client:
    """The server's real application without a socket between; its answers are kept, with their headers."""
    client = TestClient(create_app(Service(federation.context, version="test")), raise_server_exceptions=False)

    def keep(response: httpx.Response) -> None:
        response.read()
        held.add(f"response {len(held.places)}", repr(response.headers.raw).encode() + response.content)

    client.event_hooks["response"].append(keep)
    for path in ("/metrics", "/healthz", "/readyz", "/v1/openapi.json", f"/v1/rounds/{FIRST}/status", "/v1/rounds/x"):
        client.get(path)
    return client


def spoken(world: World) -> dict[str, bytes]:
    """Every message, as it was sent and answered."""
    exchanges = enumerate(world.transcript.exchanges)
    return {f"message {number}": (each.sent or b"") + (each.answered or b"") for number, each in exchanges}


def noting(payloads: list[bytes]) -> Callable[[Transaction, ContributionRow], bool]:
    """Store what was opened, and keep a copy."""
    real = round_rows.settle_contribution

    def settle(tx: Transaction, row: ContributionRow) -> bool:
        if row.payload is not None:
            payloads.append(row.payload)
        return real(tx, row)

    return settle


def commands(held: Heard) -> None:
    """Commands that look at what is there, and the same with things that are wrong."""
    base = held.world.federation.directory
    site, exported = base / "sites" / "bay", held.world.directory / "exported"
    passphrase = ("--passphrase-file", str(base / "passphrase"))
    for words in (
        ("audit", "verify", site / "state"),
        ("audit", "list", site / "state"),
        ("audit", "list", base / "server"),
        ("audit", "show", site / "state", "1"),
        ("audit", "export", site / "state", "--out", exported / "site"),
        ("audit", "export", base / "server", "--out", exported / "server"),
        ("audit", "report", site / "state", "--out", exported / "report.html"),
        ("budget", "show", "--config", site / "site.toml"),
        ("keys", "show", site / "keys"),
        ("federation", "roster", base),
        ("federation", "add-member", base, site / "keys" / SIGNING_FILE, *passphrase),
        ("federation", "roster", site / "keys"),
        ("client", "contribute", "--config", site / "keys" / SIGNING_FILE, "--round", FIRST),
        ("round", "status", "--config", base / "passphrase", FIRST),
        ("keys", "show", site / "keys" / SIGNING_FILE),
        ("audit", "verify", site / "keys" / SIGNING_FILE),
    ):
        for form in ((), ("--json",)):
            out = StringIO()
            with redirect_stdout(out), redirect_stderr(out):
                cli.main([*map(str, words), *form])
            held.add(f"command {' '.join(map(str, words[:2]))} {len(held.places)}", out.getvalue())


def provoked(held: Heard) -> None:
    """Tracebacks with all local variables, of faults in the places where secrets are at hand."""
    world = held.world
    keys, coordinator = world.federation.site("bay") / "keys", world.federation.coordinator
    body = world.transcript.posted(end="server", member="bay")[-1].sent or b""
    whole = parse_contribution(body)
    broken = encode_contribution(type(whole)(whole.statement, (whole.sealed[0][:-1] + b"\0",)))
    world.open_round(ROUNDS[1])
    of_round = world.federation.context.round_keys.of(ROUNDS[1])
    assert of_round is not None
    held.keys.append(of_round.export_secret())
    for function in ("seal", "sign", "keep_finished"):
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(release, function, _full_disk)
            act = lambda: world.seats["bay"].client(TRUTH).join(ROUNDS[1]).contribute()  # noqa: E731
            keep_tracebacks(held, [(f"release {function}", act)])
    keep_tracebacks(
        held,
        [
            ("passphrase", lambda: load_member_keys(keys, PASSPHRASE[:-1] + b"!")),
            ("damaged", lambda: coordinator.receive(FIRST, broken[:-40])),
            ("late", lambda: coordinator.receive(ROUNDS[1], body)),
            ("read-only", lambda: Database.open_read_only(keys / SIGNING_FILE)),
        ],
    )


def _full_disk(*_: object, **__: object) -> Any:
    raise IntegrityError("SF502", "the disk is full")


def keep_tracebacks(held: Heard, acts: list[tuple[str, Callable[[], Any]]]) -> None:
    """Let each act fail, and keep what a tool that prints local variables would show of it."""
    for name, act in acts:
        with pytest.raises(SemfedError) as caught:
            act()
        shown = traceback.TracebackException.from_exception(caught.value, capture_locals=True)
        ours = [frame for frame in shown.stack if "semfed_secure" in frame.filename]
        assert ours, name
        lines = [f"{variable} = {value}" for frame in ours for variable, value in (frame.locals or {}).items()]
        held.add(f"traceback {name}", "\n".join([*lines, str(caught.value), repr(caught.value.fields)]))


def test_the_round_went_as_planned(heard: Heard) -> None:
    """Everybody was admitted, nobody's own answer was agreed, and every kind of place was searched."""
    assert len(heard.payloads) == len(NAMES)
    assert {seat.labels[FIRST] for seat in heard.world.seats.values()} == {(None, *list(TRUTH.values())[1:])}
    for text in PRIVATE.values():
        assert any(text.encode() in payload for payload in heard.payloads)
    for kind in ("file", "message", "response", "command", "traceback", "logging"):
        assert any(place.startswith(kind) for place in heard.places), kind
    assert len(heard.before_opening) > 20


def test_no_private_key_and_no_passphrase_is_in_any_output(heard: Heard) -> None:
    """Not on disk, on the wire, in a log, in an answer of a command, nor in a traceback with its variables."""
    assert len(heard.keys) > 20  # three sites, the server with a key of a round, the root
    where = found(heard.keys, heard.places)
    assert where == set()


def test_no_salt_is_anywhere_before_it_is_opened(heard: Heard) -> None:
    """A commitment hides what it commits to as long as its salt is known to nobody, its own disk included."""
    assert {parse_payload(payload).salt for payload in heard.payloads} < set(heard.salts)
    where = found(heard.salts, heard.before_opening)
    assert where == set()


def test_answers_and_salts_are_nowhere_when_the_round_has_ended(heard: Heard) -> None:
    """Not in the server's database, which held them before, nor at the site, in a message, a log entry or a report."""
    texts = [text.encode() for text in PRIVATE.values()]
    where = found([*heard.salts, *heard.payloads, *texts], heard.places)
    assert where == set()
    where = found(texts, heard.before_opening)
    assert where == set()


@pytest.mark.parametrize("kind", ["file", "message", "response", "command", "traceback", "logging"])
def test_a_planted_secret_is_found(heard: Heard, kind: str) -> None:
    """In every kind of place and in every form: what the searches above would have missed they would not prove."""
    place = next(each for each in heard.places if each.startswith(kind))
    for secret in (heard.keys[0], heard.salts[0]):
        for form in (secret, *(text.encode() for text in forms(secret)), secret[16:].hex().encode()):
            planted = {place: heard.places[place][:50] + form + heard.places[place][50:1_000]}
            where = found([secret], planted)
            assert where == {place}
