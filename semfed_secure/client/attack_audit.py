"""A whole audit by attack, and a site's: decided, run beside the production state, reported, signed into the log.

1. The policy permits to open the data set, and that is written down before a record is read.
2. Every variant is trained and attacked, in memory and in a directory that is gone afterwards.
3. The report is written, and its digest is an entry of the site's audit log.

Nothing is charged and nothing is released: the report is for the site's own eyes.
"""

from __future__ import annotations

import json
import time
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np

from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.attack_canaries import answers_of, make_canaries
from semfed_secure.client.attack_chart import chart
from semfed_secure.client.attack_report import document, markdown
from semfed_secure.client.attack_run import Variant, attack, broken_variants
from semfed_secure.client.attack_verdict import Claim, Outcome, attacked, verdict
from semfed_secure.client.config import LocalModelSection
from semfed_secure.client.engine import load_model
from semfed_secure.client.opening import ask_to_open, open_records
from semfed_secure.client.training import plan_for
from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.identity.files import replace_file
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.llm.model import TrainableModel
from semfed_secure.policy.engine import require
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence
    from pathlib import Path

    from semfed_secure.client.site import Site
    from semfed_secure.llm.model import Model, Record, TrainingPlan
    from semfed_secure.wire.prompts import PromptSet

CANARIES = 500
REPORT, PAGE, PICTURE = "audit.json", "audit.md", "audit.svg"


def audit(
    model: TrainableModel,
    *,
    plan: TrainingPlan,
    claim: Claim,
    records: Sequence[Record],
    prompts: PromptSet,
    canaries: int,
    records_each: int,
    broken: Sequence[Variant],
    progress: Callable[[str], None],
) -> dict[str, Any]:
    """Attack the production plan and ``broken`` variants of it with the same canaries; the report.

    Raises:
        ConfigurationError: SF104, the prompts are too few to make canaries of.
    """
    started = time.monotonic()
    made = make_canaries(prompts, count=canaries, records_each=records_each, stream=ChaChaStream.from_system())
    draw = np.random.default_rng()
    results = []
    for variant in (Variant.PRODUCTION, *broken):
        progress(f"{variant}: training and answering")
        found = attack(model, variant, plan=plan, records=records, canaries=made, prompts=prompts)
        results.append(attacked(variant, found, claim, draw=draw))
        progress(f"{variant}: epsilon at least {results[-1].epsilon_lower:.2f}")
    settings = {
        "canaries": canaries,
        "canaries_in": sum(canary.member for canary in made),
        "records_each": records_each,
        "answers": len(answers_of(prompts)),
        "prompts": len(prompts.prompts),
        "prompt_set_digest": hex_digest(prompts.digest),
        "noise_multiplier": plan.noise_multiplier,
        "sample_rate": plan.sample_rate,
        "steps": plan.steps,
        "clip_norm": plan.clip_norm,
        "seconds": round(time.monotonic() - started),
    }
    return document(results, claim, verdict(results, claim), settings=settings)


def audit_site(
    site: Site,
    *,
    records: Iterable[Record],
    prompts: PromptSet,
    canaries: int,
    out: Path,
    progress: Callable[[str], None],
    model: Model | None = None,
) -> dict[str, Any]:
    """Audit a site's configuration, write the report into ``out`` and sign its digest into the audit log.

    Args:
        site: Its ledger, adapters and active model stay as they are.
        records: The training set; not touched before the policy permits it.
        prompts: Public prompts as a round would ask them.
        canaries: How many entities to make up, of as many records as the site allows one.
        out: Where the report is written.
        progress: Told what is done.
        model: Takes the place of the model that the site file names.

    Raises:
        ConfigurationError: SF101, the mechanism is not ``dp_sgd``; SF132, the model cannot be trained.
        PolicyDenied: SF201; ApprovalNeeded: SF203.
        IntegrityError: SF502.
    """
    claim, plan = _claim(site), plan_for(site.config)
    used = model if model is not None else load_model(_beside(site))
    if not isinstance(used, TrainableModel):
        raise ConfigurationError("SF132", "a model that can be trained was expected, this one only answers")
    require(ask_to_open(site, None, dry_run=False))
    report = audit(
        used,
        plan=plan,
        claim=claim,
        records=open_records(site, None, records),
        prompts=prompts,
        canaries=canaries,
        records_each=site.config.data.max_records_per_entity,
        broken=broken_variants(records_each=site.config.data.max_records_per_entity),
        progress=progress,
    )
    data = json.dumps(report, indent=1, ensure_ascii=False).encode() + b"\n"
    _write(out, data, report)
    site.audit.append(_event(site, report, data))
    return report


def require_passed(report: dict[str, Any]) -> dict[str, Any]:
    """Accept only a report that passed.

    Raises:
        IntegrityError: SF541, more was found than is claimed.
        ConfigurationError: SF143, the audit could not have found it.
    """
    match report["outcome"]:
        case Outcome.PASSED:
            return report
        case Outcome.REFUTED:
            raise IntegrityError("SF541", str(report["reason"]))
        case _:
            raise ConfigurationError("SF143", str(report["reason"]))


def _claim(site: Site) -> Claim:
    privacy = site.config.privacy
    if privacy.mechanism is not Mechanism.DP_SGD or privacy.epsilon is None or privacy.delta is None:
        raise ConfigurationError("SF101", "the audit by attack trains: privacy.mechanism dp_sgd was expected")
    return Claim(float(privacy.epsilon), float(privacy.delta))


def _beside(site: Site) -> Site:
    """The site with nothing shared: what canaries leave in a model's cache stays in this process."""
    model = site.config.model
    if not isinstance(model, LocalModelSection):
        return site
    alone = model.model_copy(update={"settings": model.settings.model_copy(update={"state_cache": None})})
    return replace(site, config=site.config.model_copy(update={"model": alone}))


def _write(out: Path, data: bytes, report: dict[str, Any]) -> None:
    try:
        out.mkdir(mode=0o700, parents=True, exist_ok=True)
        replace_file(out / REPORT, data)
        replace_file(out / PAGE, markdown(report, picture=PICTURE).encode())
        replace_file(out / PICTURE, chart(report).encode())
    except OSError as error:
        raise ConfigurationError("SF102", f"cannot write into {out}: {error.strerror}", path=str(out)) from error


def _event(site: Site, report: dict[str, Any], data: bytes) -> Event:
    found = next(row for row in report["variants"] if row["variant"] == "production")
    codes = {Outcome.PASSED: (), Outcome.REFUTED: ("SF541",), Outcome.INCONCLUSIVE: ("SF143",)}
    outcome = Outcome(report["outcome"])
    return Event(
        type=EventType.PRIVACY_AUDITED,
        outcome="success" if outcome is Outcome.PASSED else "failed",
        actor=site.member_id,
        target=site.config.data.dataset,
        policy_id=site.policy.id,
        policy_digest=hex_digest(site.policy.digest),
        codes=codes[outcome],
        reason=str(report["reason"]),
        details={
            "report_digest": hex_digest(sha256(data)),
            "verdict": str(outcome),
            "mechanism": str(site.config.privacy.mechanism),
            "epsilon_claimed": str(site.config.privacy.epsilon),
            "epsilon_found": f"{found['epsilon_lower']:.6f}",
            "canaries": int(report["settings"]["canaries"]),
        },
    )
