"""``semfed round open`` of a round of proposals, and of the round of votes on what it published."""

from __future__ import annotations

import json
import shutil
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.cli import main
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConsensusError, ExitCode
from semfed_secure.identity.federation_files import ROOT_FILE, ROSTER_FILE
from semfed_secure.ids import RoundId, hex_digest
from tests.client.world import MEMBERS, OPEN_PROMPTS, Words, World, records

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SERVER = f"""
[server]
federation = "test-federation"
member = "server"
database = "server/server.db"

[identity]
keys = "server/keys"
passphrase_file = "passphrase"

[federation]
root = "{ROOT_FILE}"
roster = "{ROSTER_FILE}"

[embedder]
source = "words"

[rounds]
min_clients = 2
similarity_ppm = 700000
"""


@pytest.fixture
def world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[World]:
    """A federation whose server has a server file, and an embedder that needs no weights."""
    monkeypatch.setattr("semfed_secure.llm.embedding.describe_embedder", lambda _source: Words())
    made = World(tmp_path, clock=SystemClock(), embedder=Words())
    directory = made.federation.directory
    made.federation.site_file("bay")  # writes the passphrase's file
    (directory / "server.toml").write_text(SERVER)
    rows = [{"id": prompt.id, "prompt": prompt.text} for prompt in OPEN_PROMPTS.prompts]
    (directory / "titles.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    yield made
    made.federation.close()


def opened(world: World, capsys: pytest.CaptureFixture[str], *words: str) -> tuple[int, dict[str, Any]]:
    """Exit status and document of `semfed round open`; the round's key is put where the test's server looks."""
    directory = world.federation.directory
    status = main(["round", "open", "--config", str(directory / "server.toml"), "--json", *words])
    for path in (directory / "server" / "keys" / "rounds").glob("*.key"):
        (directory / "server" / "rounds").mkdir(mode=0o700, exist_ok=True)
        shutil.move(path, directory / "server" / "rounds" / path.name)
    return status, json.loads(capsys.readouterr().out)


def test_what_a_round_proposed_is_voted_on_by_naming_it(world: World, capsys: pytest.CaptureFixture[str]) -> None:
    """`--proposals` forms candidates, `--candidates-from` asks for votes on them, and the manifest says so."""
    prompts = ("--prompts", str(world.federation.directory / "titles.jsonl"))
    status, document = opened(
        world, capsys, "--kind", "text", "--proposals", *prompts, "--id", "asked", "--max-candidates", "4"
    )
    assert (status, document["prompt_set_digest"]) == (0, hex_digest(OPEN_PROMPTS.digest))
    rule = world.federation.coordinator.store.terms(RoundId("asked")).manifest.rule
    assert (rule.name, rule.max_candidates, rule.min_support_ppm, rule.min_margin_ppm) == ("proposals", 4, 0, 0)
    for member in MEMBERS[:2]:
        with world.client(member) as client, client.join("asked") as joined:
            joined.train(records(member))
            joined.contribute([f"{member} {n}" for n in range(6)])
    world.federation.close_round("asked")
    for member in MEMBERS[:2]:
        with world.client(member) as client, client.join("asked") as joined, suppress(ConsensusError):
            joined.wait_for_consensus()
    assert world.federation.close_round("asked") == "published"
    status, document = opened(world, capsys, "--kind", "votes", "--candidates-from", "asked", "--id", "voted")
    assert (status, document["prompts"]) == (0, 6)
    manifest = world.federation.coordinator.store.terms(RoundId("voted")).manifest
    assert (manifest.candidates_from.round_id, manifest.rule.max_candidates) == ("asked", 0)
    with world.client("lake") as client:
        candidates = {frozenset(prompt.candidates) for prompt in client.join("voted").prompts.prompts}
        assert candidates == {frozenset({f"bay {n}", f"hill {n}"}) for n in range(6)}
    assert opened(world, capsys, "--kind", "votes", "--candidates-from", "voted")[0] == ExitCode.NOT_READY


@pytest.mark.parametrize(
    ("words", "status"),
    [
        (("--kind", "votes"), ExitCode.USAGE),
        (("--kind", "votes", "--candidates-from", "asked", "--prompts", "titles.jsonl"), ExitCode.USAGE),
        (("--kind", "votes", "--candidates-from", "asked", "--candidate", "yes"), ExitCode.USAGE),
        (("--kind", "votes", "--candidates-from", "asked"), ExitCode.TRUST),
    ],
    ids=["neither", "both", "labels-of-its-own", "no-such-round"],
)
def test_prompts_come_from_a_file_or_from_a_round(
    world: World, capsys: pytest.CaptureFixture[str], words: tuple[str, ...], status: ExitCode
) -> None:
    """Exactly one of the two, and nothing is added to what was published."""
    assert opened(world, capsys, *words)[0] == status
