"""The document of `learning.py`: every group of experiments that has a finished seed, with its intervals."""

from __future__ import annotations

import json
from collections import defaultdict
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
from learning_analysis import calibration, judge, lead, mean_hits, overwritten, parts_of
from learning_experiments import LONGER, Experiment, Found, NotYetError, conduct, reading

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from pathlib import Path

    from learning_tasks import Task
    from learning_units import Lab

Document = dict[str, Any]
Key = tuple[str, str, int, tuple[int, ...], str, int]
Seeds = dict[int, Found]

BEFORE = ("base", "local", "local only")
REFERENCE = "local only"
SEEN = 5
"""Seeds up to this one were looked at before the last arms were added; the later ones confirm."""


def gather(experiments: Iterable[Experiment], tasks: Mapping[str, Task], work: Path) -> dict[Key, dict[str, Seeds]]:
    """What is finished, by group and arm; the arm ``""`` has the labels alone."""
    found: dict[Key, dict[str, Seeds]] = defaultdict(lambda: defaultdict(dict))
    labs: dict[tuple[str, int], Lab] = {}
    for one in experiments:
        if one.task not in tasks:
            continue
        place = (one.task, one.seed)
        if place not in labs:
            labs[place] = reading(tasks[one.task], one.seed, work)
        key = (one.task, one.base, one.clients, one.weak, one.way, one.rounds)
        for arm in ("", *one.arms):
            if one.seed in found[key][arm]:
                continue
            try:
                found[key][arm][one.seed] = conduct(labs[place], replace(one, arms=(arm,) if arm else ()))
            except NotYetError:
                continue
    return found


def group(key: Key, arms: Mapping[str, Seeds]) -> Document | None:
    """One group of experiments; None where no seed is finished."""
    task, base, clients, weak, way, rounds = key
    done = {name: seeds for name, seeds in _by_arm(arms).items() if seeds}
    if not arms[""]:
        return None
    document: Document = {
        "task": task,
        "models": base,
        "clients": clients,
        "weak": len(weak),
        "alike": weak == (0, 2),
        "way": way,
        "rounds": rounds,
        "labels": labels_of(arms[""], weak),
    }
    if done:
        strong = [site for site in range(clients) if site not in weak]
        document["arms"] = {name: scores(name, done, list(weak), strong) for name in done}
    return document


def later(arms: Mapping[str, Seeds]) -> dict[str, Seeds]:
    """Only the seeds that nobody had seen when the arms were settled."""
    return {name: {seed: one for seed, one in seeds.items() if seed > SEEN} for name, seeds in arms.items()}


def _by_arm(arms: Mapping[str, Seeds]) -> dict[str, Seeds]:
    """The seeds of every arm, those that every experiment has among them."""
    found: dict[str, Seeds] = defaultdict(dict)
    for arm, seeds in arms.items():
        for seed, one in seeds.items() if arm else ():
            for name in one.hits:
                found[name][seed] = one
    return found


def scores(name: str, done: Mapping[str, Seeds], weak: Sequence[int], strong: Sequence[int]) -> Document:
    """One arm: exact match round by round, and what the plan's bars are about."""
    seeds = done[name]
    numbers = sorted(seeds)
    document: Document = {"seeds": numbers, "items": sum(seeds[n].known.shape[1] for n in numbers)}
    rounds = len(seeds[numbers[0]].hits[name])
    document["exact_match"] = [
        {
            who: {part: _score(seeds, name, number, sites, part) for part in ("all", "known", "missing")}
            for who, sites in (("weak", weak), ("strong", strong))
            if sites
        }
        for number in range(rounds)
    ]
    if name in BEFORE:
        return document

    def against(sites: Sequence[int], others: Sequence[str], part: str) -> list[float] | None:
        shared = [n for n in numbers if all(n in done.get(other, {}) for other in others)]
        if not shared or not sites:
            return None
        stages = [(name, seeds), *((other, done[other]) for other in others)]
        return lead([np.stack([_items(own[n], arm, -1, sites, part) for arm, own in stages]) for n in shared])

    fair = "without, longer" if name.endswith(LONGER) else "without"
    document["minus_without"] = None if name == fair else against(strong, [fair], "all")
    document["regret_known"] = against(strong, [REFERENCE], "known")
    document["regret_all"] = against(strong, [REFERENCE], "all")
    document["gain_all"] = against(weak, BEFORE, "all")
    document["gain_known"] = against(weak, BEFORE, "known")
    if document["minus_without"] and document["regret_known"] and document["gain_all"]:
        document["bars"] = judge(document["minus_without"], document["regret_known"], document["gain_all"])
    return document


def _items(found: Found, arm: str, number: int, sites: Sequence[int], part: str) -> np.ndarray:
    hits = found.hits[arm]
    chosen = list(sites)
    return mean_hits(hits[number if len(hits) > 1 else 0][chosen], parts_of(found.known)[part][chosen])


def _score(seeds: Seeds, arm: str, number: int, sites: Sequence[int], part: str) -> float:
    return round(100 * float(np.mean([_items(one, arm, number, sites, part).mean() for one in seeds.values()])), 2)


def labels_of(seeds: Seeds, weak: Sequence[int]) -> Document:
    """The public labels of a group, before anybody learns from them: percentages are means over seeds."""
    numbers = sorted(seeds)
    first = seeds[numbers[0]]
    strong = [site for site in range(len(first.votes)) if site not in weak]
    document: Document = {"seeds": numbers, "items": sum(len(seeds[n].gold) for n in numbers)}
    share = {"weak": list(weak), "strong": strong}
    document["right_alone"] = {
        who: _percent([(one.votes[sites] == one.gold).mean() for one in seeds.values()])
        for who, sites in share.items()
        if sites
    }
    for arm in first.labels:
        agreed = [(one.labels[arm] >= 0, one.labels[arm] == one.gold, one) for one in seeds.values()]
        document[arm] = {
            "coverage": _percent([some.mean() for some, _, _ in agreed]),
            "right_of_agreed": _percent([right.sum() / max(some.sum(), 1) for some, right, _ in agreed]),
            "right_of_all": _percent([right.mean() for _, right, _ in agreed]),
            "overwritten": _percent([overwritten(o.votes[strong], o.gold, o.labels[arm]) for _, _, o in agreed]),
        }
    if weak:
        for arm in ("medoid", "ours", "agreement", "anchored"):
            pairs = [np.stack([one.labels[which] == one.gold for which in (arm, "without")]) for one in seeds.values()]
            document[arm]["right_minus_without"] = lead([pair.astype(float) for pair in pairs])
    support = np.concatenate([one.support_ppm for one in seeds.values()])
    right = np.concatenate([one.labels["medoid"] == one.gold for one in seeds.values()])
    document["support"] = calibration(support, right)
    return document


def _percent(values: Sequence[float]) -> float:
    return round(100 * float(np.mean(values)), 2)


def seconds(work: Path) -> Document:
    """Median seconds of each kind of work, wall and CPU, and how often it was done."""
    kinds: dict[str, list[list[float]]] = defaultdict(list)
    for path in sorted(work.glob("*/seed-*/*.json")):
        kinds[_kind(path.stem)].append(json.loads(path.read_text(encoding="utf-8"))["seconds"])
    return {
        kind: {
            "count": len(rows),
            "wall": float(np.median([r[0] for r in rows])),
            "cpu": float(np.median([r[1] for r in rows])),
        }
        for kind, rows in sorted(kinds.items())
    }


def _kind(name: str) -> str:
    first, _, rest = name.partition("-")
    if not first.isdigit():
        return f"{first} {rest.split('-')[0]}"
    family, weakness, *more = rest.split("-")
    if "asked" in more:
        return f"answering {family}"
    if weakness == "noise" and more[:1] == ["map"]:
        more = more[1:]
    return f"learning {family}" if more else f"local training {family}{' dp' if weakness == 'dp' else ''}"
