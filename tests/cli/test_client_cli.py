"""`semfed client` against a real server on this machine: every step by itself, again, in one process, and refused."""

from __future__ import annotations

import json
import subprocess
import sys
import threading
import time
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import uvicorn

from semfed_secure import cli
from semfed_secure.cli import client as client_commands
from semfed_secure.client import engine
from semfed_secure.client.transport import HttpTransport
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ExitCode, PeerError
from semfed_secure.ids import RoundId
from semfed_secure.server.http import create_app
from semfed_secure.server.service import Service
from semfed_secure.testing import SiteSettings, TableModel
from semfed_secure.units import Mechanism, OutputKind
from tests.client.world import OPEN_PROMPTS, PROMPTS, TEXTS, TRUTH, Words, World, records
from tests.llm.test_remote import Endpoint, serving

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path


class Server:
    """A federation's server on a free port, and the site files that lead to it."""

    def __init__(self, directory: Path) -> None:
        """Found the federation; `running` serves it."""
        self.world = World(directory, clock=SystemClock(), embedder=Words())
        self.url = ""
        self.rounds = 0

    def site(self, member: str = "bay", *, mechanism: Mechanism = Mechanism.DP_SGD, **sections: Any) -> str:
        """A site file whose records lie beside it, in a state directory that nobody used yet."""
        path = self.world.federation.site(member) / "records.jsonl"
        rows = [{"entity_id": r.entity_id, "prompt": r.prompt, "completion": r.completion} for r in records(member)]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        self.rounds += 1
        policy = sections.pop("_policy", None)
        merged = {
            "server": {"url": self.url},
            "site": {"state": f"state-{self.rounds}"},
            "data": {"records": "records.jsonl"},
            "validation": {"file": str(self.world.validation)},
        } | sections
        settings = SiteSettings(mechanism=mechanism, sections=merged, budget="100", policy=policy)
        return str(self.world.federation.site_file(member, settings))

    def open_round(self, **changes: Any) -> str:
        """A new round of votes that closes when it is told to."""
        self.rounds += 1
        name = f"round-{self.rounds}"
        self.world.open_round(name, **{"min_clients": 1} | changes)
        return name

    def close_once_answered(self, names: Sequence[str]) -> None:
        """Close each round when it has a contribution, as an operator would."""
        for name in names:
            while not self.world.federation.coordinator.status(RoundId(name))["admitted"]:
                time.sleep(0.05)
            self.world.federation.close_round(name)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """A server that answers over HTTP while the module's tests run."""
    made = Server(tmp_path_factory.mktemp("federation"))
    federation = made.world.federation
    app = create_app(Service(federation.context, version="test"))
    running = uvicorn.Server(uvicorn.Config(app, host="127.0.0.1", port=0, log_level="error"))
    thread = threading.Thread(target=running.run)
    thread.start()
    while not running.started:
        thread.join(0.01)
    made.url = f"http://127.0.0.1:{running.servers[0].sockets[0].getsockname()[1]}"
    yield made
    running.should_exit = True
    thread.join()


@pytest.fixture(autouse=True)
def _small_model(monkeypatch: pytest.MonkeyPatch) -> None:
    """Local weights are a table: what the commands do does not depend on the model."""
    real = engine.load_model
    monkeypatch.setattr(
        engine, "load_model", lambda site: TableModel(TRUTH) if site.config.model.kind == "local" else real(site)
    )


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Any:
    """Run one command; its exit code and its JSON document."""

    def command(*arguments: str) -> tuple[int, Any]:
        code = cli.main(["client", *arguments, "--json"])
        lines = capsys.readouterr().out.splitlines()
        assert len(lines) <= 1
        return code, json.loads(lines[0]) if lines else None

    return command


def test_the_steps_of_a_pipeline(server: Server, run: Any) -> None:
    """train, contribute, collect, learn: each its own process's work, each safe to repeat, 15 while not ready."""
    site, name = server.site(), server.open_round()
    for _ in range(2):
        code, trained = run("train", "--config", site, "--round", name)
        assert (code, trained["round"], float(trained["epsilon_cost"]) <= 4) == (0, name, True)
    for _ in range(2):
        code, sent = run("contribute", "--config", site, "--round", name)
        assert (code, sent["receipt"]["outcome"]) == (0, "admitted")
    code, early = run("collect", "--config", site, "--round", name)
    assert (code, early["error"]["code"], early["error"]["retryable"]) == (ExitCode.NOT_READY, "SF401", True)
    server.world.federation.close_round(name)
    for _ in range(2):
        code, found = run("collect", "--config", site, "--round", name, "--timeout", "5")
        assert (code, found["agreed"], found["admitted"]) == (0, 6, 1)
    for _ in range(2):
        code, learned = run("learn", "--config", site, "--round", name)
        assert (code, learned["labels"], learned["kept"]) == (0, 6, True)


def test_the_steps_of_a_round_of_texts(server: Server, run: Any) -> None:
    """`contribute` commits, `collect` is 15 until the commitments are closed, then opens; each again is the same."""
    site = server.site(mechanism=Mechanism.UNSAFE_NO_NOISE)
    name = server.open_round(prompts=OPEN_PROMPTS, kind=OutputKind.TEXT)
    for _ in range(2):
        code, sent = run("contribute", "--config", site, "--round", name)
        assert (code, sent["receipt"]["outcome"]) == (0, "committed")
    code, early = run("collect", "--config", site, "--round", name)
    assert (code, early["error"]["code"]) == (ExitCode.NOT_READY, "SF401")
    assert server.world.federation.close_round(name) == "opening"
    for _ in range(2):
        code, found = run("collect", "--config", site, "--round", name, "--timeout", "20")
        assert (code, found["agreed"], found["admitted"], found["rejections"]) == (0, 6, 1, {})
    code, learned = run("learn", "--config", site, "--round", name)
    assert (code, learned["labels"]) == (0, 6)


def test_a_dry_run_says_everything_and_does_nothing(server: Server, run: Any) -> None:
    """Decision, reasons and price; exit 0 for a permit and 10 for a denial; the real step is still to come."""
    site, name = server.site(mechanism=Mechanism.RECORD_HISTOGRAM), server.open_round()
    code, shown = run("contribute", "--config", site, "--round", name, "--dry-run")
    assert (code, shown["dry_run"], shown["decision"]["outcome"]) == (0, True, "permit")
    assert (shown["epsilon_before"], float(shown["epsilon_after"]) > 3) == ("0", True)
    denied = server.site("hill", _policy={"grants": {"actions": ["open_dataset", "join"]}})
    code, shown = run("train", "--config", denied, "--round", name, "--dry-run")
    assert (code, [reason["code"] for reason in shown["decision"]["reasons"]]) == (ExitCode.POLICY, ["ACT-001"])


def test_a_refusal_is_an_error_object_and_exit_10(server: Server, run: Any) -> None:
    """The reasons are in the document; nothing was sent."""
    site, name = (
        server.site("hill", _policy={"grants": {"kinds": ["text"]}}, mechanism=Mechanism.UNSAFE_NO_NOISE),
        server.open_round(),
    )
    code, refused = run("contribute", "--config", site, "--round", name)
    assert (code, refused["error"]["code"]) == (ExitCode.POLICY, "SF201")
    assert [reason["code"] for reason in refused["error"]["fields"]["reasons"]] == ["KIND-001"]


def test_outputs_may_come_from_a_file(server: Server, run: Any, tmp_path: Path) -> None:
    """One JSON line per prompt, in any order; a missing or unknown prompt is SF104, exit 2."""
    site, name = server.site(mechanism=Mechanism.UNSAFE_NO_NOISE), server.open_round()
    rows = [{"id": prompt.id, "output": TRUTH[prompt.text]} for prompt in PROMPTS.prompts[::-1]]
    path = tmp_path / "outputs.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows[1:]))
    code, refused = run("contribute", "--config", site, "--round", name, "--outputs", str(path))
    assert (code, refused["error"]["code"]) == (ExitCode.USAGE, "SF104")
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, sent = run("contribute", "--config", site, "--round", name, "--outputs", str(path))
    assert (code, sent["receipt"]["outcome"]) == (0, "admitted")


def test_a_black_box_behind_an_endpoint_takes_part(server: Server, run: Any, tmp_path: Path) -> None:
    """No weights, no torch: an OpenAI-compatible endpoint chooses among the candidates."""
    endpoint = Endpoint()
    endpoint.chat = lambda question: TRUTH[question.split("\n")[0]]
    key = tmp_path / "key"
    key.write_text("the-key\n")
    with serving(endpoint):
        model = {"kind": "openai", "source": endpoint.url, "name": "m", "api_key_file": str(key)}
        site, name = server.site("lake", mechanism=Mechanism.UNSAFE_NO_NOISE, model=model), server.open_round()
        code, sent = run("contribute", "--config", site, "--round", name)
    assert (code, sent["receipt"]["outcome"]) == (0, "admitted")
    assert len(endpoint.requests) == len(TEXTS)
    assert {asked[2] for asked in endpoint.requests} == {"Bearer the-key"}


@pytest.mark.parametrize("content", [b"\xff\xfe k", b"", "schl\u00fcssel".encode(), b"two words", b"a\nb"])
def test_a_key_that_no_header_carries_is_refused(server: Server, run: Any, tmp_path: Path, content: bytes) -> None:
    """SF101 names the file and nothing of what it holds; nothing was asked."""
    endpoint, key = Endpoint(), tmp_path / "key"
    key.write_bytes(content)
    with serving(endpoint):
        model = {"kind": "openai", "source": endpoint.url, "name": "m", "api_key_file": str(key)}
        site, name = server.site("lake", mechanism=Mechanism.UNSAFE_NO_NOISE, model=model), server.open_round()
        code, refused = run("contribute", "--config", site, "--round", name)
    assert (code, refused["error"]["code"]) == (ExitCode.USAGE, "SF101")
    assert str(key) in refused["error"]["message"]
    assert not endpoint.requests


def test_one_process_takes_part_in_named_rounds(server: Server, run: Any) -> None:
    """`run` trains once, contributes to each round, waits, learns, and ends; started again it has nothing to do."""
    site, first, second = server.site(), server.open_round(), server.open_round()
    closing = threading.Thread(target=server.close_once_answered, args=((first, second),))
    closing.start()
    code, done = run("run", "--config", site, "--round", first, "--round", second)
    closing.join()
    assert code == 0
    assert [row["round"] for row in done["rounds"]] == [first, second]
    assert all(row["receipt"]["outcome"] == "admitted" and row["learned"]["kept"] for row in done["rounds"])
    code, again = run("run", "--config", site, "--round", first, "--round", second)
    assert (code, [row["learned"] for row in again["rounds"]]) == (0, [row["learned"] for row in done["rounds"]])


def test_waiting_for_a_round_is_said_once(server: Server, capsys: pytest.CaptureFixture[str], monkeypatch) -> None:
    """A round that the server does not announce, perhaps misspelt, is named on stderr, not waited for in silence."""
    pauses: list[float] = []

    def pause(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 3:
            raise KeyboardInterrupt

    monkeypatch.setattr(client_commands, "time", SimpleNamespace(sleep=pause, monotonic=time.monotonic))
    assert cli.main(["client", "run", "--config", server.site(), "--round", "typo"]) != 0
    assert len(pauses) == 3
    assert capsys.readouterr().err.count("waiting for round typo") == 1


def test_a_server_that_is_away_is_met_again(server: Server, run: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """`run` waits for a restarting server instead of giving the round up."""
    site, name = server.site(mechanism=Mechanism.UNSAFE_NO_NOISE), server.open_round()
    real, asked = HttpTransport.rounds, [0]

    def away_at_first(transport: HttpTransport) -> Any:
        asked[0] += 1
        if asked[0] < 3:
            raise PeerError("SF341", "nobody answers")
        return real(transport)

    monkeypatch.setattr(HttpTransport, "rounds", away_at_first)
    monkeypatch.setattr("semfed_secure.cli.client.POLL_SECONDS", 0.01)
    closing = threading.Thread(target=server.close_once_answered, args=((name,),))
    closing.start()
    code, done = run("run", "--config", site, "--round", name)
    closing.join()
    assert (code, done["rounds"][0]["receipt"]["outcome"]) == (0, "admitted")


def test_a_refused_round_does_not_end_the_run(server: Server, run: Any) -> None:
    """The refusal is reported with its code, learning goes on, and the exit code is that of the refusal."""
    site = server.site("hill", _policy={"grants": {"kinds": ["text"]}}, mechanism=Mechanism.UNSAFE_NO_NOISE)
    honest, name = server.site("lake", mechanism=Mechanism.UNSAFE_NO_NOISE), server.open_round()
    run("contribute", "--config", honest, "--round", name)
    run("contribute", "--config", site, "--round", name, "--dry-run")
    server.world.federation.close_round(name)
    code, done = run("run", "--config", site, "--round", name)
    (row,) = done["rounds"]
    assert (code, row["error"]["code"], row["receipt"], row["learned"]["labels"]) == (ExitCode.POLICY, "SF201", None, 6)


def test_text_for_people(server: Server, capsys: pytest.CaptureFixture[str]) -> None:
    """Without --json one line says what happened; numbered steps go to stderr."""
    site, name = server.site(mechanism=Mechanism.UNSAFE_NO_NOISE), server.open_round()
    assert cli.main(["client", "contribute", "--config", site, "--round", name]) == 0
    printed = capsys.readouterr()
    assert printed.out == f"{name}: admitted\n"
    assert "release 12" in printed.err.splitlines()


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"server": {"url": "http://127.0.0.1:9"}}, ExitCode.TRANSPORT),
        ({"policy": {"file": "none.yaml"}}, ExitCode.USAGE),
    ],
)
def test_exit_codes_tell_whose_fault_it_is(
    server: Server, run: Any, monkeypatch: pytest.MonkeyPatch, change: dict[str, Any], code: ExitCode
) -> None:
    """20 for an unreachable server, 2 for a file that is not there; one line, no traceback."""
    monkeypatch.setattr("semfed_secure.client.transport.FIRST_PAUSE_SECONDS", 0)
    site = server.site(mechanism=Mechanism.UNSAFE_NO_NOISE, **change)
    exit_code, refused = run("contribute", "--config", site, "--round", "round-1")
    assert (exit_code, "error" in refused) == (code, True)


def test_without_records_there_is_nothing_to_train_on(server: Server, run: Any) -> None:
    """SF101, exit 2."""
    site = server.site(data={})
    code, refused = run("train", "--config", site, "--round", "round-1")
    assert (code, refused["error"]["code"]) == (ExitCode.USAGE, "SF101")


def test_the_commands_load_no_model_stack() -> None:
    """`semfed client --help` works where torch is not installed."""
    code = (
        "import sys; import semfed_secure.cli.client; sys.exit('torch' in sys.modules or 'transformers' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_roster_that_came_past_the_server_is_taken_from_its_file(server: Server, run: Any, tmp_path: Path) -> None:
    """The command names who is revoked; then the running server, which shows the older one, is refused."""
    site, name = server.site(), server.open_round()
    file = tmp_path / "roster"
    file.write_bytes(server.world.federation.sign_roster(2, revoked=["hill"]))
    code, document = run("take-roster", str(file), "--config", site)
    assert (code, document["sequence"], document["revoked"]) == (0, 2, ["hill"])
    code, document = run("collect", "--config", site, "--round", name)
    assert (code, document["error"]["code"]) == (ExitCode.TRUST, "SF322")
    file.write_bytes(server.world.federation.sign_roster(1))
    code, document = run("take-roster", str(file), "--config", site)
    assert (code, document["error"]["code"]) == (ExitCode.TRUST, "SF322")
