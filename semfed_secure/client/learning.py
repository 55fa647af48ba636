"""Learning from a consensus: decided, on agreed public labels only, kept or rolled back in one transaction.

1. The consensus is the one that was collected, and the model can be trained.
2. Labels with the support that policy and manifest demand are chosen; the policy decides on learning them.
3. The active adapter is scored on the public validation prompts.
4. The model is fitted to the labels, into a directory of its own.
5. The new adapter is scored on the same prompts.
6. One transaction: the new adapter becomes active, or stays out; audit entry; progress.

Nothing here reads a private record, so nothing is spent. A crash before 6 leaves the old adapter active.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.audit.events import Event, EventType
from semfed_secure.client.adapters import Adapter, activate
from semfed_secure.client.decisions import permitted
from semfed_secure.client.facts import label_facts, model_facts, peer_facts, prompt_facts
from semfed_secure.client.progress import Step, advance, after, result_of, state_of
from semfed_secure.client.reviews import verdicts_for
from semfed_secure.client.scores import BASE, evaluate, validation_score
from semfed_secure.client.scores import CONSENSUS as LEARNED
from semfed_secure.client.site import LABELS
from semfed_secure.clock import to_ms
from semfed_secure.errors import ConfigurationError, ConsensusError, IntegrityError, RefusedError
from semfed_secure.identity.files import replace_file
from semfed_secure.ids import hex_digest
from semfed_secure.llm.model import TrainableModel
from semfed_secure.policy.facts import Action, Facts
from semfed_secure.wire.messages import PromptStatus

if TYPE_CHECKING:
    from semfed_secure.client.engine import Engine, Ready
    from semfed_secure.client.round import VerifiedConsensus
    from semfed_secure.client.site import Site
    from semfed_secure.wire.messages import PromptResult


@dataclass(frozen=True, slots=True)
class LearnOutcome:
    """What came of a consensus at this site.

    ``kept`` says whether the new adapter is active; None for a model that only answers, whose labels lie in the
    state directory. Scores are shares of the validation prompts answered right; None without training.
    """

    labels: int
    kept: bool | None
    score_before: float | None
    score_after: float | None
    adapter: str | None


def learn(site: Site, engine: Engine, collected: VerifiedConsensus) -> LearnOutcome:
    """Learn one round's labels, once; a second call returns what the first one did. Proposals teach nothing.

    Raises:
        ConsensusError: SF404, the consensus was not collected yet or is another round's.
        ConfigurationError: SF101, the model can be trained and the site file names no validation prompts.
        PolicyDenied: SF201, with ``labels.refused`` in the audit log; ApprovalNeeded: SF203.
    """
    round_id = collected.round.manifest.round_id
    with site.database.snapshot() as tx:
        done = result_of(tx, round_id, Step.LEARN)
    outcome = _learn(site, engine, collected) if done is None else _outcome(done)
    if site.config.evaluation is not None:  # otherwise a repeated step need not load the model
        ready = engine.ready()
        active = None if ready.adapter is None else hex_digest(ready.adapter.digest)
        only_answers = not isinstance(ready.model, TrainableModel)
        if only_answers or outcome.kept is False or (outcome.kept and active == outcome.adapter):
            evaluate(site, ready.model, stage=LEARNED, round_id=round_id)
    return outcome


def _learn(site: Site, engine: Engine, collected: VerifiedConsensus) -> LearnOutcome:
    round_id = collected.round.manifest.round_id
    # 1. the consensus and the model
    with site.database.snapshot() as tx:
        after(state_of(tx, round_id), Step.LEARN)
        known = result_of(tx, round_id, Step.COLLECT) or {}
    if known.get("consensus") != hex_digest(collected.consensus.digest):
        raise ConsensusError("SF404", "the consensus that this site collected was expected")
    ready = engine.ready()
    if collected.round.manifest.rule.name == "proposals":  # candidates to vote on: nothing of them is a label
        return _conclude(site, collected, LearnOutcome(0, None, None, None, None), ready, None)
    if isinstance(ready.model, TrainableModel) and site.config.validation is None:
        raise ConfigurationError("SF101", "learning needs [validation]: public prompts by which an adapter is kept")
    site.on_step("learn 1")
    # 2. labels and policy
    chosen = _chosen(site, collected)
    _decide(site, ready, collected, chosen)
    if not isinstance(ready.model, TrainableModel) and not any(site.directory(LABELS).iterdir()):
        # Once labels lie there, whoever keeps this model may teach it: what it knew by itself is measured before.
        evaluate(site, ready.model, stage=BASE, round_id=round_id)
    _write_labels(site, collected, chosen)
    site.on_step("learn 2")
    if not isinstance(ready.model, TrainableModel) or not chosen:
        return _conclude(site, collected, LearnOutcome(len(chosen), None, None, None, None), ready, None)
    # 3. before
    before = validation_score(site, ready.model) or 0.0
    site.on_step("learn 3")
    with engine.trying():
        # 4. fit
        adapter = _fit(site, ready, ready.model, collected, chosen)
        site.on_step("learn 4")
        # 5. after
        ready.model.use_adapter(site.adapters.verify(adapter))
        score = validation_score(site, ready.model) or 0.0
        site.on_step("learn 5")
    # 6. keep or roll back
    assert site.config.validation is not None  # refused in step 1
    kept = score >= before - site.config.validation.max_score_drop
    outcome = LearnOutcome(len(chosen), kept, before, score, hex_digest(adapter.digest))
    _conclude(site, collected, outcome, ready, adapter)
    site.on_step("learn 6")
    if not kept:
        site.adapters.remove(adapter.name)
    return outcome


def _chosen(site: Site, collected: VerifiedConsensus) -> list[tuple[str, PromptResult]]:
    """Prompt text and result of every agreed label with enough support."""
    least = site.policy.limits.labels.min_support_ppm or 0
    pairs = zip(collected.round.prompts.prompts, collected.results, strict=True)
    return [
        (prompt.text, result)
        for prompt, result in pairs
        if result.status is PromptStatus.AGREED and result.support_ppm >= least
    ]


def _decide(site: Site, ready: Ready, collected: VerifiedConsensus, chosen: list[tuple[str, PromptResult]]) -> None:
    round_ = collected.round
    with site.database.snapshot() as tx:
        verdicts = verdicts_for(tx, round_.manifest)
    facts = Facts(
        action=Action.LEARN,
        prompts=prompt_facts(round_, verdicts),
        model=model_facts(site.config, ready.digest),
        peer=peer_facts(round_),
        labels=label_facts(round_.manifest.kind, [result for _, result in chosen]),
    )
    try:
        permitted(site, facts, spent=None, round_id=round_.manifest.round_id)
    except RefusedError as refusal:
        site.audit.append(_labels_event(EventType.LABELS_REFUSED, site, collected, len(chosen), code=refusal.code))
        raise
    site.audit.append(_labels_event(EventType.LABELS_ACCEPTED, site, collected, len(chosen)))


def _write_labels(site: Site, collected: VerifiedConsensus, chosen: list[tuple[str, PromptResult]]) -> None:
    """The accepted labels as JSON lines: public, and all that a black-box pipeline takes home."""
    rows = [{"prompt": text, "label": row.label, "support_ppm": row.support_ppm} for text, row in chosen]
    lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    replace_file(site.directory(LABELS) / f"{collected.round.manifest.round_id}.jsonl", lines.encode())


def _fit(
    site: Site,
    ready: Ready,
    model: TrainableModel,
    collected: VerifiedConsensus,
    chosen: list[tuple[str, PromptResult]],
) -> Adapter:
    """Fit to the labels into a new directory; what private data went into the parent went into this one too."""
    name, parent = f"{collected.round.manifest.round_id}-learned", ready.adapter
    with site.adapters.writing(name) as directory:
        model.fit_labels(
            [text for text, _ in chosen],
            [result.label or "" for _, result in chosen],
            candidates=collected.round.labels,
            directory=directory,
            progress=lambda done, total: site.on_step(f"learn 4: {done}/{total}"),
        )
    return Adapter(
        name=name,
        digest=site.adapters.digest(name),
        mechanism=None if parent is None else parent.mechanism,
        charges=() if parent is None else parent.charges,
    )


def _conclude(
    site: Site, collected: VerifiedConsensus, outcome: LearnOutcome, ready: Ready, adapter: Adapter | None
) -> LearnOutcome:
    """Step 6: the adapter's fate, its entry and the progress, together."""
    round_id = collected.round.manifest.round_id
    result = {name: getattr(outcome, name) for name in LearnOutcome.__slots__}
    with site.database.transaction() as tx:
        advance(tx, round_id, Step.LEARN, result, at_ms=to_ms(site.clock.now()))
        if adapter is not None:
            if outcome.kept:
                activate(tx, adapter)
            site.audit.append(_adapter_event(site, collected, outcome, ready), tx)
    return outcome


def _outcome(result: dict[str, object]) -> LearnOutcome:
    try:
        return LearnOutcome(**result)  # type: ignore[arg-type] # our own row, checked by name
    except TypeError as error:
        raise IntegrityError("SF531", "the stored result of learning is damaged") from error


def _adapter_event(site: Site, collected: VerifiedConsensus, outcome: LearnOutcome, ready: Ready) -> Event:
    assert site.config.validation is not None
    details: dict[str, object] = {
        "adapter_digest": outcome.adapter or "none",
        "score_before": str(outcome.score_before),
        "score_after": str(outcome.score_after),
        "max_drop": str(site.config.validation.max_score_drop),
        "examples": outcome.labels,
    }
    if ready.digest is not None:
        details["model_digest"] = hex_digest(ready.digest)
    return Event(
        type=EventType.ADAPTER_KEPT if outcome.kept else EventType.ADAPTER_ROLLED_BACK,
        outcome="success",
        actor=site.member_id,
        round_id=collected.round.manifest.round_id,
        details=details,
    )


def _labels_event(
    kind: EventType, site: Site, collected: VerifiedConsensus, count: int, *, code: str | None = None
) -> Event:
    agreed = sum(result.status is PromptStatus.AGREED for result in collected.results)
    return Event(
        type=kind,
        outcome="success" if code is None else "denied",
        actor=site.member_id,
        round_id=collected.round.manifest.round_id,
        peer=site.server_id,
        policy_id=site.policy.id,
        policy_digest=hex_digest(site.policy.digest),
        codes=() if code is None else (code,),
        details={
            "kind": str(collected.round.manifest.kind),
            "labels": count if code is None else 0,
            "refused": agreed - count if code is None else agreed,
            "consensus_digest": hex_digest(collected.consensus.digest),
        },
    )
