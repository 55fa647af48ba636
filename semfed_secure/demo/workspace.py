"""The directory of one federation: keys, roster, policies, configurations, made by the public commands.

::

    federation/         the federation root's directory
    server/             the server's keys, configuration, database
    sites/ID/           one site: keys, private records, policy, configuration, state
    prompts/            the public prompt sets
    logs/               what every process printed
"""

from __future__ import annotations

import hashlib
import json
import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import yaml

from semfed_secure.demo.children import run_command, side_by_side
from semfed_secure.demo.data import BlackBox, FederationData, Row
from semfed_secure.demo.files import write_lines, write_toml, write_yaml
from semfed_secure.demo.plan import Scale, SiteRole, SiteSetting
from semfed_secure.ids import PromptId, hex_digest
from semfed_secure.llm.files import directory_digest
from semfed_secure.wire.prompts import Prompt, PromptSet

SERVER = "consensus-server"
PASSPHRASE = "passphrase"  # noqa: S105 - the name of a file
OFFLINE = {
    "HF_HUB_OFFLINE": "1",
    "TRANSFORMERS_OFFLINE": "1",
    "OMP_NUM_THREADS": "1",
    "TOKENIZERS_PARALLELISM": "false",
    # What is shown of a process is its last line: let that be ours.
    "TQDM_DISABLE": "1",
    "PYTHONWARNINGS": "ignore",
}
"""Every process of the run: no hub, one thread, no progress bars of others."""


@dataclass(frozen=True, slots=True)
class Models:
    """Prepared model directories: one per family, none for black boxes; and the embedder of rounds of texts."""

    families: Mapping[str, Path]
    embedder: Path | None

    def pin(self, site: SiteSetting) -> dict[str, str]:
        """What a site's policy grants: its model's family, and the digest of the weights where there are some."""
        if site.role is not SiteRole.HONEST or site.family not in self.families:
            return {"family": site.family}
        return {"family": site.family, "digest": hex_digest(directory_digest(self.families[site.family]))}


@dataclass(frozen=True, slots=True)
class Workspace:
    """Where everything of one run lies.

    ``model_ports`` are free ports, by site id, for the black boxes of sites that bring none.
    """

    root: Path
    data: FederationData
    scale: Scale
    sites: tuple[SiteSetting, ...]
    models: Models
    port: int
    model_ports: Mapping[str, int] = field(default_factory=dict)

    def site(self, site: SiteSetting) -> Path:
        """The directory of one site."""
        return self.root / "sites" / site.id

    def site_file(self, site: SiteSetting) -> Path:
        """The configuration of one site."""
        return self.site(site) / "site.toml"

    def answers_file(self, site: SiteSetting) -> Path:
        """What a misbehaving site answers."""
        return self.site(site) / "answers.json"

    def outcomes_file(self, site: SiteSetting) -> Path:
        """What a misbehaving site was told, when it has ended."""
        return self.site(site) / "outcomes.json"

    def card_file(self, site: SiteSetting) -> Path:
        """The privacy card of a site, when it has ended."""
        return self.site(site) / "privacy-card.md"

    @property
    def server_file(self) -> Path:
        """The configuration of the server."""
        return self.root / "server" / "server.toml"

    @property
    def url(self) -> str:
        """Where the server listens."""
        return f"http://127.0.0.1:{self.port}"

    def endpoint(self, site: SiteSetting) -> str:
        """Where the black box of one site is reached."""
        return site.plan.endpoint or f"http://127.0.0.1:{self.model_ports[site.id]}/v1"

    def prompts_file(self, kind: str) -> Path:
        """The prompt set of one output kind."""
        return self.root / "prompts" / f"{kind}.jsonl"

    def prompt_set(self, kind: str) -> PromptSet:
        """The same as the server will announce it: its digest is what policies grant."""
        asked = self.data.prompts[: self.scale.asked[kind]]
        prompts = tuple(Prompt(PromptId(row.id), self.data.question(row, kind)) for row in asked)
        return PromptSet(kind, prompts, self.candidates(kind))

    def gold_file(self, kind: str) -> Path:
        """The prompts whose right answers the server knows, where there are some."""
        return self.root / "server" / f"gold-{kind}.jsonl"

    def gold(self, kind: str) -> tuple[Row, ...]:
        """These prompts with their answers: the first of the answered ones that a round asks."""
        asked = {row.id for row in self.data.prompts[: self.scale.asked[kind]]}
        known = [row for row in self.data.gold if row.id in asked and self.data.answer(row, kind)]
        return tuple(known[: self.scale.gold.get(kind, 0)])

    def heldout(self, kind: str) -> tuple[Row, ...]:
        """The rows that ``kind`` is measured on."""
        return self.data.heldout[: self.scale.measured[kind]]

    def kinds(self, site: SiteSetting) -> tuple[str, ...]:
        """The output kinds that a site takes part in."""
        writes = site.role is not SiteRole.HONEST or site.family in self.scale.writers
        return tuple(kind for kind in self.scale.kinds if kind != "text" or writes)

    def rounds(self, site: SiteSetting) -> tuple[str, ...]:
        """The rounds that a site takes part in."""
        return tuple(plan.id for plan in self.scale.rounds if plan.kind in self.kinds(site))

    def candidates(self, kind: str) -> tuple[str, ...]:
        """The labels to choose from, where the kind has some."""
        return self.data.candidates if kind == "votes" else ()


def found(workspace: Workspace) -> None:
    """Create the federation, its members and all their files, through the public commands only.

    Raises:
        ConfigurationError: SF107 if a command fails.
    """
    root, name = workspace.root, workspace.data.description.federation
    root.mkdir(parents=True)
    passphrase = root / PASSPHRASE
    passphrase.touch(mode=0o600)
    passphrase.write_text(secrets.token_urlsafe(32), encoding="utf-8")
    _semfed(workspace, "federation", "init", str(root / "federation"), "--id", name)
    members = {SERVER: ("server", root / "server")} | {s.id: ("client", workspace.site(s)) for s in workspace.sites}
    jurisdiction = workspace.data.description.jurisdiction

    def create_keys(member: str) -> None:
        role, directory = members[member]
        keys = ["--member", member, "--domain", f"{member}.example", "--role", role, "--out", str(directory / "keys")]
        _semfed(workspace, "keys", "create", "--federation", name, "--jurisdiction", jurisdiction, *keys)

    side_by_side(create_keys, members)
    records = [str(directory / "keys/member.record") for _, directory in members.values()]
    _semfed(workspace, "federation", "add-member", str(root / "federation"), "--without-token", *records)
    server_keys = json.loads(run_command(["keys", "show", str(root / "server/keys"), "--json"], environment=OFFLINE))
    for kind in workspace.scale.kinds:
        _write_prompts(workspace, kind)
    write_toml(workspace.server_file, _server_document(workspace))
    (workspace.server_file.parent / "state").mkdir(mode=0o700)
    for site in workspace.sites:
        _furnish(workspace, site, server_keys["signing_key_ids"])
        if site.role is not SiteRole.HONEST:
            answers = {kind: foreign_answers(workspace.data, kind, site.role) for kind in workspace.scale.kinds}
            workspace.answers_file(site).write_text(json.dumps(answers, ensure_ascii=False), encoding="utf-8")


def foreign_answers(data: FederationData, kind: str, role: SiteRole) -> dict[str, str]:
    """What a site that misbehaves answers, prompt by prompt.

    The liar knows the right answers and gives the next label's everywhere: every prompt of one label gets the same
    wrong answer, the most that one voice can do to confuse two labels. The others answer right; it is their bytes or
    their timing that is wrong. Without known answers everybody gives the first candidate.
    """
    if not data.gold:
        return {row.id: data.candidates[0] for row in data.prompts}
    following = dict(zip(data.candidates, data.candidates[1:] + data.candidates[:1], strict=True))
    example = {row.label: data.answer(row, kind) for row in data.gold}
    if role is not SiteRole.MALICIOUS:
        return {row.id: data.answer(row, kind) for row in data.gold}
    return {row.id: example.get(following[row.label], following[row.label]) for row in data.gold}


def _semfed(workspace: Workspace, *arguments: str) -> None:
    run_command([*arguments, "--passphrase-file", str(workspace.root / PASSPHRASE)], environment=OFFLINE)


def _server_document(workspace: Workspace) -> dict[str, dict[str, object]]:
    """``server.toml``."""
    embedder = workspace.models.embedder
    optional: dict[str, dict[str, object]] = {} if embedder is None else {"embedder": {"source": str(embedder)}}
    return {
        "server": {
            "federation": workspace.data.description.federation,
            "member": SERVER,
            "database": "state/server.sqlite",
            "port": workspace.port,
        },
        "identity": {"keys": "keys", "passphrase_file": f"../{PASSPHRASE}"},
        "federation": {"root": "../federation/federation.root", "roster": "../federation/roster"},
        **optional,
    }


def _furnish(workspace: Workspace, site: SiteSetting, server_key_ids: list[str]) -> None:
    """Records, public labelled sets, policy and configuration of one site."""
    directory, data = workspace.site(site), workspace.data
    kinds = workspace.kinds(site)
    records = data.records[site.id]
    write_lines(
        directory / "records.jsonl",
        (
            {"entity_id": row.entity_id, "prompt": data.question(row, kind), "completion": data.answer(row, kind)}
            for kind in kinds
            for row in records
            if drawn_for(row, workspace.scale.one_in[kind])
        ),
    )
    write_lines(directory / "validation.jsonl", _labelled(workspace, {kinds[0]: data.validation}))
    measured = {kind: workspace.heldout(kind) for kind in kinds}
    write_lines(directory / "heldout.jsonl", _labelled(workspace, measured))
    write_yaml(directory / "policy.yaml", _policy(workspace, site, server_key_ids))
    write_toml(workspace.site_file(site), _site_document(workspace, site))


def drawn_for(row: Row, one_in: int) -> bool:
    """Whether a record carries a question: one record in ``one_in`` does.

    A property of the record alone. Were it a share of the site's records, one patient more would move the question
    from one record to another, and a neighbouring data set would differ in more than one patient.
    """
    drawn = hashlib.sha256(f"{row.entity_id}\0{row.text}".encode()).digest()
    return int.from_bytes(drawn[:8], "big") % one_in == 0


def _labelled(workspace: Workspace, rows: Mapping[str, Iterable[Row]]) -> Iterable[dict[str, object]]:
    """Public labelled prompts, kind after kind."""
    data = workspace.data
    return (
        {"prompt": data.question(row, kind), "answer": data.answer(row, kind), "candidates": workspace.candidates(kind)}
        for kind, own in rows.items()
        for row in own
    )


def _site_document(workspace: Workspace, site: SiteSetting) -> dict[str, dict[str, object]]:
    """``site.toml``."""
    description = workspace.data.description
    kinds = len(workspace.kinds(site))  # one record becomes at most one question of each kind
    return {
        "site": {"federation": description.federation, "member": site.id, "state": "state"},
        "identity": {"keys": "keys", "passphrase_file": f"../../{PASSPHRASE}"},
        "federation": {"root": "../../federation/federation.root", "server_id": SERVER},
        "server": {"url": workspace.url},
        "policy": {"file": "policy.yaml"},
        "data": {
            "dataset": description.dataset,
            "population": workspace.data.population,
            "classification": description.classification,
            "population_bound": description.population_bound,
            "max_records_per_entity": description.max_records_per_entity * kinds,
            "records": "records.jsonl",
        },
        **_model_sections(workspace, site),
        "evaluation": {"file": "heldout.jsonl"},
    }


def _model_sections(workspace: Workspace, site: SiteSetting) -> dict[str, dict[str, object]]:
    """What answers at the site and what one charge costs; of the demo's own models also how they are trained."""
    box = workspace.data.description.black_box
    if box is not None:
        return _black_box_sections(box, workspace.endpoint(site))
    training = workspace.scale.training
    return {
        "model": {
            "kind": "local",
            "source": str(workspace.models.families[site.family]),
            "family": site.family,
            "provenance": "public",
        },
        "model.settings": {
            "threads": 1,
            "state_cache": str(workspace.root / "public-states"),
            **workspace.scale.settings.get(site.family, {}),
        },
        "privacy": {"mechanism": "dp_sgd", "epsilon": training.epsilon, "delta": training.delta},
        "training": {
            "steps": training.steps,
            "expected_entities": round(training.sample_rate * workspace.data.description.population_bound),
            "clip_norm": training.clip_norm,
        },
        "validation": {"file": "validation.jsonl"},
    }


def _black_box_sections(box: BlackBox, endpoint: str) -> dict[str, dict[str, object]]:
    """A model that is asked over HTTP; nothing of it is trained, so there is nothing to check either."""
    return {
        "model": {
            "kind": "openai",
            "source": endpoint,
            "name": box.model,
            "family": box.model,
            "provenance": box.provenance.value,
        },
        "privacy": {"mechanism": box.mechanism, "epsilon": str(box.epsilon), "delta": str(box.delta)},
    }


def _policy(workspace: Workspace, site: SiteSetting, server_key_ids: list[str]) -> dict[str, Any]:
    """The data's policy with the grants that belong to this federation: server, prompt sets, model, approval."""
    description = workspace.data.description
    policy: dict[str, Any] = yaml.safe_load(workspace.data.policy.read_text(encoding="utf-8"))
    digests = {kind: hex_digest(workspace.prompt_set(kind).digest) for kind in workspace.kinds(site)}
    grants = policy["grants"]
    grants["kinds"] = sorted(digests)
    grants["prompts"] = sorted(digests.values())
    grants["models"] = [workspace.models.pin(site)]
    grants["peers"] = [
        {
            "server_id": SERVER,
            "federation": description.federation,
            "signing_key_ids": server_key_ids,
            "jurisdiction": description.jurisdiction,
        }
    ]
    if "text" in digests:
        grants["approvals"] = [
            {
                "act": "release_text",
                "role": "privacy_officer",
                "approver": f"privacy officer of {site.id}",
                "until": (datetime.now(UTC) + timedelta(days=1)).isoformat(timespec="seconds"),
                "prompts": digests["text"],
            }
        ]
    return policy


def _write_prompts(workspace: Workspace, kind: str) -> None:
    """The prompt set as the file that ``semfed round open --prompts`` reads."""
    path = workspace.prompts_file(kind)
    rows = ({"id": prompt.id, "prompt": prompt.text} for prompt in workspace.prompt_set(kind).prompts)
    write_lines(path, rows)
    if gold := workspace.gold(kind):
        answers = ({"id": row.id, "answer": workspace.data.answer(row, kind)} for row in gold)
        write_lines(workspace.gold_file(kind), answers)
        workspace.gold_file(kind).chmod(0o600)  # who reads it knows where lying does not pay
