"""``semfed client``: take part in rounds as a site, in one process or step by step from a pipeline."""

from __future__ import annotations

import time
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, NoReturn, TypeVar

import typer

from semfed_secure.cli.output import JsonOption, emit, note, printable
from semfed_secure.client.attendance import Attendance, attend
from semfed_secure.client.config import SiteConfig, load_site_config
from semfed_secure.client.decisions import DecisionPreview
from semfed_secure.client.records import iter_records, read_outputs
from semfed_secure.client.roster import take_roster
from semfed_secure.client.session import TAKES_PART, Client, Round
from semfed_secure.client.transport import HttpTransport
from semfed_secure.client.witness import vouch
from semfed_secure.client.witness_office import load_witness_config, open_witness
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError, ExitCode, PeerError, SemfedError
from semfed_secure.identity.files import read_bounded
from semfed_secure.identity.roster import MAX_ROSTER_FILE_BYTES
from semfed_secure.identity.tls import member_uri
from semfed_secure.ids import FederationId, MemberId, hex_digest
from semfed_secure.policy.engine import Outcome
from semfed_secure.wire.messages import PromptStatus

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from semfed_secure.client.learning import LearnOutcome
    from semfed_secure.client.round import VerifiedConsensus
    from semfed_secure.client.transport import RoundSummary
    from semfed_secure.privacy.forecast import Forecast
    from semfed_secure.wire.messages import Receipt

T = TypeVar("T")

app = typer.Typer(help="Take part in rounds as a site.", no_args_is_help=True, pretty_exceptions_enable=False)

POLL_SECONDS = 1.0
"""How often a waiting client looks for its next round."""
PATIENCE_SECONDS = 600.0
"""How long `run` goes on asking a server, or a model endpoint, that does not answer."""

ConfigOption = Annotated[Path, typer.Option("--config", help="The site file.", show_default=False)]
RoundOption = Annotated[
    str | None,
    typer.Option(
        "--round", help="Which round; without it the only one that is open or unfinished.", show_default=False
    ),
]
RecordsOption = Annotated[
    Path | None,
    typer.Option(help="Private records, JSON lines; without it `data.records` of the site file.", show_default=False),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Give the full decision; spend and send nothing.")]


@app.command()
def run(
    config: ConfigOption,
    round_ids: Annotated[
        list[str] | None,
        typer.Option("--round", help="Take part in these, in this order, then end; else in all, for ever."),
    ] = None,
    records: RecordsOption = None,
    as_json: JsonOption = False,
) -> None:
    """Take part in rounds: train once, then contribute, wait for the consensus and learn, round after round.

    Killed and started again, it goes on where it stood; a server that restarts meanwhile is met again. A refusal of
    one round is reported and does not end it; the exit code is that of the first refusal.
    """
    site = load_site_config(config)
    with _open(site) as client:
        source = _records(site, records)
        done = _named(client, round_ids, source) if round_ids else _all(client, source)
    document = {"rounds": [_attendance(row) for row in done]}
    emit(document, as_json=as_json, text=lambda: "\n".join(_attendance_line(row) for row in done))
    first = next((row.error for row in done if row.error is not None), None)
    raise typer.Exit(ExitCode.OK if first is None else first.exit_code)


@app.command()
def train(
    config: ConfigOption,
    round_id: RoundOption = None,
    records: RecordsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Train privately for one round, once; the budget is charged before the first step."""
    site = load_site_config(config)
    source = _records(site, records)
    if source is None:
        raise ConfigurationError("SF101", "records are needed: --records, or data.records in the site file")
    with _open(site) as client:
        joined = client.join(round_id)
        if dry_run:
            _emit_preview(joined, joined.train(iter_records(source), dry_run=True), as_json=as_json)
        outcome = joined.train(iter_records(source))
    document = {
        "round": joined.round_id,
        "adapter": outcome.adapter,
        "epsilon_cost": str(outcome.epsilon_cost),
        "epsilon_total": str(outcome.epsilon_total),
    }
    text = f"{joined.round_id}: trained, epsilon {outcome.epsilon_cost}, {outcome.epsilon_total} over its lifetime"
    emit(document, as_json=as_json, text=text)


@app.command()
def contribute(
    config: ConfigOption,
    round_id: RoundOption = None,
    outputs: Annotated[
        Path | None, typer.Option(help="Outputs of the active model from elsewhere, JSON lines.", show_default=False)
    ] = None,
    records: RecordsOption = None,
    dry_run: DryRunOption = False,
    as_json: JsonOption = False,
) -> None:
    """Answer, ask the policy, protect, sign, seal and send; again, the same bytes are sent.

    A bundle that the server rejected is no error of this command: the receipt says so.
    """
    site = load_site_config(config)
    source = _records(site, records)
    with _open(site) as client:
        joined = client.join(round_id)
        given = None if outputs is None else read_outputs(outputs, joined.prompts)
        own = None if source is None else iter_records(source)
        if dry_run:
            _emit_preview(joined, joined.contribute(given, records=own, dry_run=True), as_json=as_json)
        receipt = joined.contribute(given, records=own)
    document = {"round": joined.round_id, "receipt": _receipt(receipt)}
    emit(document, as_json=as_json, text=f"{joined.round_id}: {_receipt_line(receipt)}")


@app.command()
def collect(
    config: ConfigOption,
    round_id: RoundOption = None,
    timeout: Annotated[float, typer.Option(min=0, help="Seconds to wait; then exit 15.")] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Fetch, verify and keep the consensus; exit 15 while there is none."""
    with _open(load_site_config(config)) as client:
        joined = client.join(round_id)
        consensus = joined.wait_for_consensus(timeout)
    document = {"round": joined.round_id, **_consensus(consensus)}
    text = f"{joined.round_id}: " + ", ".join(f"{count} {name}" for name, count in _counts(consensus).items())
    emit(document, as_json=as_json, text=text)


@app.command()
def learn(config: ConfigOption, round_id: RoundOption = None, as_json: JsonOption = False) -> None:
    """Learn the agreed labels, and keep the new adapter only if it passes the validation check."""
    with _open(load_site_config(config)) as client:
        joined = client.join(round_id)
        outcome = joined.learn(joined.wait_for_consensus())
    emit(
        {"round": joined.round_id, **_learned(outcome)},
        as_json=as_json,
        text=f"{joined.round_id}: {_learned_line(outcome)}",
    )


@app.command("take-roster")
def take(
    roster_file: Annotated[Path, typer.Argument(metavar="ROSTER", help="The roster file, as the root hands it out.")],
    config: ConfigOption,
    as_json: JsonOption = False,
) -> None:
    """Take a newer roster from its file, not from the server; the server must show it, or a newer one, ever after."""
    with _open(load_site_config(config)) as client:
        roster = take_roster(client.site, read_bounded(roster_file, MAX_ROSTER_FILE_BYTES))
        now = client.site.clock.now()
    revoked = [record.member_id for record in roster.records if roster.revoked(record, at=now)]
    document = {"sequence": roster.sequence, "roster": hex_digest(roster.digest), "revoked": revoked}
    text = f"roster {roster.sequence} of {roster.federation}, revoked: {', '.join(revoked) or 'nobody'}"
    emit(document, as_json=as_json, text=text)


@app.command()
def witness(
    config: Annotated[
        Path, typer.Option("--config", help="The witness file: four sections of a site file.", show_default=False)
    ],
    every: Annotated[
        float, typer.Option(min=0, help="Seconds after which to look again, for ever; 0 ends after once.")
    ] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Vouch for the server's log as a member with the role `witness`; sites with that role do it while they run.

    What is signed is the newest checkpoint, after it has been verified to extend the last one that was seen.
    """
    loaded = load_witness_config(config)
    uri = member_uri(FederationId(loaded.site.federation), MemberId(loaded.federation.server_id))
    office = open_witness(loaded, clock=SystemClock())
    try:
        with HttpTransport.to(loaded.server, uri) as transport:
            while True:
                seen = _patiently(partial(vouch, office, transport))
                document = {"log": seen.origin, "size": seen.size, "root": seen.root.hex()}
                emit(document, as_json=as_json, text=f"vouched for {printable(seen.origin)} at size {seen.size}")
                if not every:
                    return
                time.sleep(every)
    finally:
        office.close()


def _open(site: SiteConfig) -> Client:
    return Client.open(site, on_step=note)


def _records(site: SiteConfig, given: Path | None) -> Path | None:
    return given if given is not None else site.data.records


def _named(client: Client, names: Sequence[str], records: Path | None) -> list[Attendance]:
    """Each of ``names`` in turn, waiting until the server announces it."""
    done: list[Attendance] = []
    for name in names:
        told = False
        while not any(row.round_id == name for row in _patiently(partial(_announced, client))):
            if not told:
                note(f"waiting for round {printable(name)}: the server does not announce it")
                told = True
            time.sleep(POLL_SECONDS)
        done.append(_report(_patiently(partial(attend, client, name, records=records))))
    return done


def _all(client: Client, records: Path | None) -> list[Attendance]:
    """What was left unfinished, then every round that the server announces, until somebody interrupts."""
    done: list[Attendance] = []
    seen: set[str] = set()
    try:
        while True:
            rounds = _patiently(partial(_announced, client))
            announced = [row.round_id for row in rounds if row.state in TAKES_PART]
            for name in (*client.unfinished(), *announced):
                if name not in seen:
                    seen.add(name)
                    done.append(_report(_patiently(partial(attend, client, name, records=records))))
            time.sleep(POLL_SECONDS)
    except KeyboardInterrupt:
        return done


def _announced(client: Client) -> Sequence[RoundSummary]:
    """What the server announces, after a look at its log where that is this site's office."""
    client.keep_watch()
    return client.rounds()


def _patiently(act: Callable[[], T]) -> T:
    """Do ``act``; again while only somebody else's machine is away: every step goes on where it stood."""
    until = time.monotonic() + PATIENCE_SECONDS
    while True:
        try:
            return act()
        except PeerError as error:
            if not error.retryable or time.monotonic() >= until:
                raise
            note(" ".join(str(error).split()))
        time.sleep(POLL_SECONDS)


def _report(attended: Attendance) -> Attendance:
    note(_attendance_line(attended))
    return attended


def _emit_preview(joined: Round, preview: DecisionPreview, *, as_json: bool) -> NoReturn:
    """Print a dry run's decision and end with its exit code."""
    decision = preview.decision
    document = {
        "round": joined.round_id,
        "dry_run": True,
        "decision": decision.as_json(),
        "epsilon_before": str(preview.epsilon_before),
        "epsilon_after": str(preview.epsilon_after),
        "forecast": {"right_ppm": preview.forecast.right_ppm, "rests_on": preview.forecast.rests_on},
    }
    reasons = "".join(f"\n  {reason.code} {reason.message}" for reason in decision.reasons)
    text = (
        f"{joined.round_id}: {decision.outcome}; lifetime epsilon {preview.epsilon_before} would become "
        f"{preview.epsilon_after}{reasons}\n  forecast: {_forecast_line(preview.forecast)}"
    )
    emit(document, as_json=as_json, text=text)
    codes = {Outcome.PERMIT: ExitCode.OK, Outcome.DENY: ExitCode.POLICY, Outcome.NEEDS_APPROVAL: ExitCode.APPROVAL}
    raise typer.Exit(codes[decision.outcome])


def _forecast_line(forecast: Forecast) -> str:
    if forecast.right_ppm is None:
        return forecast.rests_on
    share = f"{forecast.right_ppm / 10_000:.1f} %"
    return f"the consensus would be right on at most {share} of the prompts; {forecast.rests_on}"


def _receipt(receipt: Receipt) -> dict[str, Any]:
    return {
        "outcome": str(receipt.outcome),
        "code": receipt.code,
        "statement": hex_digest(receipt.statement_digest),
        "log_index": receipt.log_index,
    }


def _receipt_line(receipt: Receipt) -> str:
    return str(receipt.outcome) if receipt.code is None else f"{receipt.outcome} with {receipt.code}"


def _counts(consensus: VerifiedConsensus) -> dict[str, int]:
    statuses = [result.status for result in consensus.results]
    return {str(status): statuses.count(status) for status in PromptStatus}


def _consensus(consensus: VerifiedConsensus) -> dict[str, Any]:
    return _counts(consensus) | {
        "consensus": hex_digest(consensus.consensus.digest),
        "admitted": consensus.admitted_count,
        "rejections": dict(consensus.consensus.rejections),
    }


def _learned(outcome: LearnOutcome) -> dict[str, Any]:
    return {name: getattr(outcome, name) for name in outcome.__slots__}


def _learned_line(outcome: LearnOutcome) -> str:
    if outcome.kept is None:
        return f"{outcome.labels} labels taken home"
    verdict = "kept" if outcome.kept else "rolled back"
    scores = f"{outcome.score_before:.3f} before, {outcome.score_after:.3f} after"
    return f"{outcome.labels} labels learned, {verdict}: {scores}"


def _error(error: SemfedError) -> dict[str, Any]:
    return {"code": error.code, "message": error.message, "server_code": error.fields.get("server_code")}


def _attendance(row: Attendance) -> dict[str, Any]:
    return {
        "round": row.round_id,
        "receipt": None if row.receipt is None else _receipt(row.receipt),
        "learned": None if row.learned is None else _learned(row.learned),
        "error": None if row.error is None else _error(row.error),
    }


def _attendance_line(row: Attendance) -> str:
    parts = [] if row.receipt is None else [_receipt_line(row.receipt)]
    parts += [] if row.learned is None else [_learned_line(row.learned)]
    parts += [] if row.error is None else [" ".join(str(row.error).split())]
    return f"{row.round_id}: {'; '.join(parts)}"
