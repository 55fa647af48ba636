"""Two hundred members post 400 kB each, at once, to one real server process: is anything lost, how long does it take?

    python benchmarks/posting.py [--clients 200] [--one-address] [--json]

The server is the listener of `semfed server run` in a process of its own, on loopback, with keys, database and log on
disk; the clients are the production transport with its retries, one thread and one loopback address each, or all behind
one address, where the server makes most of them come again. Members first commit (8 kB each), then
all send what they committed to, 512 texts of 768 bytes, the largest bundle there is. Every receipt is verified, and the
server's database is counted afterwards. No consensus is formed: what is measured ends with the receipts.
"""

from __future__ import annotations

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import threading
import time
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
from bundles import text_bundle

from semfed_secure.client.transport import HttpTransport
from semfed_secure.crypto.signing import verify
from semfed_secure.identity.member_files import load_member_keys, load_member_record
from semfed_secure.ids import MemberId, PromptId, RoundId, sha256
from semfed_secure.server.config import FederationSection, ServerConfig, ServerSection
from semfed_secure.server.service import Service
from semfed_secure.settings import IdentitySection
from semfed_secure.storage import round_rows
from semfed_secure.testing import LocalFederation
from semfed_secure.testing.federation import PASSPHRASE, SERVER
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import (
    RECEIPT_LIMITS,
    MessageType,
    encode_contribution,
    parse_receipt,
)
from semfed_secure.wire.prompts import Prompt, PromptSet

PROMPTS, BYTES_EACH = 512, 768
ROUND = "posting"
PROMPT_SET = PromptSet(ROUND, tuple(Prompt(PromptId(f"p{n}"), f"What is case {n}?") for n in range(PROMPTS)))
LETTERS = np.frombuffer(b"abcdefghijklmnopqrstuvwxyz      ", np.uint8)


class NoEmbedder:
    """What the manifest of a round of texts names; no consensus is formed here."""

    name, weights_digest, dimension = "none", sha256(b"none"), 384


def texts(seed: int) -> tuple[str, ...]:
    """Words of random letters."""
    drawn = np.random.default_rng(seed).integers(0, len(LETTERS), (PROMPTS, BYTES_EACH))
    drawn[:, 8::9] = len(LETTERS) - 1  # no word is so long that it could be somebody's number
    drawn[:, 0], drawn[:, -1] = 0, 0  # no blank at either end
    return tuple(LETTERS[row].tobytes().decode() for row in drawn)


def federation(directory: Path, clients: int) -> LocalFederation:
    """The federation in ``directory``; its rounds close by hand only."""
    return LocalFederation(
        directory,
        members=[f"site-{number}" for number in range(clients)],
        prompt_sets=[PROMPT_SET],
        embedder=NoEmbedder(),
        close_when_complete=False,
    )


def serve(directory: Path, clients: int) -> None:
    """The server process: say the address, and serve until it is stopped."""
    from semfed_secure.server.http.process import serve as run  # noqa: PLC0415 - the clients need no server

    config = ServerConfig(
        server=ServerSection(federation="federation", member=SERVER, database="postgresql://unused", port=0),
        identity=IdentitySection(keys=directory),
        federation=FederationSection(root=directory, roster=directory),
    )
    with federation(directory, clients) as opened:
        service = Service(opened.context, version="benchmark")
        run(service, config, environ=os.environ, ready=lambda url: print(url, flush=True))


def resident(pid: int, key: str) -> int:
    """Kilobytes of memory of a process: ``VmRSS`` now, ``VmHWM`` at most so far."""
    lines = Path(f"/proc/{pid}/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(f"{key}:"))


def address(number: int, *, one: bool) -> str:
    """Where a client calls from."""
    return "127.0.0.1" if one else f"127.0.{1 + number // 250}.{1 + number % 250}"


def post_all(url: str, bodies: dict[str, bytes], *, one: bool) -> tuple[dict[str, bytes], list[float], float]:
    """Everybody posts at once: receipts by member, seconds of each from the start to its receipt, seconds in all."""
    receipts: dict[str, bytes] = {}
    seconds: list[float] = []
    start = threading.Barrier(len(bodies) + 1)

    def post(number: int, name: str, body: bytes) -> None:
        way = httpx.HTTPTransport(local_address=address(number, one=one))
        with HttpTransport(url, client=httpx.Client(transport=way, timeout=120)) as transport:
            start.wait()
            began = time.perf_counter()
            receipts[name] = transport.post(RoundId(ROUND), body)
            seconds.append(time.perf_counter() - began)

    threads = [threading.Thread(target=post, args=(number, *row)) for number, row in enumerate(bodies.items())]
    for thread in threads:
        thread.start()
    start.wait()
    began = time.perf_counter()
    for thread in threads:
        thread.join()
    return receipts, seconds, time.perf_counter() - began


def outcomes(directory: Path, receipts: dict[str, bytes]) -> dict[str, int]:
    """How often each outcome stands in the receipts, which must verify."""
    keys = load_member_record(directory / SERVER / "keys").signing_keys
    found: dict[str, int] = {}
    for data in receipts.values():
        receipt = parse_receipt(verify(MessageType.RECEIPT, data, keys, limits=RECEIPT_LIMITS).payload)
        found[receipt.outcome.value] = found.get(receipt.outcome.value, 0) + 1
    return found


def figures(seconds: list[float], whole: float, count: int, size: int) -> dict[str, float]:
    """What is told of one stampede."""
    ordered = sorted(seconds)
    return {
        "posts": count,
        "body_bytes": size,
        "p50_seconds": round(statistics.median(ordered), 3),
        "p99_seconds": round(ordered[int(len(ordered) * 0.99) - 1], 3),
        "longest_seconds": round(ordered[-1], 3),
        "all_seconds": round(whole, 3),
        "posts_per_second": round(count / whole, 1),
    }


def measure(directory: Path, clients: int, *, one: bool) -> dict[str, object]:
    """Commit, close, post, and count."""
    with federation(directory, clients) as opened:
        manifest = opened.open_round(
            ROUND, PROMPT_SET, kind=OutputKind.TEXT, max_new_tokens=64, closes_in_seconds=7200, opening_seconds=7200
        )
        commitments: dict[str, bytes] = {}
        bundles: dict[str, bytes] = {}
        for number, member in enumerate(opened.members):
            key = load_member_keys(opened.site(member) / "keys", PASSPHRASE).signing
            contribution = text_bundle(MemberId(member), key, manifest, texts(number))
            bundles[member] = encode_contribution(contribution)
            commitments[member] = encode_contribution(replace(contribution, sealed=()))
        command = [sys.executable, __file__, "--serve", str(directory), "--clients", str(clients)]
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            url = process.stdout.readline().strip()
            idle = resident(process.pid, "VmRSS")
            committed, commit_seconds, commit_whole = post_all(url, commitments, one=one)
            opened.close_round(ROUND)
            before = resident(process.pid, "VmHWM")
            receipts, seconds, whole = post_all(url, bundles, one=one)
            peak = resident(process.pid, "VmHWM")
            cpu = os.sysconf("SC_CLK_TCK")
            stat = Path(f"/proc/{process.pid}/stat").read_text(encoding="ascii").rpartition(")")[2].split()
            process.terminate()
            ended = process.wait(120)
        with opened.context.database.snapshot() as tx:
            stored = len(round_rows.members_with(tx, ROUND, "admitted"))
        found = {"committed": outcomes(directory, committed), "bundles": outcomes(directory, receipts)}
    return {
        "clients": clients,
        "addresses": 1 if one else clients,
        "outcomes": found,
        "admitted_in_the_database": stored,
        "lost": clients - stored,
        "server_exit_status": ended,
        "commitments": figures(commit_seconds, commit_whole, clients, len(commitments["site-0"])),
        "bundles": figures(seconds, whole, clients, len(bundles["site-0"])),
        "server_memory_kib": {"idle": idle, "peak_before_bundles": before, "peak": peak},
        "server_cpu_seconds": round((int(stat[11]) + int(stat[12])) / cpu, 1),
    }


def main() -> None:
    """Measure and print, or be the server of a measurement."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--clients", type=int, default=200)
    parser.add_argument("--one-address", action="store_true", help="all clients call from 127.0.0.1")
    parser.add_argument("--json", action="store_true", help="one JSON document")
    parser.add_argument("--serve", type=Path, help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.serve is not None:
        serve(arguments.serve, arguments.clients)
        return
    with tempfile.TemporaryDirectory() as directory:
        found = measure(Path(directory) / "federation", arguments.clients, one=arguments.one_address)
    if arguments.json:
        print(json.dumps(found, indent=1))
        return
    for name in ("commitments", "bundles"):
        row = found[name]
        print(f"{name}: {row}")
    print(f"lost {found['lost']} of {found['clients']}; server memory {found['server_memory_kib']} KiB")


if __name__ == "__main__":
    main()
