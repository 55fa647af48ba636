"""The attack grid in small: every strategy once through the real protocol, and the bars that it is held to."""

from __future__ import annotations

from typing import TYPE_CHECKING

import attacks
import attacks_page
import attacks_scenes
import numpy as np
import pytest
from attacks_rounds import Meeting
from attacks_strategies import ANSWERING, SENDING, STRATEGIES, VECTORS, Duplicated, Honest, Targeted

from semfed_secure.ids import sha256
from semfed_secure.units import OutputKind

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from attacks_scenes import Stage
    from attacks_strategies import Strategy

MEMBERS, LIARS = 4, 1
SYLLABLES = ("ba", "co", "di", "fu", "ga", "he", "jo", "ki", "lu", "ma")


class FirstWords:
    """Texts with the same first word lie near each other."""

    name, weights_digest, dimension = "first-words", sha256(b"first words"), 64

    def embed(self, texts: Sequence[str]) -> np.ndarray:
        """A direction of the first word, bent a little by all of them."""
        rows = [self._direction(text.split()[0]) + 0.3 * self._direction(text) for text in texts]
        return np.array([row / np.linalg.norm(row) for row in rows], np.float32)

    def _direction(self, text: str) -> np.ndarray:
        row = np.random.default_rng(list(text.encode())).standard_normal(self.dimension)
        return row / np.linalg.norm(row)


@pytest.fixture(scope="module")
def stages() -> dict[str, Stage]:
    """Few prompts of each kind."""
    words = [first + second for first in SYLLABLES for second in SYLLABLES]
    field = ("field", [(word, f"{word} it is", f"{word} most likely") for word in words])
    return {"votes": attacks_scenes.votes(48), "text": attacks_scenes.texts(24, FirstWords(), [field])}


@pytest.fixture(scope="module")
def meetings(stages: dict[str, Stage]) -> Iterator[dict[str, Meeting]]:
    """One federation for the rounds of each kind."""
    held = {kind: Meeting(MEMBERS, stage.questions) for kind, stage in stages.items()}
    yield held
    for meeting in held.values():
        meeting.close()


CASES = [
    *(pytest.param("votes", strategy, id=f"votes-{strategy.name}") for strategy in STRATEGIES),
    *(pytest.param("text", strategy, id=f"text-{strategy.name}") for strategy in (Honest, *SENDING, *VECTORS)),
]


@pytest.mark.parametrize(("kind", "strategy"), CASES)
def test_what_liars_send_is_counted_or_refused_and_raises_nothing(
    stages: dict[str, Stage], meetings: dict[str, Meeting], kind: str, strategy: type[Strategy]
) -> None:
    """An honest site verifies the consensus of each round; exactly the codes of the table are given."""
    scene, liars = stages[kind].scene(MEMBERS, LIARS, "even", 1, strategy.rounds - 1)
    answers = np.empty((MEMBERS, len(scene.truth)), np.int64)
    answers[liars], answers[np.setdiff1d(np.arange(MEMBERS), liars)] = strategy().answers(scene), scene.honest
    rule = attacks.rule_of(OutputKind(kind))
    found = meetings[kind].hold(rule, scene, answers, liars.tolist(), strategy())
    assert found.raised == ()
    assert set(found.codes) == strategy.codes[kind]
    assert found.consensus is not None
    assert found.consensus.admitted_count == MEMBERS - LIARS * (not strategy.counted)


@pytest.fixture(scope="module")
def stage() -> Stage:
    """As many prompts as the bars need."""
    return attacks_scenes.votes(400)


def test_four_poisoners_of_ten_decide_at_most_one_prompt_of_a_hundred(stage: Stage) -> None:
    """Through the whole protocol, weighed by gold prompts, on prompts that are no gold ones."""
    (row,) = attacks.through_the_protocol(stage, [Targeted])
    prompts, agreed, _, lied = row["rules"]["ours, anchored"]
    assert lied <= prompts // 100
    assert agreed >= 0.6 * prompts
    assert row["rules"]["medoid"][3] > 0.2 * prompts  # the attack is none that any rule would stand


def test_the_bars_are_held_by_the_recommended_configuration(stage: Stage) -> None:
    """Accuracy stays within two points of the run without liars; that one agrees on what the medoid gets right."""
    strategies = (Honest, Targeted, Duplicated)
    rows = list(attacks.formed(stage, (attacks.WHOLE,), strategies, range(2), way="bars"))
    found = attacks_page.bars({"rows": rows, "accuracies": attacks_scenes.ACCURACIES})["even"]["ours, anchored"]
    assert found["right"] >= found["right by the medoid"]
    for name in ("targeted", "duplicated"):
        assert found[name]["lied"] <= 1.0
        assert found[name]["coverage"] >= 60.0
        assert found[name]["points lost"] <= 2.0


def test_a_sleeper_is_weighed_by_what_it_does_now(stage: Stage) -> None:
    """Two honest rounds buy no prompt of the third."""
    (sleeper,) = (strategy for strategy in ANSWERING if strategy.name == "sleeper")
    (row, *_) = attacks.formed(stage, (attacks.WHOLE,), [sleeper], range(1))
    prompts, _, _, lied = row["rules"]["ours, anchored"]
    assert lied <= prompts // 100


def test_the_page_is_made_from_the_results(tmp_path: Path) -> None:
    """The tables between the marks of the page, and the file of results, are what is written from those results."""
    page, results = tmp_path / "attacks.md", tmp_path / "attacks.json"
    page.write_bytes(attacks_page.PAGE.read_bytes())
    attacks_page.write(attacks_page.read(), results, page)
    assert page.read_text(encoding="utf-8") == attacks_page.PAGE.read_text(encoding="utf-8")
    assert results.read_text(encoding="utf-8") == attacks_page.RESULTS.read_text(encoding="utf-8")
