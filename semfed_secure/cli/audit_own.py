"""The private key of a log, for the commands of ``semfed audit`` that enter in the log what they do."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.crypto.key_files import load_log_key, read_passphrase

if TYPE_CHECKING:
    from semfed_secure.crypto.log_keys import LogSigningKey

LogKeyFile = Annotated[Path, typer.Option("--log-key", help="The log's private key file: enters this in the log.")]
PassphraseOption = Annotated[
    Path | None,
    typer.Option("--passphrase-file", help="Holds the passphrase of the key files; else SEMFED_PASSPHRASE does."),
]


def own_key(file: Path, passphrase_file: Path | None) -> LogSigningKey:
    """The log's private key.

    Raises:
        ConfigurationError: SF121 or SF122, the file or its passphrase is not good.
    """
    return load_log_key(file, read_passphrase(passphrase_file, os.environ))
