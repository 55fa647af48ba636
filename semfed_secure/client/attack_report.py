"""An audit by attack as documents: JSON for machines, Markdown for people, one picture."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from semfed_secure.client.attack_verdict import RESAMPLES
from semfed_secure.privacy.attack import CONFIDENCE

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from semfed_secure.client.attack_verdict import Attacked, Claim, Finding, Verdict
    from semfed_secure.privacy.attack import Rate

CAVEATS = (
    "A lower bound is what this attacker could show; it is no proof that nothing more leaks.",
    "The claim is epsilon of one training run from the untrained model; several runs compose in the ledger.",
    "Power is the share of resamples of the canaries that reject; another draw of noise or adapter is not in it.",
    "The broken variants are trained without protection: keep this report inside the site, as you keep the records.",
)

_COLUMNS = (
    "variant", "released", "ε at least", "ε detectable", "AUC", "members found at 1 % of others", "at 0.1 %",
    "secrets given away", "own answers: members / others",
)  # fmt: skip


def document(
    results: Sequence[Attacked], claim: Claim, verdict: Verdict, *, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """The whole audit, JSON-ready; ``settings`` say how it was made."""
    return {
        "schema": 1,
        "outcome": str(verdict.outcome),
        "reason": verdict.reason,
        "claim": {
            "epsilon": claim.epsilon,
            "delta": claim.delta,
            "unit": "entity",
            "relation": "add_or_remove_one",
            "scope": "one training run",
        },
        "confidence": CONFIDENCE,
        "power_by": f"bootstrap over canaries, {RESAMPLES} resamples",
        "settings": dict(settings),
        "variants": [_attacked(result) for result in results],
        "caveats": list(CAVEATS),
    }


def markdown(report: Mapping[str, Any], *, picture: str) -> str:
    """The same for a person, from the document alone."""
    claim, head = report["claim"], report["outcome"]
    promise = f"ε = {claim['epsilon']:g}, δ = {claim['delta']:g} per {claim['unit']} ({claim['relation']})"
    certainty = f"Lower bounds hold at {report['confidence']:.0%} over all tests of a variant together."
    lines = [
        "# Audit by attack",
        "",
        f"**{str(head).capitalize()}**: {report['reason']}.",
        "",
        f"Claimed: {promise}, for {claim['scope']}. {certainty}",
        "",
        f"![Lower bounds on ε, and members found at 1 % of the others]({picture})",
        "",
        f"| {' | '.join(_COLUMNS)} |",
        "|---" * len(_COLUMNS) + "|",
        *(f"| {' | '.join(_cells(variant, row))} |" for variant in report["variants"] for row in variant["findings"]),
        "",
        *(f"- {caveat}" for caveat in report["caveats"]),
        "",
    ]
    return "\n".join(lines)


def _cells(variant: Mapping[str, Any], row: Mapping[str, Any]) -> list[str]:
    own = f"{row['own_answers_members']['value']:.1%} / {row['own_answers_others']['value']:.1%}"
    return [
        str(variant["variant"]),
        f"{row['prompts']}, {row['kind']}",
        f"{max(row['epsilon_lower'].values()):.2f}",
        f"{row['epsilon_detectable']:.1f}",
        f"{row['auc']:.3f}",
        _shown(row["tpr_at_fpr_1_percent"]),
        _shown(row["tpr_at_fpr_0.1_percent"]),
        _shown(row["secrets_given_away"]),
        own,
    ]


def summary(report: Mapping[str, Any]) -> str:
    """A few lines for a terminal."""
    rows = [
        f"  {row['variant']}: epsilon at least {row['epsilon_lower']:.2f}; rejected with power {row['power']:.2f}"
        for row in report["variants"]
    ]
    return "\n".join([f"{report['outcome']}: {report['reason']}", *rows])


def _attacked(result: Attacked) -> dict[str, Any]:
    return {
        "variant": str(result.variant),
        "epsilon_lower": result.epsilon_lower,
        "power": result.power,
        "findings": [_finding(finding) for finding in result.findings],
    }


def _finding(finding: Finding) -> dict[str, Any]:
    found = finding.evidence
    return {
        "prompts": str(found.asked),
        "kind": str(found.kind),
        "canaries": len(found.members),
        "auc": finding.auc,
        "tpr_at_fpr_1_percent": _rate(finding.true_positives[0.01]),
        "tpr_at_fpr_0.1_percent": _rate(finding.true_positives[0.001]),
        "secrets_given_away": _rate(finding.hits),
        "matches_needed": finding.needed,
        "chance_of_a_guess": finding.chance,
        "own_answers_members": _rate(finding.repeated[0]),
        "own_answers_others": _rate(finding.repeated[1]),
        "epsilon_lower": {"by_membership": finding.by_membership, "by_secrets": finding.by_secrets},
        "epsilon_detectable": finding.detectable,
    }


def _rate(rate: Rate) -> dict[str, Any]:
    return {"count": rate.count, "of": rate.of, "value": rate.value, "low": rate.low, "high": rate.high}


def _shown(rate: Mapping[str, Any]) -> str:
    return f"{rate['value']:.1%} ({rate['low']:.1%} to {rate['high']:.1%})"
