"""Runs a whole federation on this machine: founds it, starts its processes, opens its rounds, reports."""

from __future__ import annotations

import json
import shutil
import socket
import time
from collections.abc import Collection, Mapping
from contextlib import ExitStack
from pathlib import Path

import httpx

from semfed_secure.client.card.writing import write_card
from semfed_secure.client.config import load_site_config
from semfed_secure.clock import SystemClock, SystemRandomness
from semfed_secure.demo.children import Child, Children, run_command, side_by_side
from semfed_secure.demo.collect import Document, ask, collect, log_keys, logs, round_status
from semfed_secure.demo.data import FederationData
from semfed_secure.demo.examples import lookup_script
from semfed_secure.demo.picture import draw
from semfed_secure.demo.plan import RoundPlan, Scale, SiteRole, SiteSetting, settle
from semfed_secure.demo.progress import Progress
from semfed_secure.demo.workspace import OFFLINE, SERVER, Models, Workspace, found
from semfed_secure.errors import ConfigurationError, ConsensusError, ExitCode

POLL_SECONDS = 1.0
START_SECONDS = 60.0
"""Who does not listen by then never will."""
LOOK_SECONDS = 30.0
"""How often the operator's command looks at a round in which nothing seems to happen."""
TAKES_ANSWERS = frozenset({"announced", "collecting"})
REFUSALS = frozenset({ExitCode.OK, ExitCode.POLICY, ExitCode.BUDGET, ExitCode.APPROVAL, ExitCode.NOT_READY})
"""How a site may end that was refused, late or refused itself: the report says so, and the others go on."""
ENDED = frozenset({"published", "aborted"})


def free_ports(count: int) -> list[int]:
    """Ports of this machine that nobody listens on right now, each another."""
    with ExitStack() as stack:
        probes = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(count)]
        return [int(probe.getsockname()[1]) for probe in probes]


def lay_out(
    root: Path, data: FederationData, scale: Scale, models: Models, *, without: Collection[SiteRole] = ()
) -> Workspace:
    """Where a run on ``data`` is going to live: its sites, and a free port for the server and for each black box.

    Raises:
        ConfigurationError: SF104 if the data has too few sites.
    """
    sites = settle(data, scale, without=without)
    port, *free = free_ports(1 + len(sites))
    ports = dict(zip((site.id for site in sites), free, strict=True))
    return Workspace(root, data, scale, sites, models, port, ports)


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
        first, *further = workspace.scale.rounds
        _open(workspace, first, progress)  # while the machine is free: the sites keep it busy from here on
        _start_models(workspace, children)
        _start_sites(workspace, children)
        _hold(workspace, first, children, progress)
        for plan in further:
            _open(workspace, plan, progress)
            _hold(workspace, plan, children, progress)
        _await_sites(workspace, children, progress)
        children.stop(SERVER)
    progress.say("writing every site's privacy card")  # an entry of each log: before the report reads them
    side_by_side(lambda site: _write_card(workspace, site), workspace.sites)
    progress.say("reading every log, ledger and score")
    return collect(workspace, _told(workspace), time.monotonic() - start)


def _write_card(workspace: Workspace, site: SiteSetting) -> None:
    config = load_site_config(workspace.site_file(site))
    write_card(config, workspace.card_file(site), clock=SystemClock(), randomness=SystemRandomness())


def _start_server(workspace: Workspace, children: Children) -> None:
    """Start the server and wait until it says that it listens."""
    run = ["-m", "semfed_secure.cli", "server", "run", "--config", str(workspace.server_file)]
    _await_line(children.start(SERVER, run), "listening on", children)


def _start_models(workspace: Workspace, children: Children) -> None:
    """Serve the black box of each honest site that brings none, over that site's own records and accepted labels."""
    if workspace.data.description.black_box is None:
        return
    honest = [site for site in workspace.sites if site.role is SiteRole.HONEST and site.plan.endpoint is None]
    for model in [_start_model(workspace, site, children) for site in honest]:
        _await_line(model, "http://", children)


def _start_model(workspace: Workspace, site: SiteSetting, children: Children) -> Child:
    directory, port = workspace.site(site), workspace.model_ports[site.id]
    files = ["--records", str(directory / "records.jsonl"), "--labels", str(directory / "state" / "labels")]
    return children.start(f"{site.id}-model", [str(lookup_script()), *files, "--port", str(port)])


def _await_line(child: Child, said: str, children: Children) -> None:
    """Wait until ``child`` says that it listens."""
    deadline = time.monotonic() + START_SECONDS
    while said not in child.last_line():
        children.require_running(child.name)
        if time.monotonic() > deadline:
            raise ConfigurationError(
                "SF107", f"`{child.name}` did not listen in {START_SECONDS:.0f} s", log=str(child.log)
            )
        time.sleep(0.1)


def _start_sites(workspace: Workspace, children: Children) -> None:
    """One process per site: the public command for the honest, a client of the public library for the others."""
    for site in workspace.sites:
        config, rounds = str(workspace.site_file(site)), workspace.rounds(site)
        if site.role is SiteRole.HONEST:
            named = [part for name in rounds for part in ("--round", name)]
            children.start(site.id, ["-m", "semfed_secure.cli", "client", "run", "--config", config, *named])
        else:
            files = [config, str(workspace.answers_file(site)), str(workspace.outcomes_file(site))]
            children.start(site.id, ["-m", "semfed_secure.demo.misbehave", site.role, *files, *rounds])


def _open(workspace: Workspace, plan: RoundPlan, progress: Progress) -> None:
    """Open one round."""
    config = ["--config", str(workspace.server_file)]
    labels = [part for label in workspace.candidates(plan.kind) for part in ("--candidate", label)]
    terms = ["--id", plan.id, "--kind", plan.kind, "--closes-in", str(workspace.scale.round_seconds)]
    prompts = ["--prompts", str(workspace.prompts_file(plan.kind))]
    rule = [*workspace.scale.terms.get(plan.kind, ()), *_weights(workspace, plan.kind)]
    run_command(["round", "open", *config, *terms, *prompts, *labels, *rule], environment=OFFLINE)
    progress.say(f"{plan.id} is open: {len(workspace.prompt_set(plan.kind).prompts)} prompts, {plan.kind}")


def _weights(workspace: Workspace, kind: str) -> list[str]:
    """By gold prompts where the server knows some, by behaviour where it could; else members count alike."""
    if workspace.gold(kind):
        return ["--weights", "anchored", "--anchors", str(workspace.gold_file(kind))]
    return ["--weights", "agreement"] if workspace.scale.gold.get(kind) else []


def _hold(workspace: Workspace, plan: RoundPlan, children: Children, progress: Progress) -> None:
    """Close one round when everybody who is in time has answered, wait for its consensus."""
    config = ["--config", str(workspace.server_file)]
    punctual = [site for site in workspace.sites if site.role is not SiteRole.LATE]
    in_time = {site.id for site in punctual if plan.id in workspace.rounds(site)}
    broken = {site.id for site in punctual if site.role is SiteRole.BROKEN}
    with httpx.Client(base_url=workspace.url) as server:
        # The public page first: what changes after it was read, wakes the loop, however long the other look takes.
        page, status = _page(server, plan), round_status(workspace, plan.id)
        while status["state"] not in ENDED:
            ended = {site.id for site in punctual if not children.members[site.id].running}
            answered = {
                *status["committed"],
                *status["admitted"],
                *(row["member"] for row in status["refused"]),
                *ended,
            }
            unopened = set(status["committed"])
            if status["state"] in TAKES_ANSWERS and in_time <= answered:
                run_command(["round", "close", plan.id, *config], environment=OFFLINE)
                progress.say(f"{plan.id} takes no more answers")
            elif status["state"] == "opening" and unopened and unopened <= {*broken, *ended}:
                run_command(["round", "close", plan.id, *config], environment=OFFLINE)
                progress.say(f"{plan.id} waits no more for {', '.join(sorted(unopened))}")
            _await_change(server, plan, page, workspace, children, progress)
            page, status = _page(server, plan), round_status(workspace, plan.id)
    if status["state"] == "aborted":
        raise ConsensusError("SF403", f"{plan.id} was aborted: {status['reason']}")
    (report,) = status["report"]["groups"]
    counts = f"{report['agreed']} agreed, {report['contested']} contested, {report['too_few']} too few"
    progress.say(f"{plan.id} is published: {counts}")


def _page(server: httpx.Client, plan: RoundPlan) -> Document:
    """What the server tells everybody about the round; nothing if it cannot be reached, which `_watch` looks into."""
    try:
        return dict(server.get(f"/v1/rounds/{plan.id}/status").json())
    except httpx.TransportError:
        return {}


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
    sites = {site.id for site in workspace.sites}
    children.require_running(*(children.members.keys() - sites))
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
    """Write ``report.json``, the picture, one page per audit log for a compliance officer, and the privacy cards."""
    directory.mkdir(parents=True, exist_ok=True)
    document = directory / "report.json"
    document.write_text(json.dumps(report, indent=1, ensure_ascii=False) + "\n", encoding="utf-8")

    keys = log_keys(workspace)

    def page(log: tuple[str, Path]) -> Path:
        target = directory / f"audit-{log[0]}.html"
        ask("audit", "report", str(log[1]), "--out", str(target), "--key", keys[log[0]])
        return target

    def card(site: SiteSetting) -> Path:
        made, target = workspace.card_file(site), directory / f"privacy-card-{site.id}.md"
        shutil.copyfile(made.with_suffix(".json"), target.with_suffix(".json"))
        return Path(shutil.copyfile(made, target))

    pages = side_by_side(page, logs(workspace).items())
    return [document, *draw(report, directory), *pages, *map(card, workspace.sites)]
