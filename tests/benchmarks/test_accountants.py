"""Epsilon against every other accountant: equal within the stated tolerance, and never below the truth."""

from __future__ import annotations

import json
import os
from pathlib import Path

import accountants
import pytest
from opacus.accountants import PRVAccountant

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy import accountant as ours
from semfed_secure.privacy import closed_forms
from semfed_secure.privacy.plans import dp_sgd_plan, gaussian_plan, histogram_plan

ROOT = Path(__file__).parents[2]
SAMPLED = int(os.environ.get("SEMFED_SAMPLED_PLANS", "2"))
pytestmark = pytest.mark.filterwarnings("ignore")


def plans_of(kinds: tuple[str, ...], count: int, seed: int) -> list[dict[str, float | str]]:
    """The first ``count`` plans of these kinds."""
    drawn = accountants.plans(4 * count, seed)
    return [plan for plan in drawn if plan["kind"] in kinds][:count]


def test_two_hundred_plans_without_sampling_equal_their_closed_form_and_never_less() -> None:
    """Gaussian and discrete Gaussian: enforced at least the truth and as OpenDP converts it; reported equals it."""
    for number, plan in enumerate(plans_of(("gaussian", "record_histogram"), 200, seed=4)):
        assert accountants.problems(accountants.compare(plan, report=number < 10)) == [], plan


def test_plans_of_sampled_training_lie_between_the_truth_and_opacus_rdp() -> None:
    """DP-SGD, alone and beside histograms: never below PLD's upper bound, equal to Opacus' RDP; 200 by a switch."""
    for plan in plans_of(accountants.KINDS[2:], SAMPLED, seed=5):
        assert accountants.problems(accountants.compare(plan)) == [], plan


def test_the_reported_figure_lies_in_the_certified_interval_of_opacus_prv() -> None:
    """Another way to the same number: Fourier accountants of two libraries."""
    noise, rate, steps = accountants.NAMED[2]
    prv = PRVAccountant()
    prv.history = [(noise, rate, steps)]
    upper = prv.get_epsilon(delta=1e-6, eps_error=0.01)
    assert upper - 0.021 <= float(ours.pld_epsilon(noise, rate, steps, 1e-6) or 0) <= upper


@pytest.mark.parametrize("change", [{"enforced": 0.999}, {"reported": 0.999}, {"reported": 1.01}, {"enforced": 1.2}])
def test_a_figure_that_is_a_little_off_is_seen(change: dict[str, float]) -> None:
    """The comparison itself can fail: a thousandth too low, a hundredth too high."""
    row = accountants.compare({**plans_of(("gaussian",), 1, seed=4)[0], "sigma": 2.0, "releases": 3})
    name, factor = next(iter(change.items()))
    base = row["exact"] if factor < 1 else row[name]
    assert accountants.problems({**row, name: float(base or 0) * factor})


def test_the_recorded_plans_show_no_fault() -> None:
    """200 plans by the recorded command, none below the truth, none outside its tolerance; GDP below a lower bound."""
    result = json.loads((ROOT / "benchmarks/results/accountants.json").read_text())
    assert (result["plans"], result["below the truth or outside tolerance"]) == (200, [])
    assert result["tolerances"] == accountants.TOLERANCES
    assert all(row["opacus_gdp"] < row["pld_lower"] <= row["reported"] for row in result["gdp"])
    page = (ROOT / "docs/how-to/plan-a-budget.md").read_text()
    assert f"by {result['gdp'][2]['percent_too_low']} to {result['gdp'][0]['percent_too_low']} %" in page


def test_the_gdp_accountant_reports_less_than_the_truth_and_cannot_be_selected() -> None:
    """Below a certified lower bound of the truth; no function, option or plan of ours computes it."""
    (row,) = accountants.gdp(accountants.NAMED[2:], grid=1e-4)
    assert row["opacus_gdp"] < row["pld_lower"] <= row["reported"]
    names = {figure.accountant for plan in (gaussian_plan(5, 1, "1e-6"), histogram_plan(5, 1, "1e-6"))
             for figure in plan.figures}  # fmt: skip
    assert names == {"rdp", "zcdp", "pld", "closed form"}
    source = "".join(path.read_text() for path in (ROOT / "semfed_secure").rglob("*.py"))
    assert "GaussianAccountant" not in source
    assert 'accountant="gdp"' not in source


@pytest.mark.parametrize(("sigma", "count"), [(1e-3, 1), (1e-3, 10**7), (1e5, 10**7)])
def test_the_ends_of_every_range_have_a_figure_that_is_not_below_the_truth(sigma: float, count: int) -> None:
    """With hardly any noise, and with nothing but noise: finite or infinite, never an exception."""
    exact = closed_forms.gaussian_epsilon(sigma, count, "1e-6")
    assert ours.epsilon_of(ours.times(ours.gaussian_rdp(sigma), count), "1e-6") >= exact
    enforced, *others = [figure.epsilon for figure in gaussian_plan(sigma, count, "1e-6").figures]
    assert all(figure is None or (enforced is not None and figure <= enforced) for figure in others)


def test_a_discrete_gaussian_of_many_counts_is_composed_by_its_own_losses() -> None:
    """PLD of the discrete Gaussian: not below the closed form of one release, at most the enforced figure of many."""
    one, many = histogram_plan(2, 1, "1e-6"), histogram_plan(2, 30, "1e-6")
    exact, composed = one.figures[3].epsilon, one.figures[2].epsilon
    assert exact is not None
    assert composed is not None
    assert exact <= composed <= exact * 102 / 100
    assert many.figures[2].epsilon is not None
    assert composed < many.figures[2].epsilon < (many.figures[0].epsilon or 0)


@pytest.mark.parametrize("bad", ["0", "-1", "nan", "inf", "two", "1e9"])
def test_hostile_plans_are_refused(bad: str) -> None:
    """SF141 for noise, counts, rates and deltas outside their ranges, before anything is computed."""
    for plan in (
        lambda: gaussian_plan(bad, 1, "1e-6"),
        lambda: gaussian_plan(1, 1, bad),
        lambda: histogram_plan(bad, 1, "1e-6"),
        lambda: dp_sgd_plan(bad, 0.1, 1, 1, "1e-6"),
        lambda: dp_sgd_plan(1, bad, 1, 1, "1e-6"),
        lambda: dp_sgd_plan(1, 0.1, bad, 1, "1e-6"),
        lambda: dp_sgd_plan(1, 0.1, 1, bad, "1e-6"),
    ):
        with pytest.raises(ConfigurationError, match="SF141"):
            plan()
