"""What the policy is told: names, digests and counts of an act, never its content."""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

from semfed_secure.client.decisions import RELATION, UNIT
from semfed_secure.client.progress import Step
from semfed_secure.clock import to_ms
from semfed_secure.ids import hex_digest
from semfed_secure.policy.facts import (
    DatasetFacts,
    HistoryFacts,
    LabelFacts,
    ModelFacts,
    PeerFacts,
    PromptFacts,
    ReleaseFacts,
)
from semfed_secure.storage.progress_rows import list_progress
from semfed_secure.wire.messages import PromptStatus

if TYPE_CHECKING:
    from collections.abc import Sequence
    from datetime import datetime
    from decimal import Decimal

    from semfed_secure.client.config import SiteConfig
    from semfed_secure.client.reviews import Verdicts
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.screening import Screened
    from semfed_secure.identity.records import MemberRecord
    from semfed_secure.ids import Digest
    from semfed_secure.storage import Transaction
    from semfed_secure.units import Mechanism, OutputKind
    from semfed_secure.wire.messages import PromptResult


def dataset_facts(config: SiteConfig) -> DatasetFacts:
    """The data set as the site file declares it; its true size stays private."""
    data = config.data
    return DatasetFacts(
        id=data.dataset,
        population=data.population,
        classification=data.classification,
        entities=data.population_bound,
        max_records_per_entity=data.max_records_per_entity,
    )


def prompt_facts(round_: VerifiedRound, verdicts: Verdicts) -> PromptFacts:
    """The prompt set of the round, by digest, what its candidates were proposed for, and whether anybody refused it."""
    manifest = round_.manifest
    source = manifest.candidates_from
    return PromptFacts(
        digest=hex_digest(manifest.prompt_set_digest),
        count=manifest.prompt_count,
        refused=bool(verdicts.refused_by),
        proposed_for=None if source is None else hex_digest(source.prompt_set_digest),
    )


def peer_facts(round_: VerifiedRound, *, witnesses: int | None = None) -> PeerFacts:
    """The server, as the verified roster and manifest describe it, and how many vouch for its log."""
    server, manifest = round_.server, round_.manifest
    return PeerFacts(
        server_id=server.member_id,
        federation=server.federation,
        signing_key_ids=tuple(key.key_id for key in server.signing_keys),
        jurisdiction=server.jurisdiction,
        suite=str(server.suite),
        min_clients=manifest.rule.min_clients,
        witnesses=witnesses,
        weights=manifest.rule.weights,
        rule=manifest.rule.name,
        group=round_.group,
    )


def model_facts(config: SiteConfig, digest: Digest | None) -> ModelFacts:
    """The model as the site file declares it, with the digest of the weights that were really read."""
    local = config.model.kind == "local"
    printed = None if digest is None else hex_digest(digest)
    return ModelFacts(
        family=config.model.family,
        digest=printed,
        format="safetensors" if local else "endpoint",
        provenance=config.model.provenance,
    )


def history_facts(tx: Transaction, member: MemberRecord, now: datetime) -> HistoryFacts:
    """How often this site released lately, and how old its key is."""
    times = [row.updated_at_ms for row in list_progress(tx) if row.step == Step.RELEASE]
    hour, day = to_ms(now - timedelta(hours=1)), to_ms(now - timedelta(days=1))
    return HistoryFacts(
        releases_last_hour=sum(at > hour for at in times),
        releases_last_day=sum(at > day for at in times),
        key_age_days=max(0, (to_ms(now) - member.valid_from_ms) // 86_400_000),
    )


def release_facts(
    round_: VerifiedRound,
    screened: Screened,
    mechanism: Mechanism,
    epsilon: Decimal,
    delta: Decimal,
    *,
    with_dp: bool,
    forecast_ppm: int | None,
) -> ReleaseFacts:
    """What would leave, by kind, counts and declared privacy."""
    return ReleaseFacts(
        kind=round_.manifest.kind,
        items=round_.manifest.prompt_count,
        mechanism=mechanism,
        epsilon_total=epsilon,
        delta=delta,
        unit=UNIT,
        relation=RELATION,
        aggregation=round_.manifest.aggregation,
        model_trained_with_dp=with_dp,
        texts=screened.texts,
        detectors_run=screened.detectors,
        findings=screened.findings,
        detector_error=screened.failed,
        forecast_ppm=forecast_ppm,
    )


def label_facts(kind: OutputKind, labels: Sequence[PromptResult]) -> LabelFacts:
    """The agreed labels that would be learned, by count and weakest support."""
    agreed = [label.support_ppm for label in labels if label.status is PromptStatus.AGREED]
    return LabelFacts(kind=kind, agreed=len(agreed), min_support_ppm=min(agreed, default=0))
