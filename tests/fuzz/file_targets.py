"""Text that people, logs and other programs write: notes, proofs, policies, configuration, JSON lines."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.audit.events import Entry, encode_entry, parse_entry
from semfed_secure.audit.merkle import leaf_hash, verify_consistency
from semfed_secure.audit.notes import (
    Checkpoint,
    LogProof,
    parse_log_proof,
    parse_note,
    sign_checkpoint,
    verify_checkpoint,
    verify_log_proof,
)
from semfed_secure.audit.tiles import parse_tile_path
from semfed_secure.client.config import load_site_config
from semfed_secure.client.records import bound_records, read_labelled, read_outputs, read_records
from semfed_secure.crypto.log_keys import LogSigningKey, LogVerificationKey
from semfed_secure.policy.compose import load_policy
from semfed_secure.policy.loading import parse_document
from semfed_secure.server.config import load_server_config
from semfed_secure.server.prompt_files import read_prompt_set
from tests.audit import samples
from tests.client.test_config import WHOLE as SITE_FILE
from tests.fuzz.draw import Draw
from tests.fuzz.target import Target
from tests.wire.wire_examples import PROMPT_SET

if TYPE_CHECKING:
    from collections.abc import Callable

LOG = LogSigningKey("north.example/log", bytes([1] * 32), bytes([2] * 32))
_PACKS = Path(__file__).parents[2] / "policies"


def _text(read: Callable[[str], object]) -> Callable[[bytes], object]:
    """What is not UTF-8 becomes lone surrogates, which text out of JSON may hold."""
    return lambda data: read(data.decode("utf-8", errors="surrogateescape"))


@cache
def _scratch() -> Path:
    folder = "/dev/shm" if Path("/dev/shm").is_dir() else None
    return Path(tempfile.mkdtemp(prefix="semfed-fuzz-", dir=folder))


def _file(read: Callable[[Path], object], name: str) -> Callable[[bytes], object]:
    def run(data: bytes) -> object:
        path = _scratch() / name
        path.write_bytes(data)
        return read(path)

    return run


def _note(text: str) -> None:
    assert parse_note(text).encoded == text


def _checkpoint(text: str) -> None:
    verified = verify_checkpoint(text, LOG.public)
    assert verified.checkpoint.text == text.partition("\n\n")[0] + "\n"


def _proof(text: str) -> None:
    assert parse_log_proof(text).encoded == text
    verify_log_proof(text, leaf=leaf_hash(b"entry"), key=LOG.public)


def _consistency(data: bytes) -> None:
    draw = Draw(data)
    old, new = draw.below(1 << 16), draw.below(1 << 16)
    hashes = [draw.octets(32) for _ in range(draw.below(70))]
    verify_consistency(old_size=old, old_root=draw.octets(32), new_size=new, new_root=draw.octets(32), proof=hashes)
    assert old in {0, new}, "hashes drawn from bytes led to a root"


def _vkey(text: str) -> None:
    assert LogVerificationKey.parse(text).encode() == text.strip()


def _tile(text: str) -> None:
    assert parse_tile_path(text).path == text


def _entry(data: bytes) -> None:
    assert encode_entry(parse_entry(data)) == data


def _policy(data: bytes) -> None:
    document = parse_document(data, name="policy.yaml")
    # What a policy extends is looked up beside it: a name drawn by a fuzzer stays a name.
    if all(reference.startswith("pack:") for reference in document.extends):
        _file(load_policy, "policy.yaml")(data)


def _records(path: Path) -> None:
    bound_records(read_records(path), max_records_per_entity=2)


@cache
def _checkpoint_note() -> str:
    return sign_checkpoint(Checkpoint(LOG.public.name, 1, leaf_hash(b"entry")), LOG, cosigned_at=1_790_000_000)


def _notes() -> list[bytes]:
    plain = sign_checkpoint(Checkpoint(LOG.public.name, 7, bytes(32)), LOG, cosigned_at=None)
    return [_checkpoint_note().encode(), plain.encode()]


def _entries() -> list[bytes]:
    return [
        encode_entry(Entry(number, "2026-03-01T08:00:00.000Z", "north/site", samples.sample(number)))
        for number in range(3)
    ]


def _policies() -> list[bytes]:
    return [path.read_bytes() for path in sorted(_PACKS.glob("*/*.yaml")) if "cases" not in path.name]


def _toml_policies() -> list[bytes]:
    return [(_PACKS.parent / "tests/policy/assets/documents/valid.toml").read_bytes()]


def _policy_words() -> tuple[str, ...]:
    words = {word.strip(" -:,\"'[]{}") for data in _policies() for word in data.decode().split()}
    return tuple(sorted(word for word in words if 2 < len(word) < 24 and word.isascii()))


_TOML: dict[str, Any] = {"longest": 2048, "words": ("true", "false", '"""', "'''", "[[", "nan", "inf", "1e-6", "0x")}
_SERVER_FILE = b"""
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
[rounds.floor]
max_epsilon = "4"
mechanisms = ["dp_sgd"]
"""
_RECORDS = b'{"entity_id": "a-1", "prompt": "p", "completion": "c"}\n{"entity_id": "b", "prompt": "q"}\n'
_LABELLED = b'{"prompt": "p", "answer": "a", "candidates": ["a", "b"]}\n'
_OUTPUTS = b'{"id": "p1", "output": "injury"}\n{"id": "p2", "output": null}\n'
_PROMPTS = b'{"id": "p1", "prompt": "broken wrist"}\n{"id": "p2", "prompt": "pain", "candidates": ["a", "b"]}\n'
_JSON = ('"entity_id"', '"prompt"', '"completion"', '"candidates"', '"answer"', '"output"', '"id"', "null", "\\ud800")

TARGETS = (
    Target("note", _text(_note), _notes, longest=4096, words=("\n\n", "— ", "+")),
    Target("checkpoint", _text(_checkpoint), _notes, longest=8192, words=("\n\n", "— ", LOG.public.name)),
    Target(
        "log_proof",
        _text(_proof),
        lambda: [LogProof(0, (), _checkpoint_note(), entry).encoded.encode() for entry in (None, b"entry")],
        longest=8192,
        words=("\n\n", "index ", "c2sp.org/tlog-proof@v1", "— "),
    ),
    Target("consistency", _consistency, lambda: [b"\0\1\0\1" + bytes(65), b"\0\3\0\5\2" + bytes(128)]),
    Target("log_key", _text(_vkey), lambda: [LOG.public.encode().encode()], longest=2048),
    Target("tile_path", _text(_tile), lambda: [b"tile/0/x001/234.p/5", b"tile/entries/000"], longest=128),
    Target("entry", _entry, _entries, longest=2048, words=('"v":1', '"seq":', '"type":"decision"')),
    Target("policy", _policy, _policies, longest=1024, words=_policy_words()),
    Target("policy_toml", lambda data: parse_document(data, name="p.toml"), _toml_policies, **_TOML),
    Target("site_file", _file(load_site_config, "site.toml"), lambda: [SITE_FILE.encode()], **_TOML),
    Target("server_file", _file(load_server_config, "server.toml"), lambda: [_SERVER_FILE], **_TOML),
    Target("records", _file(_records, "records.jsonl"), lambda: [_RECORDS], words=_JSON),
    Target("labelled", _file(read_labelled, "labelled.jsonl"), lambda: [_LABELLED], words=_JSON),
    Target(
        "outputs", _file(lambda path: read_outputs(path, PROMPT_SET), "outputs.jsonl"), lambda: [_OUTPUTS], words=_JSON
    ),
    Target(
        "prompt_file",
        _file(lambda path: read_prompt_set(path, name="set", candidates=("a", "b")), "prompts.jsonl"),
        lambda: [_PROMPTS],
        words=_JSON,
    ),
)
