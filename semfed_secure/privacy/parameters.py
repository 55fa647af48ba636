"""Validate privacy parameters as hostile input.

A parameter that passes is finite and inside its stated range; whatever else arrives (NaN, infinity, zero, booleans,
text that is no number) ends as a coded refusal before any mechanism or accountant sees it.
"""

from __future__ import annotations

import unicodedata
from collections import Counter
from decimal import Decimal, InvalidOperation
from typing import TYPE_CHECKING, TypeAlias

from semfed_secure.errors import ConfigurationError
from semfed_secure.units import MAX_DELTA, MIN_DELTA

if TYPE_CHECKING:
    from collections.abc import Iterable

Number: TypeAlias = Decimal | float | int | str
"""What a caller may hand over; text comes from policies and configuration files."""

MAX_EPSILON = Decimal(1000)
"""Above it a guarantee says nothing; such a figure is a mistake, not a choice."""
DEFAULT_DELTA = Decimal("1e-6")
MIN_NOISE, MAX_NOISE = 1e-3, 1e5
"""Noise multipliers: below, the noise hides nobody; above, it drowns every signal."""
MAX_GRID_SIGMA = 2.0**40
"""In units of an integer grid: sums of such noise stay far inside 64 bits."""
MAX_STEPS = 10_000_000
MAX_POPULATION = 10**11
ENTITY_ID = "text in Unicode form NFC without outer blanks and hidden characters"
MIN_ENTITIES = 2
"""One entity with all records is that entity's data: nothing can hide it and leave a use."""


def refuse(name: str, expected: str, value: object) -> ConfigurationError:
    """The coded refusal of parameter ``name``; numbers are shown, anything else only by its type."""
    shown = str(value)[:40] if isinstance(value, (int, float, Decimal)) else type(value).__name__
    return ConfigurationError("SF141", f"{name} must be {expected}, got {shown}", parameter=name)


def _decimal(name: str, value: Number, expected: str) -> Decimal:
    if isinstance(value, bool) or not isinstance(value, (Decimal, float, int, str)):
        raise refuse(name, expected, value)
    try:
        number = Decimal(repr(value) if isinstance(value, float) else value)
    except InvalidOperation:
        raise refuse(name, expected, value) from None
    if not number.is_finite():
        raise refuse(name, expected, value)
    return number


def valid_epsilon(value: Number) -> Decimal:
    """An epsilon in (0, `MAX_EPSILON`].

    Raises:
        ConfigurationError: SF141.
    """
    expected = f"above 0 and at most {MAX_EPSILON}"
    number = _decimal("epsilon", value, expected)
    if not 0 < number <= MAX_EPSILON:
        raise refuse("epsilon", expected, number)
    return number


def valid_delta(value: Number) -> Decimal:
    """A delta in [`MIN_DELTA`, `MAX_DELTA`]: every mechanism here adds Gaussian noise, so 0 cannot be met.

    Raises:
        ConfigurationError: SF141.
    """
    expected = f"above 0 and at most {MAX_DELTA}"
    number = _decimal("delta", value, expected)
    if not MIN_DELTA <= number <= MAX_DELTA:
        raise refuse("delta", expected, number)
    return number


def delta_for(population_bound: int) -> Decimal:
    """min(1e-6, 1 / (10 N)) for a declared public bound N on the number of entities.

    The true number is private and is never used here.

    Raises:
        ConfigurationError: SF141.
    """
    bound = valid_count("population_bound", population_bound, MAX_POPULATION)
    return min(DEFAULT_DELTA, Decimal(1) / (10 * bound))


def valid_noise(value: Number) -> float:
    """A noise multiplier (standard deviation over sensitivity) in [`MIN_NOISE`, `MAX_NOISE`].

    Raises:
        ConfigurationError: SF141.
    """
    return _ranged("noise_multiplier", value, MIN_NOISE, MAX_NOISE)


def valid_grid_sigma(value: Number) -> float:
    """The scale of integer noise, in units of its grid, in [`MIN_NOISE`, `MAX_GRID_SIGMA`].

    Raises:
        ConfigurationError: SF141.
    """
    return _ranged("sigma", value, MIN_NOISE, MAX_GRID_SIGMA)


def valid_sensitivity(value: Number) -> float:
    """A sensitivity or clipping norm in [1e-9, 1e9].

    Raises:
        ConfigurationError: SF141.
    """
    return _ranged("sensitivity", value, 1e-9, 1e9)


def valid_sample_rate(value: Number) -> float:
    """A Poisson sampling rate in [1e-9, 1].

    Raises:
        ConfigurationError: SF141.
    """
    return _ranged("sample_rate", value, 1e-9, 1.0)


def valid_expected_entities(value: Number) -> float:
    """How many entities a batch of DP-SGD is expected to have, in [1e-9, 1e12].

    Raises:
        ConfigurationError: SF141.
    """
    return _ranged("expected_entities", value, 1e-9, 1e12)


def _ranged(name: str, value: Number, low: float, high: float) -> float:
    expected = f"between {low:g} and {high:g}"
    number = _decimal(name, value, expected)
    if not low <= float(number) <= high:
        raise refuse(name, expected, number)
    return float(number)


def valid_count(name: str, value: Number, high: int = MAX_STEPS) -> int:
    """A whole number in [1, ``high``].

    Raises:
        ConfigurationError: SF141.
    """
    expected = f"a whole number between 1 and {high}"
    number = _decimal(name, value, expected)
    if not 1 <= number <= high or number != number.to_integral_value():
        raise refuse(name, expected, number)
    return int(number)


def is_entity_id(value: object) -> bool:
    """Whether ``value`` can name an entity in one way only, so that nobody is counted as two.

    It is `ENTITY_ID`: no text that prints like it, or that is the same to Unicode, is another entity's id.
    """
    if not isinstance(value, str) or not value or value != value.strip():
        return False
    hidden = any(unicodedata.category(char).startswith("C") for char in set(value))
    return not hidden and unicodedata.is_normalized("NFC", value)


def valid_entities(entity_ids: Iterable[str], *, max_records_per_entity: int) -> Counter[str]:
    """Count the records of each entity.

    Every record belongs to an entity, named as `is_entity_id` says; at least `MIN_ENTITIES` entities exist, and none
    holds more than ``max_records_per_entity`` records. Refusals show counts, never an id.

    Raises:
        ConfigurationError: SF142 for missing ids, too few entities or too many records of one; SF141 for the limit.
    """
    limit = valid_count("max_records_per_entity", max_records_per_entity)
    records: Counter[str] = Counter()
    for position, entity_id in enumerate(entity_ids):
        if not is_entity_id(entity_id):
            message = f"record {position} has no entity_id that is {ENTITY_ID}"
            raise ConfigurationError("SF142", message, record=position)
        records[entity_id] += 1
    if len(records) < MIN_ENTITIES:
        raise ConfigurationError(
            "SF142", f"at least {MIN_ENTITIES} entities are needed, got {len(records)}", entities=len(records)
        )
    if (most := max(records.values())) > limit:
        raise ConfigurationError("SF142", f"an entity may hold {limit} records, one holds {most}", limit=limit)
    return records
