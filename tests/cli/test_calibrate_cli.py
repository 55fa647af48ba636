"""``semfed server calibrate``, and the rounds that are opened by what it wrote."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from semfed_secure.cli import main
from semfed_secure.ids import RoundId, sha256
from semfed_secure.llm.embedding import EmbedderDescription
from semfed_secure.server.config import load_server_config
from semfed_secure.server.service import open_overview
from tests.server.files import write_server
from tests.server.world import WordEmbedder

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

    from semfed_secure.ids import Digest


def calibrated(directory: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file that the command writes of a hundred pairs of each sort."""
    monkeypatch.setattr("semfed_secure.server.calibrations.EmbedderLoader", lambda _source: WordEmbedder)
    letters = "abcdefghij"
    pairs = [(f"{a}{b} one", f"{a}{b} other", True) for a in letters for b in letters]
    pairs += [(f"{a}{b} one", f"x{b}{a} one", False) for a in letters for b in letters]
    (directory / "pairs.jsonl").write_text("".join(json.dumps({"a": a, "b": b, "same": s}) + "\n" for a, b, s in pairs))
    out = directory / "calibration.json"
    words = ["--embedder", "words", "--pairs", str(directory / "pairs.jsonl"), "--out", str(out)]
    assert main(["server", "calibrate", *words, "--max-false-join", "0.1"]) == 0
    return out


def open_text_round(config: Path, weights: Digest, monkeypatch: pytest.MonkeyPatch, *more: str) -> int:
    """Open a round of texts on a server whose embedder has these weights."""
    description = EmbedderDescription("words", weights, 64)
    monkeypatch.setattr("semfed_secure.llm.embedding.describe_embedder", lambda _source: description)
    words = ["--config", str(config), "--kind", "text", "--prompts", str(config.parent / "votes.jsonl")]
    return main(["round", "open", *words, *more, "--json"])


def test_a_calibration_is_printed_written_and_used_by_rounds_with_the_same_weights(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Its threshold is in the manifest; another one on the command line goes before it; other weights are refused."""
    out = calibrated(tmp_path, monkeypatch)
    threshold = json.loads(out.read_text())["similarity_ppm"]
    assert f"similarity_ppm = {threshold}" in capsys.readouterr().out
    config = write_server(tmp_path)
    config.write_text(f'{config.read_text()}[embedder]\nsource = "words"\ncalibration = "calibration.json"\n')
    assert open_text_round(config, WordEmbedder.weights_digest, monkeypatch, "--id", "one") == 0
    assert open_text_round(config, WordEmbedder.weights_digest, monkeypatch, "--id", "two", "--similarity", "0.9") == 0
    assert (_similarity(config, "one"), _similarity(config, "two")) == (threshold, 900_000)
    capsys.readouterr()
    assert open_text_round(config, sha256(b"others"), monkeypatch) == 2
    assert json.loads(capsys.readouterr().out)["error"]["code"] == "SF133"


def test_a_threshold_is_said_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """A calibration and a threshold of one's own contradict each other."""
    config = write_server(tmp_path)
    more = 'similarity_ppm = 1\n[embedder]\nsource = "words"\ncalibration = "calibration.json"\n'
    config.write_text(config.read_text() + more)
    assert main(["round", "status", "--config", str(config)]) == 2
    assert "leave one of them out" in capsys.readouterr().err


def _similarity(config: Path, round_id: str) -> int:
    with open_overview(load_server_config(config)) as overview:
        return overview.store.terms(RoundId(round_id)).manifest.rule.similarity_ppm
