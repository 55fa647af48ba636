"""What a finished run left behind, read through the public commands, as one document.

The document is ``demo-report/report.json``::

    {"schema": 1, "mode": "direct",
     "seconds": {"train", "answer", "consensus", "learn", "total"},
     "sites": [{"id", "model", "role", "epsilon_spent", "epsilon_budget", "kept",
                "exact_match": {KIND: {"known": {"base", "local", "consensus"}, "missing": {…}}}}],
     "rounds": [{"id", "kind", "prompts", "agreed", "contested", "too_few", "admitted", "refused": [{"site", "code"}],
                 "attacker_label_agreed"}],
     "bytes": {"up", "down", "lora_exchange"},
     "audit": [{"log", "path", "entries", "root", "verified"}],
     "reconciled": {"agree", "verdict"}}

A share is null where there is nothing to measure: no row of that part, or a stage that the site does not go through.
``base`` is a model that has learned nothing yet or, of a black box, what it knew before the first round; a black box is
not trained, so it has no ``local``. Nor has it an adapter: ``kept`` is null, and ``lora_exchange`` if nobody has one.

``attacker_label_agreed`` counts the prompts that agree with the malicious site's label and would not without it: the
server recomputes every round without each client. ``seconds`` are those of the slowest honest site in each phase, from
its audit log; ``total`` is the wall time of the run. ``bytes`` are of all admitted sites; ``lora_exchange`` is what
they would have sent and fetched had they exchanged their adapters in every round instead.
"""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from pathlib import Path
from typing import Any

from semfed_secure.demo.children import run_command, side_by_side
from semfed_secure.demo.plan import SiteRole, SiteSetting
from semfed_secure.demo.workspace import OFFLINE, SERVER, Workspace
from semfed_secure.errors import ConfigurationError

SCHEMA = 1
STAGES = ("base", "local", "consensus")
Document = dict[str, Any]


def ask(*arguments: str) -> Any:
    """The JSON document that a command prints."""
    return json.loads(run_command([*arguments, "--json"], environment=OFFLINE))


def collect(workspace: Workspace, refused: Mapping[str, Mapping[str, str]], total_seconds: float) -> Document:
    """The report of a finished run.

    Args:
        workspace: Where everything lies.
        refused: Per round, the code that each site was refused with, as the site itself was told.
        total_seconds: Wall time of the whole run.
    """
    statuses = [round_status(workspace, plan.id) for plan in workspace.scale.rounds]
    keys = log_keys(workspace)
    entries = dict(
        zip(workspace.sites, side_by_side(lambda site: _entries(workspace, site), workspace.sites), strict=True)
    )
    return {
        "schema": SCHEMA,
        "mode": "direct",
        "seconds": _seconds(workspace, statuses, entries) | {"total": total_seconds},
        "sites": side_by_side(lambda site: _site(workspace, site, entries[site]), workspace.sites),
        "rounds": [_round(workspace, status, refused.get(status["round_id"], {})) for status in statuses],
        "bytes": _bytes(workspace, statuses),
        "audit": side_by_side(lambda log: audit_verdict(*log, keys[log[0]]), logs(workspace).items()),
        "reconciled": reconciled([str(path) for path in logs(workspace).values()], keys.values()),
    }


def logs(workspace: Workspace) -> dict[str, Path]:
    """Every audit log of the run, the server's first."""
    server = workspace.server_file.parent / "state" / "server.sqlite"
    return {SERVER: server} | {site.id: workspace.site(site) / "state" for site in workspace.sites}


def log_keys(workspace: Workspace) -> dict[str, str]:
    """The key that each member's signed record names for its log: whose log it is, is not taken from the log."""
    roster = ask("federation", "roster", str(workspace.root / "federation"))
    return {row["member"]: row["log_key"] for row in roster["members"]}


def audit_verdict(name: str, path: Path, key: str) -> Document:
    """What the verifier says of one log; a log that does not verify is a row, not the end of the report."""
    try:
        verdict = ask("audit", "verify", str(path), "--key", key)
    except ConfigurationError as error:
        return {"log": name, "path": str(path), "entries": 0, "root": error.message, "verified": False}
    return {"log": name, "path": str(path), "entries": verdict["entries"], "root": verdict["root"], "verified": True}


def reconciled(places: Sequence[str], keys: Iterable[str]) -> Document:
    """What comes of holding all logs against each other."""
    given = [part for key in keys for part in ("--key", key)]
    try:
        found = ask("audit", "reconcile", *places, *given)
    except ConfigurationError as error:
        return {"agree": False, "verdict": error.message}
    return {"agree": True, "verdict": found["verdict"]}


def _site(workspace: Workspace, site: SiteSetting, entries: Sequence[Document]) -> Document:
    """One site: who, on what budget, with which result."""
    spent, budget = _epsilon(workspace, site)
    honest = site.role is SiteRole.HONEST
    return {
        "id": site.id,
        "model": site.family if site.role is not SiteRole.MALICIOUS else "black box",
        "role": str(site.role),
        "epsilon_spent": spent,
        "epsilon_budget": budget,
        "kept": _kept(entries) if honest else None,
        "exact_match": _exact_match(workspace, site) if honest else {},
    }


def _epsilon(workspace: Workspace, site: SiteSetting) -> tuple[str | None, str | None]:
    """Lifetime spending and budget of the site's population."""
    for ledger in ask("budget", "show", "--config", str(workspace.site_file(site)))["ledgers"]:
        for period in ledger["periods"]:
            if period["period"] == "lifetime":
                return period["epsilon_spent"], period["epsilon_budget"]
    return None, None


def _entries(workspace: Workspace, site: SiteSetting) -> list[Document]:
    """The site's audit entries."""
    listed = ask("audit", "list", str(workspace.site(site) / "state"))
    return list(listed["entries"])


def _kept(entries: Sequence[Document]) -> bool | None:
    """Whether an adapter that was learned from others was kept; None if none was tried."""
    found = [row["type"] for row in entries if row["type"] in {"adapter.kept", "adapter.rolled_back"}]
    return "adapter.kept" in found if found else None


def _exact_match(workspace: Workspace, site: SiteSetting) -> Document:
    """Exact match per kind on the labels that the site has records of, and on those that it lacks."""
    missing = set(site.plan.missing)
    trained = workspace.data.description.black_box is None
    stages = {stage: _right(workspace, site, stage) if trained or stage != "local" else None for stage in STAGES}
    result: Document = {}
    start = 0
    for kind in workspace.kinds(site):
        rows = workspace.heldout(kind)
        result[kind] = {"known": {}, "missing": {}}
        for stage, right in stages.items():
            own = [] if right is None else list(zip(rows, right[start : start + len(rows)], strict=True))
            for part in ("known", "missing"):
                chosen = [hit for row, hit in own if (row.label in missing) == (part == "missing")]
                result[kind][part][stage] = sum(chosen) / len(chosen) if chosen else None
        start += len(rows)
    return result


def _right(workspace: Workspace, site: SiteSetting, stage: str) -> Sequence[bool]:
    """For each line of the held-out file whether it was answered right; of the last round that has this stage."""
    scores = workspace.site(site) / "state" / "scores"
    names = ["base.json"] if stage == "base" else [f"{plan.id}.{stage}.json" for plan in workspace.scale.rounds]
    paths = [scores / name for name in names if (scores / name).exists()]
    if not paths:
        raise ConfigurationError(
            "SF107", f"`{site.id}` wrote no scores of stage `{stage}`", log=str(workspace.root / "logs")
        )
    # Private training happens once, before the first round; learning goes on to the last.
    path = paths[0] if stage == "local" else paths[-1]
    return list(json.loads(path.read_text(encoding="utf-8"))["right"])


def round_status(workspace: Workspace, round_id: str) -> Document:
    """What the server's operator sees of one round."""
    return dict(ask("round", "status", round_id, "--config", str(workspace.server_file)))


def _round(workspace: Workspace, status: Document, told: Mapping[str, str]) -> Document:
    """One round: what came out, who was admitted, who was refused and why.

    Refusals before the signatures name nobody at the server: there the code is the one that the site was told.
    """
    nothing: Document = {"agreed": 0, "contested": 0, "too_few": 0, "clients": []}
    (report,) = status["report"]["groups"] if status["report"] else [nothing]
    refused = {row["member"]: row["code"] for row in status["refused"]}
    refused |= {site: code for site, code in told.items() if site not in refused and site not in status["admitted"]}
    liars = {site.id for site in workspace.sites if site.role is SiteRole.MALICIOUS}
    gained = [row["influence"]["agreed_only_with"] for row in report["clients"] if row["member"] in liars]
    return {
        "id": status["round_id"],
        "kind": status["kind"],
        "prompts": status["prompts"],
        "agreed": report["agreed"],
        "contested": report["contested"],
        "too_few": report["too_few"],
        "admitted": status["admitted"],
        "refused": [{"site": site, "code": code} for site, code in sorted(refused.items())],
        "attacker_label_agreed": gained[0] if gained else None,
    }


def _bytes(workspace: Workspace, statuses: Sequence[Document]) -> Document:
    """What went over the wire in all rounds, and what exchanging adapters would have."""
    up = down = exchanged = 0
    adapter = max((_adapter_bytes(workspace, site) for site in workspace.sites), default=0)
    for status in statuses:
        if status["report"] is None:
            continue
        sizes = status["report"]["bytes"]
        up += sum(sizes["contributions"].values())
        fetched = sizes["manifest"] + sizes["prompt_set"] + sizes["consensus"]
        down += sum(sizes["receipts"].values()) + fetched * len(sizes["contributions"])
        exchanged += 2 * adapter * len(sizes["contributions"])
    return {"up": up, "down": down, "lora_exchange": exchanged if adapter else None}


def _adapter_bytes(workspace: Workspace, site: SiteSetting) -> int:
    """Size of the largest adapter's weights at a site."""
    adapters = workspace.site(site) / "state" / "adapters"
    return max((path.stat().st_size for path in adapters.glob("*/*.safetensors")), default=0)


def _seconds(
    workspace: Workspace, statuses: Sequence[Document], entries: Mapping[SiteSetting, Sequence[Document]]
) -> dict[str, float]:
    """Per phase the time of the slowest honest site, and of the server's consensus."""
    honest = [site for site in workspace.sites if site.role is SiteRole.HONEST]
    spent = [_site_seconds(workspace, site, entries[site]) for site in honest]
    consensus = sum(sum(status["report"]["seconds"].values()) for status in statuses if status["report"])
    train, answer, learn = (max(row[phase] for row in spent) for phase in ("train", "answer", "learn"))
    return {"train": train, "answer": answer, "consensus": consensus, "learn": learn}


# Phase -> the entry that it begins after and the entries that end it.
_PHASES: dict[str, tuple[str, frozenset[str]]] = {
    "train": ("training.started", frozenset({"training.finished"})),
    "learn": ("labels.accepted", frozenset({"adapter.kept", "adapter.rolled_back"})),
}


def _site_seconds(workspace: Workspace, site: SiteSetting, entries: Sequence[Document]) -> dict[str, float]:
    """How long one site trained, answered and learned, by the times of its audit entries.

    Answering has no entry of its own at its start: it begins when the measuring that follows training is written, or
    else with the last entry before, and ends when the outputs have been looked through.
    """
    spent = dict.fromkeys(("train", "answer", "learn"), 0.0)
    started: dict[str, float] = {}
    before = 0.0
    scores = workspace.site(site) / "state" / "scores"
    measured = {path.name.partition(".")[0]: path.stat().st_mtime for path in scores.glob("*.local.json")}
    for entry in entries:
        at = datetime.fromisoformat(entry["time"]).timestamp()
        for phase, (first, last) in _PHASES.items():
            if entry["type"] == first:
                started[phase] = at
            elif entry["type"] in last and phase in started:
                spent[phase] += at - started.pop(phase)
        if entry["type"] == "detector.summary":
            spent["answer"] += at - max(before, measured.get(entry.get("round_id") or "", 0.0))
        before = at
    return spent
