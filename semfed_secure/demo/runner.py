"""Runs a whole federation on this machine: founds it, starts its processes, opens its rounds, reports."""

from __future__ import annotations

import json
import socket
import time
from collections.abc import Mapping
from pathlib import Path

import httpx

from semfed_secure.demo.children import Children, run_command, side_by_side
from semfed_secure.demo.collect import Document, ask, collect, log_keys, logs, round_status
from semfed_secure.demo.picture import draw
from semfed_secure.demo.plan import RoundPlan, SiteRole
from semfed_secure.demo.progress import Progress
from semfed_secure.demo.workspace import OFFLINE, SERVER, Workspace, found
from semfed_secure.errors import ConfigurationError, ConsensusError, ExitCode

POLL_SECONDS = 1.0
START_SECONDS = 60.0
"""A server that does not listen by then never will."""
LOOK_SECONDS = 10.0
"""How often the operator's command looks at a round in which nothing seems to happen."""
TAKES_ANSWERS = frozenset({"announced", "collecting"})
REFUSALS = frozenset({ExitCode.OK, ExitCode.POLICY, ExitCode.BUDGET, ExitCode.APPROVAL, ExitCode.NOT_READY})
"""How a site may end that was refused, late or refused itself: the report says so, and the others go on."""
ENDED = frozenset({"published", "aborted"})


def free_port() -> int:
    """A port of this machine that nobody listens on right now."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def run_federation(workspace: Workspace, progress: Progress) -> Document:
    """Run every round of ``workspace`` and return the report; every process has ended when this returns.

    Raises:
        ConfigurationError: SF107 if a part of it stops.
        ConsensusError: SF403 if a round was aborted.
    """
    start = time.monotonic()
    progress.say(f"founding the federation: {len(workspace.sites)} sites, keys, roster, policies")
    found(workspace)
    with Children(workspace.root / "logs", OFFLINE) as children:
        _start_server(workspace, children)
        progress.say(f"server listens on {workspace.url}")
        _start_sites(workspace, children)
        for plan in workspace.scale.rounds:
            _hold(workspace, plan, children, progress)
        _await_sites(workspace, children, progress)
        children.stop(SERVER)
    progress.say("reading every log, ledger and score")
    return collect(workspace, _told(workspace), time.monotonic() - start)


def _start_server(workspace: Workspace, children: Children) -> None:
    """Start the server and wait until it says that it listens."""
    run = ["-m", "semfed_secure.cli", "server", "run", "--config", str(workspace.server_file)]
    server = children.start(SERVER, run)
    deadline = time.monotonic() + START_SECONDS
    while "listening on" not in server.last_line():
        children.require_running(SERVER)
        if time.monotonic() > deadline:
            raise ConfigurationError(
                "SF107", f"the server did not listen in {START_SECONDS:.0f} s", log=str(server.log)
            )
        time.sleep(0.1)


def _start_sites(workspace: Workspace, children: Children) -> None:
    """One process per site: the public command for the honest, a client of the public library for the others."""
    for site in workspace.sites:
        config, rounds = str(workspace.site_file(site)), [plan.id for plan in workspace.scale.rounds]
        if site.role is SiteRole.HONEST:
            named = [part for name in rounds for part in ("--round", name)]
            children.start(site.id, ["-m", "semfed_secure.cli", "client", "run", "--config", config, *named])
        else:
            files = [config, str(workspace.answers_file(site)), str(workspace.outcomes_file(site))]
            children.start(site.id, ["-m", "semfed_secure.demo.misbehave", site.role, *files, *rounds])


def _hold(workspace: Workspace, plan: RoundPlan, children: Children, progress: Progress) -> None:
    """Open one round, close it when everybody who is in time has answered, wait for its consensus."""
    config = ["--config", str(workspace.server_file)]
    labels = [part for label in workspace.candidates(plan.kind) for part in ("--candidate", label)]
    terms = ["--id", plan.id, "--kind", plan.kind, "--closes-in", str(workspace.scale.round_seconds)]
    prompts = ["--prompts", str(workspace.prompts_file(plan.kind))]
    rule = workspace.scale.terms.get(plan.kind, ())
    run_command(["round", "open", *config, *terms, *prompts, *labels, *rule], environment=OFFLINE)
    progress.say(f"{plan.id} is open: {len(workspace.prompt_set(plan.kind).prompts)} prompts, {plan.kind}")
    in_time = {site.id for site in workspace.sites if site.role is not SiteRole.LATE}
    with httpx.Client(base_url=workspace.url) as server:
        # The public page first: what changes after it was read, wakes the loop, however long the other look takes.
        page, status = _page(server, plan), round_status(workspace, plan.id)
        while status["state"] not in ENDED:
            answered = {*status["admitted"], *(row["member"] for row in status["refused"])}
            if status["state"] in TAKES_ANSWERS and in_time <= answered:
                run_command(["round", "close", plan.id, *config], environment=OFFLINE)
                progress.say(f"{plan.id} is closed")
            _await_change(server, plan, page, workspace, children, progress)
            page, status = _page(server, plan), round_status(workspace, plan.id)
    if status["state"] == "aborted":
        raise ConsensusError("SF403", f"{plan.id} was aborted: {status['reason']}")
    report = status["report"]
    counts = f"{report['agreed']} agreed, {report['contested']} contested, {report['too_few']} too few"
    progress.say(f"{plan.id} is published: {counts}")


def _page(server: httpx.Client, plan: RoundPlan) -> Document:
    """What the server tells everybody about the round."""
    return dict(server.get(f"/v1/rounds/{plan.id}/status").json())


def _await_change(
    server: httpx.Client,
    plan: RoundPlan,
    page: Document,
    workspace: Workspace,
    children: Children,
    progress: Progress,
) -> None:
    """Until the round's public page is not ``page`` any more; a refusal shows only in the operator's view."""
    deadline = time.monotonic() + LOOK_SECONDS
    while time.monotonic() < deadline and _page(server, plan) == page:
        _watch(workspace, children, progress)
        time.sleep(POLL_SECONDS)


def _await_sites(workspace: Workspace, children: Children, progress: Progress) -> None:
    """Until every site has learned from the last round and ended."""
    while any(children.members[site.id].running for site in workspace.sites):
        _watch(workspace, children, progress)
        time.sleep(POLL_SECONDS)
    _watch(workspace, children, progress)


def _watch(workspace: Workspace, children: Children, progress: Progress) -> None:
    """Show the last line of every process, and notice one that broke down."""
    progress.lines({name: child.last_line() for name, child in children.members.items()})
    children.require_running(SERVER)
    for site in workspace.sites:
        if children.members[site.id].status not in {None, *REFUSALS}:
            children.require_running(site.id)


def _told(workspace: Workspace) -> dict[str, dict[str, str]]:
    """Round → site → the code that a misbehaving site was refused with, as it was told."""
    told: dict[str, dict[str, str]] = {plan.id: {} for plan in workspace.scale.rounds}
    for site in workspace.sites:
        path = workspace.outcomes_file(site)
        outcomes: Mapping[str, Mapping[str, str]] = json.loads(path.read_text("utf-8")) if path.exists() else {}
        for round_id, outcome in outcomes.items():
            if "code" in outcome:
                told[round_id][site.id] = outcome["code"]
    return told


def write_report(report: Document, workspace: Workspace, directory: Path) -> list[Path]:
    """Write ``report.json``, the picture, and one page per audit log for a compliance officer."""
    directory.mkdir(parents=True, exist_ok=True)
    document = directory / "report.json"
    document.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    keys = log_keys(workspace)

    def page(log: tuple[str, Path]) -> Path:
        target = directory / f"audit-{log[0]}.html"
        ask("audit", "report", str(log[1]), "--out", str(target), "--key", keys[log[0]])
        return target

    pages = side_by_side(page, logs(workspace).items())
    return [document, *draw(report, directory), *pages]
