"""``semfed policy``: check, test, explain and try policies before anything depends on them."""

from __future__ import annotations

import json as json_text
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, printable, table
from semfed_secure.errors import ConfigurationError, ExitCode

if TYPE_CHECKING:
    from semfed_secure.policy.cases import CaseReport
    from semfed_secure.policy.engine import Decision

app = typer.Typer(help="Check, test and explain policies.", add_completion=False, no_args_is_help=True)

PolicyFile = Annotated[Path, typer.Argument(help="A policy file, YAML or TOML.", show_default=False)]
PolicyName = Annotated[str, typer.Argument(help="A policy file, or a pack: pack:healthcare/hipaa.", show_default=False)]
NowOption = Annotated[str | None, typer.Option(help="Decide as if it were this time, such as 2026-12-01T12:00:00Z.")]


@app.command()
def lint(files: Annotated[list[Path], typer.Argument(show_default=False)], *, json: JsonOption = False) -> None:
    """Load policies with all they extend; say what a reviewer should look at."""
    from semfed_secure.clock import SystemClock
    from semfed_secure.ids import hex_digest
    from semfed_secure.policy.compose import load_policy
    from semfed_secure.policy.lint import lint_policy

    now = SystemClock().now()
    found = [(file, policy, lint_policy(policy, now)) for file in files for policy in [load_policy(file)]]
    emit(
        {
            "policies": [
                {
                    "file": str(file),
                    "id": policy.id,
                    "version": policy.version,
                    "digest": hex_digest(policy.digest),
                    "remarks": [asdict(remark) for remark in remarks],
                }
                for file, policy, remarks in found
            ]
        },
        as_json=json,
        text=lambda: "\n".join(
            "\n".join(
                [f"{printable(file)}: {policy.id} {policy.version} is valid, {len(remarks)} remarks"]
                + [f"  {remark.code}  {remark.field}: {remark.message}" for remark in remarks]
            )
            for file, policy, remarks in found
        ),
    )


@app.command("test")
def run_case_files(
    files: Annotated[list[Path], typer.Argument(show_default=False)], *, json: JsonOption = False
) -> None:
    """Run the cases beside each policy, then take away each of its limits: some case must notice.

    Exit 2 if a case gets another outcome or other reasons, or if a limit is untested.
    """
    from semfed_secure.policy.cases import run_cases

    reports = [run_cases(file) for file in files]
    passed = all(report.passed for report in reports)
    emit(
        {"passed": passed, "policies": [{"passed": report.passed, **asdict(report)} for report in reports]},
        as_json=json,
        text=lambda: "\n".join(map(_report_text, reports)),
    )
    raise typer.Exit(ExitCode.OK if passed else ExitCode.USAGE)


@app.command()
def explain(policy: PolicyName, *, json: JsonOption = False) -> None:
    """Say in plain English what a policy permits and what bounds it."""
    from semfed_secure.policy.compose import load_named
    from semfed_secure.policy.explain import explain_policy

    loaded = load_named(policy)
    text = explain_policy(loaded)
    emit({"policy": loaded.as_json(), "text": text}, as_json=json, text=text)


@app.command()
def decide(
    policy: PolicyName,
    question: Annotated[Path, typer.Argument(help="A file with `facts` and, where it spends, `budget`.")],
    *,
    now: NowOption = None,
    json: JsonOption = False,
) -> None:
    """Decide one question: exit 0 permit, 10 deny, 14 approval needed."""
    from semfed_secure.policy.cases import load_question
    from semfed_secure.policy.compose import load_named
    from semfed_secure.policy.engine import decide as decide_question
    from semfed_secure.policy.explain import explain_decision

    facts, budget = load_question(question)
    decision = decide_question(facts, load_named(policy), budget, _time(now))
    emit(decision.as_json(), as_json=json, text=lambda: explain_decision(decision))
    raise typer.Exit(_status(decision))


@app.command()
def schema(*, json: JsonOption = False) -> None:
    """Print the JSON Schema of policy files."""
    from semfed_secure.policy.schema import policy_schema

    document = policy_schema()
    emit(document, as_json=json, text=lambda: json_text.dumps(document, indent=2, sort_keys=True))


def _status(decision: Decision) -> ExitCode:
    return {"permit": ExitCode.OK, "deny": ExitCode.POLICY, "needs_approval": ExitCode.APPROVAL}[decision.outcome.value]


def _time(text: str | None) -> datetime:
    from semfed_secure.clock import SystemClock

    if text is None:
        return SystemClock().now()
    try:
        at = datetime.fromisoformat(text)
    except ValueError as error:
        raise ConfigurationError("SF105", "--now is written like 2026-12-01T12:00:00Z", field="now") from error
    if at.tzinfo is None:
        raise ConfigurationError("SF105", "--now needs a time zone, such as Z at its end", field="now")
    return at


def _report_text(report: CaseReport) -> str:
    failures = [[r.name, " ".join(r.expected), " ".join(r.got)] for r in report.results if not r.passed]
    good = len(report.results) - len(failures)
    lines = [f"{report.policy_id}: {good} of {len(report.results)} cases pass"]
    if failures:
        lines.append(table(["case", "expected", "got"], failures))
    if report.untested_limits:
        lines.append(f"no case notices when these limits are gone: {', '.join(report.untested_limits)}")
    if report.never_failed:
        lines.append(f"never seen to fail: {', '.join(report.never_failed)}")
    if report.never_passed:
        lines.append(f"never seen to pass: {', '.join(report.never_passed)}")
    return "\n".join(lines)
