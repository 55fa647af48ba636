"""A policy that permits one release of every kind, the facts it permits, and strategies around both."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any, TypeVar

from hypothesis import strategies as st

from semfed_secure.policy.document import (
    BudgetGrant,
    DatasetGrant,
    Effective,
    Grants,
    Limits,
    ModelGrant,
    PeerGrant,
    PolicyDocument,
)
from semfed_secure.policy.effective import EffectivePolicy, assemble
from semfed_secure.policy.facts import (
    Action,
    Approval,
    BudgetSnapshot,
    DatasetFacts,
    Facts,
    HistoryFacts,
    LabelFacts,
    ModelFacts,
    PeerFacts,
    PromptFacts,
    ReleaseFacts,
    TrainingFacts,
)
from semfed_secure.policy.tightening import Rule, Section, describe, rule_of
from semfed_secure.units import Aggregation, Mechanism, OutputKind, Period, PrivacyUnit, Provenance, Relation

NOW = datetime(2026, 12, 1, 12, tzinfo=UTC)
PROMPTS, KEY, WEIGHTS = (f"sha256:{digit * 64}" for digit in "abc")

GRANTS = Grants(
    actions=frozenset(Action),
    datasets=(
        DatasetGrant(
            id="synthetic-notes",
            population="patients",
            classification="phi",
            budgets=(
                BudgetGrant(period=Period.LIFETIME, epsilon=Decimal(8), delta=Decimal("1e-6")),
                BudgetGrant(period=Period.YEAR, epsilon=Decimal(6), delta=Decimal("1e-6")),
            ),
        ),
    ),
    kinds=frozenset(OutputKind),
    mechanisms=frozenset(Mechanism),
    prompts=frozenset({PROMPTS}),
    proposed_candidates=frozenset({KEY}),
    models=(ModelGrant(family="smollm2", digest=WEIGHTS), ModelGrant(family="coder")),
    peers=(PeerGrant(server_id="server", federation="net", signing_key_ids=frozenset({KEY}), jurisdiction="US"),),
)

FACTS = Facts(
    action=Action.RELEASE,
    dataset=DatasetFacts(
        id="synthetic-notes", population="patients", classification="phi", entities=1000, max_records_per_entity=5
    ),
    prompts=PromptFacts(digest=PROMPTS, count=300),
    release=ReleaseFacts(
        kind=OutputKind.VOTES,
        items=300,
        mechanism=Mechanism.DP_SGD,
        epsilon_total=Decimal(5),
        delta=Decimal("1e-6"),
        unit=PrivacyUnit.ENTITY,
        relation=Relation.ADD_OR_REMOVE_ONE,
        aggregation=Aggregation.DIRECT,
        model_trained_with_dp=True,
        detectors_run=("identifiers",),
        findings={"date": 1},
    ),
    training=TrainingFacts(
        mechanism=Mechanism.DP_SGD,
        epsilon_cost=Decimal(5),
        epsilon_total=Decimal(5),
        delta=Decimal("1e-6"),
        unit=PrivacyUnit.ENTITY,
        relation=Relation.ADD_OR_REMOVE_ONE,
    ),
    model=ModelFacts(family="smollm2", digest=WEIGHTS, format="safetensors", provenance=Provenance.PUBLIC),
    peer=PeerFacts(
        server_id="server",
        federation="net",
        signing_key_ids=(KEY,),
        jurisdiction="US",
        suite="hybrid-pq",
        min_clients=5,
        weights="agreement",
        rule="weighted_plurality",
    ),
    labels=LabelFacts(kind=OutputKind.VOTES, agreed=200, min_support_ppm=600_000),
    history=HistoryFacts(releases_last_hour=1, releases_last_day=3, key_age_days=30),
    approvals=(Approval(role="privacy_officer", approver="Sam"), Approval(role="clinician", approver="Kim")),
)

BUDGET = BudgetSnapshot(
    population="patients", delta=Decimal("1e-6"), spent={Period.LIFETIME: Decimal(5), Period.YEAR: Decimal(5)}
)

S = TypeVar("S", bound=Section)


def policy(
    *, limits: Limits | None = None, grants: Grants = GRANTS, effective: Effective | None = None, **header: Any
) -> EffectivePolicy:
    """An effective policy around ``grants``; without limits it permits everything that `FACTS` ask for."""
    document = PolicyDocument(
        format="semfed/policy/1",
        id="sample",
        version="1.0.0",
        title="Sample",
        default="deny",
        domain="health",
        owner="security office",
        grants=grants,
        **header,
    )
    return assemble(document, effective=effective or Effective(), limits=limits or Limits(), sources=())


def with_value(section: S, path: str, value: Any) -> S:
    """``section`` with the limit at ``path`` set to ``value``."""
    name, _, rest = path.partition(".")
    inner = with_value(getattr(section, name), rest, value) if rest else value
    return section.model_copy(update={name: inner})


def change(section: str, **values: Any) -> Facts:
    """`FACTS` with some values of one section changed."""
    return replace(FACTS, **{section: replace(getattr(FACTS, section), **values)})


def limit_paths(model: type[Section] = Limits, path: str = "") -> list[str]:
    """The dotted path of every limit that there is."""
    found = []
    for name, field in model.model_fields.items():
        where = f"{path}.{name}" if path else name
        found += limit_paths(field.annotation, where) if rule_of(field) is None else [where]
    return found


# -- strategies -------------------------------------------------------------------------------------------------------

_POOLS: dict[str, list[Any]] = {
    "actions": list(Action),
    "classifications": ["phi", "npi"],
    "deidentification": ["none", "safe-harbor"],
    "dataset_prefixes": ["synthetic-", "public-"],
    "mechanisms": list(Mechanism),
    "units": list(PrivacyUnit),
    "relations": list(Relation),
    "kinds": list(OutputKind),
    "aggregations": list(Aggregation),
    "detectors": ["identifiers", "names"],
    "tolerated_findings": ["date", "us_ssn"],
    "families": ["smollm2", "coder"],
    "formats": ["safetensors", "endpoint"],
    "jurisdictions": ["US", "FR"],
    "provenances": list(Provenance),
    "suites": ["hybrid-pq", "nist-p256"],
    "weights": ["equal", "agreement", "anchored"],
    "rules": ["weighted_plurality", "semantic_group", "proposals"],
}
_ROLES = ["privacy_officer", "clinician"]
_COUNTS = st.sampled_from([0, 1, 2, 4, 5, 30, 300, 1000, 10**6])
_EPSILONS = st.sampled_from([Decimal(text) for text in ("0.1", "4.999", "5", "8", "100")])
_DELTAS = st.sampled_from([Decimal(text) for text in ("1e-9", "1e-6", "0.1")])


def values_of(path: str) -> st.SearchStrategy[Any]:
    """Values that the limit at ``path`` may have."""
    rule, _ = describe(Limits, path)
    name = path.rpartition(".")[2]
    match rule:
        case Rule.AT_MOST | Rule.AT_LEAST:
            return _EPSILONS if "epsilon" in name else _DELTAS if "delta" in name else _COUNTS
        case Rule.ONLY | Rule.ALL_OF:
            return st.frozensets(st.sampled_from(_POOLS[name]))
        case Rule.COUNTS:
            return st.dictionaries(st.sampled_from(_ROLES), st.integers(1, 2))
        case Rule.MUST:
            return st.booleans()


@st.composite
def limits(draw: st.DrawFn, *, most: int = 6) -> Limits:
    """Limits with a handful of values set: few enough that much is still permitted."""
    found = Limits()
    for path in draw(st.lists(st.sampled_from(limit_paths()), max_size=most, unique=True)):
        found = with_value(found, path, draw(values_of(path)))
    return found


@st.composite
def facts(draw: st.DrawFn) -> Facts:
    """`FACTS` with a few sections missing or values changed, all of the right type."""
    found = replace(FACTS, action=draw(st.sampled_from(Action)))
    changes = draw(st.lists(st.sampled_from(_CHANGES), max_size=3))
    for section, name, values in changes:
        before = getattr(found, section)
        if before is not None:
            after = replace(before, **{name: draw(st.sampled_from(values))}) if name else None
            found = replace(found, **{section: after})
    return found


_CHANGES: list[tuple[str, str, list[Any]]] = [
    ("dataset", "", []),
    ("release", "", []),
    ("training", "", []),
    ("dataset", "id", ["synthetic-notes", "other"]),
    ("dataset", "entities", [0, 999, 1001]),
    ("release", "kind", list(OutputKind)),
    ("release", "mechanism", list(Mechanism)),
    ("release", "epsilon_total", [Decimal(5), Decimal("5.5"), Decimal(8), Decimal(9), Decimal("Infinity")]),
    ("release", "model_trained_with_dp", [True, False]),
    ("release", "findings", [{}, {"us_ssn": 1}]),
    ("release", "forecast_ppm", [None, 0, 170_000, 10**6]),
    ("training", "mechanism", list(Mechanism)),
    ("training", "epsilon_total", [Decimal(5), Decimal(7)]),
    ("model", "family", ["smollm2", "coder", "other"]),
    ("model", "digest", [WEIGHTS, None]),
    ("model", "provenance", list(Provenance)),
    ("peer", "min_clients", [1, 4, 100]),
    ("peer", "rule", [None, "semantic_group", "proposals"]),
    ("prompts", "digest", [PROMPTS, WEIGHTS]),
    ("prompts", "proposed_for", [None, PROMPTS, KEY]),
    ("history", "releases_last_hour", [0, 1, 4]),
]

_JUNK = st.one_of(
    st.none(),
    st.booleans(),
    st.integers(),
    st.floats(),
    st.text(),
    st.binary(),
    st.decimals(),
    st.sampled_from(
        [object(), {}, [], (), float("nan"), Decimal("NaN"), Decimal("sNaN"), Decimal("-Infinity"), 10**400]
    ),
    st.sampled_from([*OutputKind, *Mechanism, *Action]),
    st.lists(st.integers()),
    st.dictionaries(st.text(), st.floats()),
)


def _explode(*_: object) -> Any:
    raise RuntimeError("a fact that cannot be looked at")


Explosive = type(
    "Explosive",
    (),
    dict.fromkeys(("__getattr__", "__eq__", "__lt__", "__bool__", "__iter__", "__len__", "__hash__"), _explode),
)
"""A value that raises whatever is asked of it."""


@st.composite
def hostile_facts(draw: st.DrawFn) -> Facts:
    """Facts in which anything may stand anywhere."""
    junk = st.one_of(_JUNK, st.builds(Explosive))
    found: Any = FACTS
    for section in draw(st.lists(st.sampled_from(Facts.__slots__), min_size=1, unique=True)):
        before = getattr(found, section)
        names = getattr(type(before), "__slots__", ())
        if names and draw(st.booleans()):
            found = replace(found, **{section: replace(before, **{draw(st.sampled_from(names)): draw(junk)})})
        else:
            found = replace(found, **{section: draw(junk)})
    return found


@st.composite
def hostile_budgets(draw: st.DrawFn) -> Any:
    """Snapshots in which anything may stand anywhere."""
    junk = st.one_of(_JUNK, st.builds(Explosive))
    name = draw(st.sampled_from(["population", "delta", "spent"]))
    return replace(BUDGET, **{name: draw(junk)}) if draw(st.booleans()) else draw(junk)
