"""Flip any byte of a finished federation that a digest or signature covers: exit 12 or 13, a code, no traceback.

12 where our own records are damaged, 13 where something that others signed does not verify.
"""

from __future__ import annotations

import re
import shutil
import sqlite3
from contextlib import closing, nullcontext
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

import pytest

from semfed_secure.errors import ExitCode
from semfed_secure.testing import flipped
from tests.cli.finished import SITE, Finished, client, finish
from tests.tampering import disarm

if TYPE_CHECKING:
    from pathlib import Path

OURS, THEIRS = int(ExitCode.INTEGRITY), int(ExitCode.TRUST)
HOME, STATE, SERVER, OFFICE = f"sites/{SITE}", f"sites/{SITE}/state", "server", "."
DATABASES = {STATE: "site.db", SERVER: "server.db", OFFICE: "root.db"}
ENROL = ("federation", "add-member", "{root}", "--without-token", f"{{root}}/{HOME}/keys/member.record")
COMMANDS = {
    "verify site": ("audit", "verify", f"{{root}}/{STATE}"),
    "verify server": ("audit", "verify", "{root}/server"),
    "verify root": ("audit", "verify", "{root}"),
    "verify export": ("audit", "verify", "{root}/export"),
    "list": ("audit", "list", f"{{root}}/{STATE}"),
    "budget": ("budget", "show", "--config", f"{{root}}/{HOME}/site.toml"),
    "keys": ("keys", "show", f"{{root}}/{HOME}/keys"),
    "roster": ("federation", "roster", "{root}"),
    "enrol": (*ENROL, "--passphrase-file", "{root}/passphrase"),
    "status": ("round", "status", "--config", "{root}/server.toml", "round-1"),
    "close": ("round", "close", "--config", "{root}/server.toml", "round-3"),
    "send again": client("contribute", "round-2"),
    "receipt": client("contribute", "round-1"),
    "collect": client("collect", "round-2"),
    "collect again": client("collect", "round-1"),
    "learn": client("learn", "round-1"),
    "answer": (*client("contribute", "round-3"), "--dry-run"),
}


@dataclass(frozen=True)
class Cell:
    """A column of a database, in every row that ``where`` selects."""

    place: str
    table: str
    column: str
    where: str = "1"

    def flip(self, root: Path, share: float) -> None:
        """Flip one bit in each, at this share of its length."""

        def change(value: bytes | str) -> bytes | str:
            return flip(value, share) if isinstance(value, bytes) else flip(value.encode(), share).decode()

        with closing(sqlite3.connect(root / self.place / DATABASES[self.place])) as database, database:
            database.create_function("flip", 1, change)
            where = f"{self.column} IS NOT NULL AND {self.where}"
            disarm(database)
            changed = database.execute(f"UPDATE {self.table} SET {self.column} = flip({self.column}) WHERE {where}")
            assert changed.rowcount


@dataclass(frozen=True)
class File:
    """A file below the federation's root, by a pattern that only it matches."""

    pattern: str

    def flip(self, root: Path, share: float) -> None:
        """Flip one bit of it, at this share of its length."""
        (path,) = root.glob(self.pattern)
        path.write_bytes(flip(path.read_bytes(), share))


def flip(data: bytes, share: float) -> bytes:
    """One bit of ``data`` flipped at this share of its length."""
    return flipped(data, round(share * (len(data) - 1)))


def pin(name: str, place: str = STATE) -> Cell:
    """A pinned value."""
    return Cell(place, "pin", "value", f"name = '{name}'")


Case: TypeAlias = tuple[Cell | File, str, int, str]
LOGS: dict[str, Case] = {
    "entry": (Cell(STATE, "log_entry", "body"), "verify site", OURS, "SF501"),
    "entry-listed": (Cell(STATE, "log_entry", "body"), "list", OURS, "SF501"),
    "entry-hash": (Cell(STATE, "log_entry", "leaf_hash"), "verify site", OURS, "SF513"),
    "tree": (Cell(STATE, "log_node", "hash"), "verify site", OURS, "SF513"),
    "frontier": (Cell(STATE, "log_head", "frontier"), "collect", OURS, "SF501"),
    "checkpoint": (Cell(STATE, "log_head", "checkpoint"), "collect", OURS, "SF503"),
    "key": (Cell(STATE, "log_head", "verification_key"), "verify site", OURS, "SF503"),
    "kept-checkpoint": (Cell(STATE, "log_checkpoint", "note"), "verify site", OURS, "SF503"),
    "exported-entries": (File("export/tile/entries/000.p/*"), "verify export", OURS, "SF501|SF518"),
    "exported-tree": (File("export/tile/0/000.p/*"), "verify export", OURS, "SF513"),
    "exported-checkpoint": (File("export/checkpoint"), "verify export", OURS, "SF503"),
    "server-entry": (Cell(SERVER, "log_entry", "body"), "verify server", OURS, "SF501"),
    "server-entry-as-shown": (Cell(SERVER, "log_entry", "body"), "send again", THEIRS, "SF326"),
    "server-tree-as-shown": (Cell(SERVER, "log_node", "hash"), "send again", THEIRS, "SF323"),
    "root-entry": (Cell(OFFICE, "log_entry", "body"), "verify root", OURS, "SF501"),
    "root-entry-enrolled-by": (Cell(OFFICE, "log_entry", "body"), "enrol", OURS, "SF501"),
    "root-checkpoint": (Cell(OFFICE, "log_head", "checkpoint"), "enrol", OURS, "SF503"),
    "server-checkpoint": (Cell(SERVER, "log_head", "checkpoint"), "close", OURS, "SF503"),
}
TRUST: dict[str, Case] = {
    "root": (File("federation.root"), "collect", THEIRS, "SF322|SF302"),
    "root-of-roster": (File("federation.root"), "roster", THEIRS, "SF322|SF302"),
    "root-of-enrolment": (File("federation.root"), "enrol", THEIRS, "SF322|SF302"),
    "roster": (File("rosters/0000001"), "roster", THEIRS, "SF322"),
    "roster-of-server": (File("roster"), "status", THEIRS, "SF322"),
    "roster-seen-by-server": (pin("roster/newest", SERVER), "status", THEIRS, "SF322"),
    "member-record": (File(f"{HOME}/keys/member.record"), "keys", THEIRS, "SF331"),
}
PINS: dict[str, Case] = {
    "root": (pin("federation-root"), "collect", THEIRS, "SF322"),
    "roster": (pin("roster"), "collect", THEIRS, "SF322"),
    "server-log": (pin("server-log"), "collect", THEIRS, "SF323"),
    "policy": (pin("policy"), "collect", OURS, "SF522"),
    "policy-file": (File(f"{HOME}/policy.yaml"), "collect", OURS, "SF522"),
    "policy-file-of-budget": (File(f"{HOME}/policy.yaml"), "budget", OURS, "SF522"),
    "model": (pin("model"), "answer", OURS, "SF521"),
    "model-weights": (File("model/model.safetensors"), "answer", OURS, "SF521"),
    "model-configuration": (File("model/config.json"), "answer", OURS, "SF521"),
    "model-vocabulary": (File("model/tokenizer.json"), "answer", OURS, "SF521"),
    "adapter": (pin("active-adapter"), "answer", OURS, "SF521|SF531"),
    "adapter-weights": (File(f"{STATE}/adapters/round-1-learned/*.safetensors"), "answer", OURS, "SF521"),
    "adapter-configuration": (File(f"{STATE}/adapters/round-1-learned/adapter_config.json"), "answer", OURS, "SF521"),
    "name": (Cell(STATE, "pin", "name", "name = 'policy'"), "collect", OURS, "SF531"),
}
SITE_ROWS: dict[str, Case] = {
    "charge": (Cell(STATE, "ledger_charge", "epsilon"), "budget", OURS, "SF511"),
    "charged-population": (Cell(STATE, "ledger_charge", "population"), "answer", OURS, "SF511"),
    "statement-and-ciphertext": (Cell(STATE, "outbox", "body"), "send again", OURS, "SF531"),
    "statement-digest": (Cell(STATE, "outbox", "statement_digest"), "send again", OURS, "SF531"),
    "receipt": (Cell(STATE, "outbox", "receipt"), "receipt", THEIRS, "SF326"),
    "round-state": (Cell(STATE, "progress", "state", "step = 'round'"), "collect", OURS, "SF531"),
    "consensus": (File(f"{STATE}/consensus/round-1.cose"), "collect again", OURS, "SF531"),
    "consensus-learned": (File(f"{STATE}/consensus/round-1.cose"), "learn", OURS, "SF531"),
}
SERVER_ROWS: dict[str, Case] = {
    "manifest": (Cell(SERVER, "round", "manifest"), "status", OURS, "SF531"),
    "manifest-as-shown": (Cell(SERVER, "round", "manifest"), "collect", THEIRS, "SF324"),
    "prompts": (Cell(SERVER, "round", "prompt_set"), "status", OURS, "SF531"),
    "statement": (Cell(SERVER, "contribution", "statement"), "status", OURS, "SF531"),
    "receipt": (Cell(SERVER, "contribution", "receipt"), "status", OURS, "SF531"),
    "receipt-as-shown": (Cell(SERVER, "contribution", "receipt"), "send again", THEIRS, "SF326"),
    "consensus": (Cell(SERVER, "round", "consensus"), "status", OURS, "SF531"),
    "consensus-as-shown": (Cell(SERVER, "round", "consensus"), "collect", THEIRS, "SF325"),
    "round-state": (Cell(SERVER, "round", "state"), "status", OURS, "SF531"),
}
CASES = {
    f"{group}-{name}": case
    for group, cases in (
        ("log", LOGS),
        ("trust", TRUST),
        ("pin", PINS),
        ("site", SITE_ROWS),
        ("server", SERVER_ROWS),
    )
    for name, case in cases.items()
}
BEGINNING, MIDDLE, END = 0.0, 0.5, 1.0
# A client's command takes a tenth of a second: it is asked twice instead of three times.
FLIPS = [
    pytest.param(*case, share, id=f"{name}-{share}")
    for name, case in CASES.items()
    for share in ((BEGINNING, END) if COMMANDS[case[1]][0] == "client" else (BEGINNING, MIDDLE, END))
]


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Finished:
    """The federation, undamaged."""
    with pytest.MonkeyPatch.context() as patch:
        return finish(tmp_path_factory.mktemp("finished") / "federation", patch)


@pytest.fixture
def copy(finished: Finished, tmp_path: Path) -> Finished:
    """One to be damaged."""
    return finished.copy(tmp_path / "federation")


def after(
    copy: Finished, monkeypatch: pytest.MonkeyPatch, what: Cell | File | None, command: str, share: float = BEGINNING
) -> tuple[int, str]:
    """Exit and error code of a command once ``what`` is flipped, which a running server meets as well."""
    words = COMMANDS[command]
    with copy.serving(monkeypatch) if words[0] == "client" else nullcontext():
        if what is not None:
            what.flip(copy.root, share)
        exit_code, document, said = copy.semfed(*words)
    assert "Traceback" not in said
    assert "internal" not in said
    return exit_code, document["error"]["code"] if "error" in document else ""


@pytest.mark.parametrize(("what", "command", "exit_code", "codes", "share"), FLIPS)
def test_a_flipped_bit_is_refused(
    copy: Finished,
    monkeypatch: pytest.MonkeyPatch,
    what: Cell | File,
    command: str,
    exit_code: int,
    codes: str,
    share: float,
) -> None:
    """By the command that relies on it, with the code that says what is wrong."""
    refused, code = after(copy, monkeypatch, what, command, share)
    assert refused == exit_code
    assert re.fullmatch(codes, code)


@pytest.mark.parametrize("command", COMMANDS)
def test_without_a_flip_the_same_commands_succeed(
    copy: Finished, monkeypatch: pytest.MonkeyPatch, command: str
) -> None:
    """So that it is the flip that was refused."""
    assert after(copy, monkeypatch, None, command) == (0, "")


def test_prompts_that_a_server_changed_are_refused(copy: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """SF327, by a site that has no copy of its own yet."""
    shutil.rmtree(copy.root / STATE / "prompts")
    assert after(copy, monkeypatch, Cell(SERVER, "round", "prompt_set"), "collect", MIDDLE) == (THEIRS, "SF327")


def test_a_changed_copy_of_the_prompts_is_fetched_again(copy: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is public and verified by its digest need not be refused: the copy is replaced by a whole one."""
    kept = File(f"{STATE}/prompts/*")
    (path,) = copy.root.glob(kept.pattern)
    data = path.read_bytes()
    assert after(copy, monkeypatch, kept, "collect", MIDDLE) == (0, "")
    assert path.read_bytes() == data


@pytest.mark.parametrize("key", ["signing.key", "log.key"])
def test_a_changed_key_file_looks_like_a_wrong_passphrase(
    copy: Finished, monkeypatch: pytest.MonkeyPatch, key: str
) -> None:
    """SF121 and exit 2, not 12: a sealed file cannot tell damage from a typing error, and says both."""
    for share in (BEGINNING, MIDDLE, END):
        damaged = copy.copy(copy.root.with_name(f"{key}-{share}"))
        assert after(damaged, monkeypatch, File(f"{HOME}/keys/{key}"), "collect", share) == (ExitCode.USAGE, "SF121")
