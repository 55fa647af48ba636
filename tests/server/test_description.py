"""The OpenAPI document is a document, and tells the truth: every route is asked, every answer is held to it."""

from __future__ import annotations

import json
from functools import cache
from typing import TYPE_CHECKING, Any

import httpx
import pytest
from jsonschema import Draft202012Validator
from openapi_spec_validator import validate

from semfed_secure.errors import PeerError
from semfed_secure.ids import RoundId
from semfed_secure.server.bodies import BusyError
from semfed_secure.server.config import LimitsSection
from semfed_secure.server.http.description import document
from semfed_secure.server.http.problems import COSE, PROBLEM, status_of
from tests.server.serving import listening
from tests.server.test_witnesses import said
from tests.server.world import SITES, World, post, roster_file, votes

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUND = RoundId("round-1")
DESCRIBED = cache(document)


def test_it_is_openapi_3_1() -> None:
    """By the published schema of OpenAPI."""
    validate(DESCRIBED())
    assert DESCRIBED()["openapi"].startswith("3.1")


class Held:
    """Asks a live server, and holds every answer to the description."""

    def __init__(self, client: httpx.Client) -> None:
        self._client = client

    def ask(self, method: str, route: str, *, body: bytes | None = None, kind: str = COSE, **names: Any) -> int:
        """One request by the route's template; the status, which the route describes, as it describes it."""
        query = names.pop("query", None)
        answer = self._client.request(
            method, route.format(**names), params=query, content=body, headers={"content-type": kind} if body else {}
        )
        described = DESCRIBED()["paths"][route][method.lower()]["responses"]
        assert str(answer.status_code) in described, (route, answer.status_code, answer.text)
        response = described[str(answer.status_code)]
        media_type = answer.headers["content-type"].partition(";")[0]
        assert media_type in response["content"], (route, media_type)
        if media_type.endswith("json"):
            hold(answer.json(), response["content"][media_type].get("schema", {}))
        return answer.status_code


def hold(answer: Any, schema: dict[str, Any]) -> None:
    """An answer against a schema of the document."""
    whole = {"$defs": DESCRIBED()["components"]["schemas"], **schema}
    inside = json.loads(json.dumps(whole).replace("#/components/schemas/", "#/$defs/"))
    Draft202012Validator(inside).validate(answer)


@pytest.fixture
def held(tmp_path: Path) -> Iterator[tuple[Held, World]]:
    """A live server whose bucket holds a few hundred requests."""
    world = World(tmp_path, limits=LimitsSection(address_rate=1, address_burst=300))
    with listening(world) as (_, url), httpx.Client(base_url=url, timeout=20) as client:
        yield Held(client), world


CONTRIBUTE = "/v1/rounds/{round_id}/contributions"
TEXT = "text/plain"


def test_every_documented_route_answers_as_documented(held: tuple[Held, World]) -> None:
    """Each of them, when it goes well and when it does not."""
    server, world = held
    manifest = world.open()
    hidden = manifest.prompt_set_digest.hex()
    world.publish_roster(roster_file(sequence=2, witnesses=["judge"]))
    world.server.advance()
    asked = {
        ("GET", "/v1/rounds"): [({}, 200)],
        ("GET", "/v1/rounds/{round_id}"): [({"round_id": ROUND}, 200), ({"round_id": "none"}, 404)],
        ("GET", "/v1/rounds/{round_id}/status"): [({"round_id": ROUND}, 200), ({"round_id": "none"}, 404)],
        ("GET", "/v1/rounds/{round_id}/consensus"): [({"round_id": ROUND}, 409), ({"round_id": "none"}, 404)],
        ("GET", "/v1/rounds/{round_id}/consensus/proof"): [({"round_id": ROUND}, 409), ({"round_id": "none"}, 404)],
        ("GET", "/v1/rounds/{round_id}/commitments"): [({"round_id": ROUND}, 409), ({"round_id": "none"}, 404)],
        ("GET", "/v1/prompts/{digest}"): [
            ({"digest": hidden}, 200),
            ({"digest": "00" * 32}, 404),
            ({"digest": "zz"}, 404),
        ],
        ("GET", "/v1/roster"): [({}, 200)],
        ("GET", "/v1/log/checkpoint"): [({}, 200)],
        ("GET", "/v1/log/consistency"): [
            ({"query": {"old": 0, "new": 1}}, 200),
            ({"query": {"old": 9, "new": 1}}, 404),
            ({"query": {"old": "x", "new": 1}}, 400),
            ({}, 400),
        ],
        ("GET", "/v1/log/tile/{path}"): [
            ({"path": "0/000.p/1"}, 200),
            ({"path": "0/999"}, 404),
            ({"path": "0/1"}, 400),
        ],
        ("POST", "/v1/log/cosignatures"): [
            ({"body": said(world, "judge"), "kind": TEXT}, 200),
            ({"body": said(world, "stranger"), "kind": TEXT}, 403),
            ({"body": b"garbage", "kind": TEXT}, 400),
            ({"body": bytes(9_000), "kind": TEXT}, 413),
            ({"body": said(world, "judge")}, 415),
        ],
        ("GET", "/v1/openapi.json"): [({}, 200)],
        ("GET", "/healthz"): [({}, 200)],
        ("GET", "/readyz"): [({}, 200)],
        ("GET", "/metrics"): [({}, 200)],
        ("POST", CONTRIBUTE): [
            ({"round_id": ROUND, "body": post("bay", manifest)}, 201),
            ({"round_id": ROUND, "body": post("hill", manifest, votes(9))}, 422),
            ({"round_id": ROUND, "body": b"garbage"}, 400),
            ({"round_id": ROUND, "body": post("stranger", manifest)}, 403),
            ({"round_id": ROUND, "body": bytes(1_000_000)}, 413),
            ({"round_id": ROUND, "body": b"a=b", "kind": "application/x-www-form-urlencoded"}, 415),
            ({"round_id": "none", "body": b"x"}, 404),
        ],
    }
    described = {(verb.upper(), path) for path, verbs in DESCRIBED()["paths"].items() for verb in verbs}
    assert described == set(asked), "a route without a question"
    for (method, route), questions in asked.items():
        for names, status in questions:
            assert server.ask(method, route, **names) == status, (method, route, names)


def test_a_round_that_ended_answers_as_documented(held: tuple[Held, World]) -> None:
    """The consensus, and the code of a round that will have none."""
    server, world = held
    for name in ("round-1", "round-2"):
        manifest = world.open(name)
        if name == "round-1":
            for site in SITES:
                world.server.receive(RoundId(name), post(site, manifest))
            world.server.advance()
    world.server.abort_round(RoundId("round-2"), "a test")
    assert server.ask("GET", "/v1/rounds/{round_id}/consensus", round_id="round-1") == 200
    assert server.ask("GET", "/v1/rounds/{round_id}/consensus/proof", round_id="round-1") == 200
    assert server.ask("GET", "/v1/rounds/{round_id}/consensus", round_id="round-2") == 410
    assert server.ask("GET", "/v1/rounds/{round_id}/status", round_id="round-2") == 200


@pytest.mark.parametrize(
    ("raised", "status"),
    [(BusyError(), 503), (PeerError("SF322", "expired"), 503), (RuntimeError("a defect"), 500), (OSError("disk"), 500)],
    ids=["busy", "no roster", "defect", "other"],
)
def test_what_goes_wrong_inside_is_answered_as_documented(
    held: tuple[Held, World], monkeypatch: pytest.MonkeyPatch, raised: Exception, status: int
) -> None:
    """Every route gives the same form of answer, and says nothing of what it was."""
    server, _ = held

    def failing(*_: object, **__: object) -> Any:
        raise raised

    monkeypatch.setattr("semfed_secure.server.rosters.RosterKeeper.data", failing)
    monkeypatch.setattr("semfed_secure.audit.log.AuditLog.checkpoint", failing)
    monkeypatch.setattr("semfed_secure.server.coordinator.Coordinator.rounds", failing)
    for route in ("/v1/roster", "/v1/log/checkpoint", "/v1/rounds"):
        assert server.ask("GET", route) == status
        assert "defect" not in server._client.get(route).text


def test_every_route_may_answer_that_one_asks_too_often(held: tuple[Held, World]) -> None:
    """429, documented everywhere but where somebody watches over the process."""
    server, _ = held
    for path, verbs in DESCRIBED()["paths"].items():
        for verb in verbs:
            while server._client.get("/v1/rounds").status_code == 200:  # again: one more is allowed each second
                pass
            body = b"x" if verb == "post" else None
            names = {"round_id": ROUND, "digest": "zz", "path": "0"}
            assert server.ask(verb.upper(), path, body=body, **names) == (200 if path == "/healthz" else 429)


def test_nothing_is_answered_but_problem_documents_and_what_is_described(held: tuple[Held, World]) -> None:
    """Paths and methods that there are not: the framework's own answers have the same form."""
    server, _ = held
    schema = DESCRIBED()["components"]["schemas"]["Problem"]
    for method, path, status in (
        ("GET", "/nothing", 404),
        ("GET", "/v1/rounds/", 404),
        ("DELETE", "/v1/rounds", 405),
        ("HEAD", "/v1/roster", 405),
        ("POST", "/healthz", 405),
        ("OPTIONS", "/v1/rounds", 405),
    ):
        answer = server._client.request(method, path)
        assert (answer.status_code, answer.headers["content-type"]) == (status, PROBLEM), path
        if method != "HEAD":
            Draft202012Validator(schema).validate(answer.json())


def flipped(body: bytes, at: int) -> bytes:
    """The body with one bit flipped, counted from the end where negative."""
    changed = bytearray(body)
    changed[at] ^= 1
    return bytes(changed)


def test_whatever_failed_in_a_signature_the_answer_is_the_same(held: tuple[Held, World]) -> None:
    """The classical one, the other, another member's key: the very same bytes, no answer tells how near."""
    server, world = held
    manifest = world.open()
    good = post("bay", manifest)
    signatures = range(600, 4_500, 130)
    answers = {
        server._client.post(CONTRIBUTE.format(round_id=ROUND), content=body, headers={"content-type": COSE}).content
        for body in (*(flipped(good, at) for at in signatures), post("bay", manifest, signer="hill"))
        if admitted_code(body, world) == "SF307"
    }
    assert len(answers) == 1
    assert json.loads(answers.pop())["status"] == status_of("SF307")


def admitted_code(body: bytes, world: World) -> str:
    """What the coordinator says of a body."""
    try:
        return str(world.server.receive(ROUND, body))
    except PeerError as refusal:
        return refusal.code
