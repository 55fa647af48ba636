"""The algebra of limits: the meet is at least as tight as both, and a loosening is always named."""

from __future__ import annotations

from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.policy.document import Effective, Limits
from semfed_secure.policy.engine import Outcome, decide
from semfed_secure.policy.tightening import Rule, describe, loosened, meet, plain, walk, without
from tests.policy import samples
from tests.policy.samples import BUDGET, NOW, policy, with_value

if TYPE_CHECKING:
    from semfed_secure.policy.facts import Facts


def tighter(one: Limits, other: Limits) -> bool:
    """Whether ``one`` is at least as tight as ``other``."""
    return meet(one, other) == one


@given(samples.limits(), samples.limits())
def test_the_meet_is_at_least_as_tight_as_both(left: Limits, right: Limits) -> None:
    """What the meet limits is never looser than in either."""
    met = meet(left, right)
    assert tighter(met, left)
    assert tighter(met, right)


@given(samples.limits(), samples.limits(), samples.limits())
def test_the_meet_is_the_loosest_of_the_tight(left: Limits, right: Limits, other: Limits) -> None:
    """Whatever is as tight as both is as tight as the meet: nothing is forbidden that neither forbids."""
    below = meet(meet(left, right), other)
    assert tighter(below, meet(left, right))


@given(samples.limits(), samples.limits(), samples.limits())
def test_the_meet_does_not_depend_on_order(first: Limits, second: Limits, third: Limits) -> None:
    """Commutative, associative, idempotent: packs may be listed in any order, and twice."""
    assert meet(first, second) == meet(second, first)
    assert meet(meet(first, second), third) == meet(first, meet(second, third))
    assert meet(first, first) == first


@given(samples.facts(), samples.limits(), samples.limits())
def test_what_the_meet_permits_both_permit(facts: Facts, left: Limits, right: Limits) -> None:
    """An act that passes the composed policy passes each of the documents that it was composed of."""
    asked = [decide(facts, policy(limits=one), BUDGET, NOW).outcome for one in (meet(left, right), left, right)]
    assert asked[0] is not Outcome.PERMIT or asked[1:] == [Outcome.PERMIT, Outcome.PERMIT]


@given(samples.limits(), samples.limits())
def test_a_document_that_loosens_nothing_is_what_it_says(parent: Limits, child: Limits) -> None:
    """Where no loosening is named, the meet changes no limit of the child but by adding to what is required."""
    if not list(loosened(parent, child)):
        met = {path: value for path, _, _, value in walk(meet(parent, child))}
        for path, _, rule, value in walk(child):
            assert met[path] == value or rule in {Rule.ALL_OF, Rule.COUNTS}


LOOSER = {
    "data.max_records_per_entity": (5, 6),
    "data.min_entities": (50, 49),
    "privacy.mechanisms": (frozenset({"dp_sgd"}), frozenset({"dp_sgd", "unsafe_no_noise"})),
    "models.no_remote_code": (True, False),
    "approvals.release_text": ({"privacy_officer": 2}, {"privacy_officer": 1}),
}


@pytest.mark.parametrize("path", sorted(LOOSER))
def test_a_loosening_is_named(path: str) -> None:
    """One notch in the wrong direction is found, with the field and both values; the other way is fine."""
    above, below = LOOSER[path]
    parent, child = with_value(Limits(), path, above), with_value(Limits(), path, below)
    assert list(loosened(parent, child)) == [(path, above, below)]
    assert list(loosened(child, parent)) == []


@pytest.mark.parametrize(
    ("path", "above", "below"),
    [
        ("release.text.detectors", frozenset({"identifiers"}), frozenset({"names"})),
        ("approvals.release_text", {"privacy_officer": 1}, {"clinician": 1}),
    ],
)
def test_adding_to_what_is_required_loosens_nothing(path: str, above: object, below: object) -> None:
    """A child may add detectors and approvals; those above stay required."""
    parent, child = with_value(Limits(), path, above), with_value(Limits(), path, below)
    assert list(loosened(parent, child)) == []
    (met,) = [value for _, _, _, value in walk(meet(parent, child))]
    assert met == (above | below)


def test_a_longer_term_is_a_loosening() -> None:
    """A child may end earlier than what it extends, not later."""
    parent = Effective(until=NOW)
    assert list(loosened(parent, Effective(until=NOW - timedelta(days=1)))) == []
    assert [path for path, *_ in loosened(parent, Effective(until=NOW + timedelta(days=1)))] == ["until"]


def test_every_limit_has_a_rule_and_a_description() -> None:
    """No limit is without a word for people and a direction for machines."""
    assert [path for path in samples.limit_paths() if not describe(Limits, path)[1]] == []


@given(samples.limits(most=10))
def test_without_takes_away_one_limit(limits: Limits) -> None:
    """Each limit that is set can be taken away alone."""
    paths = [path for path, *_ in walk(limits)]
    for path in paths:
        assert [kept for kept, *_ in walk(without(limits, path))] == [kept for kept in paths if kept != path]


@pytest.mark.parametrize("path", ["data", "data.nothing", "actions.nothing"])
def test_an_unknown_limit_is_an_error(path: str) -> None:
    """A row of the check table that names no limit fails at import, not in production."""
    with pytest.raises(KeyError):
        describe(Limits, path)


@given(st.data())
def test_plain_does_not_depend_on_set_order(data: st.DataObject) -> None:
    """The printed form, which is digested, is the same for equal limits."""
    limits = data.draw(samples.limits())
    assert plain(limits) == plain(replace_all(limits))


def replace_all(limits: Limits) -> Limits:
    """The same limits, built anew in the opposite order."""
    for path, _, _, value in reversed(list(walk(limits))):
        limits = with_value(limits, path, type(value)(reversed(list(value))) if isinstance(value, frozenset) else value)
    return limits


def test_plain_writes_equal_decimals_alike() -> None:
    """8, 8.0 and 8.00 are one limit with one digest."""
    forms = [plain(with_value(Limits(), "privacy.max_epsilon", Decimal(text))) for text in ("8", "8.0", "8.00")]
    assert forms[0] == forms[1] == forms[2]
