"""What a site's next act can be good for, told before it is paid: from the round's terms and the site file alone."""

from __future__ import annotations

from collections import Counter
from typing import TYPE_CHECKING

from semfed_secure.identity.records import Role
from semfed_secure.privacy.forecast import KNOWING, Forecast, gradient_noise, histogram_accuracy
from semfed_secure.units import Mechanism

if TYPE_CHECKING:
    from datetime import datetime

    from semfed_secure.client.config import SiteConfig
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.llm.model import TrainingPlan
    from semfed_secure.privacy.budget import Charge


def forecast_release(round_: VerifiedRound, config: SiteConfig, charge: Charge | None, now: datetime) -> Forecast:
    """On how many prompts the consensus would be right at best, if the release costs ``charge``.

    Everything that enters is public or declared: the members that answer with it, prompts and candidates, the rule of
    the round, the bound on the population, the noise. No record is read.
    """
    if charge is None or charge.mechanism is not Mechanism.RECORD_HISTOGRAM:
        return Forecast(None, f"under {config.privacy.mechanism} public numbers do not tell how many answers are right")
    prompts, entities = round_.prompts, config.data.population_bound
    members = [record.member_id for record in round_.roster.members(role=Role.CLIENT, at=now)]
    clients = sum(round_.manifest.place_of(member) == round_.place for member in members)
    sigma = float(charge.parameters["sigma"])
    choices = Counter(len(prompts.candidates_of(prompt)) for prompt in prompts.prompts)
    right = sum(
        count
        * histogram_accuracy(
            clients=clients,
            prompts=len(prompts.prompts),
            candidates=candidates,
            entities=entities,
            sigma=sigma,
            rule=round_.manifest.rule,
        )
        for candidates, count in choices.items()
    )
    return Forecast(
        int(1_000_000 * right / len(prompts.prompts)),
        f"at best: {clients} clients answer, each of {entities} entities casts one vote on {len(prompts.prompts)} "
        f"prompts under noise of sigma {sigma:.3g}, {KNOWING:.0%} of the voters know and the others guess",
    )


def forecast_training(plan: TrainingPlan) -> Forecast:
    """How much of the update would be noise; how often the trained model is right does not follow from it."""
    if plan.mechanism is not Mechanism.DP_SGD:
        return Forecast(None, f"under {plan.mechanism} there is no noise to forecast")
    noise = gradient_noise(
        noise_multiplier=plan.noise_multiplier, expected_entities=plan.expected_entities, steps=plan.steps
    )
    return Forecast(
        None,
        f"noise along one direction is at least {noise:.2g} of the largest signal that {plan.steps} steps of "
        f"{plan.expected_entities:g} entities can give; public numbers do not tell how many answers are right",
    )
