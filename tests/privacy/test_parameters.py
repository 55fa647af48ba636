"""Hostile privacy parameters end as coded refusals."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from semfed_secure.errors import ConfigurationError
from semfed_secure.privacy import accountant, parameters

NOT_NUMBERS = [
    float("nan"),
    float("inf"),
    float("-inf"),
    "NaN",
    "Infinity",
    "",
    "eight",
    "1,5",
    None,
    True,
    [],
    b"1",
    1j,
]


@pytest.mark.parametrize(
    "value", [*NOT_NUMBERS, 0, -1, "-0", "0.0", 1001, Decimal("1e400"), pytest.param(10**5000, id="huge")]
)
def test_epsilon_outside_its_range_is_refused(value):
    """An epsilon that is not positive, finite and at most 1000 is SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        parameters.valid_epsilon(value)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -1e-6, 1, 2, "0.01", "1e-31"])
def test_delta_outside_its_range_is_refused(value):
    """A delta of zero, of one, or too large to mean anything is SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        parameters.valid_delta(value)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -1, 1e-4, 1e6])
def test_noise_outside_its_range_is_refused(value):
    """No noise, next to no noise and negative noise are SF141 wherever noise is named."""
    for use in (parameters.valid_noise, accountant.gaussian_rdp, lambda noise: accountant.dp_sgd_rdp(noise, 0.1, 1)):
        with pytest.raises(ConfigurationError, match="SF141"):
            use(value)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -0.1, 1.0000001, 2])
def test_sample_rate_outside_its_range_is_refused(value):
    """A sampling rate of zero or above one is SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        accountant.dp_sgd_rdp(1.0, value, 10)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -1, 1.5, "2.5", 10_000_001])
def test_steps_that_are_not_a_count_are_refused(value):
    """Steps that are no whole number from 1 up are SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        accountant.dp_sgd_rdp(1.0, 0.1, value)


@pytest.mark.parametrize("value", [*NOT_NUMBERS, 0, -1, 1e10])
def test_sensitivity_outside_its_range_is_refused(value):
    """A sensitivity of zero would make every release look free: SF141."""
    with pytest.raises(ConfigurationError, match="SF141"):
        accountant.gaussian_rdp(1.0, sensitivity=value)


def test_a_refusal_never_shows_foreign_text():
    """Text that came in the place of a number is named by type only, because it may be private."""
    with pytest.raises(ConfigurationError) as caught:
        parameters.valid_epsilon("John Smith, 1970-01-01")
    assert "Smith" not in str(caught.value)
    assert "Smith" not in repr(caught.value.fields)


@given(st.integers(1, 10**11))
def test_delta_for_a_population_is_at_most_a_tenth_of_one_over_it(bound):
    """delta_for(N) is min(1e-6, 1/(10 N)), exactly."""
    assert parameters.delta_for(bound) <= Decimal("1e-6")
    assert parameters.delta_for(bound) * 10 * bound <= 1


def test_entities_are_counted():
    """Records are counted by entity."""
    assert parameters.valid_entities(["a", "b", "a"], max_records_per_entity=2) == {"a": 2, "b": 1}


@pytest.mark.parametrize("ids", [[], ["a"], ["a"] * 50, ["a", ""], ["a", None], ["a", 7], ["a", "a", "a", "b"]])
def test_bad_entities_are_refused(ids):
    """Empty data, one entity with all records, missing ids and too many records of one entity are SF142."""
    with pytest.raises(ConfigurationError, match="SF142"):
        parameters.valid_entities(ids, max_records_per_entity=2)


@pytest.mark.parametrize(
    "other", ["a ", "\ta", "a\n", "\u00a0a", "a\u200b", "a\x00", "\ufeffa", "a\ud800", "e\u0301", "\u212b"]
)
def test_an_entity_has_one_id(other):
    """Blanks around an id, hidden characters, half a character and another Unicode form would make two of one."""
    assert not parameters.is_entity_id(other)
    with pytest.raises(ConfigurationError, match="SF142") as caught:
        parameters.valid_entities(["a", other], max_records_per_entity=2)
    assert "record 1" in str(caught.value)


@pytest.mark.parametrize("plain", ["a", "p-17", "MRN 0042", "\u00e9", "\u5f20\u4e09", "\N{GRINNING FACE}"])
def test_plain_ids_of_any_script_are_taken(plain):
    """What is written one way only names an entity."""
    assert parameters.is_entity_id(plain)
