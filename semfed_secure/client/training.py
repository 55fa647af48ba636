"""Private training of one round: decided, paid for before the first step, made active in one transaction.

1. The step follows from the round's state, and the model can be trained.
2. The policy decides on opening the data set and on training; both answers are audit entries.
3. The opening of the data set is written down, then the records are read and bounded per entity.
4. The budget is reserved: from here on the run is paid for, whatever becomes of it.
5. The model trains exactly as the accountant was told, into a directory of its own.
6. One transaction: charge committed, audit entry, adapter active, progress.

A run that ends in 3 to 6 with an error leaves an entry that says so. One that dies between 4 and 6 is paid once: it
starts over under the same key, and nothing of it was ever visible.
"""

from __future__ import annotations

import json
from contextlib import contextmanager
from dataclasses import dataclass
from decimal import Decimal
from typing import TYPE_CHECKING, Literal

from semfed_secure.audit.events import Event, EventType, PrivacyFields, reason_of
from semfed_secure.client.adapters import Adapter, activate
from semfed_secure.client.decisions import (
    RELATION,
    UNIT,
    DecisionPreview,
    account,
    ask,
    budgets_for,
    charge_for,
    delta_of,
    privacy_fields,
)
from semfed_secure.client.facts import dataset_facts, model_facts
from semfed_secure.client.forecasts import forecast_training
from semfed_secure.client.opening import ask_to_open, open_records
from semfed_secure.client.progress import Step, advance, after, result_of, state_of
from semfed_secure.client.scores import BASE, LOCAL, evaluate
from semfed_secure.clock import to_ms
from semfed_secure.errors import ConfigurationError, IntegrityError, RefusedError, SemfedError
from semfed_secure.ids import RoundId, hex_digest
from semfed_secure.llm.model import TrainingPlan
from semfed_secure.policy.engine import Decision, Outcome, require
from semfed_secure.policy.facts import Action, Facts, TrainingFacts
from semfed_secure.privacy.accountant import epsilon_of, noise_multiplier_for
from semfed_secure.units import Mechanism, Period

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from semfed_secure.client.config import SiteConfig
    from semfed_secure.client.engine import Engine, Ready
    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.client.site import Site
    from semfed_secure.llm.model import Record
    from semfed_secure.privacy.budget import Charge


@dataclass(frozen=True, slots=True)
class TrainOutcome:
    """What a run left: the digest of its adapter, what it cost by itself, and the population's lifetime total."""

    adapter: str
    epsilon_cost: Decimal
    epsilon_total: Decimal


@dataclass(frozen=True, slots=True)
class _Run:
    """A run before it is paid for: how it trains, and what that costs."""

    round_id: RoundId
    plan: TrainingPlan
    charge: Charge


def preview_training(site: Site, engine: Engine, round_id: RoundId) -> DecisionPreview:
    """The full decision on a training run; no record is read, nothing is spent."""
    run = _run(site, round_id)
    decision = ask_to_open(site, round_id, dry_run=True)
    if decision.outcome is Outcome.PERMIT:
        decision = _ask(site, _training(site, engine.ready(), run), round_id, dry_run=True)
    before, after_it = account(site), account(site, adding=run.charge)
    forecast = forecast_training(run.plan)
    return DecisionPreview(decision, before.spent[Period.LIFETIME], after_it.spent[Period.LIFETIME], forecast)


def train(site: Site, engine: Engine, round_: VerifiedRound, records: Iterable[Record]) -> TrainOutcome:
    """Train privately for one round, once; a second call returns what the first one left.

    ``records`` are not touched before the policy permits it. Only the first `max_records_per_entity` of an entity
    count.

    Raises:
        ConsensusError: SF404, the round is past training.
        ConfigurationError: SF132, the model only answers; SF142, records lack entities; SF101 under
            ``record_histogram``, which trains nothing.
        PolicyDenied: SF201; ApprovalNeeded: SF203; BudgetExhausted: SF202.
    """
    round_id = round_.manifest.round_id
    with site.database.snapshot() as tx:
        done = result_of(tx, round_id, Step.TRAIN)
    outcome = _train(site, engine, round_, records) if done is None else _outcome(done)
    if site.config.evaluation is not None:  # otherwise a repeated step need not load the model
        ready = engine.ready()
        if ready.adapter is not None and hex_digest(ready.adapter.digest) == outcome.adapter:
            evaluate(site, ready.model, stage=LOCAL, round_id=round_id)
    return outcome


def _train(site: Site, engine: Engine, round_: VerifiedRound, records: Iterable[Record]) -> TrainOutcome:
    round_id = round_.manifest.round_id
    # 1. state and model
    with site.database.snapshot() as tx:
        after(state_of(tx, round_id), Step.TRAIN)
    run, ready = _run(site, round_id), engine.ready()
    ready.trainable()
    if ready.adapter is None:
        evaluate(site, ready.model, stage=BASE, round_id=round_id)
    site.on_step("train 1")
    # 2. policy
    require(ask_to_open(site, round_id, dry_run=False))
    require(_ask(site, _training(site, ready, run), round_id, dry_run=False))
    site.on_step("train 2")
    with _noting_failure(site, run):
        # 3. records
        bounded = open_records(site, round_id, records)
        site.on_step("train 3")
        # 4. budget
        site.ledger.reserve(run.charge, budgets_for(site, run.plan.mechanism))
        site.audit.append(_event(EventType.TRAINING_STARTED, site, run, _run_details(run)))
        site.on_step("train 4")
        # 5. training
        with engine.trying():
            adapter = _fit(site, ready, run, bounded, round_.labels)
        site.on_step("train 5")
        # 6. one transaction
        outcome = _conclude(site, run, adapter)
    site.on_step("train 6")
    return outcome


@contextmanager
def _noting_failure(site: Site, run: _Run) -> Iterator[None]:
    """A block after which a run that did not come to its end has an entry that says so, whatever ended it."""
    try:
        yield
    except BaseException as error:
        site.audit.append(_failed_event(site, run, error))
        raise


def plan_for(config: SiteConfig) -> TrainingPlan:
    """The plan whose cost is what the site file says: the least noise that keeps it, never under.

    The sampling rate follows from the declared bound on the population, not from the number of records: that
    number is private.

    Raises:
        ConfigurationError: SF101 under ``record_histogram``; SF141 for figures that no noise reaches.
    """
    training, privacy = config.training, config.privacy
    if privacy.mechanism is Mechanism.RECORD_HISTOGRAM:
        raise ConfigurationError("SF101", "privacy.mechanism record_histogram trains nothing: contribute with records")
    rate = training.expected_entities / config.data.population_bound
    noise = 0.0
    if privacy.epsilon is not None and privacy.delta is not None:
        noise = noise_multiplier_for(privacy.epsilon, privacy.delta, rate, training.steps)
    return TrainingPlan(
        mechanism=privacy.mechanism,
        noise_multiplier=noise,
        sample_rate=rate,
        steps=training.steps,
        clip_norm=training.clip_norm,
        expected_entities=float(training.expected_entities),
    )


def parameters_of(plan: TrainingPlan) -> dict[str, str]:
    """What is declared of a plan, and charged."""
    if plan.mechanism is not Mechanism.DP_SGD:
        return {}
    return {
        "noise_multiplier": repr(plan.noise_multiplier),
        "sample_rate": repr(plan.sample_rate),
        "steps": str(plan.steps),
    }


def _run(site: Site, round_id: RoundId) -> _Run:
    plan = plan_for(site.config)
    key, purpose = f"train:{site.config.site.federation}:{round_id}", f"training for {round_id}"
    return _Run(round_id, plan, charge_for(site, key, purpose, plan.mechanism, parameters_of(plan)))


def _ask(site: Site, facts: Facts, round_id: RoundId, *, dry_run: bool) -> Decision:
    return ask(site, facts, spent=account(site), round_id=round_id, dry_run=dry_run)


def _training(site: Site, ready: Ready, run: _Run) -> Facts:
    training = TrainingFacts(
        mechanism=run.plan.mechanism,
        epsilon_cost=_cost(run),
        epsilon_total=account(site, adding=run.charge).spent[Period.LIFETIME],
        delta=delta_of(site),
        unit=UNIT,
        relation=RELATION,
    )
    return Facts(
        action=Action.TRAIN,
        dataset=dataset_facts(site.config),
        training=training,
        model=model_facts(site.config, ready.digest),
    )


def _fit(site: Site, ready: Ready, run: _Run, records: Sequence[Record], candidates: Sequence[str]) -> Adapter:
    """Train into a new directory, and say what went into the adapter that lies there."""
    model, name, parent = ready.trainable(), f"{run.round_id}-trained", ready.adapter
    with site.adapters.writing(name) as directory:
        model.fit_private(
            records,
            candidates=candidates,
            plan=run.plan,
            directory=directory,
            progress=lambda done, total: site.on_step(f"train 5: {done}/{total}"),
        )
    # One run without noise is never undone by later ones with noise.
    unsafe = Mechanism.UNSAFE_NO_NOISE in {run.plan.mechanism, None if parent is None else parent.mechanism}
    return Adapter(
        name=name,
        digest=site.adapters.digest(name),
        mechanism=Mechanism.UNSAFE_NO_NOISE if unsafe else run.plan.mechanism,
        charges=(*(parent.charges if parent is not None else ()), run.charge.idempotency_key),
    )


def _conclude(site: Site, run: _Run, adapter: Adapter) -> TrainOutcome:
    state = account(site)
    outcome = TrainOutcome(hex_digest(adapter.digest), _cost(run), state.spent[Period.LIFETIME])
    details = _run_details(run) | {"adapter_digest": outcome.adapter}
    spent = privacy_fields(site, state, run.plan.mechanism)
    event = _event(EventType.TRAINING_FINISHED, site, run, details, privacy=spent)
    result = {
        "adapter": outcome.adapter,
        "epsilon_cost": str(outcome.epsilon_cost),
        "epsilon_total": str(outcome.epsilon_total),
    }
    with site.database.transaction() as tx:
        site.ledger.commit(run.charge.idempotency_key, tx)
        advance(tx, run.round_id, Step.TRAIN, result, at_ms=to_ms(site.clock.now()))
        activate(tx, adapter)
        site.audit.append(event, tx)
    return outcome


def _outcome(result: dict[str, object]) -> TrainOutcome:
    try:
        cost, total = Decimal(str(result["epsilon_cost"])), Decimal(str(result["epsilon_total"]))
        return TrainOutcome(str(result["adapter"]), cost, total)
    except (KeyError, ArithmeticError) as error:
        raise IntegrityError("SF531", "the stored result of the training run is damaged") from error


def _cost(run: _Run) -> Decimal:
    return epsilon_of(run.charge.cost(), run.charge.delta)


def _run_details(run: _Run) -> dict[str, object]:
    return {
        "purpose": run.charge.purpose,
        "mechanism": str(run.plan.mechanism),
        "parameters": json.dumps(dict(run.charge.parameters), sort_keys=True),
        "steps": run.plan.steps,
    }


def _failed_event(site: Site, run: _Run, error: BaseException) -> Event:
    # Only our own errors are known to hold no content: of another one its kind is all that is written.
    own = error if isinstance(error, SemfedError) else None
    return _event(
        EventType.TRAINING_FINISHED,
        site,
        run,
        _run_details(run),
        outcome="denied" if isinstance(error, RefusedError) else "failed",
        codes=() if own is None else (own.code,),
        reason=f"it ended in {type(error).__name__}" if own is None else reason_of(own),
    )


def _event(
    kind: EventType,
    site: Site,
    run: _Run,
    details: dict[str, object],
    *,
    outcome: Literal["success", "denied", "failed"] = "success",
    privacy: PrivacyFields | None = None,
    codes: tuple[str, ...] = (),
    reason: str | None = None,
) -> Event:
    return Event(
        type=kind,
        outcome=outcome,
        actor=site.member_id,
        target=site.config.data.dataset,
        round_id=run.round_id,
        policy_id=site.policy.id,
        policy_digest=hex_digest(site.policy.digest),
        codes=codes,
        privacy=privacy,
        reason=reason,
        details=details,
    )
