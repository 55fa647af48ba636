"""Whether grants stay below the ceiling: found when the policy is loaded, not when somebody waits for an answer."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator
    from collections.abc import Set as AbstractSet

    from semfed_secure.policy.document import DatasetGrant, Grants, Limits, ModelGrant, PeerGrant

Excess = tuple[str, str]
"""Field and what is wrong with it."""


def beyond_ceiling(grants: Grants, limits: Limits) -> Iterator[Excess]:
    """Every grant that asks for more than the ceiling allows: its field, and a sentence."""
    yield from _outside("actions", grants.actions, limits.actions)
    yield from _outside("kinds", grants.kinds, limits.release.kinds)
    yield from _outside("mechanisms", grants.mechanisms, limits.privacy.mechanisms)
    if limits.prompts.reviewed_candidates and grants.proposed_candidates:
        yield "proposed_candidates", "the ceiling wants candidates granted with the very set, once they are known"
    for index, dataset in enumerate(grants.datasets):
        yield from _dataset(f"datasets.{index}", dataset, limits)
    for index, model in enumerate(grants.models):
        yield from _model(f"models.{index}", model, limits)
    for index, peer in enumerate(grants.peers):
        yield from _peer(f"peers.{index}", peer, limits)


def _outside(field: str, asked: AbstractSet[Any], allowed: AbstractSet[Any] | None) -> Iterator[Excess]:
    beyond = sorted(str(item) for item in asked - allowed) if allowed is not None else []
    if beyond:
        yield field, f"{', '.join(beyond)} is beyond the ceiling, which allows {_names(allowed)}"


def _names(allowed: AbstractSet[Any] | None) -> str:
    return ", ".join(sorted(str(item) for item in allowed or ())) or "none"


def _dataset(field: str, grant: DatasetGrant, limits: Limits) -> Iterator[Excess]:
    data, privacy = limits.data, limits.privacy
    yield from _outside(f"{field}.classification", {grant.classification}, data.classifications)
    yield from _outside(f"{field}.deidentification", {grant.deidentification}, data.deidentification)
    prefixes = data.dataset_prefixes
    if prefixes is not None and not grant.id.startswith(tuple(prefixes)):
        yield f"{field}.id", f"`{grant.id}` begins with none of {_names(prefixes)}"
    for budget in grant.budgets:
        if privacy.max_epsilon is not None and budget.epsilon > privacy.max_epsilon:
            yield f"{field}.budgets", f"epsilon {budget.epsilon} is above the ceiling of {privacy.max_epsilon}"
        if privacy.max_delta is not None and budget.delta > privacy.max_delta:
            yield f"{field}.budgets", f"delta {budget.delta} is above the ceiling of {privacy.max_delta}"


def _model(field: str, grant: ModelGrant, limits: Limits) -> Iterator[Excess]:
    yield from _outside(f"{field}.family", {grant.family}, limits.models.families)
    if limits.models.pinned_weights and grant.digest is None:
        yield f"{field}.digest", "the ceiling wants the weights pinned by digest"


def _peer(field: str, grant: PeerGrant, limits: Limits) -> Iterator[Excess]:
    yield from _outside(f"{field}.jurisdiction", {grant.jurisdiction}, limits.peers.jurisdictions)
