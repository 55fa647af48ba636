"""``semfed audit grant``: a PostgreSQL role that may add to the log, and never change or delete what is in it."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.storage import Database, log_guard


class Kind(StrEnum):
    """Whose database it is."""

    SERVER = "server"
    CLIENT = "client"


def grant(
    database: Annotated[str, typer.Argument(metavar="URL", help="The PostgreSQL database, as its owner.")],
    role: Annotated[str, typer.Argument(metavar="ROLE", help="An existing role, which the server or site logs in as.")],
    kind: Annotated[Kind, typer.Option("--kind", help="Whose database it is.")] = Kind.SERVER,
    as_json: JsonOption = False,
) -> None:
    """Create the tables, and let a role do the writer's work: it can add to the log, not change or delete."""
    with Database.open(database, kind=kind.value) as opened, opened.transaction() as tx:
        statements = log_guard.grant(tx.connection, role)
    emit({"role": role, "statements": statements}, as_json=as_json, text=";\n".join(statements) + ";")
