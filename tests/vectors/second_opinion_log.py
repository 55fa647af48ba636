"""What ``pymerkle`` says of our audit log: ``make second-opinion``, in an environment without ours.

It builds its own tree from the exported entries and must come to the signed root; it proves every record and the
consistency of all powers of two, and verifies both against that root. The checkpoint's signatures are verified with
``cryptography``. And each corrupted copy must be refused. Nothing of `semfed_secure` is imported; the export is written
by ``python -m tests.audit.large_log``.
"""

from __future__ import annotations

import base64
import hashlib
import json
import sys
import tempfile
from pathlib import Path

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PublicKey
from pymerkle import InmemoryTree, InvalidProof, verify_consistency, verify_inclusion

sys.path.insert(0, str(Path(__file__).parents[1] / "audit"))

from corruptions import CORRUPTIONS, corrupted, items

WIDTH = 256


class Refused(Exception):  # noqa: N818 - what a verifier says, not an accident
    """The log does not hold."""


def require(holds: object, what: str) -> None:
    """Refuse the log if something does not hold."""
    if not holds:
        raise Refused(what)


def signed_tree(note: str, key: str) -> tuple[int, bytes]:
    """Size and root of a checkpoint under both signatures of the log."""
    text, _, signed = note.partition("\n\n")
    text += "\n"
    origin, size, root, *_ = text.split("\n")
    lines = [line.split(" ") for line in signed.splitlines()]
    require(len(lines) == 2 and size.isdigit(), "a checkpoint has two signatures")
    for (_, name, encoded), vkey in zip(lines, key.split(","), strict=True):
        _, _, public = vkey.split("+", 2)
        kind, raw = base64.b64decode(public)[0], base64.b64decode(public)[1:]
        signature = base64.b64decode(encoded)
        identity = hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + raw).digest()[:4]
        require((name, signature[:4]) == (origin, identity), "the signature is of this key")
        if kind == 1:
            Ed25519PublicKey.from_public_bytes(raw).verify(signature[4:], text.encode())
        else:
            named = bytes([len(origin)]) + origin.encode()
            tree = bytes(8) + int(size).to_bytes(8, "big") + base64.b64decode(root)
            message = b"subtree/v1\n\0" + named + signature[4:12] + named + tree
            MLDSA44PublicKey.from_public_bytes(raw).verify(signature[12:], message)
    return int(size), base64.b64decode(root)


def entries_of(export: Path, size: int) -> list[bytes]:
    """The entries that the checkpoint covers, each of which states its own number."""
    bodies: list[bytes] = []
    above: list[bytes] = []
    for start in range(0, size, WIDTH):
        count = min(WIDTH, size - start)
        name = f"{start // WIDTH:03d}" + (f".p/{count}" if count < WIDTH else "")
        whole = items(export / "tile" / "entries" / name)
        require(len(whole) == count and all(len(item) == 2 + int.from_bytes(item[:2], "big") for item in whole), name)
        bodies += [item[2:] for item in whole]
        leaves = b"".join(hashlib.sha256(b"\0" + item[2:]).digest() for item in whole)
        require((export / "tile" / "0" / name).read_bytes() == leaves, f"tile/0/{name} is that of the entries")
        if count == WIDTH:
            part = InmemoryTree(algorithm="sha256")
            part.append_entries(bodies[start:])
            above.append(part.get_root())
    stored = b"".join(path.read_bytes() for path in (export / "tile" / "1").rglob("*") if path.is_file())
    require(stored == b"".join(above), "the tile above holds the roots of full tiles")  # one tile, up to 65,535 entries
    for number, body in enumerate(bodies):
        require(json.loads(body)["seq"] == number, f"entry {number} states its number")
    return bodies


def verify(export: Path, key: str) -> tuple[int, int]:
    """Hold one export against pymerkle; how many records and pairs of trees it verified."""
    size, root = signed_tree((export / "checkpoint").read_text(encoding="utf-8"), key)
    tree = InmemoryTree(algorithm="sha256")
    tree.append_entries(entries_of(export, size))
    require(tree.get_root() == root, "pymerkle comes to the signed root")
    for number in range(1, size + 1):  # it counts from one
        verify_inclusion(tree.get_leaf(number), root, tree.prove_inclusion(number, size))
    sizes = [1 << power for power in range(size.bit_length()) if 1 << power < size] + [size]
    pairs = [(old, new) for old in sizes for new in sizes if old < new]
    for old, new in pairs:
        proof = tree.prove_consistency(old, new)
        verify_consistency(tree.get_root(old), root if new == size else tree.get_root(new), proof)
    return size, len(pairs)


def refuses(export: Path, key: str) -> bool:
    """Whether a log is refused."""
    try:
        verify(export, key)
    except (Refused, InvalidSignature, InvalidProof, ValueError, OSError, LookupError):
        return True
    return False


def main() -> None:
    """Verify the export that is named, and refuse what was done to copies of it."""
    export = Path(sys.argv[1])
    key = (export / "verification-key").read_text(encoding="utf-8").strip()
    size, pairs = verify(export, key)
    with tempfile.TemporaryDirectory() as place:
        accepted = [name for name in CORRUPTIONS if not refuses(corrupted(export, name, Path(place)), key)]
    assert not accepted, accepted
    print(  # noqa: T201 - a script's report
        f"audit log: pymerkle agrees on {size} records and {pairs} pairs of trees, and refuses"
        f" {len(CORRUPTIONS)} corrupted copies"
    )


if __name__ == "__main__":
    main()
