"""A PKCS#11 token to sign with: SoftHSM, with P-256 keys that were generated in it and never leave it."""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass
from pathlib import Path

import pytest

LIBRARIES = [Path(directory, "libsofthsm2.so") for directory in ("/usr/lib/softhsm", "/usr/local/lib/softhsm")]
PIN = "4711-for-tests"
LABEL = "north clinic"
KEYS = (1, 2)
"""The ids of the token's keys."""


@dataclass(frozen=True)
class Token:
    """An initialised token and what a program needs to sign with it.

    Attributes:
        environment: What its library and `securesystemslib` read.
        pin_file: Holds its PIN.
        public_keys: Its public keys as `pkcs11-tool` exports them, by their id.
    """

    environment: dict[str, str]
    pin_file: Path
    public_keys: dict[int, Path]

    def uri(self, key: int = 1) -> str:
        """The address of one of its keys."""
        return f"hsm:{key}?label={LABEL.replace(' ', '+')}"


def library() -> Path | None:
    """SoftHSM's library, if it and the tools that make a token are installed."""
    tools = all(map(shutil.which, ("softhsm2-util", "pkcs11-tool")))
    return next((path for path in LIBRARIES if path.exists()), None) if tools else None


def initialise(directory: Path, module: Path) -> Token:
    """Make a token below ``directory`` and generate its keys."""
    pin_file = directory / "pin"
    pin_file.touch(mode=0o600)
    pin_file.write_text(f"{PIN}\n")
    (directory / "tokens").mkdir()
    (directory / "softhsm2.conf").write_text(f"directories.tokendir = {directory}/tokens\nlog.level = ERROR\n")
    environment = {"SOFTHSM2_CONF": str(directory / "softhsm2.conf"), "PYKCS11LIB": str(module)}

    def call(*command: str) -> None:
        subprocess.run(command, check=True, capture_output=True, env=os.environ | environment)

    call("softhsm2-util", "--init-token", "--free", "--label", LABEL, "--pin", PIN, "--so-pin", "12345678")
    public_keys = {number: directory / f"{number}.der" for number in KEYS}
    for number in KEYS:
        tool = ("pkcs11-tool", "--module", str(module), "--token-label", LABEL, "--id", f"{number:02}")
        call(*tool, "--login", "--pin", PIN, "--keypairgen", "--key-type", "EC:prime256v1", "--usage-sign")
        call(*tool, "--read-object", "--type", "pubkey", "--output-file", str(public_keys[number]))
    return Token(environment, pin_file, public_keys)


@pytest.fixture(scope="session")
def token(tmp_path_factory):
    """One token for the whole run: the library reads which ones there are when a process first uses it."""
    module = library()
    if module is None:
        pytest.skip("softhsm2 and opensc are not installed: apt-get install softhsm2 opensc")
    made = initialise(tmp_path_factory.mktemp("token"), module)
    with pytest.MonkeyPatch.context() as patch:
        for name, value in made.environment.items():
            patch.setenv(name, value)
        yield made
