"""Verify an audit log without any of the code that wrote it.

For an auditor who trusts neither the operator of the log nor its makers: written from public specifications (RFC 6962;
c2sp.org: signed-note, tlog-checkpoint, tlog-cosignature, tlog-tiles, tlog-proof), it needs Python 3.11 and the package
``cryptography`` only. Read it before you trust it; it is short for that reason. LOG is a directory of exported tiles,
or an SQLite database, which is only read. KEY is a verification key `name+id+base64` (several joined by commas) or its
file; get it from the owner's member record, not from the log. The exit status is 0 if all holds, and else 1.
"""

from __future__ import annotations

import argparse
import base64
import functools
import hashlib
import json
import re
import sqlite3
import sys
from pathlib import Path
from typing import Any, NamedTuple

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

try:
    from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
except ImportError:  # an older version: such signatures are named as unchecked, and nothing rests on them
    MLDSA44PublicKey = None

ED25519, ED25519_COSIGNATURE, MLDSA44_COSIGNATURE = 1, 4, 6
WIDTH = 256  # items in a full tile
Bad = ValueError  # with a sentence about what does not hold


class Key(NamedTuple):
    """One verification key."""

    name: str
    kind: int
    key_id: bytes
    public: bytes


class Mark(NamedTuple):
    """A signed statement that the log has this size and root, and which witnesses vouch for it."""

    size: int
    root: bytes
    what: str
    vouching: set[str]


def sha256(*parts: bytes) -> bytes:
    """The hash of the parts in a row."""
    return hashlib.sha256(b"".join(parts)).digest()


def decode(text: str) -> bytes:
    """Base64 in its only form."""
    data = base64.b64decode(text, validate=True)
    if base64.b64encode(data).decode() != text:
        raise Bad("base64 in its only form was expected")
    return data


def read_keys(texts: list[str]) -> list[Key]:
    """The keys in these texts, or in the files that they name."""
    keys = []
    for text in texts:
        for vkey in (text if "+" in text else Path(text).read_text(encoding="utf-8")).strip().split(","):
            if vkey.count("+") < 2:
                raise Bad(f"this is no verification key, NAME+ID+KEY: {vkey[:60]}")
            name, key_id, encoded = vkey.split("+", 2)
            raw = decode(encoded)
            keys.append(Key(name, raw[0], sha256(name.encode(), b"\n", raw)[:4], raw[1:]))
            if keys[-1].key_id.hex() != key_id:
                raise Bad(f"the key of {name} does not have the id that it states")
    return keys


def signature_holds(key: Key, text: str, signature: bytes) -> bool | None:
    """Whether the signature of a key under a checkpoint is good; None if this machine cannot tell."""
    origin, size, root = text.split("\n")[:3]
    try:
        if key.kind == ED25519:
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature, text.encode())
        elif key.kind == ED25519_COSIGNATURE:
            message = f"cosignature/v1\ntime {int.from_bytes(signature[:8])}\n{text}".encode()
            Ed25519PublicKey.from_public_bytes(key.public).verify(signature[8:], message)
        elif key.kind == MLDSA44_COSIGNATURE and MLDSA44PublicKey is not None:
            names = [bytes([len(name.encode())]) + name.encode() for name in (key.name, origin)]
            message = b"subtree/v1\n\0" + names[0] + signature[:8] + names[1]
            message += bytes(8) + int(size).to_bytes(8) + base64.b64decode(root)
            MLDSA44PublicKey.from_public_bytes(key.public).verify(signature[8:], message)
        else:
            return None
    except (InvalidSignature, ValueError):
        return False
    return True


def read_checkpoint(note: str, keys: list[Key], witnesses: list[Key], what: str) -> Mark:
    """A checkpoint that the log signed with every key that it has here, and with Ed25519 in any case."""
    body, blank, signed = note.rpartition("\n\n")
    text, origin = body + "\n", keys[0].name
    lines = text.split("\n")
    if not blank or not signed.endswith("\n") or len(lines) < 4 or lines[0] != origin:
        raise Bad(f"{what} is not a signed checkpoint of {origin}")
    good = set()
    for line in signed.removesuffix("\n").split("\n"):
        dash, name, encoded = line.split(" ", 2)
        raw = decode(encoded)
        key = next((one for one in keys + witnesses if (one.name, one.key_id) == (name, raw[:4])), None)
        if dash != "\u2014" or (key is None and name == origin and len(keys) > 1):
            raise Bad(f"{what} carries a signature in the log's name that none of its keys made")
        holds = None if key is None else signature_holds(key, text, raw[4:])
        if holds is False:
            raise Bad(f"the signature of {name} under {what} is not good: it was changed, or somebody else made it")
        good |= {key} if holds else set()
        if holds is None:
            print(f"not checked: a signature of {name} under {what}, whose key or algorithm is not known here")
    if not any(key.kind == ED25519 for key in good):  # a witness's key of this kind signs nothing but its own log
        raise Bad(f"{what} is not signed by the log's Ed25519 key")
    return Mark(int(lines[1]), decode(lines[2]), what, {key.name for key in good if key in witnesses})


def database(path: Path) -> sqlite3.Connection:
    """A site's or server's SQLite database, open for reading only."""
    return sqlite3.connect(f"{path.resolve().as_uri()}?mode=ro", uri=True)


def read_notes(log: Path) -> list[str]:
    """The log's own checkpoints, the newest first."""
    if log.is_dir():
        return [(log / "checkpoint").read_text(encoding="utf-8")]
    notes = "SELECT checkpoint FROM log_head UNION ALL SELECT note FROM log_checkpoint"
    return [note for (note,) in database(log).execute(notes)]


def tiles(directory: Path, level: str, size: int) -> list[tuple[str, bytes, int]]:
    """Each C2SP tlog-tile of a level: its name, its bytes, and how many items it should hold."""
    found = []
    for start in range(0, size, WIDTH):
        digits, count = str(start // WIDTH), min(WIDTH, size - start)
        number = re.sub("(...)(?=...)", r"x\1/", digits.zfill(-(-len(digits) // 3) * 3))
        name = f"tile/{level}/{number}" + (f".p/{count}" if count < WIDTH else "")
        found.append((name, (directory / name).read_bytes(), count))
    return found


def read_entries(log: Path, size: int) -> list[tuple[bytes, bytes]]:
    """Every entry with the hash stored for it; an entry's own number counts, not the one that a database gives it."""
    if log.is_file():
        return database(log).execute("SELECT body, leaf_hash FROM log_entry ORDER BY position").fetchall()
    found = []
    for (name, data, count), (_, hashes, _) in zip(tiles(log, "entries", size), tiles(log, "0", size), strict=True):
        at = 0
        for place in range(0, 32 * count, 32):
            end = at + 2 + int.from_bytes(data[at : at + 2])
            found.append((data[at + 2 : end], hashes[place : place + 32]))
            at = end
        if at != len(data):
            raise Bad(f"the file {name} has another length than its entries: it was cut or changed")
    return found


def check_hashes(log: Path, stored: list[bytes], hashes: list[bytes]) -> None:
    """Compare what is stored with what was made from the entries: the hash beside each, and in an export every tile."""
    if stored != hashes:
        raise Bad("the hash stored beside an entry is not its own; the entries are as they were signed")
    for level in range(8 if log.is_dir() else 0):
        for number, (name, data, count) in enumerate(tiles(log, str(level), len(hashes))):
            if data != b"".join(hashes[number * WIDTH : number * WIDTH + count]):
                raise Bad(f"the hashes in {name} are not those of the entries, which are as they were signed")
        full = range(0, len(hashes) // WIDTH * WIDTH, WIDTH)
        hashes = [roots_of(hashes[start : start + WIDTH], {WIDTH})[WIDTH] for start in full]


def roots_of(leaves: list[bytes], sizes: set[int]) -> dict[int, bytes]:
    """The Merkle Tree Hash of RFC 6962, section 2.1, over the first so many leaves, for each of these sizes."""
    roots, complete = {0: sha256()}, []
    for size, leaf in enumerate(leaves, start=1):
        complete.append(leaf)
        for _ in range((size & -size).bit_length() - 1):  # as many subtrees end here
            complete[-2:] = [sha256(b"\1", *complete[-2:])]
        if size in sizes:
            roots[size] = functools.reduce(lambda right, left: sha256(b"\1", left, right), reversed(complete))
    return roots


def root_from_path(leaf: bytes, index: int, size: int, path: list[bytes]) -> bytes:
    """The root that an inclusion proof of RFC 6962, section 2.1.1, leads to."""
    if (index, size, len(path), len(leaf)) == (0, 1, 0, 32):
        return leaf
    if not path or not 0 <= index < size or size == 1:
        raise Bad("a proof has a wrong length")
    split = 1 << (size - 1).bit_length() - 1
    if index < split:
        return sha256(b"\1", root_from_path(leaf, index, split, path[:-1]), path[-1])
    return sha256(b"\1", path[-1], root_from_path(leaf, index - split, size - split, path[:-1]))


def read_proof(text: str, keys: list[Key], witnesses: list[Key], what: str) -> tuple[Mark, int, bytes]:
    """Verify a tlog-proof@v1 file that carries its entry: under which checkpoint, which number, and the entry."""
    head, _, note = text.partition("\n\n")
    lines = head.split("\n")
    if lines[0] != "c2sp.org/tlog-proof@v1" or len(lines) < 3 or not lines[1].startswith("extra "):
        raise Bad(f"{what} is not a tlog-proof@v1 file that carries its entry")
    body, index = decode(lines[1].removeprefix("extra ")), int(lines[2].removeprefix("index "))
    mark = read_checkpoint(note, keys, witnesses, f"the checkpoint in {what}")
    if root_from_path(sha256(b"\0", body), index, mark.size, [decode(line) for line in lines[3:]]) != mark.root:
        raise Bad(f"{what} does not prove that its entry is number {index} of the log")
    check_entry(body, index)
    return mark, index, body


def check_entries(stored: list[tuple[bytes, bytes]]) -> list[bytes]:
    """Check every entry; return their hashes. Content may be missing where an entry `log.pruned` says so, in order."""
    leaves, end = [], 0
    for index, (body, leaf) in enumerate(stored):
        leaves.append(sha256(b"\0", body) if body else leaf)
        entry = check_entry(body, index) if body else {}
        if (entry.get("type"), entry.get("outcome")) == ("log.pruned", "success"):
            told, start, end = entry["details"], end, entry["details"]["last"] + 1
            gone = [leaf for body, leaf in stored[start:end] if not body]
            found = (start, len(gone), f"sha256:{sha256(*gone).hex()}")
            if (told["first"], told["count"], told["leaves"]) != found or not start < end <= index:
                raise Bad(f"entry {index} tells of removed content, and other content is missing before it")
    if not all(body for body, _ in stored[end:]):
        raise Bad(f"content is missing after entry {end - 1}, and no entry says that it was removed")
    return leaves


def check_entry(body: bytes, index: int) -> dict[str, Any]:
    """An entry is JSON in its only form (RFC 8785) and states its own number."""
    try:
        value = json.loads(body)
        seq, again = value["seq"], json.dumps(value, ensure_ascii=False, sort_keys=True, separators=(",", ":"))
    except (ValueError, KeyError, TypeError, RecursionError):
        raise Bad(f"entry {index} is not a numbered JSON object: its content was replaced") from None
    if again.encode(errors="replace") != body:
        raise Bad(f"entry {index} is not written in the one form that an entry has: it was changed")
    if seq != index:
        raise Bad(f"entry {index} was written as entry {seq}: entries were moved, repeated or removed")
    return value


def verify(arguments: argparse.Namespace) -> str:
    """Check everything that the command line names; the verdict in words."""
    keys = read_keys(arguments.key)
    witnesses = [key for key in read_keys(arguments.witness) if key.kind != ED25519]
    log = arguments.log
    notes = [(note, f"the log's own checkpoint {at}") for at, note in enumerate(read_notes(log) if log else [])]
    notes += [(path.read_text(encoding="utf-8"), f"the checkpoint in {path.name}") for path in arguments.known]
    marks = [read_checkpoint(note, keys, witnesses, what) for note, what in notes]
    newest = marks[0].size if log else 0
    stored = read_entries(log, newest) if log else []
    if len(leaves := check_entries(stored)) != newest:
        raise Bad(f"the log was cut off, or added to without a signature: {newest} entries were signed, not these")
    for path in arguments.proof:
        mark, index, body = read_proof(path.read_text(encoding="utf-8"), keys, witnesses, path.name)
        marks.append(mark)
        print(f"{path.name} proves entry {index} of {mark.size}: {body.decode()}")
    quorum = len({key.name for key in witnesses}) if arguments.quorum is None else arguments.quorum
    reach = max([mark.size for mark in marks if len(mark.vouching) >= quorum], default=0)
    if not marks or reach < marks[0].size:
        raise Bad(f"{quorum} witnesses vouch for the first {reach} entries: the rest has the log's own word alone")
    if not log:
        return f"{len(arguments.proof)} proofs hold; without the log, nothing is said of its other entries"
    roots = roots_of(leaves, {mark.size for mark in marks})
    for mark in marks:
        if mark.size > newest:
            raise Bad(f"the log was set back: {mark.what} covers {mark.size} entries, {newest} are here")
        if roots[mark.size] != mark.root:
            raise Bad(f"the first {mark.size} entries are not the ones under {mark.what}: changed, or another history")
    check_hashes(log, [leaf for _, leaf in stored], leaves)
    whole = sum(body != b"" for body, _ in stored)  # of the others, an entry says that their content was removed
    return f"{newest} entries, {whole} of them with content, all hashes, {len(marks)} signed checkpoints of one history"


def main() -> None:
    """Exit with 0 if everything holds."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log", nargs="?", type=Path, help="directory of tiles, or SQLite database")
    parser.add_argument("--key", action="append", required=True, help="verification key of the log, or its file")
    parser.add_argument("--witness", action="append", default=[], help="verification key of a witness, or its file")
    parser.add_argument("--quorum", type=int, help="how many witnesses must vouch; without it all of them")
    for option, meaning in (("--known", "a checkpoint that others have kept"), ("--proof", "a tlog-proof@v1 file")):
        parser.add_argument(option, action="append", default=[], type=Path, help=meaning)
    arguments = parser.parse_args()
    try:
        print(f"VERIFIED: {verify(arguments)}")
    except (OSError, ValueError, LookupError, TypeError, AttributeError, sqlite3.Error) as error:
        sys.exit(f"NOT VERIFIED: {error}")


if __name__ == "__main__":
    main()
