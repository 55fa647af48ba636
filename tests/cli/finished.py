"""A federation that finished a round through the public commands, on disk, with a model of a few kilobytes.

Its one site trained, contributed, collected and learned in ``round-1``; of ``round-2``, which is published too, it
never got the receipt nor asked for the consensus; ``round-3`` is open to it.
"""

from __future__ import annotations

import json
import os
import shutil
from contextlib import contextmanager, redirect_stderr, redirect_stdout
from dataclasses import asdict
from io import StringIO
from typing import TYPE_CHECKING, Any

from starlette.testclient import TestClient

from semfed_secure import cli
from semfed_secure.client import session
from semfed_secure.client.transport import HttpTransport
from semfed_secure.crypto.key_files import save_key
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import PeerError
from semfed_secure.federation.office import DATABASE_FILE
from semfed_secure.server.config import load_server_config
from semfed_secure.server.http import create_app
from semfed_secure.server.service import open_service
from semfed_secure.storage import Database
from semfed_secure.storage.pin_rows import set_pin_once
from semfed_secure.testing import LocalFederation, SiteSettings
from semfed_secure.testing.federation import PASSPHRASE
from tests.client.world import CANDIDATES, PROMPTS, TEXTS, TRUTH, records
from tests.llm import tiny

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import pytest

    from semfed_secure.client.config import ServerSection
    from semfed_secure.server.service import Service

SITE = "bay"
SERVER_FILE = """
[server]
federation = "test-federation"
member = "server"
database = "server/server.db"
[identity]
keys = "server/keys"
passphrase_file = "passphrase"
[federation]
root = "federation.root"
roster = "roster"
[rounds]
min_clients = 1
"""
SECTIONS: dict[str, dict[str, Any]] = {
    "identity": {"passphrase_file": "../../passphrase"},
    "federation": {"root": "../../federation.root"},
    "model": {"source": "../../model"},
    "data": {"records": "records.jsonl"},
    "training": {"steps": 2, "expected_entities": 200},
    "validation": {"file": "../../validation.jsonl", "max_score_drop": 1.0},
}


MODEL_SETTINGS = """
[model.settings]
layers = 2
rank = 2
threads = 1
label_epochs = 1
"""


class Finished:
    """The files of a federation, and its commands."""

    def __init__(self, root: Path) -> None:
        """Use what lies below ``root``."""
        self.root = root

    def copy(self, root: Path) -> Finished:
        """The same again, to be damaged."""
        return Finished(shutil.copytree(self.root, root))

    def semfed(self, *words: str) -> tuple[int, dict[str, Any], str]:
        """Run one command: exit code, its JSON document, and what it said on stderr."""
        out, err = StringIO(), StringIO()
        with redirect_stdout(out), redirect_stderr(err):
            code = cli.main([*(word.format(root=self.root) for word in words), "--json"])
        return code, json.loads(out.getvalue()), err.getvalue()

    @contextmanager
    def serving(self, monkeypatch: pytest.MonkeyPatch) -> Iterator[Service]:
        """While it lasts, clients meet the server's real application, without a socket between."""
        config = load_server_config(self.root / "server.toml")
        with open_service(config, environ=os.environ, version="test") as service, monkeypatch.context() as patch:
            app = create_app(service)

            class InProcess(HttpTransport):
                @classmethod
                def to(cls, server: ServerSection, _uri: str) -> InProcess:
                    client = TestClient(app, raise_server_exceptions=False)
                    return cls(server.url, client=client, sleep=lambda _: None)

            patch.setattr(session, "HttpTransport", InProcess)
            yield service

    def done(self, *words: str) -> None:
        """Run a command that must succeed."""
        code, document, said = self.semfed(*words)
        assert code == 0, (words, document, said)


def finish(root: Path, monkeypatch: pytest.MonkeyPatch) -> Finished:
    """Found the federation and take it through its rounds."""
    local = LocalFederation(root, members=[SITE], prompt_sets=[PROMPTS])
    local.close()
    save_key(root / "log-1.key", LogSigningKey.generate("test-federation/root"), PASSPHRASE)
    (root / "rosters").mkdir()
    shutil.copy(root / "roster", root / "rosters" / "0000001")
    with Database.open(root / DATABASE_FILE, kind="root") as database, database.transaction() as tx:
        set_pin_once(tx, "roster/newest", (root / "roster").read_bytes())
    tiny.write_model(root / "model")
    (root / "server.toml").write_text(SERVER_FILE)
    rows = [{"id": prompt.id, "prompt": prompt.text} for prompt in PROMPTS.prompts]
    _write_lines(root / "prompts.jsonl", rows)
    _write_lines(root / "validation.jsonl", [{"prompt": TEXTS[0], "answer": TRUTH[TEXTS[0]], "candidates": CANDIDATES}])
    with local.site_file(SITE, SiteSettings(sections=SECTIONS)).open("a") as file:
        file.write(MODEL_SETTINGS)
    _write_lines(local.site(SITE) / "records.jsonl", [asdict(record) for record in records(SITE)])
    finished = Finished(root)
    granted = ("--role", "client", "--domain", "hill.example", "--jurisdiction", "US")
    invite = ("federation", "invite", "{root}", "hill", *granted, "--out", "{root}/token")
    finished.done(*invite, "--passphrase-file", "{root}/passphrase")
    _take_the_rounds(finished, monkeypatch)
    return finished


def _take_the_rounds(finished: Finished, monkeypatch: pytest.MonkeyPatch) -> None:
    candidates = [word for candidate in CANDIDATES for word in ("--candidate", candidate)]
    server, prompts = "{root}/server.toml", "{root}/prompts.jsonl"
    opening = ("round", "open", "--config", server, "--prompts", prompts, "--kind", "votes", "--name", PROMPTS.name)
    with finished.serving(monkeypatch) as service:
        for name in ("round-1", "round-2", "round-3"):
            finished.done(*opening, "--id", name, *candidates)
            service.coordinator.advance()
        for step in ("train", "contribute"):
            finished.done(*client(step, "round-1"))
        with monkeypatch.context() as patch:
            patch.setattr(HttpTransport, "post", _lost(HttpTransport.post))
            code, document, _ = finished.semfed(*client("contribute", "round-2"))
            assert (code, document["error"]["code"]) == (20, "SF341")
        service.coordinator.advance()
        for step in ("collect", "learn"):
            finished.done(*client(step, "round-1"))
    finished.done("audit", "export", f"{{root}}/sites/{SITE}/state", "--out", "{root}/export")


def client(step: str, round_id: str) -> tuple[str, ...]:
    """The words of one step of the site."""
    return "client", step, "--config", f"{{root}}/sites/{SITE}/site.toml", "--round", round_id


def _lost(post: Callable[..., bytes]) -> Callable[..., bytes]:
    """The server hears it; the answer gets lost."""

    def posted(*arguments: object) -> bytes:
        post(*arguments)
        raise PeerError("SF341", "the answer got lost")

    return posted


def _write_lines(path: Path, rows: list[dict[str, Any]]) -> None:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
