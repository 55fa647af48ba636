"""Where the shipped policy packs lie, in an installed wheel and in a source checkout."""

from __future__ import annotations

import re
from pathlib import Path

from semfed_secure.errors import ConfigurationError

PREFIX = "pack:"

_REFERENCE = re.compile(r"pack:([a-z0-9-]+)/([a-z0-9-]+)\Z")


def packs_root() -> Path:
    """The directory of the packs.

    The build puts the repository's `policies/` into the wheel as `shipped` beside this file (`setup.py`); a source
    checkout, installed or not, has them at its top.
    """
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "policies"


def pack_names() -> tuple[str, ...]:
    """References of all shipped packs, such as ``pack:healthcare/hipaa``."""
    root = packs_root()
    files = (path.relative_to(root).with_suffix("") for path in root.glob("*/*.yaml"))
    return tuple(sorted(f"{PREFIX}{file.as_posix()}" for file in files if file.suffix != ".cases"))


def pack_path(reference: str) -> Path:
    """The file of one pack.

    Raises:
        ConfigurationError: SF111 where there is no such pack.
    """
    match = _REFERENCE.match(reference)
    path = packs_root() / match[1] / f"{match[2]}.yaml" if match else None
    if path is None or not path.is_file():
        known = ", ".join(pack_names())
        raise ConfigurationError("SF111", f"extends: there is no {reference}; shipped are {known}", field="extends")
    return path
