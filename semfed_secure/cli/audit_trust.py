"""Whose word the commands of ``semfed audit`` rest on: the log's key, and the keys of witnesses."""

from __future__ import annotations

from typing import Annotated

import typer

from semfed_secure.audit.vouched import Witnesses
from semfed_secure.cli.audit_options import read_key
from semfed_secure.crypto.log_keys import LogVerificationKey
from semfed_secure.errors import ConfigurationError, PeerError

WitnessOption = Annotated[
    list[str] | None,
    typer.Option("--witness", help="The log key of a member that must vouch for it, or its file; may be repeated."),
]
QuorumOption = Annotated[
    int | None, typer.Option("--quorum", help="How many of these witnesses must vouch; all of them otherwise.")
]


def witnesses_of(keys: list[str] | None, quorum: int | None) -> Witnesses:
    """The witnesses that were named.

    Raises:
        ConfigurationError: SF102, SF104 or SF105, a key cannot be read, or the quorum is more than there are.
    """
    return Witnesses.parse([read_key(text) or "" for text in keys or []], quorum)


def key_of(text: str) -> LogVerificationKey:
    """The key of a log.

    Raises:
        ConfigurationError: SF104.
    """
    try:
        return LogVerificationKey.parse(text)
    except PeerError as error:
        raise ConfigurationError("SF104", "the key that was given is not a log's verification key") from error
