"""What the demo runs: which sites, which models, how much of everything."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import dataclass, replace
from enum import StrEnum

from semfed_secure.demo.data import Description, FederationData, SitePlan
from semfed_secure.errors import ConfigurationError


class SiteRole(StrEnum):
    """How a site behaves."""

    HONEST = "honest"
    MALICIOUS = "malicious"
    BROKEN = "broken"
    LATE = "late"


MISBEHAVING = (SiteRole.MALICIOUS, SiteRole.BROKEN, SiteRole.LATE)


@dataclass(frozen=True, slots=True)
class Training:
    """One private training run and what it may cost; each step takes every entity with probability ``sample_rate``."""

    steps: int
    sample_rate: float
    clip_norm: float
    epsilon: str
    delta: str


@dataclass(frozen=True, slots=True)
class RoundPlan:
    """One round of one output kind."""

    id: str
    kind: str


@dataclass(frozen=True, slots=True)
class Scale:
    """The size of a demo: how many honest sites, which model families in turn, which rounds, how they train.

    Writing texts takes far longer than choosing labels, so each kind has its own numbers: one record of a site in
    ``one_in``, ``asked`` public prompts, ``measured`` held-out rows, and ``gold`` prompts whose answers the server
    knows, where the data tells them: by these members weigh, and by their behaviour where it does not. Honest sites of
    a family that is not in ``writers`` take no part in ``text``: their policies do not grant it. ``settings`` are the
    model settings of each family, ``terms`` the options of ``semfed round open`` for each kind.
    """

    name: str
    honest: int
    families: tuple[str, ...]
    writers: tuple[str, ...]
    rounds: tuple[RoundPlan, ...]
    training: Training
    one_in: Mapping[str, int]
    asked: Mapping[str, int]
    gold: Mapping[str, int]
    measured: Mapping[str, int]
    settings: Mapping[str, Mapping[str, float]]
    terms: Mapping[str, tuple[str, ...]]
    round_seconds: int

    @property
    def kinds(self) -> tuple[str, ...]:
        """The output kinds of the rounds, each once, in their order."""
        return tuple(dict.fromkeys(plan.kind for plan in self.rounds))


@dataclass(frozen=True, slots=True)
class SiteSetting:
    """One site of this run."""

    plan: SitePlan
    role: SiteRole
    family: str

    @property
    def id(self) -> str:
        """The member id."""
        return self.plan.id


def suit(scale: Scale, description: Description) -> Scale:
    """``scale`` for this data: with the rounds that it names, or has templates for, and with its black boxes.

    The hospital example's rounds and models are those of ``scale``.
    """
    named = tuple(RoundPlan(f"round-{number}", kind) for number, kind in enumerate(description.rounds, start=1))
    rounds = named or tuple(plan for plan in scale.rounds if plan.kind in description.templates)
    box = description.black_box
    return replace(scale, rounds=rounds, families=scale.families if box is None else (box.model,))


def settle(data: FederationData, scale: Scale, *, without: Collection[SiteRole] = ()) -> tuple[SiteSetting, ...]:
    """The sites of one run: the first of the data are honest, the last three misbehave, unless left out.

    Model families take turns, so that a federation of two families always holds both.

    Raises:
        ConfigurationError: SF104 if the data has too few sites.
    """
    plans = data.description.sites
    if len(plans) < scale.honest + len(MISBEHAVING):
        needed = scale.honest + len(MISBEHAVING)
        raise ConfigurationError("SF104", f"federation.json: {needed} sites are needed, found {len(plans)}")
    roles = dict.fromkeys((plan.id for plan in plans[: scale.honest]), SiteRole.HONEST)
    last = zip(plans[-len(MISBEHAVING) :], MISBEHAVING, strict=True)
    roles |= {plan.id: role for plan, role in last if role not in without}
    chosen = [plan for plan in plans if plan.id in roles]
    return tuple(
        SiteSetting(plan, roles[plan.id], scale.families[number % len(scale.families)])
        for number, plan in enumerate(chosen)
    )
