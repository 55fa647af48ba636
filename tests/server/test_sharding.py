"""Who does the work of a round changes nothing: processes or Ray, one shard or many, workers that die."""

from __future__ import annotations

import importlib.util
import json
import os
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import pytest

from semfed_secure.consensus import Vocabulary, evaluate, round_report
from semfed_secure.consensus.sharding import InTurn
from semfed_secure.crypto.key_files import PASSPHRASE_VARIABLE
from semfed_secure.errors import ConsensusError, IntegrityError
from semfed_secure.server.config import ShardingSection
from semfed_secure.server.sharding import BATCH, RoundRunner, Sharding
from semfed_secure.server.workers import Processes
from tests.consensus.evidence import NONCE, rule
from tests.server.sharding_tasks import KillingEmbedder, always_killed, environment, killed_on, refuse, who

if TYPE_CHECKING:
    from collections.abc import Iterator

    from semfed_secure.consensus.sharding import Engine

TERMS = rule(name="semantic_group", min_clients=3, min_support_ppm=400_000, trim_ppm=200_000, weights="agreement")
WORDS = ("calmly", "again", "aloud", "softly", "twice")
ROWS = [
    [f"{'a' if c <= n % 7 else 'bcd'[(n + c) % 3]} speaks {WORDS[(c + n) % 5]}" for n in range(40)] for c in range(7)
]
IDS = [f"p{n}" for n in range(40)]
PASSPHRASE = "opens the keys of this test alone"


@pytest.fixture(scope="module", params=["processes", "ray"])
def engine(request: pytest.FixtureRequest) -> Iterator[Engine]:
    """Two workers of each kind."""
    if request.param == "ray" and importlib.util.find_spec("ray") is None:
        pytest.skip("Ray is not installed")
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv(PASSPHRASE_VARIABLE, PASSPHRASE)
        if request.param == "processes":
            with Processes(2) as processes:
                _start(processes)
                yield processes
            return
        from semfed_secure.server.ray_engine import RayActors

        with RayActors(2) as actors:
            _start(actors)
            yield actors
            directory = actors._directory
    assert directory is None or not Path(directory).exists(), "Ray left files behind"


def _start(engine: Engine) -> None:
    assert os.environ[PASSPHRASE_VARIABLE] == PASSPHRASE  # which is there when workers are started
    assert engine.map(environment, [1, 2]) == [None, None]
    assert os.environ[PASSPHRASE_VARIABLE] == PASSPHRASE


def _round(runner: RoundRunner, model: KillingEmbedder) -> str:
    texts = sorted({text for row in ROWS for text in row} | {f"{n} more" for n in range(2 * BATCH)})
    vectors = runner.embed(model, texts)
    vocabulary = Vocabulary(tuple(texts), vectors, 700_000)
    evidence = runner.text_answers(ROWS, vocabulary, prompt_ids=IDS, nonce=NONCE)
    outcomes, weights = evaluate(evidence, TERMS, runner=runner)
    members = [f"site-{n}" for n in range(len(ROWS))]
    report = round_report(evidence, outcomes, weights, rule=TERMS, members=members, prompt_ids=IDS, runner=runner)
    assert report.agreed
    assert report.contested
    return json.dumps([vectors.tobytes().hex(), outcomes.label.tolist(), outcomes.core.tolist(), report.as_json()])


def test_a_round_with_workers_that_die_has_the_bytes_of_one_in_this_process(engine: Engine, tmp_path: Path) -> None:
    """Two embedding workers are killed as `kill -9` kills; vectors, consensus, weights and influence are the same."""
    model = KillingEmbedder(tmp_path)
    divided = _round(RoundRunner(engine, 7), model)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["batch-0", "batch-1"]
    assert divided == _round(RoundRunner(InTurn(), 1000), model)


def test_a_worker_that_is_killed_over_a_shard_is_replaced(engine: Engine, tmp_path: Path) -> None:
    """Every shard is worked on, and the results stand in their order."""
    assert engine.map(partial(killed_on, tmp_path), range(9)) == [n * n for n in range(9)]
    assert (tmp_path / "shard-3").exists()
    assert os.getpid() not in engine.map(who, range(4))


def test_workers_that_die_again_and_again_are_an_error_with_a_code(engine: Engine) -> None:
    """After three retries nobody goes on trying; the engine can be used again."""
    with pytest.raises(ConsensusError) as caught:
        engine.map(always_killed, [1])
    assert caught.value.code == "SF405"


def test_what_a_worker_refuses_keeps_its_code(engine: Engine) -> None:
    """An error of a task is the task's own."""
    with pytest.raises(IntegrityError) as caught:
        engine.map(refuse, [1, 2])
    assert caught.value.code == "SF521"


@pytest.mark.usefixtures("engine")
def test_workers_inherit_nothing_that_opens_the_keys() -> None:
    """Neither they nor what Ray starts besides have the passphrase in their environment."""
    assert not [path for path in Path("/proc").glob("[0-9]*/environ") if _holds(path)]


def _holds(environ: Path) -> bool:
    try:
        return int(environ.parent.name) != os.getpid() and PASSPHRASE.encode() in environ.read_bytes()
    except OSError:
        return False


def test_no_shards_have_no_results(engine: Engine) -> None:
    """Nothing to do is nothing done."""
    assert engine.map(who, []) == []


class _Counting(KillingEmbedder):
    seen: list[tuple[str, ...]]

    def embed(self, texts):
        """Keep what was asked for."""
        self.seen.append(tuple(texts))
        return np.array([[len(text), sum(map(ord, text))] for text in texts], np.float32)


@pytest.fixture
def counting(monkeypatch: pytest.MonkeyPatch) -> _Counting:
    """An embedder that remembers its batches."""
    monkeypatch.setattr(_Counting, "seen", [], raising=False)
    return _Counting(Path(), dimension=2)


def test_texts_form_the_same_batches_in_whatever_order_they_come(counting: _Counting) -> None:
    """By length, then by alphabet, each text once: an encoder's last bits depend on what stands beside a text."""
    texts = [f"{'x' * (n % 9)}{n}" for n in range(150)]
    with Sharding().runner() as runner:
        vectors = runner.embed(counting, [*texts, *texts])
    batches, counting.seen[:] = [*counting.seen], []
    with Sharding().runner() as runner:
        other = runner.embed(counting, texts[::-1])
    assert counting.seen == batches
    assert [len(batch) for batch in batches] == [64, 64, 22]
    assert [text for batch in batches for text in batch] == sorted(texts, key=lambda text: (len(text), text))
    assert np.array_equal(vectors, np.concatenate([other[::-1]] * 2))


def test_a_batch_is_embedded_once_a_round_and_forgotten_after_it(counting: _Counting) -> None:
    """A second attempt at a consensus embeds nothing; the next round starts from nothing."""
    sharding = Sharding(ShardingSection())
    for _ in range(2):
        with sharding.runner() as runner:
            runner.embed(counting, ["one", "other"])
    assert len(counting.seen) == 1
    sharding.forget()
    with sharding.runner() as runner:
        runner.embed(counting, ["one", "other"])
    assert len(counting.seen) == 2


def test_no_texts_have_no_vectors(counting: _Counting) -> None:
    """A round in which everybody abstained embeds nothing."""
    with Sharding().runner() as runner:
        assert runner.embed(counting, []).shape == (0, 2)
    assert counting.seen == []


_STRANGER = """
import sys
from ray._raylet import GcsClient
print(GcsClient(address=sys.argv[1]).internal_kv_keys(b"", None, timeout=5))
"""


@pytest.mark.parametrize("engine", ["ray"], indirect=True)
def test_ray_listens_on_loopback_only_and_asks_for_a_token(engine: Engine) -> None:
    """Another process of the same user that does not know the token is refused."""
    engine.map(who, [1])
    import ray

    assert [node["NodeManagerAddress"] for node in ray.nodes()] == ["127.0.0.1"]
    command = [sys.executable, "-c", _STRANGER, ray.get_runtime_context().gcs_address]
    stranger = {key: value for key, value in os.environ.items() if not key.startswith("RAY_AUTH")}
    for environ, status in ((stranger, 1), (os.environ, 0)):
        found = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False, env=environ)
        assert found.returncode == status, found.stderr
