"""``semfed budget cost``: what a plan would cost by every accountant; reads nothing and charges nothing."""

from __future__ import annotations

from enum import StrEnum
from typing import TYPE_CHECKING, Annotated

import typer

from semfed_secure.cli.output import JsonOption, emit, table
from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy.parameters import DEFAULT_DELTA
from semfed_secure.privacy.plans import ENFORCED, RELATION, UNIT, dp_sgd_plan, gaussian_plan, histogram_plan

if TYPE_CHECKING:
    from semfed_secure.privacy.plans import PlanCost


class Planned(StrEnum):
    """Mechanisms whose cost follows from noise and count alone."""

    GAUSSIAN = "gaussian"
    DP_SGD = "dp_sgd"
    RECORD_HISTOGRAM = "record_histogram"


_OPTIONS = {
    Planned.GAUSSIAN: ("--noise-multiplier",),
    Planned.DP_SGD: ("--noise-multiplier", "--sample-rate", "--steps"),
    Planned.RECORD_HISTOGRAM: ("--sigma",),
}
_MEANING = {
    ENFORCED: "what the ledger charges",
    "zcdp": "the same as one figure rho",
    "pld": "essentially exact",
    "closed form": "exact",
}


def cost(
    mechanism: Annotated[Planned, typer.Option("--mechanism", help="How the releases are protected.")],
    noise_multiplier: Annotated[
        str | None, typer.Option("--noise-multiplier", help="Noise over sensitivity.", show_default=False)
    ] = None,
    sigma: Annotated[str | None, typer.Option("--sigma", help="Noise of record_histogram.", show_default=False)] = None,
    sample_rate: Annotated[
        str | None, typer.Option("--sample-rate", help="Share of the entities in a batch.", show_default=False)
    ] = None,
    steps: Annotated[str | None, typer.Option("--steps", help="Steps of one training.", show_default=False)] = None,
    count: Annotated[str, typer.Option("--count", help="Releases, or training runs.")] = "1",
    delta: Annotated[str, typer.Option("--delta", help="Where epsilon is read.")] = str(DEFAULT_DELTA),
    as_json: JsonOption = False,
) -> None:
    """Show what a plan would cost, by each accountant, with unit, relation, delta and scope; charges nothing.

    The ledger enforces the first figure. The Gaussian-DP accountant of Opacus is not among them: it reports less than
    the truth.
    """
    given = {"--noise-multiplier": noise_multiplier, "--sigma": sigma, "--sample-rate": sample_rate, "--steps": steps}
    if {name for name, value in given.items() if value is not None} != set(_OPTIONS[mechanism]):
        raise ConfigurationError("SF101", f"{mechanism} takes exactly {', '.join(_OPTIONS[mechanism])} and --count")
    match mechanism:
        case Planned.GAUSSIAN:
            plan = gaussian_plan(str(noise_multiplier), count, delta)
        case Planned.DP_SGD:
            plan = dp_sgd_plan(str(noise_multiplier), str(sample_rate), str(steps), count, delta)
        case Planned.RECORD_HISTOGRAM:
            plan = histogram_plan(str(sigma), count, delta)
    emit(_document(plan), as_json=as_json, text=lambda: _text(plan))


def _document(plan: PlanCost) -> dict[str, object]:
    figures = [
        {
            "accountant": figure.accountant,
            "epsilon": None if figure.epsilon is None else str(figure.epsilon),
            "enforced": figure.accountant == ENFORCED,
            "holds": figure.holds,
        }
        for figure in plan.figures
    ]
    return {
        "mechanism": plan.mechanism,
        "parameters": dict(plan.parameters),
        "unit": UNIT,
        "relation": RELATION,
        "delta": str(plan.delta),
        "scope": plan.scope,
        "epsilon": figures,
    }


def _text(plan: PlanCost) -> str:
    rows = [
        [
            figure.accountant,
            "-" if figure.epsilon is None else figure.epsilon,
            _MEANING[figure.accountant],
            figure.holds,
        ]
        for figure in plan.figures
    ]
    parameters = ", ".join(f"{name} {value}" for name, value in plan.parameters.items())
    head = (
        f"{plan.mechanism} ({parameters}): epsilon per {UNIT} ({RELATION}) at delta {plan.delta}\nscope: {plan.scope}"
    )
    return head + "\n" + table(["accountant", "epsilon", "what it is", "holds"], rows)
