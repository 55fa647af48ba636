"""Checks of what is granted, and of what must hold under every policy."""

from __future__ import annotations

from collections.abc import Callable
from operator import attrgetter
from typing import TYPE_CHECKING

from semfed_secure.policy.approvals import act_of, approvers, seats_filled
from semfed_secure.policy.checks import Check, Measure, Question, at_least, at_most, covers, is_number, one_of
from semfed_secure.policy.facts import Action, ReleaseFacts, TrainingFacts
from semfed_secure.policy.limit_checks import spends
from semfed_secure.units import Aggregation, Mechanism, OutputKind, Period, Provenance

if TYPE_CHECKING:
    from collections.abc import Iterable

    from semfed_secure.policy.document import DatasetGrant, Grants, PeerGrant

Measurement = Callable[[Question], Measure | None]


def _listed(code: str, field: str, title: str, fact: str, names: Callable[[Grants], Iterable[str]]) -> Check:
    """``fact`` is one of the names that the policy grants."""
    section, observe = attrgetter(fact.partition(".")[0]), attrgetter(fact)

    def measure(q: Question) -> Measure | None:
        if section(q.facts) is None:
            return None
        observed, granted = observe(q.facts), frozenset(names(q.policy.grants))
        return Measure(one_of(observed, granted), observed, granted)

    return Check(code, field, title, measure)


def _as_granted(code: str, title: str, fact: str, grant_of: Callable[[Question], object | None]) -> Check:
    """``fact`` is what the grant of its subject says under the same name."""
    subject, _, name = fact.partition(".")
    observe, allow = attrgetter(fact), attrgetter(name)

    def measure(q: Question) -> Measure | None:
        grant = grant_of(q)
        if grant is None:
            return None
        observed, granted = observe(q.facts), allow(grant)
        return Measure(observed == granted, observed, granted)

    return Check(code, f"grants.{subject}s.{name}", title, measure)


# -- facts that the action needs ------------------------------------------------------------------------------------

REQUIRED: dict[Action, tuple[str, ...]] = {
    Action.OPEN_DATASET: ("dataset",),
    Action.JOIN: ("prompts", "peer", "history"),
    Action.TRAIN: ("dataset", "training", "model"),
    Action.RELEASE: ("dataset", "prompts", "release", "model", "peer", "history"),
    Action.LEARN: ("prompts", "peer", "labels"),
    Action.EXPORT: ("dataset",),
}


def _facts_present(q: Question) -> Measure:
    required = REQUIRED[Action(q.facts.action)]
    missing = [name for name in required if getattr(q.facts, name) is None]
    return Measure(not missing, f"without {', '.join(missing)}" if missing else "all", required)


# -- the document and the act -----------------------------------------------------------------------------------------


def _begun(q: Question) -> Measure | None:
    since = q.policy.effective.since
    return None if since is None else Measure(since <= q.now, q.now, since)


def _not_ended(q: Question) -> Measure | None:
    until = q.policy.effective.until
    return None if until is None else Measure(q.now < until, q.now, until)


def _action_granted(q: Question) -> Measure:
    granted = q.policy.grants.actions
    return Measure(one_of(q.facts.action, granted), q.facts.action, granted)


# -- data --------------------------------------------------------------------------------------------------------------


def _dataset(q: Question) -> DatasetGrant | None:
    """The grant behind the facts; where there is none, DATA-001 denies and the others have nothing to compare."""
    return None if q.facts.dataset is None else q.policy.dataset(q.facts.dataset.id)


def _deidentified(q: Question) -> Measure | None:
    grant, allowed = _dataset(q), q.policy.limits.data.deidentification
    if grant is None or allowed is None:
        return None
    return Measure(one_of(grant.deidentification, allowed), grant.deidentification, allowed)


def _prefixed(q: Question) -> Measure | None:
    allowed = q.policy.limits.data.dataset_prefixes
    if q.facts.dataset is None or allowed is None:
        return None
    return Measure(q.facts.dataset.id.startswith(tuple(allowed)), q.facts.dataset.id, allowed)


# -- privacy and budget --------------------------------------------------------------------------------------------


def _spending(q: Question) -> list[ReleaseFacts | TrainingFacts]:
    """The sections that declare a cost, leaving out those without noise: they have no epsilon."""
    sections = (("release", q.facts.release), ("training", q.facts.training))
    return [section for name, section in sections if section is not None and spends(name)(q.facts)]


def _mechanism_granted(q: Question) -> Measure | None:
    used = [section.mechanism for section in (q.facts.release, q.facts.training) if section is not None]
    granted = q.policy.grants.mechanisms
    return Measure(all(one_of(name, granted) for name in used), used, granted) if used else None


def _within_lifetime(fact: str, limit: str) -> Measurement:
    def measure(q: Question) -> Measure | None:
        grant, spending = _dataset(q), _spending(q)
        if grant is None or not spending:
            return None
        observed, allowed = [getattr(section, fact) for section in spending], getattr(grant.lifetime, limit)
        return Measure(all(at_most(one, allowed) for one in observed), observed, allowed)

    return measure


def _dp_sgd_is_true(q: Question) -> Measure | None:
    release = q.facts.release
    if release is None or release.mechanism != Mechanism.DP_SGD:
        return None
    return Measure(release.model_trained_with_dp is True, release.model_trained_with_dp, True)


def _ledger_known(q: Question) -> Measure | None:
    grant = _dataset(q)
    if grant is None or not _spending(q):
        return None
    delta = min(budget.delta for budget in grant.budgets)
    if q.budget is None:
        return Measure(False, "none", (grant.population, delta))
    known = q.budget.population == grant.population and at_most(q.budget.delta, delta)
    return Measure(known, (q.budget.population, q.budget.delta), (grant.population, delta))


def _no_period_exhausted(q: Question) -> Measure | None:
    grant, spending, account = _dataset(q), _spending(q), q.budget
    if grant is None or not spending or account is None:
        return None
    # What is charged already may still be released; the ledger computes the exact sums when it reserves.
    more = any(section.epsilon_total > account.spent[Period.LIFETIME] for section in spending)
    granted = {budget.period: budget.epsilon for budget in grant.budgets}
    spent = {period: account.spent[period] for period in granted}
    ok = all(
        at_most(spent[period], granted[period]) and not (more and spent[period] == granted[period])
        for period in granted
    )
    return Measure(ok, spent, granted)


def _total_not_below_ledger(q: Question) -> Measure | None:
    spending, account = _spending(q), q.budget
    if not spending or account is None:
        return None
    totals, spent = [section.epsilon_total for section in spending], account.spent[Period.LIFETIME]
    return Measure(is_number(spent) and all(at_least(total, spent) for total in totals), totals, spent)


# -- what leaves ------------------------------------------------------------------------------------------------------


def _kind_fits(q: Question) -> Measure | None:
    release = q.facts.release
    if release is None:
        return None
    # A histogram of votes protects votes only, and text cannot be summed.
    votes_only = release.mechanism == Mechanism.RECORD_HISTOGRAM and release.kind != OutputKind.VOTES
    summed_text = release.kind == OutputKind.TEXT and release.aggregation != Aggregation.DIRECT
    observed = (release.kind, release.mechanism, release.aggregation)
    return Measure(not votes_only and not summed_text, observed, "record_histogram for votes; direct for text")


def _detectors_ended(q: Question) -> Measure | None:
    release = q.facts.release
    return None if release is None else Measure(release.detector_error is False, release.detector_error, False)


def _tolerated(kind: OutputKind) -> Measurement:
    def measure(q: Question) -> Measure | None:
        release, tolerated = q.facts.release, getattr(q.policy.limits.release, kind.value).tolerated_findings
        if release is None or release.kind != kind or tolerated is None:
            return None
        found = frozenset(name for name, count in release.findings.items() if count != 0)
        return Measure(found <= tolerated, found, tolerated)

    return measure


# -- prompts, models, peers ------------------------------------------------------------------------------------------


def _prompts_granted(q: Question) -> Measure | None:
    if q.facts.prompts is None:
        return None
    digest, proposed_for, grants = q.facts.prompts.digest, q.facts.prompts.proposed_for, q.policy.grants
    if one_of(proposed_for, grants.proposed_candidates):
        return Measure(ok=True, observed=proposed_for, allowed=grants.proposed_candidates)
    return Measure(one_of(digest, grants.prompts), digest, grants.prompts)


def _candidates_reviewed(q: Question) -> Measure | None:
    prompts, granted = q.facts.prompts, q.policy.grants.prompts
    if prompts is None or prompts.proposed_for is None or q.policy.limits.prompts.reviewed_candidates is not True:
        return None
    return Measure(one_of(prompts.digest, granted), prompts.digest, granted)


def _not_refused(q: Question) -> Measure | None:
    return (
        None if q.facts.prompts is None else Measure(q.facts.prompts.refused is False, q.facts.prompts.refused, False)
    )


def _digests(q: Question) -> frozenset[str | None]:
    family = q.facts.model.family if q.facts.model else None
    return frozenset(grant.digest for grant in q.policy.grants.models if grant.family == family)


def _weights_granted(q: Question) -> Measure | None:
    if q.facts.model is None:
        return None
    granted = _digests(q)
    pinned = granted - {None}
    return Measure(None in granted or one_of(q.facts.model.digest, pinned), q.facts.model.digest, pinned)


def _weights_pinned(q: Question) -> Measure | None:
    if q.facts.model is None or q.policy.limits.models.pinned_weights is not True:
        return None
    pinned = _digests(q) - {None}
    return Measure(one_of(q.facts.model.digest, pinned), q.facts.model.digest, pinned)


def _base_is_not_private(q: Question) -> Measure | None:
    if q.facts.model is None or not _spending(q):
        return None
    observed = q.facts.model.provenance
    return Measure(
        observed in set(Provenance) - {Provenance.OWN_POPULATION}, observed, "not own_population under noise"
    )


def _peer(q: Question) -> PeerGrant | None:
    peer = q.facts.peer
    if peer is None:
        return None
    return next((grant for grant in q.policy.grants.peers if grant.server_id == peer.server_id), None)


def _server_keys_pinned(q: Question) -> Measure | None:
    grant = _peer(q)
    if grant is None or q.facts.peer is None:
        return None
    observed = q.facts.peer.signing_key_ids
    return Measure(bool(observed) and covers(grant.signing_key_ids, set(observed)), observed, grant.signing_key_ids)


def _own_domain(q: Question) -> Measure | None:
    if q.facts.peer is None or q.facts.peer.group is None:
        return None
    return Measure(q.facts.peer.group == q.policy.document.domain, q.facts.peer.group, q.policy.document.domain)


# -- approvals ---------------------------------------------------------------------------------------------------------

APPROVAL = "APR-001"


def _approved(q: Question) -> Measure | None:
    act = act_of(q.facts)
    required = None if act is None else getattr(q.policy.limits.approvals, act.value)
    if act is None or not required:
        return None
    found = approvers(q.facts, q.policy, act, q.now)
    observed = {role: len(found.get(role, ())) for role in required}
    return Measure(seats_filled(required, found) == sum(required.values()), observed, required)


GRANT_CHECKS: tuple[Check, ...] = (
    Check("FACT-001", "default", "facts that the action needs", _facts_present),
    Check("POL-001", "effective.since", "policy is in force", _begun),
    Check("POL-002", "effective.until", "policy is in force", _not_ended),
    Check("ACT-001", "grants.actions", "action", _action_granted),
    _listed("DATA-001", "grants.datasets", "data set", "dataset.id", lambda g: (d.id for d in g.datasets)),
    _as_granted("DATA-002", "population of the data set", "dataset.population", _dataset),
    _as_granted("DATA-003", "classification of the data set", "dataset.classification", _dataset),
    Check("DATA-004", "limits.data.deidentification", "ways of de-identification", _deidentified),
    Check("DATA-007", "limits.data.dataset_prefixes", "data set names begin with", _prefixed),
    Check("DP-001", "grants.mechanisms", "privacy mechanisms", _mechanism_granted),
    Check(
        "DP-002",
        "grants.datasets.budgets",
        "lifetime epsilon of the population",
        _within_lifetime("epsilon_total", "epsilon"),
    ),
    Check("DP-003", "grants.datasets.budgets", "delta", _within_lifetime("delta", "delta")),
    Check("DP-006", "default", "outputs under dp_sgd come from a model trained with it", _dp_sgd_is_true),
    Check(
        "BUD-001",
        "grants.datasets.budgets",
        "ledger's account of the population, at a delta no larger than granted",
        _ledger_known,
    ),
    Check(
        "BUD-002",
        "grants.datasets.budgets",
        "epsilon spent in each period, with room left where more is spent",
        _no_period_exhausted,
    ),
    Check("BUD-003", "default", "declared lifetime epsilon, not below what the ledger has", _total_not_below_ledger),
    _listed("KIND-001", "grants.kinds", "kind of output", "release.kind", lambda g: g.kinds),
    Check("KIND-004", "default", "mechanism and aggregation that can carry this kind of output", _kind_fits),
    Check("DET-002", "default", "detectors ended without error", _detectors_ended),
    *(
        Check(
            "DET-004",
            f"limits.release.{kind.value}.tolerated_findings",
            "kinds of finding in the outputs",
            _tolerated(kind),
        )
        for kind in OutputKind
    ),
    Check("PRM-001", "grants.prompts", "prompt set", _prompts_granted),
    Check("PRM-003", "default", "prompt set refused by somebody who reviewed it", _not_refused),
    Check(
        "PRM-004",
        "limits.prompts.reviewed_candidates",
        "prompt set with proposed candidates, granted as it stands",
        _candidates_reviewed,
    ),
    _listed("MOD-001", "grants.models", "model family", "model.family", lambda g: (m.family for m in g.models)),
    Check("MOD-002", "grants.models.digest", "weights of the model", _weights_granted),
    Check("MOD-002", "limits.models.pinned_weights", "weights of the model, pinned by digest", _weights_pinned),
    Check("MOD-005", "default", "weights that already hold the population cannot be noised", _base_is_not_private),
    _listed("PEER-001", "grants.peers", "server", "peer.server_id", lambda g: (p.server_id for p in g.peers)),
    _as_granted("PEER-002", "federation of the server", "peer.federation", _peer),
    Check("PEER-003", "grants.peers.signing_key_ids", "signing keys of the server", _server_keys_pinned),
    _as_granted("PEER-004", "jurisdiction of the server", "peer.jurisdiction", _peer),
    Check("PEER-009", "domain", "group of the round in which this site answers", _own_domain),
    Check(APPROVAL, "limits.approvals", "approvals", _approved),
)
