"""Groups of one round: each forms its consensus from its own answers alone, and nobody chooses where to vote."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.clock import FixedClock
from semfed_secure.consensus.sharding import InTurn
from semfed_secure.errors import ConfigurationError, ConsensusError, IntegrityError
from semfed_secure.ids import MemberId, PromptId, sha256
from semfed_secure.server.admission import RoundTerms
from semfed_secure.server.forming import Ballot, Formed, form_consensus
from semfed_secure.server.round import RoundState
from semfed_secure.server.sharding import RoundRunner
from semfed_secure.units import OutputKind
from semfed_secure.wire.messages import Group, PromptStatus, encode_payload
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.server.judging import TEXT, VOTES, manifest_of
from tests.server.rounds import ROUND, consensus_of
from tests.server.world import (
    CANDIDATES,
    NOW,
    PLURALITY,
    SITES,
    WordEmbedder,
    World,
    answers,
    post,
    roster_file,
    votes,
)

if TYPE_CHECKING:
    from collections.abc import Mapping

    from semfed_secure.wire.messages import Payload, PromptResult

BANKS = ("alpha", "beta", "gamma", "delta")
CLINICS = ("bay", "hill", "lake", "moor")
PROMPTS = PromptSet("words", tuple(Prompt(PromptId(f"p{n}"), f"word {n}") for n in range(3)), CANDIDATES)
GOLD = {"p0": "heart", "p2": "skin"}
WORDS = ("heart ache", "heart pain", "lung", "skin rash", "skin")


def groups(**named: tuple[str, ...]) -> tuple[Group, ...]:
    """Groups by name."""
    return tuple(Group(name, tuple(map(MemberId, sorted(named[name])))) for name in sorted(named))


def formed(
    kind: OutputKind, weights: Any, said: Mapping[str, Payload], grouped: tuple[Group, ...], *, shard: int = 64
) -> Formed:
    """What comes out of these answers; ties are broken the same way whoever answers."""
    of_kind = manifest_of(VOTES if kind is OutputKind.VOTES else TEXT)
    rule = replace(of_kind.rule, min_clients=2, weights=weights)
    manifest = replace(of_kind, rule=rule, prompt_count=3, prompt_set_digest=PROMPTS.digest, groups=grouped)
    return form_consensus(
        [Ballot(name, sha256(name.encode()), encode_payload(payload)) for name, payload in said.items()],
        RoundTerms(manifest, PROMPTS, RoundState.CLOSED),
        commitments=[sha256(b"what was committed to")],
        rejections={},
        log_checkpoint="none",
        embedder=WordEmbedder,
        clock=FixedClock(NOW),
        gold=GOLD,
        runner=RoundRunner(InTurn(), shard),
    )


def answered(kind: OutputKind, members: tuple[str, ...]) -> st.SearchStrategy[dict[str, Payload]]:
    """What some of these members say."""
    if kind is OutputKind.VOTES:
        one = st.tuples(*[st.integers(-1, 3)] * 3).map(lambda chosen: votes(*chosen))
    else:
        one = st.tuples(*[st.none() | st.sampled_from(WORDS)] * 3).map(lambda given: answers(*given))
    return st.dictionaries(st.sampled_from(members), one)


@pytest.mark.parametrize("kind", [OutputKind.VOTES, OutputKind.TEXT])
@settings(max_examples=40, deadline=None)
@given(data=st.data(), weights=st.sampled_from(["equal", "agreement", "anchored"]))
def test_a_group_has_the_results_of_a_round_of_its_members_alone(kind: OutputKind, data: Any, weights: str) -> None:
    """Results, support, margins, weights and influence are those of its own answers, whatever the others say.

    In shards of one prompt they are the same.
    """
    own, others = data.draw(answered(kind, CLINICS)), data.draw(answered(kind, BANKS))
    both = formed(kind, weights, others | own, groups(finance=BANKS, healthcare=CLINICS))
    alone = formed(kind, weights, own, ())
    assert both.consensus.results[1] == alone.consensus.results[0]
    assert both.reports[1] == alone.reports[0]
    assert both.consensus.admitted_counts == (len(others), len(own))
    divided = formed(kind, weights, others | own, groups(finance=BANKS, healthcare=CLINICS), shard=1)
    assert (divided.consensus, divided.reports) == (both.consensus, both.reports)


def results_of(world: World) -> list[list[PromptResult]]:
    """Of each group."""
    return [list(results) for results in consensus_of(world).results]


def held(world: World, name: str = "round-1", *, silent: tuple[str, ...] = (), **changes: Any) -> None:
    """A round of two groups with opposite right answers; those who are ``silent`` send nothing."""
    grouped = groups(finance=("bay", "hill"), healthcare=("lake", "moor", "north"))
    manifest = world.open(name, groups=grouped, rule=replace(PLURALITY, min_clients=2), **changes)
    for site in SITES:
        if site not in silent:
            payload = votes() if site in ("bay", "hill") else votes(1, 2, 3, 0, 1, 2)
            assert world.server.receive(manifest.round_id, post(site, manifest, payload)).admitted
    if silent:
        world.server.close_round(manifest.round_id)
    world.server.advance()


def test_two_groups_agree_on_opposite_labels_of_the_same_prompts(world: World) -> None:
    """The status, the report and the log say what came of each; the members' conduct is remembered by name."""
    held(world)
    labels = [[result.label for result in results] for results in results_of(world)]
    assert labels == [
        ["heart", "lung", "skin", "eye", "heart", "lung"],
        ["lung", "skin", "eye", "heart", "lung", "skin"],
    ]
    assert {result.support_ppm for results in results_of(world) for result in results} == {1_000_000}
    status: Any = world.server.status(ROUND)
    assert status["groups"] == {"finance": ["bay", "hill"], "healthcare": ["lake", "moor", "north"]}
    reports = status["report"]["groups"]
    assert [(report["group"], report["agreed"]) for report in reports] == [("finance", 6), ("healthcare", 6)]
    assert [[client["member"] for client in report["clients"]] for report in reports] == list(status["groups"].values())
    events = dict(world.entries())
    assert events["round.opened"].details["groups"] == ["finance", "healthcare"]
    published = events["consensus.published"].details
    assert (published["agreed"], published["admitted"]) == (12, 5)


def test_how_members_fared_in_any_group_counts_in_the_next_round(world: World) -> None:
    """Also where they stand in other groups then, or in none."""
    gold = {f"p{n}": label for n, label in enumerate(("lung", "skin", "eye", "heart"))}
    held(world, gold=gold)
    manifest = world.open("round-2", rule=replace(PLURALITY, weights="anchored"), gold=gold)
    for site in SITES:
        assert world.server.receive(manifest.round_id, post(site, manifest, votes(1, 2, 3, 0, 1, 2))).admitted
    world.server.advance()
    report: Any = world.server.status(manifest.round_id)["report"]
    assert report["remembers"] == ["round-1"]
    weights = {client["member"]: client["weight_ppm"] for client in report["groups"][0]["clients"]}
    assert weights["bay"] == weights["hill"] < weights["lake"] == weights["moor"] == weights["north"]


@pytest.mark.parametrize("silent", [("bay",), ("bay", "hill")], ids=["one-of-two", "everybody"])
def test_a_group_with_too_few_answers_borrows_none(world: World, silent: tuple[str, ...]) -> None:
    """It comes out too few on every prompt, while the other group agrees."""
    held(world, silent=silent)
    finance, healthcare = results_of(world)
    assert {(result.status, result.label) for result in finance} == {(PromptStatus.TOO_FEW, None)}
    assert {result.status for result in healthcare} == {PromptStatus.AGREED}
    assert consensus_of(world).admitted_counts == (2 - len(silent), 3)


def test_a_round_in_which_every_group_has_too_few_is_aborted(world: World) -> None:
    """Three answers in all are not enough where no group has two."""
    held(world, silent=("bay", "lake", "moor"))
    with pytest.raises(ConsensusError, match="SF402"):
        world.server.consensus(ROUND)
    assert "2 admitted contributions of a group were expected, found 1" in (world.server.store.head(ROUND).reason or "")


@pytest.mark.parametrize(
    ("named", "code", "words"),
    [
        ({"finance": ("bay",), "healthcare": ("hill", "lake")}, "SF101", "moor, north stand in no group"),
        ({"finance": ("bay", "cove"), "healthcare": SITES[1:]}, "SF101", "cove are not on the roster"),
        ({"finance": ("bay", "hub"), "healthcare": SITES[1:]}, "SF101", "hub are not on the roster"),
        ({"finance": SITES}, "SF105", "two groups or more"),
        ({"finance": SITES, "healthcare": ("bay",)}, "SF105", "each in one group"),
    ],
    ids=["left-out", "stranger", "the-server", "one", "twice"],
)
def test_groups_that_do_not_part_the_roster_open_no_round(
    world: World, named: dict[str, tuple[str, ...]], code: str, words: str
) -> None:
    """The refusal names who is meant; nothing is announced."""
    with pytest.raises(ConfigurationError, match=words) as refusal:
        world.open(groups=groups(**named), rule=replace(PLURALITY, min_clients=1))
    assert refusal.value.code == code
    assert world.server.rounds() == []


def test_who_was_revoked_may_still_stand_in_a_group_and_need_not(world: World) -> None:
    """A revocation does not make the operator's file wrong."""
    world.publish_roster(roster_file(sequence=2, revoked=("north",)))
    rule = replace(PLURALITY, min_clients=2)
    world.open(groups=groups(finance=("bay", "hill"), healthcare=("lake", "moor", "north")), rule=rule)
    parts = groups(finance=("bay", "hill"), healthcare=("lake", "moor"))
    world.open("round-2", groups=parts, rule=rule)


def test_a_group_that_could_never_agree_opens_no_round(world: World) -> None:
    """Its sites would answer, and pay, for nothing."""
    with pytest.raises(ConfigurationError, match="groups of 3 clients or more were expected, finance has fewer"):
        world.open(groups=groups(finance=("bay", "hill"), healthcare=("lake", "moor", "north")))
    assert world.server.rounds() == []


def test_a_ballot_of_nobodys_group_is_damage() -> None:
    """Admission knows no such member; what the database holds then is not what was signed."""
    with pytest.raises(IntegrityError, match="SF531"):
        formed(OutputKind.VOTES, "equal", {"bay": votes(0, 0, 0)}, groups(finance=("hill",), healthcare=("lake",)))
