"""Gold prompts by the commands: opened, shown to an auditor, and a client's standing reset."""

from __future__ import annotations

import hashlib
import json
from typing import TYPE_CHECKING, Any

from semfed_secure.cli import main
from semfed_secure.errors import ExitCode
from tests.server.files import candidate_options, write_server

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_gold_prompts_are_brought_shown_and_a_standing_is_reset(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    """What the auditor is shown has the digest that the log states; who asks for gold that there is not gets a code."""
    config = write_server(tmp_path)
    (tmp_path / "gold.jsonl").write_text('{"id": "p0", "answer": "heart"}\n')

    def semfed(*words: str, status: int = ExitCode.OK) -> Any:
        assert main([*words, "--config", str(config), "--json"]) == status
        printed = capsys.readouterr()
        return json.loads(printed.out) if status == ExitCode.OK else printed.err

    opening = ("round", "open", "--prompts", str(tmp_path / "votes.jsonl"), "--kind", "votes", *candidate_options())
    assert "SF105" in semfed(*opening, "--id", "r1", "--weights", "anchored", status=ExitCode.USAGE)
    semfed(*opening, "--id", "r1", "--weights", "anchored", "--anchors", str(tmp_path / "gold.jsonl"))
    semfed(*opening, "--id", "r2")

    shown = tmp_path / "shown.jsonl"
    document = semfed("round", "gold", "r1", "--out", str(shown))
    assert document["anchors_digest"] == "sha256:" + hashlib.sha256(shown.read_bytes()).hexdigest()
    assert json.loads(shown.read_text().splitlines()[1]) == {"id": "p0", "answer": "heart"}
    assert "SF105" in semfed("round", "gold", "r2", "--out", str(tmp_path / "none"), status=ExitCode.USAGE)

    reset = semfed("round", "reset-standing", "bay", "--reason", "has a new model")
    assert reset["member"] == "bay"
    assert "SF306" in semfed("round", "reset-standing", "nobody", "--reason", "is unknown", status=ExitCode.TRUST)
