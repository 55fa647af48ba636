"""Gold prompts of a round: committed to before any answer, hidden from clients, and what the weights follow."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.errors import ConfigurationError, IntegrityError
from semfed_secure.ids import RoundId
from semfed_secure.server.anchors import answers_in, read_anchors
from semfed_secure.storage import pin_rows
from semfed_secure.storage.schema import pin
from semfed_secure.units import OutputKind
from tests.server.rounds import ROUND, consensus_of, contribute_texts
from tests.server.world import PLURALITY, SEMANTIC, SITES, World, answers, post, votes

if TYPE_CHECKING:
    from pathlib import Path

GOLD = {"p0": "heart", "p1": "lung", "p2": "skin", "p3": "eye", "p4": "heart"}
ANCHORED = replace(PLURALITY, weights="anchored")


def _report(world: World, round_id: RoundId = ROUND) -> Any:
    (report,) = world.server.status(round_id)["report"]["groups"]
    return report


def _two_good_and_three_that_share_their_errors(world: World, **plan: Any) -> None:
    manifest = world.open(gold=GOLD, **plan)
    for name in SITES:
        answer = votes() if name in ("bay", "hill") else votes(1, 2, 3, 0, 1, 2)
        assert world.server.receive(ROUND, post(name, manifest, answer)).admitted
    world.server.advance()


def test_gold_prompts_let_two_that_know_outweigh_three_that_do_not(world: World) -> None:
    """The prompt that is no gold prompt follows them too, and the report says why in words and figures."""
    _two_good_and_three_that_share_their_errors(world, rule=ANCHORED)
    assert [result.label for result in consensus_of(world).results[0]][-1] == "lung"
    report = _report(world)
    clients = {client["member"]: client for client in report["clients"]}
    assert report["weights"] == "anchored"
    assert report["anchors"] == 5
    assert (clients["bay"]["anchors_right"], clients["bay"]["anchors_seen"]) == (5, 5)
    assert clients["bay"]["weight_ppm"] == clients["hill"]["weight_ppm"] > 2 * clients["moor"]["weight_ppm"]
    assert "answered 5 of 5 rightly" in clients["bay"]["why"]
    assert "cut to the cap, 0.3" in clients["bay"]["why"]
    assert {other["weights"]: other["changed"] for other in report["other_weights"]} == {"equal": 6, "agreement": 6}


def test_gold_prompts_only_observe_where_the_rule_does_not_let_them_weigh(world: World) -> None:
    """Equal weights decide; the report says what gold prompts would have changed."""
    _two_good_and_three_that_share_their_errors(world)
    assert [result.label for result in consensus_of(world).results[0]][-1] == "skin"
    report = _report(world)
    assert {client["weight_ppm"] for client in report["clients"]} == {1_000_000}
    assert {other["weights"]: other["changed"] for other in report["other_weights"]} == {"agreement": 0, "anchored": 6}


def test_a_text_is_held_against_the_gold_text_by_meaning(world: World) -> None:
    """Another wording counts as right; the gold text itself is never released unless a site gave it."""
    manifest = world.open(
        kind=OutputKind.TEXT, rule=replace(SEMANTIC, weights="anchored"), gold={"p0": "asthma severe"}
    )
    rows = dict.fromkeys(SITES[:4], "asthma attack") | {"north": "poison"}
    contribute_texts(world, manifest, {name: answers(text, *[text] * 5) for name, text in rows.items()})
    world.server.advance()
    right = {client["member"]: client["anchors_right"] for client in _report(world)["clients"]}
    assert right == dict.fromkeys(SITES[:4], 1) | {"north": 0}
    assert {result.label for result in consensus_of(world).results[0]} == {"asthma attack"}


def test_the_log_commits_to_the_gold_prompts_before_any_answer_and_an_auditor_can_check_it(world: World) -> None:
    """The text that is shown has the digest of the opening's entry, and two rounds of the same gold differ by salt."""
    manifest = world.open(rule=ANCHORED, gold=GOLD)
    opened = next(event for kind, event in world.entries() if kind == "round.opened")
    text = world.server.gold(ROUND)
    assert text is not None
    assert opened.details["anchors_digest"] == "sha256:" + hashlib.sha256(text).hexdigest()
    assert opened.details["anchors"] == 5
    assert answers_in(text) == GOLD
    world.open("round-2", rule=ANCHORED, gold=GOLD)
    assert world.server.gold(RoundId("round-2")) != text
    assert world.server.gold(RoundId("round-3")) is None
    assert manifest.rule.weights == "anchored"


def test_no_message_of_the_round_tells_which_prompts_are_gold(world: World) -> None:
    """Manifest, prompt set, receipts and consensus are those of a round without gold, but for the rule's one word."""
    _two_good_and_three_that_share_their_errors(world, rule=ANCHORED)
    text = world.server.gold(ROUND)
    assert text is not None
    row = world.server.store.row(ROUND)
    for sent in (row.manifest, row.prompt_set, world.server.consensus(ROUND)):
        assert text.splitlines()[0] not in sent
        assert hashlib.sha256(text).digest() not in sent
    assert len({result.status for result in consensus_of(world).results[0]}) == 1


def test_gold_prompts_that_were_changed_afterwards_stop_the_round(world: World) -> None:
    """What the database holds must be what the log committed to."""
    world.open(rule=ANCHORED, gold=GOLD)
    name = f"anchors/{ROUND}"
    with world.database.transaction() as tx:
        kept = pin_rows.read_pin(tx, name)
        assert kept is not None
        assert pin_rows.replace_pin(tx, name, expected=kept, value=kept.replace(b"heart", b"lungs"))
    with pytest.raises(IntegrityError, match="SF531"):
        world.server.gold(ROUND)


def test_gold_prompts_that_were_deleted_leave_no_round_of_equal_weights(world: World) -> None:
    """The manifest says what weighs: nothing is published where it is gone."""
    manifest = world.open(gold=GOLD, rule=ANCHORED)
    with world.database.transaction() as tx:
        tx.connection.execute(pin.delete().where(pin.c.name == f"anchors/{ROUND}"))
    for name in SITES:
        assert world.server.receive(ROUND, post(name, manifest, votes())).admitted
    for _ in range(3):
        world.server.advance()
        world.clock.advance(60)
    head = world.server.store.head(ROUND)
    assert (head.state, "SF531" in (head.reason or "")) == ("aborted", True)


@pytest.mark.parametrize(
    ("gold", "code"),
    [({}, "SF105"), ({"p9": "heart"}, "SF104"), ({"p0": "liver"}, "SF104")],
    ids=["none", "of no prompt", "no candidate"],
)
def test_gold_that_cannot_weigh_opens_no_round(world: World, gold: dict[str, str], code: str) -> None:
    """Nothing is announced."""
    with pytest.raises(ConfigurationError, match=code):
        world.open(rule=ANCHORED, gold=gold)
    assert world.events() == []


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ('{"id": "p0"}\n', "SF104"),
        ('{"id": "p0", "answer": 3}\n', "SF104"),
        ('{"id": "p0", "answer": "a"}\n{"id": "p0", "answer": "b"}\n', "SF104"),
        ("[" * 100_000, "SF104"),
        ("\n", "SF105"),
    ],
)
def test_a_damaged_file_of_gold_prompts_is_refused(tmp_path: Path, text: str, code: str) -> None:
    """With a code, and never half read."""
    path = tmp_path / "gold.jsonl"
    path.write_text(text)
    with pytest.raises(ConfigurationError, match=code):
        read_anchors(path)


def test_a_file_of_gold_prompts_is_read_by_id(tmp_path: Path) -> None:
    """One object a line; blank lines do not count."""
    path = tmp_path / "gold.jsonl"
    path.write_text("\n".join(json.dumps({"id": prompt, "answer": answer}) for prompt, answer in GOLD.items()) + "\n\n")
    assert read_anchors(path) == GOLD
    with pytest.raises(ConfigurationError, match="SF102"):
        read_anchors(tmp_path / "none")
