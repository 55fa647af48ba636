"""What a decision is asked about: typed facts, no content.

Facts say how many, which, by whom; never a record, a prompt's text or an output. The client fills the sections that
belong to the act and leaves the others out; a section that the act needs and lacks is a reason to deny. Nothing is
validated here on purpose: `engine.decide` must stay total on whatever it is given.
"""

# ruff: noqa: TC003 (pydantic reads these annotations at run time)

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from decimal import Decimal
from enum import StrEnum
from typing import ClassVar

from semfed_secure.units import Aggregation, Mechanism, OutputKind, Period, PrivacyUnit, Provenance, Relation


class Action(StrEnum):
    """What somebody wants to do."""

    OPEN_DATASET = "open_dataset"
    JOIN = "join"
    TRAIN = "train"
    RELEASE = "release"
    LEARN = "learn"
    EXPORT = "export"


@dataclass(frozen=True, slots=True)
class _Section:
    # Case files are read into these classes: an unknown key there must be an error, not silence.
    __pydantic_config__: ClassVar[dict[str, object]] = {"extra": "forbid", "strict": True, "allow_inf_nan": True}


@dataclass(frozen=True, slots=True)
class DatasetFacts(_Section):
    """The data set and the people behind it; ``entities`` is the declared public bound, not the true count."""

    id: str
    population: str
    classification: str
    entities: int
    max_records_per_entity: int


@dataclass(frozen=True, slots=True)
class PromptFacts(_Section):
    """The public prompt set; ``digest`` in its printed form, ``sha256:`` and 64 hex digits.

    ``refused`` says whether somebody of this site who reviewed it said no. ``proposed_for`` is the digest of the set
    for which its candidates were proposed, where they were.
    """

    digest: str
    count: int
    refused: bool = False
    proposed_for: str | None = None


@dataclass(frozen=True, slots=True)
class ReleaseFacts(_Section):
    """The bundle that would leave; ``epsilon_total`` is the population's lifetime total after it.

    ``texts`` counts the outputs that a detector can read, which votes are not; unknown is some. ``detectors_run`` names
    the detectors that read all of them. ``findings`` counts, by kind, what they found; the client holds back every
    output in which they found any. ``forecast_ppm`` is the share of prompts, in millionths, on which the consensus is
    forecast to be right, from public numbers; None where these say nothing, as under ``dp_sgd``.
    """

    kind: OutputKind
    items: int
    mechanism: Mechanism
    epsilon_total: Decimal
    delta: Decimal
    unit: PrivacyUnit
    relation: Relation
    aggregation: Aggregation
    model_trained_with_dp: bool
    texts: int | None = None
    detectors_run: tuple[str, ...] = ()
    findings: Mapping[str, int] = field(default_factory=dict)
    detector_error: bool = False
    forecast_ppm: int | None = None


@dataclass(frozen=True, slots=True)
class TrainingFacts(_Section):
    """The training run; ``epsilon_cost`` is its own, ``epsilon_total`` the population's lifetime total after it."""

    mechanism: Mechanism
    epsilon_cost: Decimal
    epsilon_total: Decimal
    delta: Decimal
    unit: PrivacyUnit
    relation: Relation


@dataclass(frozen=True, slots=True)
class ModelFacts(_Section):
    """The model; ``format`` is ``safetensors`` for local weights, ``endpoint`` for a remote model (no digest).

    ``provenance`` says what it was made from before this site touched it, as the site declares.
    """

    family: str
    format: str
    digest: str | None = None
    remote_code: bool = False
    provenance: Provenance = Provenance.UNKNOWN


@dataclass(frozen=True, slots=True)
class PeerFacts(_Section):
    """The server of the round, as the verified roster and manifest describe it.

    ``witnesses`` counts the members that vouch for its log; it is known when a round is joined. ``weights`` says what
    may move a client's weight: nothing (``equal``), its behaviour (``agreement``), or its answers to gold prompts
    (``anchored``). ``rule`` is the manifest's: under ``proposals`` a text of one site alone is published too. ``group``
    is the one that this site answers in, which bears the name of a domain; None where all form one consensus.
    """

    server_id: str
    federation: str
    signing_key_ids: tuple[str, ...]
    jurisdiction: str
    suite: str
    min_clients: int
    witnesses: int | None = None
    weights: str | None = None
    rule: str | None = None
    group: str | None = None


@dataclass(frozen=True, slots=True)
class LabelFacts(_Section):
    """The pseudo-labels that would be learned: how many are agreed, and the weakest support among them."""

    kind: OutputKind
    agreed: int
    min_support_ppm: int


@dataclass(frozen=True, slots=True)
class Approval(_Section):
    """Somebody said yes to exactly this act; the client checked that it is so."""

    role: str
    approver: str


@dataclass(frozen=True, slots=True)
class HistoryFacts(_Section):
    """What this site did lately; ``key_age_days`` is the age of its own signing key."""

    releases_last_hour: int
    releases_last_day: int
    key_age_days: int


@dataclass(frozen=True, slots=True)
class Facts(_Section):
    """Everything one decision looks at besides the policy, the budget and the time."""

    action: Action
    dataset: DatasetFacts | None = None
    prompts: PromptFacts | None = None
    release: ReleaseFacts | None = None
    training: TrainingFacts | None = None
    model: ModelFacts | None = None
    peer: PeerFacts | None = None
    labels: LabelFacts | None = None
    history: HistoryFacts | None = None
    approvals: tuple[Approval, ...] = ()


@dataclass(frozen=True, slots=True)
class BudgetSnapshot(_Section):
    """What the ledger says is spent on a population before this act, by period, all at ``delta``.

    It holds the lifetime, and every period for which the policy grants a budget.
    """

    population: str
    delta: Decimal
    spent: Mapping[Period, Decimal]
