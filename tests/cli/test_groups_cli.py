"""A round of several consensuses by the commands: opened by the file's groups, watched and reported by group."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING, Any

from semfed_secure.cli import main
from semfed_secure.errors import ExitCode
from semfed_secure.ids import RoundId
from semfed_secure.server.config import load_server_config
from semfed_secure.server.service import open_service
from tests.server.files import candidate_options, write_server
from tests.server.world import SITES, post, votes

if TYPE_CHECKING:
    from pathlib import Path

    import pytest

GROUPS = '[rounds.groups]\nhealthcare = ["moor", "north", "lake"]\nfinance = ["bay", "hill"]\n'


def test_a_round_by_group_is_opened_watched_and_reported(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """Without groups in the file, or with a client in none, no round opens; the report has a part for each group."""
    config = write_server(tmp_path)

    def semfed(*words: str, status: int = ExitCode.OK, text: bool = False) -> Any:
        assert main([*words, "--config", str(config), *(() if text else ("--json",))]) == status
        printed = capsys.readouterr()
        if text:
            return printed.out
        return json.loads(printed.out) if status == ExitCode.OK else printed.err

    prompts = ("--prompts", str(tmp_path / "votes.jsonl"), "--kind", "votes", "--min-clients", "2")
    opening = ("round", "open", *prompts, *candidate_options(), "--id", "r1", "--by-group")
    assert "[rounds.groups]" in semfed(*opening, status=ExitCode.USAGE)
    written = config.read_text()
    config.write_text(written + GROUPS.replace('"lake"', '"north"'))
    assert "nobody twice" in semfed(*opening, status=ExitCode.USAGE)
    config.write_text(written + GROUPS.replace(', "lake"', ""))
    assert "lake stand in no group" in semfed(*opening, status=ExitCode.USAGE)
    config.write_text(written + GROUPS)
    semfed(*opening)

    with open_service(load_server_config(config), environ=os.environ, version="0") as service:
        manifest = service.coordinator.store.terms(RoundId("r1")).manifest
        assert [(group.name, group.members) for group in manifest.groups] == [
            ("finance", ("bay", "hill")),
            ("healthcare", ("lake", "moor", "north")),
        ]
        service.coordinator.advance()
        for name in SITES:
            payload = votes() if name in {"bay", "hill"} else votes(1, 2, 3, 0, 1, 2)
            assert service.coordinator.receive(RoundId("r1"), post(name, manifest, payload)).admitted
        service.coordinator.advance()

    shown = semfed("round", "status", "r1", text=True)
    assert "group finance: agreed 6, contested 0, too few 0" in shown
    assert "group healthcare: agreed 6, contested 0, too few 0" in shown
    out = tmp_path / "report"
    document = semfed("round", "report", "r1", "--out", str(out))
    assert sorted(path.name for path in out.iterdir()) == sorted(document["files"])
    assert {"finance-support.svg", "healthcare-support.svg"} <= set(document["files"])
    assert all(found.startswith(("finance: ", "healthcare: ")) for found in document["findings"])
    text = (out / "report.md").read_text()
    assert "# Round r1, group finance" in text
    assert all(f"]({path.name})" in text for path in out.glob("*.svg"))
