"""What the ledger's epsilon is worth: random plans against every other accountant, and against the truth.

``python benchmarks/accountants.py --plans 200 --json`` draws plans of four kinds (DP-SGD, Gaussian, discrete
Gaussian, and DP-SGD together with histograms) and compares, for each, what `semfed_secure` enforces and what it reports
with the closed form where there is one, with a certified interval by privacy-loss distributions, with Opacus' RDP and
with OpenDP's conversion of zero-concentrated DP. Named plans are also read by Opacus' GDP accountant, which
`semfed_secure` refuses. It exits with 1 if a figure lies below the truth or outside its stated tolerance.

The draw is repeated by ``--seed``; nothing here is a timing.
"""

from __future__ import annotations

import argparse
import json
import logging
import math
import sys
import warnings
from importlib.metadata import version
from random import Random
from typing import TYPE_CHECKING

import opendp.prelude as dp
from dp_accounting.pld import privacy_loss_distribution as pld
from opacus.accountants import GaussianAccountant
from opacus.accountants.analysis import rdp

from semfed_secure.privacy import accountant as ours
from semfed_secure.privacy.closed_forms import discrete_gaussian_epsilon, gaussian_epsilon, zcdp_epsilon

if TYPE_CHECKING:
    from collections.abc import Sequence

KINDS = ("gaussian", "record_histogram", "dp_sgd", "dp_sgd and record_histogram")
NAMED = ((1.0, 0.01, 1000), (0.8, 0.004, 10_000), (2.0, 0.05, 500))
TOLERANCES = {
    "over_exact": 1e-6,
    "over_pld_upper": 1e-3,
    "enforced_to_opacus_rdp": 2e-3,
    "enforced_to_opacus_rdp_above_20": 0.5,
    "enforced_to_opendp_zcdp": 0.02,
}
"""Largest relative differences; besides, printing rounds up at the sixth place."""
PRINTED = 2e-6


def plans(count: int, seed: int) -> list[dict[str, float | str]]:
    """``count`` random plans, of each kind in turn: noise, rate, steps, releases, sigma and delta."""
    random = Random(seed)

    def spread(low: float, high: float) -> float:
        return math.exp(random.uniform(math.log(low), math.log(high)))

    return [
        {
            "kind": KINDS[number % len(KINDS)],
            "noise": round(spread(0.5, 6), 4),
            "rate": round(spread(1e-4, 0.3), 6),
            "steps": round(spread(1, 5000)),
            "sigma": round(spread(0.5, 300), 3),
            "releases": round(spread(1, 60)),
            "delta": float(f"{spread(1e-9, 1e-5):.3g}"),
        }
        for number in range(count)
    ]


def compare(plan: dict[str, float | str], *, report: bool = True) -> dict[str, float | str | None]:
    """Ours and the others, for one plan; None where an accountant does not know the kind, or no `report` is wanted."""
    kind, delta = str(plan["kind"]), float(plan["delta"])
    noise, rate, steps = float(plan["noise"]), float(plan["rate"]), int(plan["steps"])
    sigma, releases = float(plan["sigma"]), int(plan["releases"])
    found: dict[str, float | str | None] = dict(plan)
    if kind in ("gaussian", "record_histogram"):
        found |= _unsampled(kind, sigma, releases if kind == "gaussian" else 1, delta, report=report)
        return found
    runs = ours.dp_sgd_rdp(noise, rate, steps)
    curve = runs if kind == "dp_sgd" else ours.compose([runs, ours.times(ours.gaussian_rdp(sigma), releases)])
    found["enforced"] = enforced = float(ours.epsilon_of(curve, delta))
    grid = max(1e-4, enforced / 3000)
    low, high = (_pld(kind, plan, grid, upper=upper).get_epsilon_for_delta(delta) for upper in (False, True))
    found["pld_lower"], found["pld_upper"] = low, high
    if kind == "dp_sgd":
        orders = list(ours.ORDERS)
        other = rdp.compute_rdp(q=rate, noise_multiplier=noise, steps=steps, orders=orders)
        found["opacus_rdp"] = float(rdp.get_privacy_spent(orders=orders, rdp=other, delta=delta)[0])
        reported = ours.pld_epsilon(noise, rate, steps, delta)
        found["reported"] = None if reported is None else float(reported)
    return found


def _unsampled(kind: str, sigma: float, releases: int, delta: float, *, report: bool) -> dict[str, float | str | None]:
    curve = ours.times(ours.gaussian_rdp(sigma), releases)
    exact = gaussian_epsilon(sigma, releases, delta) if kind == "gaussian" else discrete_gaussian_epsilon(sigma, delta)
    reported = exact if kind != "gaussian" or not report else ours.pld_epsilon(sigma, 1.0, releases, delta)
    return {
        "releases": releases,
        "enforced": float(ours.epsilon_of(curve, delta)),
        "reported": None if reported is None else float(reported),
        "exact": float(exact),
        "zcdp": float(zcdp_epsilon(releases / (2 * sigma**2), delta)),
        "opendp_zcdp": _opendp(sigma / math.sqrt(releases), delta),
    }


def _opendp(sigma: float, delta: float) -> float:
    dp.enable_features("contrib")
    space = dp.atom_domain(T="f64", nan=False), dp.absolute_distance(T="f64")
    return float(dp.c.make_zCDP_to_approxDP(dp.m.make_gaussian(*space, scale=sigma)).map(1.0).epsilon(delta))


def _pld(kind: str, plan: dict[str, float | str], grid: float, *, upper: bool) -> pld.PrivacyLossDistribution:
    noise, rate, steps = float(plan["noise"]), float(plan["rate"]), int(plan["steps"])
    options = {"value_discretization_interval": grid, "pessimistic_estimate": upper}
    total = pld.from_gaussian_mechanism(noise, sampling_prob=rate, **options).self_compose(steps)
    if kind == "dp_sgd":
        return total
    # The continuous Gaussian stands for the discrete one of the same scale: both satisfy the same curve.
    combined = float(plan["sigma"]) / math.sqrt(int(plan["releases"]))
    return total.compose(pld.from_gaussian_mechanism(combined, **options))


def problems(row: dict[str, float | str | None]) -> list[str]:
    """In which ways a row is below the truth or outside its tolerance."""

    def number(name: str) -> float | None:
        value = row.get(name)
        return None if value is None else float(value)

    enforced, reported, exact = number("enforced"), number("reported"), number("exact")
    low, high, opacus, opendp = (number(name) for name in ("pld_lower", "pld_upper", "opacus_rdp", "opendp_zcdp"))
    assert enforced is not None
    truth = [bound for bound in (exact, low) if bound is not None]
    faults = [f"enforced {enforced} < {bound}" for bound in truth if enforced < bound]
    if high is not None and enforced < high:
        faults.append(f"enforced {enforced} < upper bound {high}")
    if reported is not None:
        faults += [
            f"reported {reported} < {bound}" for bound in truth if reported < bound - PRINTED * (exact is not None)
        ]
        tight = exact * (1 + TOLERANCES["over_exact"]) if exact is not None else None
        limit = tight if tight is not None else (high or 0) * (1 + TOLERANCES["over_pld_upper"])
        if reported > limit + PRINTED:
            faults.append(f"reported {reported} > {limit}")
    if opacus is not None:
        name = "enforced_to_opacus_rdp" + ("_above_20" if enforced > 20 else "")
        if not opacus <= enforced + PRINTED <= opacus * (1 + TOLERANCES[name]) + 3 * PRINTED:
            faults.append(f"enforced {enforced} is not Opacus' {opacus}")
    if opendp is not None:
        allowed = opendp * (1 + TOLERANCES["enforced_to_opendp_zcdp"]) + PRINTED
        if enforced < opendp * (1 - 1e-9) or (enforced > allowed and 0.1 < enforced < 20):
            faults.append(f"enforced {enforced} is not OpenDP's {opendp}")
    return faults


def gdp(named: Sequence[tuple[float, float, int]] = NAMED, *, grid: float = 1e-5) -> list[dict[str, float]]:
    """The named plans by the accountant that is refused, beside a certified lower bound of the truth."""
    rows = []
    for noise, rate, steps in named:
        gaussian = GaussianAccountant()
        gaussian.history = [(noise, rate, steps)]
        plan = {"noise": noise, "rate": rate, "steps": steps}
        options = {"value_discretization_interval": grid, "pessimistic_estimate": False}
        lower = pld.from_gaussian_mechanism(noise, sampling_prob=rate, **options).self_compose(steps)
        low, claimed = lower.get_epsilon_for_delta(1e-6), float(gaussian.get_epsilon(delta=1e-6))
        reported = float(ours.pld_epsilon(noise, rate, steps, 1e-6) or math.nan)
        short = round(100 * (1 - claimed / reported), 1)
        rows.append(plan | {"opacus_gdp": claimed, "pld_lower": low, "reported": reported, "percent_too_low": short})
    return rows


def summary(rows: list[dict[str, float | str | None]]) -> dict[str, object]:
    """Least and largest ratios of ours to each other accountant, where epsilon is at least a tenth."""

    def span(ours_: str, other: str) -> dict[str, float | int]:
        pairs = [(row[ours_], row[other]) for row in rows if row.get(ours_) is not None and row.get(other) is not None]
        ratios = [float(one or 0) / float(two or 0) for one, two in pairs if float(two or 0) >= 0.1]
        return {"plans": len(ratios), "least": round(min(ratios), 6), "largest": round(max(ratios), 6)}

    return {
        "enforced / exact": span("enforced", "exact"),
        "reported / exact": span("reported", "exact"),
        "enforced / PLD upper bound": span("enforced", "pld_upper"),
        "reported / PLD upper bound": span("reported", "pld_upper"),
        "reported / PLD lower bound": span("reported", "pld_lower"),
        "enforced / Opacus RDP": span("enforced", "opacus_rdp"),
        "enforced / OpenDP zCDP": span("enforced", "opendp_zcdp"),
        "zcdp / OpenDP zCDP": span("zcdp", "opendp_zcdp"),
    }


def main(arguments: list[str]) -> int:
    """Compare, print, judge."""
    parser = argparse.ArgumentParser(prog="python benchmarks/accountants.py")
    parser.add_argument("--plans", type=int, default=200)
    parser.add_argument("--seed", type=int, default=20)
    parser.add_argument("--json", action="store_true")
    options = parser.parse_args(arguments)
    logging.getLogger("absl").setLevel(logging.ERROR)
    warnings.simplefilter("ignore")
    rows = [compare(plan) for plan in plans(options.plans, options.seed)]
    faults = [{"plan": row, "faults": found} for row in rows if (found := problems(row))]
    document = {
        "schema": 1,
        "command": f"python benchmarks/accountants.py --plans {options.plans} --seed {options.seed} --json",
        "versions": {name: version(name) for name in ("dp-accounting", "opacus", "opendp", "scipy")},
        "plans": len(rows),
        "below the truth or outside tolerance": faults,
        "tolerances": TOLERANCES,
        "ratios where epsilon is at least 0.1": summary(rows),
        "gdp": gdp(),
    }
    print(json.dumps(document, indent=1))
    return int(bool(faults))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
