"""The experiments of `learning.py`: rosters, arms and rounds, in the order of their importance.

An experiment asks for units of work and puts them together; what is done already is read, so that the same code runs
and reports. `reading` makes a lab that does nothing: an experiment that lacks a unit raises `NotYetError` there.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product
from typing import TYPE_CHECKING, Any, NoReturn

import numpy as np
from learning_arms import ANCHORS, chosen
from learning_units import Lab, Site

from semfed_secure.client.config import ValidationSection

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from learning_tasks import Ints, Task
    from numpy.typing import NDArray

    from semfed_secure.consensus import Outcomes

    Bools = NDArray[np.bool_]

MAX_SCORE_DROP = float(ValidationSection.model_fields["max_score_drop"].default)
WAYS = ("little", "small", "noise", "dp")
FAMILIES = {"mixed": ("smollm", "gemma"), "same": ("smollm",)}
CHECKED, ALONE, HALFWAY, LONGER = " + check", ", labels only", ", halfway", ", longer"


class NotYetError(Exception):
    """A unit of work that is not done yet."""


@dataclass(frozen=True, slots=True)
class Experiment:
    """One roster of one seed, and the arms that its sites go through.

    Attributes:
        task: Its name.
        seed: Decides everything but the noise of DP.
        base: ``mixed``, two model families in turns, or ``same``, all sites of one.
        clients: How many sites there are.
        weak: Which of them are weak; none is the control.
        way: What makes them weak.
        arms: From which labels the sites learn; none: labels alone are measured.
        rounds: How many rounds are held.
    """

    task: str
    seed: int
    base: str
    clients: int
    weak: tuple[int, ...]
    way: str
    arms: tuple[str, ...]
    rounds: int = 1

    @property
    def roster(self) -> tuple[Site, ...]:
        """The sites."""
        families = FAMILIES[self.base]
        sites = []
        for number in range(self.clients):
            weakness, family = self.way if number in self.weak else "", families[number % len(families)]
            sites.append(Site(number, "small" if weakness == "small" else family, weakness))
        return tuple(sites)


FIRST = ("medoid", "ours", "ours + check", "without", "own", "random", "fedavg")
SECOND = ("ours, halfway", "anchored", "anchored + check", "anchored, halfway")
THIRD = ("ours, longer", "without, longer")
FOURTH = ("ours, labels only", "pooled", "agreement", "best")
OTHERS = ("medoid", "ours", "ours + check", "ours, halfway", "without", "anchored", "anchored, halfway", "fedavg")


def order(seeds: int) -> Iterator[Experiment]:
    """Every experiment, the most important first; what an earlier one did is not done again."""
    few, more = range(1, min(seeds, 5) + 1), range(6, seeds + 1)
    yield from _core("icd", few, FIRST)
    for seed in few:
        yield from _labels("icd", seed)
    for way in ("little", "noise", "dp", "small"):
        yield from (Experiment("icd", seed, "mixed", 5, (0,), way, THIRD) for seed in few)
    yield from _core("icd", more, FIRST + THIRD)
    for task in ("merchants", "intents"):
        yield from _core(task, few, FIRST + THIRD)
    yield from _core("icd", few, SECOND)
    for task, seed in product(("merchants", "intents"), few):
        yield from _labels(task, seed)
    for part in (_controls, _rounds, _rosters):
        for seed in few:
            yield from part(seed)
    yield from _core("icd", few, FOURTH)
    yield from _core("icd", more, SECOND + FOURTH)
    for seed in more:
        yield from _labels("icd", seed)
    for task in ("merchants", "intents"):
        yield from _core(task, few, SECOND + FOURTH)


def fast_order() -> Iterator[Experiment]:
    """Something of everything."""
    yield from (
        Experiment("merchants", 1, "mixed", 3, (0,), way, FIRST + SECOND + THIRD + FOURTH) for way in ("little", "dp")
    )
    yield Experiment("merchants", 1, "mixed", 3, (0,), "noise", ("ours + check", "fedavg"), rounds=2)
    yield Experiment("merchants", 1, "mixed", 3, (0,), "small", ())


def _core(task: str, seeds: Sequence[int], arms: tuple[str, ...]) -> Iterator[Experiment]:
    """Five sites of two families, one of them weak, in four ways."""
    for seed in seeds:
        yield from (Experiment(task, seed, "mixed", 5, (0,), way, arms) for way in WAYS)


def _controls(seed: int) -> Iterator[Experiment]:
    yield Experiment("icd", seed, "mixed", 5, (), "", OTHERS)
    yield from (Experiment("icd", seed, "same", 5, (0,), way, OTHERS) for way in WAYS)


def _rounds(seed: int) -> Iterator[Experiment]:
    arms = ("medoid", "ours", "ours + check", "own", "fedavg")
    yield from (Experiment("icd", seed, "mixed", 5, (0,), way, arms, rounds=3) for way in ("little", "noise"))


def _rosters(seed: int) -> Iterator[Experiment]:
    for clients in (3, 7):
        yield from (Experiment("icd", seed, "mixed", clients, (0,), way, OTHERS) for way in WAYS)
    yield from (Experiment("icd", seed, "mixed", 5, (0, 2), way, OTHERS) for way in ("little", "noise-map"))


def _labels(task: str, seed: int) -> Iterator[Experiment]:
    for clients in (3, 5, 7):
        yield Experiment(task, seed, "mixed", clients, (), "", ())
        for way in WAYS:
            yield Experiment(task, seed, "mixed", clients, (0,), way, ())
            yield Experiment(task, seed, "same", clients, (0,), way, ())
            yield Experiment(task, seed, "mixed", clients, (0, 1), way, ())
            alike = "noise-map" if way == "noise" else way
            yield Experiment(task, seed, "mixed", clients, (0, 2), alike, ())


def nobody(family: str) -> NoReturn:
    """In place of a learner, where nothing is to be done."""
    raise NotYetError(family)


def reading(task: Task, seed: int, work: Path) -> Lab:
    """A lab that only reads what was done."""
    return Lab(task, seed, work, nobody)


@dataclass(frozen=True, slots=True)
class Found:
    """What one experiment found.

    Attributes:
        experiment: Which.
        votes: What the sites answered in the first round, ``(sites, prompts)``; anchors are left out here and below.
        gold: The right labels of those prompts.
        labels: Per arm, what was agreed in the first round.
        support_ppm: Of the plurality's label, whatever the thresholds say.
        hits: Per arm, round by round, ``(sites, held-out phrases)`` answered right; rounds of ``base`` are one.
        known: ``(sites, held-out phrases)``: whether the site has records of the phrase's label.
    """

    experiment: Experiment
    votes: Ints
    gold: Ints
    labels: dict[str, Ints]
    support_ppm: Ints
    hits: dict[str, list[Bools]]
    known: Bools


def conduct(lab: Lab, experiment: Experiment) -> Found:
    """One experiment, from local training to the last round."""
    roster = experiment.roster
    trained = [lab.trained(site) for site in roster]
    votes = np.array([lab.votes(site) for site in roster])
    labels, plain = _agreed(lab, experiment, votes, 0)
    hits: dict[str, list[Bools]] = {}
    if experiment.arms:
        hits["base"] = [_right(lab, [lab.base(site.family) for site in roster])]
        hits["local"] = [_right(lab, trained)]
        hits["local only"] = [_right(lab, [lab.trained_on(site)[1] for site in roster])]
    for arm in experiment.arms:
        if arm == "fedavg":
            averaged = list(_averaging(lab, experiment))
            hits[arm], hits["fedavg twice"] = averaged[:-1], averaged[1:]
        elif arm == "pooled":
            pooled = {family: lab.pooled(family, roster) for family in {site.family for site in roster}}
            hits[arm] = [_right(lab, [pooled[site.family] for site in roster])]
        elif _rule(arm) in {"own", *labels}:
            hits[arm] = list(_learning(lab, experiment, arm))
    heldout = lab.task.gold[lab.split.heldout]
    missing = [lab.split.institutions[site.number].missing for site in roster]
    return Found(
        experiment=experiment,
        votes=votes[:, ANCHORS:],
        gold=lab.task.gold[lab.split.asked[0]][ANCHORS:],
        labels={arm: agreed[ANCHORS:] for arm, agreed in labels.items()},
        support_ppm=plain.support_ppm[ANCHORS:],
        hits=hits,
        known=np.array([~np.isin(heldout, lacking) for lacking in missing]),
    )


def _agreed(lab: Lab, experiment: Experiment, votes: Ints, number: int) -> tuple[dict[str, Ints], Outcomes]:
    asked = lab.split.asked[number]
    return chosen(
        votes,
        lab.task.gold[asked],
        labels=len(lab.task.labels),
        ids=asked,
        without=experiment.weak,
        rng=np.random.default_rng([experiment.seed, 4, number]),
    )


def _rule(arm: str) -> str:
    """Who chooses an arm's labels, whatever a site does with them."""
    return arm.removesuffix(CHECKED).partition(",")[0]


def _learning(lab: Lab, experiment: Experiment, arm: str) -> Iterator[Bools]:
    """Round by round: everybody answers, labels are chosen, everybody learns them, or with a check perhaps not."""
    roster, rule = experiment.roster, _rule(arm)
    names = [site.name for site in roster]
    answers = [lab.trained(site) for site in roster]
    for number in range(experiment.rounds):
        votes = np.array([lab.votes(site, name, number) for site, name in zip(roster, names, strict=True)])
        labels = {} if rule == "own" else _agreed(lab, experiment, votes, number)[0]
        for place, site in enumerate(roster):
            asked = lab.split.asked[number][ANCHORS:]
            taught = (votes[place] if rule == "own" else labels[rule])[ANCHORS:]
            rows, right = asked[taught >= 0], taught[taught >= 0]
            if not arm.endswith(ALONE):
                rows, right = _beside(lab, site, rows, right)
            name, after = lab.learnt(site, rows, right, after=names[place], more=arm.endswith(LONGER))
            if arm.endswith(HALFWAY):
                name, after = lab.averaged(site.family, [name, lab.trained_on(site)[0]], [1, 1])
            if not arm.endswith(CHECKED) or _score(lab, after) >= _score(lab, answers[place]) - MAX_SCORE_DROP:
                names[place], answers[place] = name, after
        yield _right(lab, answers)


def _beside(lab: Lab, site: Site, rows: Ints, labels: Ints) -> tuple[Ints, Ints]:
    """The labels with the site's own records, so that it keeps what it knows; after DP training no record again."""
    if site.weakness == "dp":
        return rows, labels
    own, believed = lab.records(site)
    return np.concatenate([rows, own]), np.concatenate([labels, believed])


def _averaging(lab: Lab, experiment: Experiment) -> Iterator[Bools]:
    """Federated averaging within each family, once more than there are rounds: local steps lie between two means.

    Who trained with DP sends that once, and takes the later means as they are.
    """
    roster = experiment.roster
    names = {site: site.name for site in roster}
    for number in range(experiment.rounds + 1):
        means = {}
        for family in {site.family for site in roster}:
            members = [s for s in roster if s.family == family and not (number and s.weakness == "dp")]
            counts = [len(lab.records(site)[0]) for site in members]
            if members:
                means[family] = lab.averaged(family, [names[site] for site in members], counts)
        yield _right(lab, [means.get(site.family, ("", lab.trained(site)))[1] for site in roster])
        if number < experiment.rounds:
            for site in roster:
                if site.weakness != "dp":
                    names[site] = lab.learnt(site, *lab.records(site), after=means[site.family][0])[0]


def _right(lab: Lab, answers: Sequence[dict[str, Any]]) -> Bools:
    return np.array([one["heldout"] for one in answers]) == lab.task.gold[lab.split.heldout]


def _score(lab: Lab, answers: dict[str, Any]) -> float:
    return float((np.array(answers["validation"]) == lab.task.gold[lab.split.validation]).mean())
