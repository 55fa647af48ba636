"""The policy document: what an institution writes down, typed.

A document has *limits* (a ceiling that whoever extends it may only tighten) and, where it is the one that is loaded,
*grants* (what is permitted below that ceiling). A document without grants permits nothing: `default: deny` is the
only legal default, and the shipped packs have no grants.
"""

# ruff: noqa: TC001 (pydantic reads these annotations at run time)

from __future__ import annotations

import re
from decimal import Decimal
from enum import StrEnum
from typing import Annotated, Literal, Self

from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema, model_validator

from semfed_secure.policy.facts import Action
from semfed_secure.policy.tightening import Rule, Section, limit
from semfed_secure.units import (
    MAX_DELTA,
    MIN_DELTA,
    Aggregation,
    Mechanism,
    OutputKind,
    Period,
    PrivacyUnit,
    Provenance,
    Relation,
)
from semfed_secure.wire.manifest import MAX_WITNESSES

_DECIMAL = re.compile(r"[0-9]{1,6}(\.[0-9]{1,30})?(e-[0-9]{1,2})?\Z")
_DECIMAL_ADVICE = 'write it as a decimal in quotes, such as "8.0" or "1e-6"'


def _decimal(value: object) -> Decimal:
    # A number without quotes would pass through binary floating point: 0.1 + 0.2 of a budget is not 0.3.
    if isinstance(value, Decimal):
        return value
    if not isinstance(value, str) or not _DECIMAL.match(value):
        raise ValueError(_DECIMAL_ADVICE)
    return Decimal(value)


_DECIMAL_SCHEMA = WithJsonSchema({"type": "string", "pattern": r"^[0-9]{1,6}(\.[0-9]{1,30})?(e-[0-9]{1,2})?$"})

# Beyond epsilon 100 the figure protects nothing: it is a typing mistake.
Epsilon = Annotated[Decimal, BeforeValidator(_decimal), Field(gt=0, le=100), _DECIMAL_SCHEMA]
Delta = Annotated[Decimal, BeforeValidator(_decimal), Field(ge=MIN_DELTA, le=MAX_DELTA), _DECIMAL_SCHEMA]
Name = Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9._-]{0,62}$")]
# No control, zero-width or direction-changing characters: what a reviewer sees is what is there.
_PRINTED = r"^[^\x00-\x1f\x7f-\x9f\u200b-\u200f\u2028-\u202e\u2060-\u2069\ufeff]+$"
Line = Annotated[str, Field(pattern=_PRINTED, min_length=1, max_length=300)]
Version = Annotated[str, Field(pattern=r"^[0-9]{1,5}\.[0-9]{1,5}\.[0-9]{1,5}$")]
DigestText = Annotated[str, Field(pattern=r"^sha256:[0-9a-f]{64}$")]
Jurisdiction = Annotated[str, Field(pattern=r"^[A-Z]{2}(-[A-Z0-9]{1,3})?$")]
Count = Annotated[int, Field(ge=0, le=1_000_000_000)]
Ppm = Annotated[int, Field(ge=0, le=1_000_000)]
Witnesses = Annotated[int, Field(ge=0, le=MAX_WITNESSES)]
People = Annotated[int, Field(ge=1, le=20)]


class Act(StrEnum):
    """What an approval is for: an action, and for a release its kind too."""

    OPEN_DATASET = "open_dataset"
    JOIN = "join"
    TRAIN = "train"
    RELEASE_VOTES = "release_votes"
    RELEASE_TEXT = "release_text"
    RELEASE_EMBEDDING = "release_embedding"
    LEARN = "learn"
    EXPORT = "export"

    @property
    def concerns_prompts(self) -> bool:
        """Whether an approval of it is bound to one prompt set."""
        return self not in {Act.OPEN_DATASET, Act.TRAIN, Act.EXPORT}


# -- limits: every field is optional, and marked with what tightens it --------------------------------------------


class Effective(Section):
    """When the policy is in force; outside it everything is denied."""

    since: AwareDatetime | None = limit(Rule.AT_LEAST, "in force since")
    until: AwareDatetime | None = limit(Rule.AT_MOST, "in force until")


class DataLimits(Section):
    """Which data may be opened, trained on, and released about."""

    classifications: frozenset[Name] | None = limit(Rule.ONLY, "data classifications")
    deidentification: frozenset[Name] | None = limit(Rule.ONLY, "ways of de-identification")
    dataset_prefixes: frozenset[Name] | None = limit(Rule.ONLY, "data set names begin with")
    min_entities: Count | None = limit(Rule.AT_LEAST, "people behind a data set")
    max_records_per_entity: Count | None = limit(Rule.AT_MOST, "records of one person")


class PrivacyLimits(Section):
    """How much may be learned about one person, and by which protection."""

    mechanisms: frozenset[Mechanism] | None = limit(Rule.ONLY, "privacy mechanisms")
    units: frozenset[PrivacyUnit] | None = limit(Rule.ONLY, "privacy units")
    relations: frozenset[Relation] | None = limit(Rule.ONLY, "neighbouring relations")
    max_epsilon: Epsilon | None = limit(Rule.AT_MOST, "lifetime epsilon of one population")
    max_epsilon_per_training: Epsilon | None = limit(Rule.AT_MOST, "epsilon of one training run")
    max_delta: Delta | None = limit(Rule.AT_MOST, "delta")
    min_forecast_ppm: Ppm | None = limit(Rule.AT_LEAST, "prompts forecast to be agreed on rightly, in millionths")


class KindLimits(Section):
    """Conditions on the release of one kind of output."""

    mechanisms: frozenset[Mechanism] | None = limit(Rule.ONLY, "privacy mechanisms")
    aggregations: frozenset[Aggregation] | None = limit(Rule.ONLY, "aggregation modes")
    max_items: Count | None = limit(Rule.AT_MOST, "outputs in one bundle")
    dp_trained_model: bool | None = limit(Rule.MUST, "the model was trained with differential privacy")
    detectors: frozenset[Name] | None = limit(Rule.ALL_OF, "detectors that looked at every text")
    max_findings: Count | None = limit(Rule.AT_MOST, "findings of the detectors in one bundle")
    tolerated_findings: frozenset[Name] | None = limit(Rule.ONLY, "kinds of finding that are tolerated")


class ReleaseLimits(Section):
    """What may leave the site, and how often."""

    kinds: frozenset[OutputKind] | None = limit(Rule.ONLY, "kinds of output")
    max_per_hour: Count | None = limit(Rule.AT_MOST, "releases in one hour")
    max_per_day: Count | None = limit(Rule.AT_MOST, "releases in one day")
    votes: KindLimits = KindLimits()
    text: KindLimits = KindLimits()
    embedding: KindLimits = KindLimits()


class PromptLimits(Section):
    """Which public questions may be answered."""

    max_count: Count | None = limit(Rule.AT_MOST, "prompts in one set")
    reviewed_candidates: bool | None = limit(Rule.MUST, "proposed candidates are granted only once they are known")


class ModelLimits(Section):
    """Which models may be trained and may answer."""

    families: frozenset[Name] | None = limit(Rule.ONLY, "model families")
    formats: frozenset[Name] | None = limit(Rule.ONLY, "weight formats")
    no_remote_code: bool | None = limit(Rule.MUST, "no code from the model's repository runs")
    provenances: frozenset[Provenance] | None = limit(Rule.ONLY, "what the weights were made from")
    pinned_weights: bool | None = limit(Rule.MUST, "the weights have a granted digest")


class PeerLimits(Section):
    """Which servers may be talked to, and in what company."""

    jurisdictions: frozenset[Jurisdiction] | None = limit(Rule.ONLY, "jurisdictions of the server")
    min_clients: Count | None = limit(Rule.AT_LEAST, "clients in a round")
    min_witnesses: Witnesses | None = limit(Rule.AT_LEAST, "members that vouch for the server's log")
    weights: frozenset[Name] | None = limit(Rule.ONLY, "what may move a client's weight in the consensus")
    rules: frozenset[Name] | None = limit(Rule.ONLY, "rules of rounds: what is published of the answers")
    suites: frozenset[Name] | None = limit(Rule.ONLY, "cryptographic suites")
    max_key_age_days: Count | None = limit(Rule.AT_MOST, "age of this site's signing key in days")


class LabelLimits(Section):
    """Which pseudo-labels may be learned."""

    kinds: frozenset[OutputKind] | None = limit(Rule.ONLY, "kinds of pseudo-label")
    min_agreed: Count | None = limit(Rule.AT_LEAST, "agreed pseudo-labels in a consensus")
    min_support_ppm: Ppm | None = limit(Rule.AT_LEAST, "support of the weakest agreed label, in millionths")


class ApprovalLimits(Section):
    """How many people of which role must say yes; one person counts once, the policy's author never."""

    open_dataset: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to open a data set")
    join: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to join a round")
    train: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to train")
    release_votes: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to release votes")
    release_text: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to release text")
    release_embedding: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to release embeddings")
    learn: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to learn pseudo-labels")
    export: dict[Name, People] | None = limit(Rule.COUNTS, "approvals to export")


class RetentionLimits(Section):
    """How long things are kept: obligations of every permit, which `semfed audit prune` and an opened site keep to."""

    audit_days: Count | None = limit(Rule.AT_LEAST, "days that audit entries are kept")
    bundle_days: Count | None = limit(Rule.AT_MOST, "days that released bundles are kept")


class Limits(Section):
    """The ceiling: what nobody below may exceed."""

    actions: frozenset[Action] | None = limit(Rule.ONLY, "actions")
    data: DataLimits = DataLimits()
    privacy: PrivacyLimits = PrivacyLimits()
    release: ReleaseLimits = ReleaseLimits()
    prompts: PromptLimits = PromptLimits()
    models: ModelLimits = ModelLimits()
    peers: PeerLimits = PeerLimits()
    labels: LabelLimits = LabelLimits()
    approvals: ApprovalLimits = ApprovalLimits()
    retention: RetentionLimits = RetentionLimits()


# -- grants: what is permitted below the ceiling --------------------------------------------------------------------


class BudgetGrant(Section):
    """At most ``epsilon`` at ``delta`` in each ``period``, for the population of one data set."""

    period: Period
    epsilon: Epsilon
    delta: Delta


class DatasetGrant(Section):
    """A data set that may be used, the people behind it, and what may be spent on them."""

    id: Name
    population: Name
    classification: Name
    deidentification: Name = "none"
    budgets: tuple[BudgetGrant, ...] = Field(min_length=1, max_length=len(Period))

    @model_validator(mode="after")
    def _one_lifetime_budget(self) -> Self:
        periods = [budget.period for budget in self.budgets]
        if len(set(periods)) != len(periods) or Period.LIFETIME not in periods:
            raise ValueError("budgets need one `lifetime` entry and no period twice: a new period never refills it")
        return self

    @property
    def lifetime(self) -> BudgetGrant:
        """The budget that no new period refills."""
        return next(budget for budget in self.budgets if budget.period is Period.LIFETIME)


class PeerGrant(Section):
    """A server that may be talked to, pinned by its signing keys."""

    server_id: Name
    federation: Name
    signing_key_ids: frozenset[DigestText] = Field(min_length=1)
    jurisdiction: Jurisdiction


class ModelGrant(Section):
    """A model family that may be used, and the digest of its weights where they are pinned."""

    family: Name
    digest: DigestText | None = None


class ApprovalGrant(Section):
    """A yes that is written into the policy itself, so that whoever reviews the policy reviews the yes.

    It counts for one act on one prompt set until it ends, and is exactly as trustworthy as the policy file.
    """

    act: Act
    role: Name
    approver: Line
    until: AwareDatetime
    prompts: DigestText | None = None
    reference: Line | None = None

    @model_validator(mode="after")
    def _bound_to_prompts(self) -> Self:
        if self.act.concerns_prompts != (self.prompts is not None):
            raise ValueError("an approval to join, release or learn names one prompt set; others name none")
        return self


class Grants(Section):
    """What is permitted; everything that is not written here is denied.

    ``prompts`` are prompt sets as they stand. ``proposed_candidates`` are prompt sets that may be answered with
    candidates which a round of proposals made for them, and which nobody of this site has seen before.
    """

    actions: frozenset[Action] = frozenset()
    datasets: tuple[DatasetGrant, ...] = ()
    kinds: frozenset[OutputKind] = frozenset()
    mechanisms: frozenset[Mechanism] = frozenset()
    prompts: frozenset[DigestText] = frozenset()
    proposed_candidates: frozenset[DigestText] = frozenset()
    models: tuple[ModelGrant, ...] = ()
    peers: tuple[PeerGrant, ...] = ()
    approvals: tuple[ApprovalGrant, ...] = ()

    @model_validator(mode="after")
    def _named_once(self) -> Self:
        for kind, names in (
            ("datasets", [grant.id for grant in self.datasets]),
            ("peers", [grant.server_id for grant in self.peers]),
        ):
            if len(set(names)) != len(names):
                raise ValueError(f"{kind} are named once each")
        return self


# -- the document -----------------------------------------------------------------------------------------------------


class PolicyDocument(Section):
    """One policy file: a pack, an organisation's policy, or the policy of one site or data set.

    Of a round that forms several consensuses, a site has a part only in the one that is called as its ``domain``.
    """

    format: Literal["semfed/policy/1"]
    id: Name
    version: Version
    title: Line
    default: Literal["deny"]
    domain: Name
    owner: Line
    author: Line | None = None
    purpose: Line | None = None
    legal_basis: Line | None = None
    agreement: Line | None = None
    frameworks: tuple[Line, ...] = ()
    extends: tuple[Line, ...] = Field(default=(), max_length=8)
    effective: Effective = Effective()
    limits: Limits = Limits()
    grants: Grants | None = None
