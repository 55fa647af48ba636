"""``semfed audit timestamp``: have an authority outside the federation vouch for the newest checkpoint."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.anchors import Anchor, TimestampAuthority
from semfed_secure.audit.notes import parse_checkpoint, parse_note
from semfed_secure.audit.sources import open_source
from semfed_secure.audit.verify import verify_source
from semfed_secure.cli.audit_options import KeyOption, Place, read_key, read_text
from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.clock import to_iso
from semfed_secure.errors import ConfigurationError
from semfed_secure.identity.files import read_bounded, refuse_existing, write_new

if TYPE_CHECKING:
    from collections.abc import Sequence

_MOST = 1024 * 1024
AUTHORITY_HELP = "The root certificates of the timestamp authority, PEM, from its operator."


def timestamp(
    place: Place,
    authority: Annotated[str, typer.Option("--authority", help="Where the authority answers, http:// or https://.")],
    certificates: Annotated[Path, typer.Option("--authority-certificates", help=AUTHORITY_HELP)],
    out: Annotated[Path, typer.Option("--out", help="A new file for the checkpoint; the timestamp is put beside it.")],
    key: KeyOption = None,
    as_json: JsonOption = False,
) -> None:
    """Verify a log, and have a timestamp authority (RFC 3161) vouch for its newest checkpoint.

    Writes the checkpoint and, beside it with the ending .tsr, the timestamp: `openssl ts -verify` reads both. Only a
    digest leaves. `audit verify --stamped` tells whether a log is still the one that was vouched for.
    """
    refuse_existing(out, beside(out))
    with open_source(place) as source:
        verdict = verify_source(source, key=read_key(key))
        checkpoint = source.head().checkpoint
    anchor: Anchor = TimestampAuthority(read_bounded(certificates, _MOST), authority)
    evidence = anchor.stamp(checkpoint)
    time = to_iso(anchor.time_of(checkpoint, evidence))
    write_new(out, checkpoint.encode())
    write_new(beside(out), evidence)
    emit(
        {"checkpoint": str(out), "timestamp": str(beside(out)), "size": verdict.size, "time": time},
        as_json=as_json,
        text=f"the first {verdict.size} entries of {verdict.origin} existed at {time}: {out} and {beside(out)}",
    )


def beside(path: Path) -> Path:
    """Where the timestamp of the checkpoint in a file lies."""
    return path.with_name(f"{path.name}.tsr")


@dataclass(frozen=True, slots=True)
class Stamp:
    """A checkpoint that an authority vouches for.

    Attributes:
        checkpoint: The signed note.
        size: How many entries it covers.
        time: When it existed already.
    """

    checkpoint: str
    size: int
    time: str


def stamped_checkpoints(paths: Sequence[Path], certificates: Path | None) -> list[Stamp]:
    """The checkpoints in files that `timestamp` wrote, once each timestamp was verified.

    Raises:
        ConfigurationError: SF105 if nobody says whom to believe; SF102 for a file that cannot be read.
        IntegrityError: SF520 if a timestamp does not verify.
    """
    if not paths:
        return []
    if certificates is None:
        raise ConfigurationError("SF105", "--stamped needs --authority-certificates: whose timestamps to believe")
    anchor: Anchor = TimestampAuthority(read_bounded(certificates, _MOST))
    return [_stamp(anchor, read_text(path), read_bounded(beside(path), _MOST)) for path in paths]


def _stamp(anchor: Anchor, checkpoint: str, evidence: bytes) -> Stamp:
    time = to_iso(anchor.time_of(checkpoint, evidence))
    return Stamp(checkpoint, parse_checkpoint(parse_note(checkpoint).text).size, time)
