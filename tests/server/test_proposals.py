"""Rounds of proposals at the server: what becomes a candidate, in the same bytes whoever brings it."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.clock import FixedClock
from semfed_secure.errors import ConfigurationError
from semfed_secure.ids import PromptId, RoundId, sha256
from semfed_secure.server.admission import RoundTerms
from semfed_secure.server.forming import Ballot, form_consensus
from semfed_secure.server.round import RoundState
from semfed_secure.units import OutputKind
from semfed_secure.wire.candidates import can_be_candidate
from semfed_secure.wire.messages import ConsensusRule, PromptStatus, encode_consensus, encode_payload
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.server.rounds import ROUND, consensus_of, contribute_texts
from tests.server.world import NOW, PLURALITY, SITES, WordEmbedder, World, answers, post, votes

if TYPE_CHECKING:
    from collections.abc import Mapping

PROPOSALS = ConsensusRule("proposals", 3, 0, 0, 700_000, 200_000, "equal", max_candidates=4)
SAID: Mapping[str, tuple[str | None, ...]] = {
    "bay": ("asthma of a child", "gout", None, "rash", "burn", "croup"),
    "hill": ("asthma", "gout", None, "rash all over", "cut", "croup"),
    "lake": ("bronchitis", "gout", "flu", "eczema", "bite", None),
    "moor": ("poison", "gout", "flu", "poison", "poison", None),
    "north": ("asthma", "gout", None, "  rash", "heart", "two\nlines"),
}


def formed(world: World, names: tuple[str, ...]) -> bytes:
    """The encoded consensus over the proposals of these sites, in this order of arrival."""
    terms = world.server.store.terms(ROUND)
    ballots = [Ballot(name, sha256(name.encode()), encode_payload(answers(*SAID[name]))) for name in names]
    consensus = form_consensus(
        ballots,
        RoundTerms(terms.manifest, terms.prompt_set, RoundState.CLOSED),
        commitments=[ballot.statement_digest for ballot in ballots],
        rejections={},
        log_checkpoint="none",
        embedder=WordEmbedder,
        clock=FixedClock(NOW),
    ).consensus
    return encode_consensus(consensus)


def test_who_sends_first_changes_no_byte_of_the_candidates(world: World) -> None:
    """The same proposals in any order are the same consensus."""
    world.open(kind=OutputKind.TEXT, rule=PROPOSALS)
    assert formed(world, SITES) == formed(world, SITES[::-1]) == formed(world, (*SITES[2:], *SITES[:2]))


def test_a_published_round_of_proposals_lists_meanings_and_can_be_voted_on(world: World) -> None:
    """Like texts are one candidate, what cannot be one is an abstention, and nothing tells how many stand behind it."""
    manifest = world.open(kind=OutputKind.TEXT, rule=PROPOSALS)
    contribute_texts(world, manifest, {name: answers(*said) for name, said in SAID.items()})
    world.server.advance()
    prompts, source = world.server.to_vote_on(ROUND)
    assert (source.round_id, source.prompt_set_digest) == (ROUND, manifest.prompt_set_digest)
    shared = ("heart", "lung", "skin", "eye")
    listed = {prompt.id: prompt.candidates[4:] for prompt in prompts.prompts}
    assert all(prompt.candidates[:4] == shared for prompt in prompts.prompts)
    meanings = {prompt_id: {text.split()[0] for text in found} for prompt_id, found in listed.items()}
    assert meanings == {
        "p0": {"asthma", "bronchitis", "poison"},
        "p1": {"gout"},
        "p2": set(),
        "p3": {"rash", "eczema", "poison"},
        "p4": {"burn", "cut", "bite", "poison"},  # `heart` is a candidate already
        "p5": set(),
    }
    (results,) = consensus_of(world).results
    assert {(result.support_ppm, result.margin_ppm, result.label) for result in results} == {(0, 0, None)}
    assert {result.status for result in results} == {PromptStatus.PROPOSED, PromptStatus.TOO_FEW}
    (report,) = world.server.status(ROUND)["report"]["groups"]
    assert (report["agreed"], report["contested"], report["too_few"]) == (0, 4, 2)
    published = next(event for kind, event in world.entries() if kind == "consensus.published")
    assert (published.details["agreed"], published.details["contested"]) == (0, 4)


def test_where_nothing_has_two_candidates_there_is_nothing_to_vote_on(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SF104, and for a round that formed labels too."""
    bare = PromptSet("bare", (Prompt(PromptId("p0"), "phrase"),))
    monkeypatch.setattr("tests.server.world.PROMPTS", bare)
    for name, rule in (("alone", {"rule": PROPOSALS}), ("labels", {})):
        manifest = world.open(name, kind=OutputKind.TEXT, **rule)
        contribute_texts(world, manifest, {site: answers("gout") for site in SITES[:3]})
        world.server.advance()
        with pytest.raises(ConfigurationError, match="SF104"):
            world.server.to_vote_on(RoundId(name))


def test_to_propose_otherwise_than_the_others_costs_no_weight_in_the_vote(world: World) -> None:
    """What is asked for is no misconduct: the next round does not remember it."""
    manifest = world.open(kind=OutputKind.TEXT, rule=PROPOSALS)
    same = dict.fromkeys(SITES[:4], answers(*["gout"] * 6))
    contribute_texts(world, manifest, same | {SITES[4]: answers(*["asthma"] * 6)})
    world.server.advance()
    world.clock.advance(1)
    later = RoundId("later")
    manifest = world.open(later, rule=replace(PLURALITY, weights="agreement"))
    for name in SITES:
        assert world.server.receive(later, post(name, manifest, votes())).admitted
    world.server.advance()
    report: Any = world.server.status(later)["report"]
    assert {client["weight_ppm"] for client in report["groups"][0]["clients"]} == {1_000_000}
    assert report["remembers"] == []


@pytest.mark.parametrize(
    ("prompts", "own", "most", "opens"),
    [(3, 4, 64, True), (3, 1_000, 2, False), (20_000, 0, 4, True), (20_000, 0, 8, False), (20_000, 100, 2, False)],
    ids=["small", "too many labels", "large", "too many bytes", "too many labels in all"],
)
def test_proposals_that_could_never_be_voted_on_open_no_round(
    world: World, monkeypatch: pytest.MonkeyPatch, prompts: int, own: int, most: int, *, opens: bool
) -> None:
    """SF105 before anybody pays, not after long proposals have made a set that the wire does not carry."""
    asked = PromptSet(
        "wide", tuple(Prompt(PromptId(f"p{n}"), "phrase") for n in range(prompts)), tuple(f"c{n}" for n in range(own))
    )
    monkeypatch.setattr("tests.server.world.PROMPTS", asked)
    if opens:
        world.open(kind=OutputKind.TEXT, rule=replace(PROPOSALS, max_candidates=most))
        return
    with pytest.raises(ConfigurationError, match="SF105"):
        world.open(kind=OutputKind.TEXT, rule=replace(PROPOSALS, max_candidates=most))


@pytest.mark.parametrize(
    ("text", "fits"),
    [
        ("chest pain", True),
        ("x" * 512, True),
        ("x" * 513, False),
        ("é" * 257, False),
        ("two  blanks", False),
        ("two\nlines", False),
        (" before", False),
        ("hid\u202eden", False),
        ("gout\ufe0f", False),
        ("gout\u3164", False),
        ("go\u034fut", False),
        ("goût", True),
        ("HEART", False),
        ("", False),
    ],
)
def test_a_candidate_is_short_on_one_line_and_new(text: str, fits: bool) -> None:
    """Nothing that a voter's model or a reader could take for another candidate."""
    assert can_be_candidate(text, beside=("heart",)) is fits
