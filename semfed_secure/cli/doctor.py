"""``semfed doctor``: say what of this installation works, and what to install for the rest."""

from __future__ import annotations

import platform
import sys
import tempfile
from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import typer

from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.errors import ExitCode, SemfedError

app = typer.Typer(help="Say what of this installation works.", add_completion=False)

NEEDED_PYTHON = (3, 11)

# extra -> the distribution that shows whether it is installed, and what it is good for
EXTRAS: dict[str, tuple[str, str]] = {
    "llm": ("torch", "train and run local models, embed texts"),
    "server": ("fastapi", "run the consensus server"),
    "hsm": ("securesystemslib", "sign with keys in an HSM or a key service"),
    "postgres": ("psycopg", "keep state in PostgreSQL"),
    "demo": ("gguf", "run `semfed demo`"),
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One line of the doctor's report."""

    check: str
    status: str
    detail: str


@app.command()
def doctor(*, json: JsonOption = False) -> None:
    """Check Python, cryptography, storage and the optional parts; exit 2 if a needed one does not work.

    Every check does the real thing once: it signs and verifies, seals and opens, writes and reads a database.
    """
    findings = [_python(), _check("signatures", _signatures), _check("sealing", _sealing), _check("storage", _storage)]
    findings += [_extra(name, *row) for name, row in EXTRAS.items()]
    healthy = all(finding.status != "broken" for finding in findings)
    emit(
        {"healthy": healthy, "checks": [asdict(finding) for finding in findings]},
        as_json=json,
        text=lambda: table(["check", "status", "detail"], [[f.check, f.status, f.detail] for f in findings]),
    )
    raise typer.Exit(ExitCode.OK if healthy else ExitCode.USAGE)


def _python() -> Finding:
    """Whether the interpreter is new enough."""
    good = sys.version_info[:2] >= NEEDED_PYTHON
    return Finding("python", "ok" if good else "broken", f"{platform.python_version()} on {platform.machine()}")


def _check(name: str, act: Callable[[], str]) -> Finding:
    """Run ``act``; what it raises is the finding, because telling is what a doctor is for."""
    try:
        return Finding(name, "ok", act())
    except SemfedError as error:
        return Finding(name, "broken", f"{error}: {error.remedy}")
    except Exception as error:  # noqa: BLE001 - an incompatible library may raise anything, and must be named
        return Finding(name, "broken", f"{type(error).__name__}: {error}")


def _signatures() -> str:
    """Sign and verify with a fresh hybrid key."""
    from semfed_secure.crypto.keys import SigningKey
    from semfed_secure.crypto.signing import sign, verify
    from semfed_secure.wire.cbor import Limits
    from semfed_secure.wire.cose import MessageType

    key = SigningKey.generate()
    limits = Limits(max_bytes=16)
    verify(MessageType.STATEMENT, sign(MessageType.STATEMENT, b"doctor", key), [key.public], limits=limits)
    return "Ed25519 and ML-DSA-65 sign and verify"


def _sealing() -> str:
    """Seal to a fresh key and open again."""
    from semfed_secure.crypto.keys import OpeningKey
    from semfed_secure.crypto.sealing import open_sealed, seal

    key = OpeningKey.generate()
    open_sealed(seal(b"doctor", info=b"doctor", to=key.public), info=b"doctor", key=key)
    return "X-Wing seals and opens"


def _storage() -> str:
    """Create a client database in a temporary directory and begin one transaction."""
    from semfed_secure.storage import Database

    with tempfile.TemporaryDirectory() as directory:
        database = Database.open(str(Path(directory) / "doctor.sqlite"), kind="client")
        try:
            with database.transaction():
                pass
        finally:
            database.close()
    return "SQLite opens, migrates and commits"


def _extra(name: str, distribution: str, purpose: str) -> Finding:
    """Whether an optional part is there; its absence breaks nothing."""
    try:
        return Finding(f"[{name}]", "ok", f"{distribution} {version(distribution)}: can {purpose}")
    except PackageNotFoundError:
        return Finding(f"[{name}]", "absent", f"install `semfed-secure[{name}]` to {purpose}")
