"""``semfed audit proof``: one file that proves one entry to an outsider, and its check without the log."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.proofs import check_proof, make_proof
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.wording import describe
from semfed_secure.cli.audit_options import KeyOption, read_key, read_text
from semfed_secure.cli.audit_trust import QuorumOption, WitnessOption, key_of, witnesses_of
from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import write_new

if TYPE_CHECKING:
    from semfed_secure.audit.proofs import ProvenEntry


def proof(
    place: Annotated[
        str | None,
        typer.Argument(metavar="PATH", help="A state directory, database file or URL, or a directory of tiles."),
    ] = None,
    number: Annotated[int | None, typer.Argument(metavar="NUMBER", min=0, help="Number of the entry.")] = None,
    out: Annotated[Path | None, typer.Option("--out", help="Where to write it; NUMBER.tlog-proof otherwise.")] = None,
    check: Annotated[Path | None, typer.Option("--check", help="Check this proof file instead of writing one.")] = None,
    leaf_hash: Annotated[
        str | None,
        typer.Option("--leaf-hash", help="With --check: the hash of the entry, in hexadecimal, if the file lacks it."),
    ] = None,
    key: KeyOption = None,
    witness: WitnessOption = None,
    quorum: QuorumOption = None,
    as_json: JsonOption = False,
) -> None:
    """Write one file that proves an entry to whoever has the log's key, or check such a file; exit 13 if it is bad."""
    witnesses, given = witnesses_of(witness, quorum), read_key(key)
    if check is not None:
        if given is None or place is not None:
            raise ConfigurationError("SF105", "a proof is checked against --key alone: the log is not asked")
        proven = check_proof(read_text(check), key_of(given), witnesses, leaf=_hash(leaf_hash))
        emit(_document(proven, check), as_json=as_json, text=lambda: _text(proven))
        return
    if place is None or number is None:
        raise ConfigurationError("SF105", "name a log and the number of an entry, or a file to --check")
    with open_source(place) as source:
        named = given or source.head().verification_key
        text = make_proof(source, number, key_of(named))
        leaf = source.hashes([(0, number)])[0, number]
    path = out or Path(f"{number}.tlog-proof")
    proven = check_proof(text, key_of(named), witnesses, leaf=leaf)
    write_new(path, text.encode())
    emit(_document(proven, path), as_json=as_json, text=lambda: f"{path}: {_text(proven)}")


def _hash(text: str | None) -> bytes | None:
    try:
        return None if text is None else bytes.fromhex(text)
    except ValueError as error:
        raise ConfigurationError("SF105", "64 hexadecimal digits were expected as --leaf-hash") from error


def _text(proven: ProvenEntry) -> str:
    tree, entry = proven.checkpoint, proven.entry
    words = f"proves entry {proven.index} of the first {tree.size} of {tree.origin}\n"
    if entry is None:
        words += (
            f"its content was removed; proven is its hash {proven.leaf.hex()}, and whoever kept the entry can compare"
        )
    else:
        words += f"{entry.time} {entry.writer}: {describe(entry.event)}"
    return words + "".join(f"\n{name} vouches for it" for name in proven.vouching)


def _document(proven: ProvenEntry, path: Path) -> dict[str, object]:
    entry = proven.entry
    return {
        "file": str(path),
        "log": proven.checkpoint.origin,
        "entry": proven.index,
        "leaf_hash": proven.leaf.hex(),
        "time": None if entry is None else entry.time,
        "writer": None if entry is None else entry.writer,
        "sentence": None if entry is None else describe(entry.event),
        "entries": proven.checkpoint.size,
        "root": proven.checkpoint.root.hex(),
        "witnesses": list(proven.vouching),
    }
