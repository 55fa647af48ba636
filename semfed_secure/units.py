"""Shared value types: output kinds, privacy units, declared privacy."""

from __future__ import annotations

from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MIN_DELTA, MAX_DELTA = Decimal("1e-30"), Decimal("1e-3")
"""Gaussian noise cannot meet 0; above the other, one record in a thousand might be published outright."""


class OutputKind(StrEnum):
    """What one output of a bundle is."""

    VOTES = "votes"
    TEXT = "text"
    EMBEDDING = "embedding"


class Aggregation(StrEnum):
    """Who sees one client's outputs (PROTOCOL section 5)."""

    DIRECT = "direct"
    CLUSTERED = "clustered"
    SPLIT = "split"


class PrivacyUnit(StrEnum):
    """Whose presence the guarantee hides."""

    ENTITY = "entity"
    ORGANISATION = "organisation"


class Relation(StrEnum):
    """Which data sets count as neighbours."""

    ADD_OR_REMOVE_ONE = "add_or_remove_one"
    REPLACE_ONE = "replace_one"


class Mechanism(StrEnum):
    """How outputs were protected (PRIVACY section 2)."""

    DP_SGD = "dp_sgd"
    RECORD_HISTOGRAM = "record_histogram"
    SHARD_VOTES = "shard_votes"
    GAUSSIAN_VECTOR = "gaussian_vector"
    DISTRIBUTED = "distributed"
    UNSAFE_NO_NOISE = "unsafe_no_noise"


class Provenance(StrEnum):
    """What the weights were made from before this site touched them; declared, nobody can read it off the weights."""

    PUBLIC = "public"
    """Public or synthetic data, and nothing else."""
    OWN_POPULATION = "own_population"
    """Among others the records of the site's own population: no noise added later hides these."""
    UNKNOWN = "unknown"


class Period(StrEnum):
    """Over which time a privacy budget counts; calendar periods in UTC."""

    LIFETIME = "lifetime"
    YEAR = "year"
    QUARTER = "quarter"
    MONTH = "month"


@dataclass(frozen=True, slots=True)
class PrivacyDeclaration:
    """What a client declares about the privacy of its outputs; declared, not proven.

    ``epsilon`` is the lifetime total of ``population`` after this release, by ``accountant``;
    it is infinite (``Decimal("Infinity")``) for `Mechanism.UNSAFE_NO_NOISE`.
    """

    mechanism: Mechanism
    epsilon: Decimal
    delta: Decimal
    unit: PrivacyUnit
    relation: Relation
    accountant: str
    parameters: Mapping[str, str] = field(
        default_factory=dict, hash=False
    )  # a mapping has none; it counts for equality
