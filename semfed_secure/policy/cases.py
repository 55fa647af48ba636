"""Policy cases: facts, the decision and the reasons they must get; and proof that the cases notice a change.

A case file ``x.cases.yaml`` stands beside ``x.yaml``. It asserts the outcome **and the exact set of codes**, because a
denial for the wrong reason is a defect too. The cases of a ceiling *suppose* grants, as generous as can be, so that
what denies is the ceiling. The mutation check takes away each limit in turn: a limit whose absence no case notices is
not tested.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Literal, Self

from pydantic import AwareDatetime, Field, TypeAdapter, ValidationError, model_validator

from semfed_secure.errors import ConfigurationError
from semfed_secure.policy.checks import Question
from semfed_secure.policy.compose import load_policy, mutants
from semfed_secure.policy.document import Grants, Line
from semfed_secure.policy.engine import CODES, Outcome, codes_of, examine, outcome_of
from semfed_secure.policy.facts import BudgetSnapshot, Facts
from semfed_secure.policy.loading import parse_tree, refuse_invalid
from semfed_secure.policy.tightening import Section

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from semfed_secure.policy.effective import EffectivePolicy

SUFFIX = ".cases.yaml"


class Given(Section):
    """What every case of a file starts from; ``grants`` only beside a document that has none."""

    now: AwareDatetime
    facts: dict[str, Any]
    budget: dict[str, Any] | None = None
    grants: dict[str, Any] | None = None


class Case(Section):
    """One question and its answer: what differs from what is given, the outcome and the exact codes."""

    name: Line
    change: dict[str, Any] = Field(default_factory=dict)
    without: tuple[Line, ...] = ()
    outcome: Outcome
    reasons: tuple[Line, ...]

    @model_validator(mode="after")
    def _reasons_fit(self) -> Self:
        unknown = sorted(set(self.reasons) - CODES)
        if unknown:
            raise ValueError(f"no check has the code {', '.join(unknown)}")
        if (self.outcome is Outcome.PERMIT) != (not self.reasons):
            raise ValueError("a permit has no reasons, every other outcome has all of them")
        return self


class CaseFile(Section):
    """A case file: what is given, and the cases."""

    format: Literal["semfed/cases/1"]
    given: Given
    cases: tuple[Case, ...] = Field(min_length=1)

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        if len({case.name for case in self.cases}) != len(self.cases):
            raise ValueError("cases are named once each")
        return self


@dataclass(frozen=True, slots=True)
class Asked:
    """A case, ready to be decided."""

    case: Case
    facts: Facts
    budget: BudgetSnapshot | None
    now: AwareDatetime
    grants: Grants | None

    def question(self, policy: EffectivePolicy) -> Question:
        """The case as a question to ``policy``, under the grants that it supposes."""
        supposed = policy if self.grants is None else replace(policy, grants=self.grants)
        return Question(self.facts, supposed, self.budget, self.now)


@dataclass(frozen=True, slots=True)
class CaseResult:
    """What a case got instead of what it expects; equal where it passes."""

    name: str
    expected: tuple[str, ...]
    got: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether outcome and codes are exactly those expected."""
        return self.expected == self.got


@dataclass(frozen=True, slots=True)
class CaseReport:
    """What a run of cases shows about a policy.

    ``never_failed`` and ``never_passed`` are codes that applied in some case but were seen from one side only;
    ``untested_limits`` are limits of the document whose absence changes the answer to no case.
    """

    policy_id: str
    results: tuple[CaseResult, ...]
    never_failed: tuple[str, ...]
    never_passed: tuple[str, ...]
    untested_limits: tuple[str, ...]

    @property
    def passed(self) -> bool:
        """Whether every case passes and every limit is tested."""
        return all(result.passed for result in self.results) and not self.untested_limits


def run_cases(path: Path) -> CaseReport:
    """Run the cases beside the policy at ``path``, and take away each of its limits to see whether a case notices.

    Raises:
        ConfigurationError: SF113 where the case file is not valid; as `load_policy` for the policy.
    """
    asked = load_cases(path.with_name(path.stem + SUFFIX))
    policy = load_policy(path)
    if policy.document.grants is not None and any(one.grants is not None for one in asked):
        raise ConfigurationError("SF113", f"{path.name} has grants of its own: its cases suppose none", field="given")
    failed, passed = _codes_seen(asked, policy)
    untested = tuple(
        limit
        for limit, mutant in mutants(path)
        # Retention never denies: it is handed on as an obligation.
        if not limit.startswith("limits.retention.") and all(result.passed for result in _results(asked, mutant))
    )
    return CaseReport(
        policy_id=policy.id,
        results=_results(asked, policy),
        never_failed=tuple(sorted(passed - failed)),
        never_passed=tuple(sorted(failed - passed)),
        untested_limits=untested,
    )


def load_cases(path: Path) -> tuple[Asked, ...]:
    """Read a case file.

    Raises:
        ConfigurationError: SF102 where it cannot be read, SF113 where it is not valid.
    """
    tree = parse_tree(_read(path), name=path.name, code="SF113")
    try:
        file = CaseFile.model_validate_json(json.dumps(tree.value), strict=True)
    except ValidationError as error:
        raise refuse_invalid(error, tree, name=path.name, code="SF113") from error
    return tuple(_asked(case, file.given, path.name) for case in file.cases)


def load_question(path: Path) -> tuple[Facts, BudgetSnapshot | None]:
    """Read a file with ``facts`` and, where the act spends, ``budget``.

    Raises:
        ConfigurationError: SF102 where it cannot be read, SF113 where it is not valid.
    """
    tree = parse_tree(_read(path), name=path.name, code="SF113").value
    unknown = sorted(set(tree) - {"facts", "budget"})
    if unknown:
        raise ConfigurationError(
            "SF113", f"{path.name}: {', '.join(unknown)} is neither facts nor budget", fields=unknown
        )
    return parse_question(tree, name=path.name)


def parse_question(tree: dict[str, Any], *, name: str) -> tuple[Facts, BudgetSnapshot | None]:
    """Read ``facts`` and ``budget`` from plain values; a key that no fact has is refused.

    Raises:
        ConfigurationError: SF113, naming the field.
    """
    facts = _typed(Facts, tree.get("facts", {}), f"{name}: facts")
    budget = tree.get("budget")
    return facts, None if budget is None else _typed(BudgetSnapshot, budget, f"{name}: budget")


def _typed(kind: Any, value: Any, name: str) -> Any:
    try:
        return TypeAdapter(kind).validate_json(json.dumps(value), strict=True)
    except ValidationError as error:
        problems = [f"{'.'.join(map(str, item['loc']))}: {item['msg']}" for item in error.errors(include_url=False)]
        raise ConfigurationError("SF113", f"{name}: {'; '.join(problems)}", problems=problems) from error


def _read(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as error:
        message = f"{path} cannot be read: {error.strerror}"
        raise ConfigurationError("SF102", message, file=str(path)) from error


def _asked(case: Case, given: Given, name: str) -> Asked:
    base = {"facts": given.facts, "budget": given.budget, "grants": given.grants, "now": given.now.isoformat()}
    tree = _merged({key: value for key, value in base.items() if value is not None}, case.change)
    for dotted in case.without:
        tree = _removed(tree, dotted.split("."), f"{name}: {case.name}: without {dotted}")
    where = f"{name}: {case.name}"
    unknown = sorted(set(tree) - set(base))
    if unknown:
        raise ConfigurationError("SF113", f"{where}: there is no `{', '.join(unknown)}` to change", fields=unknown)
    facts, budget = parse_question(tree, name=where)
    grants = _typed(Grants, tree["grants"], f"{where}: grants") if "grants" in tree else None
    return Asked(case, facts, budget, _typed(AwareDatetime, tree.get("now"), f"{where}: now"), grants)


def _merged(base: dict[str, Any], change: dict[str, Any]) -> dict[str, Any]:
    merged = dict(base)
    for key, value in change.items():
        below = merged.get(key)
        merged[key] = _merged(below, value) if isinstance(below, dict) and isinstance(value, dict) else value
    return merged


def _removed(tree: dict[str, Any], keys: Sequence[str], name: str) -> dict[str, Any]:
    key, *rest = keys
    if key not in tree or (rest and not isinstance(tree[key], dict)):
        raise ConfigurationError("SF113", f"{name}: there is no such fact", field="without")
    if not rest:
        return {kept: value for kept, value in tree.items() if kept != key}
    return {**tree, key: _removed(tree[key], rest, name)}


def _results(asked: Sequence[Asked], policy: EffectivePolicy) -> tuple[CaseResult, ...]:
    return tuple(_result(one, policy) for one in asked)


def _result(one: Asked, policy: EffectivePolicy) -> CaseResult:
    reasons = [reason for _, reason in examine(one.question(policy)) if reason is not None]
    expected = (one.case.outcome.value, *sorted(set(one.case.reasons)))
    return CaseResult(one.case.name, expected, (outcome_of(reasons).value, *codes_of(reasons)))


def _codes_seen(asked: Sequence[Asked], policy: EffectivePolicy) -> tuple[set[str], set[str]]:
    failed: set[str] = set()
    passed: set[str] = set()
    for one in asked:
        for check, reason in examine(one.question(policy)):
            (passed if reason is None else failed).add(check.code)
    return failed, passed
