"""Where the shipped examples lie, and how one becomes a data directory."""

from __future__ import annotations

import runpy
from pathlib import Path

from semfed_secure.errors import ConfigurationError

HOSPITAL, BANK = "hospital_coding", "bank_merchants"
EXAMPLES = {"hospital": HOSPITAL, "bank": BANK}
"""The shipped examples by the names that ``semfed demo --example`` takes."""


def examples_root() -> Path:
    """The directory of the examples.

    The build puts the repository's ``examples/`` into the wheel as ``shipped`` beside this file (``setup.py``); a
    source checkout has them at its top.
    """
    installed = Path(__file__).parent / "shipped"
    return installed if installed.is_dir() else Path(__file__).parents[2] / "examples"


def lookup_script() -> Path:
    """The black box of a site that brings none: a look-up over its own records, served on this machine."""
    return examples_root() / BANK / "scorer.py"


def build_example(name: str, directory: Path, *, seed: int, small: bool) -> None:
    """Let the example ``name`` write its data into ``directory``.

    Raises:
        ConfigurationError: SF102 if there is no such example, SF103 if the package of its data is missing.
    """
    script = examples_root() / name / "build.py"
    if not script.is_file():
        raise ConfigurationError("SF102", f"there is no example `{name}` at {script}", path=str(script))
    try:
        runpy.run_path(str(script), run_name="example")["build"](directory, seed=seed, small=small)
    except ModuleNotFoundError as error:
        raise ConfigurationError("SF103", f"install `semfed-secure[demo]`: `{error.name}` is missing") from error
