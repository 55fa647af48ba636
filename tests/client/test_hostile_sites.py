"""Hostile parameters and data end as coded refusals of a whole site, by its file, its commands and its API alike."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure import Client, cli
from semfed_secure.client import engine
from semfed_secure.client.site import ADAPTERS
from semfed_secure.client.transport import HttpTransport
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError, ExitCode
from semfed_secure.llm.model import Record
from semfed_secure.testing import TableModel, TransportWrapper
from tests.client.world import DP, HISTOGRAM, ROUND, TRUTH, World, charges, events, outbox, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from semfed_secure.ids import RoundId
    from semfed_secure.units import Mechanism

PARAMETERS: list[tuple[str, str, Any]] = [
    *[("privacy", "epsilon", value) for value in ("0", "-1", "NaN", "Infinity", "1001")],
    *[("privacy", "delta", value) for value in ("0", "-1e-6", "1", "2", "NaN", "Infinity")],
    ("privacy", "noise_multiplier", 0),
    ("training", "clip_norm", 0),
    ("training", "steps", 0),
    ("training", "expected_entities", 1001),
    ("training", "sample_rate", 1.5),
    ("data", "population_bound", 0),
    ("data", "max_records_per_entity", 0),
]
DATA = {
    "no record": (),
    "one record": records("bay", entities=1),
    "one entity with all records": tuple(Record("bay-0", row.prompt, row.completion) for row in records("bay")),
    "records of nobody": tuple(Record("", row.prompt, row.completion) for row in records("bay")),
}


class Posted(TransportWrapper):
    """Counts what leaves the site."""

    bodies = 0

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Count, and pass on."""
        self.bodies += 1
        return super().post(round_id, body)


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> Iterator[World]:
    """A federation with an open round, for all cases: a refused one leaves nothing in it."""
    made = World(tmp_path_factory.mktemp("hostile"), clock=SystemClock())
    made.open_round(min_clients=1, closes_in_seconds=3600)
    yield made
    made.federation.close()


@pytest.fixture
def posted(world: World, monkeypatch: pytest.MonkeyPatch) -> Posted:
    """The way that every client of a test takes to the server."""
    transport = Posted(world.federation.transport())
    monkeypatch.setattr(HttpTransport, "to", lambda *_given: transport)
    monkeypatch.setattr(engine, "load_model", lambda _site: TableModel(TRUTH))
    return transport


def site_file(world: World, state: str, mechanism: Mechanism = DP, **sections: Any) -> Path:
    """The file of a site whose state directory nobody used yet."""
    settings = world.settings(mechanism, budget="100", sections={"site": {"state": state}} | sections)
    return world.federation.site_file("bay", settings)


@pytest.mark.parametrize(("section", "name", "value"), PARAMETERS)
@pytest.mark.usefixtures("posted")
def test_a_site_with_a_hostile_parameter_is_not_opened(
    world: World, tmp_path: Path, capsys: pytest.CaptureFixture[str], section: str, name: str, value: Any
) -> None:
    """SF101, exit 2, naming the field: nothing is opened, so that nothing can be spent or sent."""
    path = site_file(world, str(tmp_path / "state"), **{section: {name: value}})
    with pytest.raises(ConfigurationError) as caught:
        Client.open(path)
    code = cli.main(["client", "train", "--config", str(path), "--records", str(tmp_path / "none"), "--json"])
    refused = json.loads(capsys.readouterr().out)["error"]
    assert (caught.value.code, code, refused["code"]) == ("SF101", ExitCode.USAGE, "SF101")
    expected = "expected_entities must be at most" if name == "expected_entities" else f"{section}.{name}"
    assert expected in refused["message"]
    assert expected in caught.value.message
    assert not (tmp_path / "state").exists()


@pytest.mark.parametrize("own", DATA)
@pytest.mark.parametrize("mechanism", [DP, HISTOGRAM])
def test_data_of_fewer_than_two_entities_cost_and_release_nothing(
    world: World, posted: Posted, tmp_path: Path, capsys: pytest.CaptureFixture[str], mechanism: Mechanism, own: str
) -> None:
    """SF142, exit 2: the entry says that it failed; no charge, no adapter, nothing on its way."""
    path, file = site_file(world, str(tmp_path / "state"), mechanism), tmp_path / "records.jsonl"
    rows = [{"entity_id": row.entity_id, "prompt": row.prompt, "completion": row.completion} for row in DATA[own]]
    file.write_text("".join(json.dumps(row) + "\n" for row in rows))
    step = "train" if mechanism is DP else "contribute"
    with Client.open(path) as client:
        joined = client.join(ROUND)
        with pytest.raises(ConfigurationError) as caught:
            joined.train(DATA[own]) if mechanism is DP else joined.contribute(records=DATA[own])
    code = cli.main(["client", step, "--config", str(path), "--round", ROUND, "--records", str(file), "--json"])
    refused = json.loads(capsys.readouterr().out)["error"]
    assert (caught.value.code, code, refused["code"]) == ("SF142", ExitCode.USAGE, "SF142")
    with Client.open(path) as client:
        assert (charges(client), outbox(client), posted.bodies) == ([], [], 0)
        seen = {kind for kind, _ in events(client)}
        assert "dataset.opened" in seen
        assert not seen & {"budget.reserved", "training.started", "bundle.released"}
    assert not list((tmp_path / "state").glob(f"{ADAPTERS}/*"))


def test_the_same_site_trains_and_contributes_on_honest_data(world: World, posted: Posted, tmp_path: Path) -> None:
    """What the cases above are refused for is what was changed in them."""
    with Client.open(site_file(world, str(tmp_path / "state"))) as client:
        joined = client.join(ROUND)
        joined.train(records("bay"))
        joined.contribute()
        assert [row.state for row in charges(client)] == ["committed"]
    assert posted.bodies == 1
