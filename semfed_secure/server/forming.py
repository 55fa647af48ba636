"""From admitted payloads to the consensus message and the round report; no I/O but the embedder's."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import pairwise
from types import MappingProxyType
from typing import TYPE_CHECKING

import numpy as np

from semfed_secure.audit.merkle import root_over
from semfed_secure.consensus import (
    ABSTAIN,
    Outcomes,
    RoundReport,
    Status,
    TextAnswers,
    Vocabulary,
    Votes,
    anchor_counts,
    candidates,
    evaluate,
    past_of,
    round_report,
    tie_seed,
)
from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.ids import Digest
from semfed_secure.server.proposals import as_proposals, proposed_results
from semfed_secure.server.sharding import here
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import Consensus, PromptResult, PromptStatus, parse_payload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from datetime import datetime

    from semfed_secure.clock import Clock
    from semfed_secure.consensus import ClientWeights, Conduct
    from semfed_secure.server.admission import RoundTerms
    from semfed_secure.server.embedder import Embedder
    from semfed_secure.server.sharding import RoundRunner
    from semfed_secure.wire.messages import Payload, RoundManifest
    from semfed_secure.wire.prompts import PromptSet


@dataclass(frozen=True, slots=True)
class Ballot:
    """One admitted contribution, as far as the consensus needs it."""

    member: str
    statement_digest: bytes
    payload: bytes


@dataclass(frozen=True, slots=True)
class Formed:
    """A consensus, not yet signed, how each group's came to be, and the seconds that each phase took."""

    consensus: Consensus
    reports: tuple[RoundReport, ...]
    seconds: Mapping[str, float]


@dataclass(frozen=True, slots=True)
class _Part:
    """What one group's answers alone, or everybody's, come to; ``times`` are when its phases began and ended."""

    results: tuple[PromptResult, ...]
    report: RoundReport
    times: tuple[datetime, ...]


def form_consensus(
    ballots: Sequence[Ballot],
    terms: RoundTerms,
    *,
    commitments: Sequence[bytes] | None,
    rejections: Mapping[str, int],
    log_checkpoint: str,
    embedder: Callable[[], Embedder] | None,
    clock: Clock,
    gold: Mapping[str, str] = MappingProxyType({}),
    earlier: Sequence[Mapping[str, Conduct]] = (),
    runner: RoundRunner | None = None,
) -> Formed:
    """Form the consensus of a round, in each of its groups apart.

    The same ballots in any order give the same results and the same batch root; the message names no member. What a
    group's results are follows from its own members' ballots, and from what ties are broken by, alone.

    Args:
        ballots: The admitted contributions.
        terms: The round's terms.
        commitments: Digests of all statements that the round was committed to; None where nothing was committed to
            first, and the ballots are all there is.
        rejections: Refused contributions by code.
        log_checkpoint: The head of the server's log.
        embedder: Loads the embedder that the manifest pins; called for ``text`` only.
        clock: For the seconds; nothing else depends on it.
        gold: The right answers by id of their prompts, which only this server knows.
        earlier: How members fared in earlier rounds, the newest first.
        runner: Who does the work; this process where nobody is named.

    Raises:
        ConfigurationError: ``SF101`` a text round, and no embedder is configured.
        IntegrityError: ``SF521`` the embedder is not the one that the manifest pins; ``SF531`` gold prompts are to
            weigh, and there are none.
    """
    manifest = terms.manifest
    if manifest.rule.weights == "anchored" and not gold:
        raise IntegrityError("SF531", "the gold prompts that are to weigh were expected, and are gone")
    batch = batch_root([ballot.statement_digest for ballot in ballots])
    root = batch if commitments is None else batch_root(commitments)
    seed = tie_seed(manifest.nonce, root)
    cast = cast_by_group(ballots, manifest)
    parts = [_form(own, terms, seed, embedder, clock, gold, earlier, runner or here()) for own in cast]
    consensus = Consensus(
        manifest_digest=manifest.digest,
        round_id=manifest.round_id,
        results=tuple(part.results for part in parts),
        batch_root=batch,
        commitments_root=root,
        admitted_counts=tuple(map(len, cast)),
        rejections=tuple(sorted(rejections.items())),
        log_checkpoint=log_checkpoint,
    )
    spent = [[(after - before).total_seconds() for before, after in pairwise(part.times)] for part in parts]
    seconds = dict(zip(("embed", "consensus", "influence"), map(sum, zip(*spent, strict=True)), strict=True))
    return Formed(consensus, tuple(part.report for part in parts), seconds)


def cast_by_group(ballots: Sequence[Ballot], manifest: RoundManifest) -> list[list[Ballot]]:
    """The ballots of each group, in the manifest's order, and in it by member.

    Raises:
        IntegrityError: ``SF531`` a ballot is of a member in no group.
    """
    cast: list[list[Ballot]] = [[] for _ in range(manifest.consensuses)]
    for ballot in sorted(ballots, key=lambda ballot: ballot.member):
        place = manifest.place_of(ballot.member)
        if place is None:
            raise IntegrityError("SF531", f"ballots of the round's groups were expected, {ballot.member} is in none")
        cast[place].append(ballot)
    return cast


def _form(
    ballots: Sequence[Ballot],
    terms: RoundTerms,
    seed: Digest,
    embedder: Callable[[], Embedder] | None,
    clock: Clock,
    gold: Mapping[str, str],
    earlier: Sequence[Mapping[str, Conduct]],
    runner: RoundRunner,
) -> _Part:
    """One consensus; nothing of another group's answers is looked at, not even to embed texts together."""
    members, rule = [ballot.member for ballot in ballots], terms.manifest.rule
    prompt_ids = tuple(prompt.id for prompt in terms.prompt_set.prompts)
    times = [clock.now()]
    evidence = _evidence(_payloads(ballots, terms), terms, prompt_ids, seed, embedder, gold, runner)
    times.append(clock.now())
    anchors = anchor_counts(evidence, _gold_answers(evidence, terms.prompt_set, gold)) if gold else None
    outcomes, weights = evaluate(evidence, rule, anchors=anchors, past=past_of(earlier, members), runner=runner)
    results = _published(evidence, outcomes, weights, terms, seed)
    times.append(clock.now())
    report = round_report(evidence, outcomes, weights, rule=rule, members=members, prompt_ids=prompt_ids, runner=runner)
    return _Part(results, report, (*times, clock.now()))


def _payloads(ballots: Sequence[Ballot], terms: RoundTerms) -> list[Payload]:
    payloads = [parse_payload(ballot.payload) for ballot in ballots]
    if terms.manifest.rule.name == "proposals":
        return [as_proposals(payload, terms.prompt_set) for payload in payloads]
    return payloads


def batch_root(statement_digests: Sequence[bytes]) -> Digest:
    """RFC 6962 root over statement digests in ascending order: commits to them all, tells no member."""
    return Digest(root_over(sorted(statement_digests)))


def _evidence(
    payloads: Sequence[Payload],
    terms: RoundTerms,
    prompt_ids: tuple[str, ...],
    seed: Digest,
    embedder: Callable[[], Embedder] | None,
    gold: Mapping[str, str],
    runner: RoundRunner,
) -> Votes | TextAnswers:
    manifest, prompt_set = terms.manifest, terms.prompt_set
    if manifest.kind is OutputKind.VOTES:
        answers = np.array([payload.votes for payload in payloads], np.int64).reshape(len(payloads), len(prompt_ids))
        counts = np.array([len(prompt_set.candidates_of(prompt)) for prompt in prompt_set.prompts], np.int64)
        return Votes(answers, counts, prompt_ids, seed)
    given = {text for payload in payloads for text in payload.texts if text is not None}
    texts = tuple(sorted(given | set(gold.values())))
    vectors = _embed(texts, manifest, embedder, runner)
    vocabulary = Vocabulary(texts, vectors, manifest.rule.similarity_ppm)
    rows = [payload.texts for payload in payloads]
    return runner.text_answers(rows, vocabulary, prompt_ids=prompt_ids, nonce=seed)


def _gold_answers(evidence: Votes | TextAnswers, prompt_set: PromptSet, gold: Mapping[str, str]) -> dict[int, int]:
    """The gold answer of each gold prompt, by their places, as the evidence numbers answers."""
    places = {str(prompt.id): place for place, prompt in enumerate(prompt_set.prompts)}
    if isinstance(evidence, TextAnswers):
        entries = {text: entry for entry, text in enumerate(evidence.vocabulary.texts)}
        return {places[prompt_id]: entries[answer] for prompt_id, answer in gold.items()}
    choices = [prompt_set.candidates_of(prompt) for prompt in prompt_set.prompts]
    return {places[prompt_id]: choices[places[prompt_id]].index(answer) for prompt_id, answer in gold.items()}


def _embed(
    texts: Sequence[str], manifest: RoundManifest, embedder: Callable[[], Embedder] | None, runner: RoundRunner
) -> np.ndarray[tuple[int, int], np.dtype[np.float32]]:
    if embedder is None or manifest.embedder is None:
        raise ConfigurationError("SF101", "a text round needs [embedder] in the server file")
    model = embedder()
    if (model.weights_digest, model.dimension) != (manifest.embedder.weights_digest, manifest.embedder.dimension):
        raise IntegrityError("SF521", "the embedder that the round's manifest pins was expected, found another")
    return runner.embed(model, texts)


def _labels(evidence: Votes | TextAnswers, prompt_set: PromptSet) -> Callable[[int, int], str]:
    if isinstance(evidence, TextAnswers):
        texts = evidence.vocabulary.texts
        return lambda _prompt, entry: texts[entry]
    choices = [prompt_set.candidates_of(prompt) for prompt in prompt_set.prompts]
    return lambda prompt, vote: choices[prompt][vote]


def _published(
    evidence: Votes | TextAnswers, outcomes: Outcomes, weights: ClientWeights, terms: RoundTerms, seed: Digest
) -> tuple[PromptResult, ...]:
    rule, prompts = terms.manifest.rule, terms.prompt_set.prompts
    if isinstance(evidence, TextAnswers) and rule.name == "proposals":
        prompt_ids = tuple(prompt.id for prompt in prompts)
        return proposed_results(candidates(evidence, weights.weight_ppm, rule=rule, nonce=seed, prompt_ids=prompt_ids))
    return _results(outcomes, _labels(evidence, terms.prompt_set))


def _results(outcomes: Outcomes, label_of: Callable[[int, int], str]) -> tuple[PromptResult, ...]:
    columns = (outcomes.status, outcomes.label, outcomes.support_ppm, outcomes.margin_ppm)
    rows = zip(*(column.tolist() for column in columns), strict=True)
    return tuple(
        PromptResult(
            status=PromptStatus(Status(status).name.lower()),
            label=None if label == ABSTAIN else label_of(prompt, label),
            support_ppm=support,
            margin_ppm=margin,
        )
        for prompt, (status, label, support, margin) in enumerate(rows)
    )
