"""A server on disk, as an operator has it: sealed keys, root, roster, server file."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import threading
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from semfed_secure.clock import SystemClock
from semfed_secure.identity.member_files import create_member_keys
from semfed_secure.identity.records import Role
from semfed_secure.identity.roster import sign_roster
from semfed_secure.ids import MemberId
from tests.server.world import CANDIDATES, FEDERATION, PROMPTS, SITES, member, root

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

PASSPHRASE = "correct horse battery staple"
SERVER_FILE = """
[server]
federation = "hospitals"
member = "hub"
database = "state/server.db"
port = 0

[identity]
keys = "keys"
passphrase_file = "passphrase"

[federation]
root = "federation.root"
roster = "roster"

[rounds]
min_clients = 3
"""


def write_server(directory: Path) -> Path:
    """Write everything; returns the server file. Client records are those of `tests.server.world`."""
    now = SystemClock().now()
    (directory / "state").mkdir()
    (directory / "passphrase").touch(mode=0o600)
    (directory / "passphrase").write_text(PASSPHRASE)
    create_member_keys(
        directory / "keys",
        federation=FEDERATION,
        member_id=MemberId("hub"),
        domain="hub.example",
        jurisdiction="DE",
        roles=frozenset({Role.SERVER}),
        passphrase=PASSPHRASE.encode(),
        now=now,
        valid_for=timedelta(days=30),
    )
    federation_root, key = root()
    (directory / "federation.root").write_bytes(federation_root.encode())
    records = [(directory / "keys" / "member.record").read_bytes(), *(member(name).record for name in SITES)]
    roster = sign_roster(
        records, root=federation_root, keys=[key], sequence=1, issued_at=now, expires_at=now + timedelta(days=30)
    )
    (directory / "roster").write_bytes(roster)
    (directory / "votes.jsonl").write_text(
        "".join(json.dumps({"id": prompt.id, "prompt": prompt.text}) + "\n" for prompt in PROMPTS.prompts)
    )
    path = directory / "server.toml"
    path.write_text(SERVER_FILE)
    return path


def candidate_options() -> list[str]:
    """The candidates as the command line takes them."""
    return [word for candidate in CANDIDATES for word in ("--candidate", candidate)]


@contextmanager
def server_process(config: Path) -> Iterator[tuple[subprocess.Popen[str], str]]:
    """``semfed server run`` as a process of its own, and its URL; killed if it outlives the block."""
    process = subprocess.Popen(
        [sys.executable, "-m", "semfed_secure.cli", "server", "run", "--config", str(config), "--json"],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        env=os.environ | {"SEMFED_TRACEBACK": "1"},
    )
    watchdog = threading.Timer(60, process.kill)
    watchdog.start()
    try:
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            assert process.stderr is not None
            raise AssertionError(process.stderr.read())
        started: dict[str, Any] = json.loads(line)
        yield process, started["url"]
    finally:
        watchdog.cancel()
        process.kill()
        process.communicate()
