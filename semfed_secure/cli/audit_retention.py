"""``semfed audit prune``, ``hold`` and ``lift``: what a log need not keep any more, and what it must."""

from __future__ import annotations

from datetime import date
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.audit.own import open_own
from semfed_secure.audit.retention import WRITER, Terms
from semfed_secure.audit.retention import hold as put_hold
from semfed_secure.audit.retention import lift as end_hold
from semfed_secure.audit.retention import prune as prune_log
from semfed_secure.cli.audit_own import LogKeyFile, PassphraseOption, own_key
from semfed_secure.cli.output import JsonOption, emit
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError

if TYPE_CHECKING:
    from contextlib import AbstractContextManager

    from semfed_secure.audit.own import Opened

LogPlace = Annotated[str, typer.Argument(metavar="PATH", help="A state directory, database file or URL.")]
HoldName = Annotated[str, typer.Option("--name", help="What the hold is called.")]
Reference = Annotated[str, typer.Option("--reference", help="The case or letter it rests on; no names of people.")]


def prune(
    place: LogPlace,
    before: Annotated[str, typer.Option("--before", help="A month or day, 2020-03 or 2020-03-15; what is older goes.")],
    log_key: LogKeyFile,
    policy: Annotated[
        Path | None, typer.Option("--policy", help="A site's policy file, which must be the pinned one.")
    ] = None,
    keep_days: Annotated[
        int | None,
        typer.Option("--keep-days", min=1, help="For how many days entries are kept, if a policy does not say more."),
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Remove the content of old entries that nothing needs any more, for good; the log verifies as before.

    Exit 10, and the refusal is entered, if some must be kept longer or are under a legal hold.
    """
    day = _day(before)
    with _own(place, log_key, passphrase_file) as own:
        pruned = prune_log(own, day, _terms(own, policy, keep_days))
    words = f"removed the content of {pruned.count} entries from before {day}"
    words += "; nothing was there to remove" if pruned.entry is None else f"; entry {pruned.entry} says so"
    if not pruned.gone:
        words += "\nit may still stand in the files: on SQLite somebody was reading, run this again; PostgreSQL: VACUUM"
    document = {
        "before": day.isoformat(),
        "pruned": pruned.count,
        "types": pruned.kinds,
        "entry": pruned.entry,
        "gone": pruned.gone,
    }
    emit(document, as_json=as_json, text=words)


def hold(
    place: LogPlace,
    name: HoldName,
    reference: Reference,
    log_key: LogKeyFile,
    since: Annotated[
        str | None, typer.Option("--since", help="Only entries from this month or day on; all of them otherwise.")
    ] = None,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Put a legal hold on a log: nothing that it covers is pruned until it is lifted."""
    first = None if since is None else _day(since)
    with _own(place, log_key, passphrase_file) as own:
        entry = put_hold(own, name, reference=reference, since=first)
    emit({"hold": name, "entry": entry}, as_json=as_json, text=f"the hold {name} is in force: entry {entry}")


def lift(
    place: LogPlace,
    name: HoldName,
    reference: Reference,
    log_key: LogKeyFile,
    passphrase_file: PassphraseOption = None,
    as_json: JsonOption = False,
) -> None:
    """Lift a legal hold."""
    with _own(place, log_key, passphrase_file) as own:
        entry = end_hold(own, name, reference=reference)
    emit({"hold": name, "entry": entry}, as_json=as_json, text=f"the hold {name} is lifted: entry {entry}")


def _own(place: str, log_key: Path, passphrase_file: Path | None) -> AbstractContextManager[Opened]:
    return open_own(place, own_key(log_key, passphrase_file), clock=SystemClock(), writer=WRITER)


def _day(text: str) -> date:
    try:
        return date.fromisoformat(text if len(text) > len("2020-03") else f"{text}-01")
    except ValueError as error:
        raise ConfigurationError(
            "SF105", f"a month or day such as 2020-03 or 2020-03-15 was expected, got {text!r}"
        ) from error


def _terms(own: Opened, file: Path | None, keep_days: int | None) -> Terms:
    """For how long entries are kept: what the pinned policy says, or more; where there is none, what was named."""
    from semfed_secure.client.pins import POLICY, require_pinned  # only a site has a policy
    from semfed_secure.ids import hex_digest
    from semfed_secure.policy.compose import load_policy
    from semfed_secure.storage.pin_rows import read_pin

    with own.database.snapshot() as tx:
        if file is None:
            if read_pin(tx, POLICY) is not None:
                raise ConfigurationError("SF101", "a policy is in force here: --policy names its file")
            if keep_days is None:
                raise ConfigurationError("SF101", "without a policy --keep-days says for how long entries are kept")
            return Terms(keep_days)
        policy = load_policy(file)
        require_pinned(tx, POLICY, policy.digest, named=None)
    days = max(policy.limits.retention.audit_days or 0, keep_days or 0)
    if not days:
        raise ConfigurationError("SF101", "the policy does not say for how long entries are kept: --keep-days does")
    return Terms(days, policy.id, hex_digest(policy.digest))
