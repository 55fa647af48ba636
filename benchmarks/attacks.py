"""The attack grid: every strategy of `attacks_strategies.py` through the real protocol, and what each rule makes of it.

    python benchmarks/attacks.py path/to/all-minilm-l6-v2 [--fast] [--json]

Honest sites are equally good (right on 75 % of the prompts) or uneven (50 to 90 %). With ten members, four of them
liars, every strategy runs through the real protocol (`attacks_rounds.py`) in a round of votes, and those that send
something else also in a round of texts. The cells of `SIZES`, votes and texts that the real embedder compares, see the
same strategies on more seeds, and of the server only how it forms a consensus. All rules see the same admitted answers:
the vectors of the candidates, or of the texts. What exists only in the space of vectors is sent as bytes, which
admission must refuse, and given to the rules over arrays directly.

``--json`` writes the results, and the tables and the picture of ``docs/explanation/attacks.md``.
"""

from __future__ import annotations

import argparse
import json
from collections import Counter
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import attacks_page
import attacks_rules
import attacks_scenes
import numpy as np
from attacks_rounds import Meeting
from attacks_strategies import ANSWERING, SENDING, STRATEGIES, VECTORS, Duplicated, Honest, Silent, Targeted

from semfed_secure.consensus import Conduct, past_of
from semfed_secure.llm.embedding import load_embedder
from semfed_secure.server.config import RoundsSection
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import ConsensusRule

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from attacks_rounds import Held
    from attacks_scenes import Stage
    from attacks_strategies import Answers, Strategy

RESULTS = Path(__file__).parent / "results" / "attacks.json"
SIZES = ((5, 1), (5, 2), (10, 2), (10, 4))
"""Members and liars of the cells whose consensus is formed only, among even and among uneven sites."""
LARGE = (20, 9)
"""The same among even sites only, for it takes as long as the others together."""
WHOLE = (10, 4)
"""Members and liars of the cells that go through the protocol."""
PROMPTS = {"votes": 400, "text": 104}
SEEDS = {"votes": 3, "text": 2, "bars": 40}
BARS_FROM = 20
"""The bars are held on seeds from here on: thresholds were chosen on those before."""
PUBLISHED = {"min_support_ppm": 200_000, "min_margin_ppm": 1, "weights": "anchored"}
"""What the rounds are held with, and what operators with gold prompts are advised to take."""
OF_TEXTS = (Honest, Targeted, Duplicated, *SENDING, *VECTORS)
"""What goes through the protocol in rounds of texts; what only answers differently is sent in the same way."""
FORMED = (Honest, *ANSWERING, Silent)


@dataclass(frozen=True, slots=True)
class Place:
    """One cell of the grid, and one seed."""

    members: int
    liars: int
    sites: str
    seed: int


def rule_of(kind: OutputKind, **changed: Any) -> ConsensusRule:
    """The rule of a round: `PUBLISHED` unless told otherwise, and for the rest a server's defaults."""
    given, text = RoundsSection(), kind is OutputKind.TEXT
    rule = ConsensusRule(
        name="semantic_group" if text else "weighted_plurality",
        min_clients=given.min_clients,
        min_support_ppm=given.min_support_ppm,
        min_margin_ppm=given.min_margin_ppm,
        similarity_ppm=given.similarity_ppm if text else 0,
        trim_ppm=given.trim_ppm if text else 0,
        weights=given.weights,
    )
    return replace(rule, **(PUBLISHED | changed))


def rules_of(kind: OutputKind) -> dict[str, ConsensusRule]:
    """Ours, in the configurations that are compared; the last one is a server's defaults."""
    ours = {f"ours, {weights}": rule_of(kind, weights=weights) for weights in ("equal", "agreement", "anchored")}
    ours["ours, anchored, lead"] = rule_of(kind, min_margin_ppm=40_000)
    given = RoundsSection()
    defaults = {"min_support_ppm": given.min_support_ppm, "min_margin_ppm": given.min_margin_ppm}
    return ours | {"ours, defaults": rule_of(kind, **defaults, weights=given.weights)}


def cell(stage: Stage, meeting: Meeting, place: Place, kind: type[Strategy], *, whole: bool) -> dict[str, Any]:
    """One strategy in one place: how it was refused, and the figures of every rule.

    ``whole`` rounds go through the protocol; of the others only the consensus is formed.
    """
    strategy = kind()
    earlier: list[dict[str, Conduct]] = []
    for turn in range(strategy.rounds):
        scene, lying = stage.scene(place.members, place.liars, place.sites, place.seed, turn)
        lies = strategy.answers(scene)
        answers = np.empty((place.members, len(scene.truth)), np.int64)
        answers[lying], answers[np.setdiff1d(np.arange(place.members), lying)] = lies, scene.honest
        rule = rule_of(stage.questions.kind)
        given = (rule, scene, answers, lying.tolist(), strategy)
        found = meeting.hold(*given) if whole else meeting.form(*given, earlier)
        members = [meeting.names[row] for row in found.admitted]
        admitted = answers[list(found.admitted)]
        own = attacks_rules.answered(found, admitted, scene, stage.questions, rule, past_of(earlier, members))
        earlier.insert(0, {member: own.conduct[row] for row, member in enumerate(members)})
    released = compare(stage, found, own, admitted, len(lying) if strategy.counted else 0)
    scores = {name: attacks_rules.figures(each, scene, lies).tolist() for name, each in released.items()}
    return {"codes": found.codes, "raised": found.raised, "rules": scores}


def compare(
    stage: Stage, found: Held, answered: attacks_rules.Answered, admitted: Answers, liars: int
) -> dict[str, Answers]:
    """What every rule releases of the same admitted answers."""
    questions, vectors = stage.questions, None
    if questions.embedder is not None:
        vectors = np.stack([questions.embedder.embed(questions.written(row)) for row in admitted], axis=1)
    released = {
        name: attacks_rules.by_rule(name, admitted, liars, stage.vectors, own=vectors) for name in attacks_rules.RULES
    }
    released |= {name: answered.released(rule) for name, rule in rules_of(questions.kind).items()}
    said = attacks_rules.published(found, questions)
    assert (said == released["ours, anchored"]).all(), "what was published is what the same answers give here"
    return released


def through_the_protocol(stage: Stage, strategies: Sequence[type[Strategy]]) -> Iterator[dict[str, Any]]:
    """Strategies in the cell `WHOLE` among sites that are equally good, each in a federation of its own."""
    place = Place(*WHOLE, "even", 0)
    for kind in strategies:
        meeting = Meeting(WHOLE[0], stage.questions)
        try:
            found = [cell(stage, meeting, place, kind, whole=True)]
        finally:
            meeting.close()
        yield row(stage, "protocol", place, kind, found)


def formed(
    stage: Stage,
    sizes: Sequence[tuple[int, int]],
    strategies: Sequence[type[Strategy]],
    seeds: range,
    *,
    way: str = "formed",
    among: Sequence[str] = tuple(attacks_scenes.ACCURACIES),
) -> Iterator[dict[str, Any]]:
    """The consensus of every strategy in every cell."""
    for members, liars in sizes:
        meeting = Meeting(members, stage.questions)
        for sites in among:
            for kind in strategies:
                places = [Place(members, liars, sites, seed) for seed in seeds]
                found = [cell(stage, meeting, place, kind, whole=False) for place in places]
                yield row(stage, way, Place(members, liars, sites, len(seeds)), kind, found)
        meeting.close()


def row(stage: Stage, way: str, place: Place, kind: type[Strategy], found: list[dict[str, Any]]) -> dict[str, Any]:
    """The sums over the seeds, and the published consensus by seed."""
    names = found[0]["rules"]
    return {
        "kind": str(stage.questions.kind),
        "way": way,
        "members": place.members,
        "liars": place.liars,
        "sites": place.sites,
        "strategy": kind.name,
        "codes": dict(sorted(sum((each["codes"] for each in found), Counter()).items())),
        "raised": [said for each in found for said in each["raised"]],
        "rules": {name: np.sum([each["rules"][name] for each in found], axis=0).tolist() for name in names},
        "by_seed": [each["rules"]["ours, anchored"] for each in found],
    }


def arrays(stage: Stage, sizes: Sequence[tuple[int, int]], seeds: int) -> Iterator[dict[str, Any]]:
    """The rules over arrays alone, where every member sends a vector, as no round lets it."""
    attacks = (*FORMED[:-1], *VECTORS)
    for members, liars in sizes:
        for kind in attacks:
            rules: dict[str, Answers] = {}
            for seed in range(seeds):
                scene, lying = stage.scene(members, liars, "even", seed, kind.rounds - 1)
                given, lies = attacks_scenes.as_vectors(scene, kind(), np.random.default_rng([seed, members]))
                for name in attacks_rules.RULES:
                    point = attacks_rules.RULES[name](given, len(lying))
                    released = attacks_rules.nearest(point, stage.vectors)
                    rules[name] = rules.get(name, 0) + attacks_rules.figures(released, scene, lies)
            yield {
                "kind": "vectors",
                "members": members,
                "liars": liars,
                "strategy": kind.name,
                "rules": {name: each.tolist() for name, each in rules.items()},
            }


def measure(embedder: str, *, fast: bool) -> dict[str, Any]:
    """The whole grid."""
    seeds = dict.fromkeys(SEEDS, 1) if fast else SEEDS
    prompts = {kind: count // 4 if fast else count for kind, count in PROMPTS.items()}
    votes = attacks_scenes.votes(prompts["votes"])
    reading = attacks_scenes.Remembering(load_embedder(embedder))
    texts = attacks_scenes.texts(prompts["text"], reading, attacks_scenes.codes())
    rows: list[dict[str, Any]] = []
    rows += through_the_protocol(votes, STRATEGIES)
    # How they are refused; what comes of texts stands among the formed ones, on more seeds.
    rows += (each | {"rules": {}, "by_seed": []} for each in through_the_protocol(texts, OF_TEXTS))
    rows += formed(votes, SIZES, FORMED, range(seeds["votes"]))
    rows += formed(votes, (LARGE,), FORMED, range(seeds["votes"]), among=("even",))
    rows += formed(texts, (WHOLE,), FORMED, range(seeds["text"]), among=("even",))
    unseen = range(BARS_FROM, BARS_FROM + seeds["bars"])
    rows += formed(votes, (WHOLE,), (Honest, Targeted, Duplicated), unseen, way="bars")
    rows += arrays(votes, ((5, 2), WHOLE, (20, 9)), seeds["votes"])
    return described(rows, prompts, seeds)


def described(rows: list[dict[str, Any]], prompts: dict[str, int], seeds: dict[str, int]) -> dict[str, Any]:
    """The results, and what they are results of."""
    return {
        "schema": 1,
        "command": "python benchmarks/attacks.py path/to/all-minilm-l6-v2 --json",
        "prompts": prompts,
        "gold": {kind: count // attacks_scenes.GOLD_SHARE for kind, count in prompts.items()},
        "seeds": seeds,
        "bars_from_seed": BARS_FROM,
        "published": PUBLISHED,
        "similarity_ppm": RoundsSection().similarity_ppm,
        "accuracies": attacks_scenes.ACCURACIES,
        "columns": ["prompts without gold", "agreed", "right", "wrong with a liar's answer"],
        "rows": rows,
    }


def main() -> None:
    """Measure, write and print."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("embedder", help="directory of the embedder")
    parser.add_argument("--fast", action="store_true", help="one seed and a quarter of the prompts; nothing is written")
    parser.add_argument("--json", action="store_true", help="write results, tables and picture")
    arguments = parser.parse_args()
    found = measure(arguments.embedder, fast=arguments.fast)
    if arguments.json and not arguments.fast:
        attacks_page.write(found, RESULTS)
    print(attacks_page.table(found, "votes", "even"))
    print(json.dumps(attacks_page.bars(found), indent=1))


if __name__ == "__main__":
    main()
