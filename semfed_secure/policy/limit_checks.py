"""Checks of the ceiling: one row per limit, compared by the limit's own rule."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from operator import attrgetter
from typing import Any

from semfed_secure.policy.checks import Check, Measure, Question, at_least, at_most, covers, one_of
from semfed_secure.policy.document import Limits
from semfed_secure.policy.facts import Action, Facts
from semfed_secure.policy.tightening import Rule, describe
from semfed_secure.units import Mechanism, OutputKind

Read = Callable[[Facts], Any]
When = Callable[[Facts], bool]


def _within(rule: Rule, observed: Any, allowed: Any) -> bool:
    match rule:
        case Rule.AT_MOST:
            return at_most(observed, allowed)
        case Rule.AT_LEAST:
            return at_least(observed, allowed)
        case Rule.ONLY:
            return one_of(observed, allowed)
        case Rule.ALL_OF:
            return covers(observed, allowed)
        case Rule.MUST:
            return not allowed or observed is True
        case Rule.COUNTS:
            raise TypeError("approvals are counted elsewhere")


def _always(_: Facts) -> bool:
    return True


def _row(code: str, path: str, fact: str, *, read: Read | None = None, when: When = _always) -> Check:
    rule, title = describe(Limits, path)
    section = attrgetter(fact.partition(".")[0])
    limit_of, observe = attrgetter(path), read or attrgetter(fact)

    def measure(question: Question) -> Measure | None:
        allowed = limit_of(question.policy.limits)
        if allowed is None or section(question.facts) is None or not when(question.facts):
            return None
        observed = observe(question.facts)
        return Measure(_within(rule, observed, allowed), observed, allowed)

    return Check(code, f"limits.{path}", title, measure)


def spends(section: str) -> When:
    """Whether the mechanism of ``section`` spends a budget: without noise there is no epsilon to compare."""
    mechanism = attrgetter(f"{section}.mechanism")
    return lambda facts: mechanism(facts) != Mechanism.UNSAFE_NO_NOISE


def _foreseeable(facts: Facts) -> bool:
    """Whether what the release is good for follows from public numbers: of a trained model, or without noise, not."""
    unforeseen = {Mechanism.DP_SGD, Mechanism.UNSAFE_NO_NOISE}
    return facts.release is not None and facts.release.mechanism not in unforeseen


def of_kind(kind: OutputKind) -> When:
    """Whether the release is of ``kind``."""
    return lambda facts: facts.release is not None and facts.release.kind == kind


def _with_text(kind: OutputKind) -> When:
    """Whether texts of ``kind`` would leave: in what carries none, no detector has anything to look at."""
    here = of_kind(kind)

    def when(facts: Facts) -> bool:
        texts = None if facts.release is None else facts.release.texts
        return here(facts) and (type(texts) is not int or texts != 0)

    return when


def _releasing(facts: Facts) -> bool:
    return facts.action == Action.RELEASE


def _joining(facts: Facts) -> bool:
    return facts.action == Action.JOIN


def _counting_this(name: str) -> Read:
    # The release that is asked about counts too.
    before = attrgetter(f"history.{name}")
    return lambda facts: before(facts) + 1


def _without_remote_code(facts: Facts) -> bool:
    return facts.model is not None and facts.model.remote_code is False


def findings_total(facts: Facts) -> int:
    """All findings of the release; refuses counts that are no counts."""
    counts = list(facts.release.findings.values()) if facts.release else []
    if not all(type(count) is int and count >= 0 for count in counts):
        raise TypeError("findings are counted in whole numbers")
    return sum(counts)


def _privacy_rows(section: str, epsilon: str) -> Iterator[Check]:
    noisy = spends(section)
    yield _row("DP-001", "privacy.mechanisms", f"{section}.mechanism")
    yield _row("DP-002", "privacy.max_epsilon", f"{section}.{epsilon}", when=noisy)
    yield _row("DP-003", "privacy.max_delta", f"{section}.delta", when=noisy)
    yield _row("DP-004", "privacy.units", f"{section}.unit")
    yield _row("DP-005", "privacy.relations", f"{section}.relation")


def _kind_rows(kind: OutputKind) -> Iterator[Check]:
    here, when = f"release.{kind.value}", of_kind(kind)
    yield _row("DP-001", f"{here}.mechanisms", "release.mechanism", when=when)
    yield _row("DP-006", f"{here}.dp_trained_model", "release.model_trained_with_dp", when=when)
    yield _row("KIND-002", f"{here}.aggregations", "release.aggregation", when=when)
    yield _row("KIND-003", f"{here}.max_items", "release.items", when=when)
    yield _row("DET-001", f"{here}.detectors", "release.detectors_run", when=_with_text(kind))
    yield _row("DET-003", f"{here}.max_findings", "release.findings", read=findings_total, when=when)


LIMIT_CHECKS: tuple[Check, ...] = (
    _row("ACT-001", "actions", "action"),
    _row("DATA-003", "data.classifications", "dataset.classification"),
    _row("DATA-005", "data.min_entities", "dataset.entities"),
    _row("DATA-006", "data.max_records_per_entity", "dataset.max_records_per_entity"),
    *_privacy_rows("training", "epsilon_total"),
    *_privacy_rows("release", "epsilon_total"),
    _row("DP-007", "privacy.max_epsilon_per_training", "training.epsilon_cost", when=spends("training")),
    _row("DP-008", "privacy.min_forecast_ppm", "release.forecast_ppm", when=_foreseeable),
    _row("KIND-001", "release.kinds", "release.kind"),
    *(check for kind in OutputKind for check in _kind_rows(kind)),
    _row("RATE-001", "release.max_per_hour", "history", read=_counting_this("releases_last_hour"), when=_releasing),
    _row("RATE-002", "release.max_per_day", "history", read=_counting_this("releases_last_day"), when=_releasing),
    _row("PRM-002", "prompts.max_count", "prompts.count"),
    _row("MOD-001", "models.families", "model.family"),
    _row("MOD-003", "models.formats", "model.format"),
    _row("MOD-004", "models.no_remote_code", "model", read=_without_remote_code),
    _row("MOD-005", "models.provenances", "model.provenance"),
    _row("PEER-004", "peers.jurisdictions", "peer.jurisdiction"),
    _row("PEER-005", "peers.min_clients", "peer.min_clients"),
    _row("PEER-006", "peers.min_witnesses", "peer.witnesses", when=_joining),
    _row("PEER-007", "peers.weights", "peer.weights"),
    _row("PEER-008", "peers.rules", "peer.rule"),
    _row("KEY-001", "peers.suites", "peer.suite"),
    _row("KEY-002", "peers.max_key_age_days", "history.key_age_days"),
    _row("LAB-001", "labels.kinds", "labels.kind"),
    _row("LAB-002", "labels.min_support_ppm", "labels.min_support_ppm"),
    _row("LAB-003", "labels.min_agreed", "labels.agreed"),
)
