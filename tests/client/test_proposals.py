"""Propose and vote: some sites propose texts, the server lists what means different things, and everybody votes."""

from __future__ import annotations

import json
from contextlib import suppress
from dataclasses import replace
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from semfed_secure.client.candidates import require_proposed
from semfed_secure.client.reviews import record_verdict
from semfed_secure.clock import FixedClock
from semfed_secure.consensus import in_order, tie_seed
from semfed_secure.crypto.signing import sign, verify
from semfed_secure.detect import scan
from semfed_secure.errors import ConfigurationError, ConsensusError, PeerError, PolicyDenied
from semfed_secure.ids import PromptId, RoundId, hex_digest, sha256
from semfed_secure.llm.model import Record
from semfed_secure.testing import Altering, LocalFederation, SiteSettings, TableModel
from semfed_secure.units import OutputKind
from semfed_secure.wire.candidates import voting_set
from semfed_secure.wire.messages import (
    CONSENSUS_LIMITS,
    CandidateSource,
    MessageType,
    PromptResult,
    PromptStatus,
    encode_consensus,
    parse_consensus,
)
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.client.world import NOW, OPEN_PROMPTS, TEXTS, Words, events

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from semfed_secure.client.session import Client

ASKED, VOTED = RoundId("asked"), RoundId("voted")
HONEST, VOTER, LIAR = ("bay", "hill"), "lake", "north"
SAID: Mapping[str, Mapping[str, str]] = {
    "bay": {text: f"true {place} of bay" for place, text in enumerate(TEXTS)},
    "hill": {text: f"true {place} of hill" for place, text in enumerate(TEXTS)},
    "north": {text: f"poison {place}" for place, text in enumerate(TEXTS[:5])},
}
"""What the proposing sites say: two mean the same in other words, the liar lies on all but the last prompt."""
VOTES_ONLY = {"grants": {"kinds": ["votes"]}}


class Meaning(TableModel):
    """Likes the candidate best that begins as its own answer does: what a language model's likelihood does by meaning.

    Without an answer of its own it likes what begins as the truth does.
    """

    taught: tuple[str, ...] | None = None

    def fit_labels(self, prompts: Sequence[str], labels: Sequence[str], *, candidates: Any, **where: Any) -> None:
        self.taught = tuple(candidates)
        super().fit_labels(prompts, labels, candidates=candidates, **where)

    def score(self, prompts: Sequence[str], candidates: Sequence[str]) -> NDArray[np.float32]:
        own = [(answer or "true").split()[0] for answer in self.answer(prompts, max_new_tokens=8)]
        rows = [[0.0 if candidate.startswith(word) else -1.0 for candidate in candidates] for word in own]
        return np.asarray(rows, np.float32).reshape(len(prompts), len(candidates))


@pytest.fixture(scope="module")
def founded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[LocalFederation]:
    """Four sites, of which one may release no text and one lies, after a published round of proposals."""
    directory = tmp_path_factory.mktemp("proposals")
    with LocalFederation(
        directory / "federation",
        members=(*HONEST, VOTER, LIAR),
        prompt_sets=(OPEN_PROMPTS,),
        clock=FixedClock(NOW),
        embedder=Words(),
    ) as federation:
        rows = [{"prompt": TEXTS[5], "answer": "true 5 of bay"}]
        (directory / "federation" / "validation.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
        federation.open_round(ASKED, OPEN_PROMPTS, kind=OutputKind.TEXT, max_candidates=4)
        for member in SAID:
            with site(federation, member) as client, client.join(ASKED) as joined:
                joined.train(records(member))
                joined.contribute()
        with site(federation, VOTER) as client, client.join(ASKED) as joined:
            joined.train(records("bay"))
            with pytest.raises(PolicyDenied, match="KIND-001"):
                joined.contribute()
        federation.close_round(ASKED)
        for member in SAID:
            with site(federation, member) as client, client.join(ASKED) as joined, suppress(ConsensusError):
                joined.wait_for_consensus()
        assert federation.close_round(ASKED) == "published"
        yield federation


def records(member: str) -> list[Record]:
    """Made-up records of what a site says."""
    said = list(SAID[member].items())
    return [Record(f"{member}-{n}", *said[n % len(said)]) for n in range(12)]


def site(federation: LocalFederation, member: str, **changes: Any) -> Client:
    """An open site; the voter's policy forbids texts."""
    policy = changes.pop("policy", VOTES_ONLY if member == VOTER else None)
    sections = {"validation": {"file": str(federation.directory / "validation.jsonl")}} | changes.pop("sections", {})
    settings = SiteSettings(policy=policy, sections=sections, population_bound=20_000)
    return federation.client(member, settings=settings, **{"model": Meaning()} | changes)


def published(federation: LocalFederation) -> tuple[PromptResult, ...]:
    """What the round of proposals published."""
    with site(federation, "bay") as client:
        return client.join(ASKED).wait_for_consensus().results


def test_each_meaning_is_one_candidate_whoever_proposed_it(founded: LocalFederation) -> None:
    """Two honest answers are one candidate, the lie is another; nothing of it is a label, and nobody learns it."""
    results = published(founded)
    assert {result.status for result in results} == {PromptStatus.PROPOSED}
    assert [{text.split()[0] for text in result.candidates} for result in results] == [{"true", "poison"}] * 5 + [
        {"true"}
    ]
    assert [len(result.candidates) for result in results] == [2, 2, 2, 2, 2, 1]
    assert {(result.label, result.support_ppm, result.margin_ppm) for result in results} == {(None, 0, 0)}
    for member in (*HONEST, LIAR):
        with site(founded, member) as client, client.join(ASKED) as joined:
            before = events(client)
            outcome = joined.learn(joined.wait_for_consensus())
            assert (outcome.labels, outcome.kept, outcome.adapter) == (0, None, None)
            assert events(client)[len(before) :] in ([], [("consensus.verified", "success")])
            assert not (client.site.config.site.state / "labels" / f"{ASKED}.jsonl").exists()


def test_everybody_votes_on_what_some_proposed_and_a_poisoned_candidate_gains_one_vote(
    founded: LocalFederation,
) -> None:
    """Also the site that may release no text; each learns what most models like, and the liar's text wins nowhere."""
    manifest = founded.vote_on(VOTED, ASKED)
    assert (manifest.kind, manifest.prompt_count) == (OutputKind.VOTES, 5)
    assert manifest.candidates_from.round_id == ASKED
    for member in founded.members:
        with site(founded, member) as client, client.join(VOTED) as joined:
            joined.contribute()
    for member in founded.members:
        model = Meaning()
        with site(founded, member, model=model) as client, client.join(VOTED) as joined:
            consensus = joined.wait_for_consensus()
            results = consensus.results
            assert [result.label.split()[:2] for result in results] == [["true", str(n)] for n in range(5)]
            assert {result.support_ppm for result in results} == {750_000}
            outcome = joined.learn(consensus)
            assert (outcome.labels, outcome.kept, model.taught) == (5, True, ())  # texts, no choice among all of them
            prompts = [prompt.text for prompt in joined.prompts.prompts]
            learned = client._engine.ready().model.answer(prompts, max_new_tokens=8)
            assert learned == [result.label for result in results]


def altered(prompts: PromptSet, place: int, change: Any) -> PromptSet:
    """The set with the candidates of one prompt changed."""
    rows = list(prompts.prompts)
    rows[place] = replace(rows[place], candidates=change(rows[place].candidates))
    return replace(prompts, prompts=tuple(rows))


LIES: dict[str, Any] = {
    "one-slipped-in": lambda found, source: (altered(found, 2, lambda own: (*own, "poison of the server")), source),
    "one-dropped": lambda found, source: (altered(found, 2, lambda own: (own[0], "poison of the server")), source),
    "another-order": lambda found, source: (altered(found, 0, lambda own: own[::-1]), source),
    "a-prompt-left-out": lambda found, source: (replace(found, prompts=found.prompts[:-1]), source),
    "another-question": lambda found, source: (
        replace(found, prompts=(replace(found.prompts[0], text="near a record"), *found.prompts[1:])),
        source,
    ),
    "another-consensus": lambda found, source: (found, replace(source, consensus_digest=sha256(b"another"))),
    "for-other-prompts": lambda found, source: (found, replace(source, prompt_set_digest=sha256(b"granted"))),
    "of-no-proposals": lambda found, source: (found, replace(source, round_id=RoundId("early"))),
}


@pytest.mark.parametrize("lie", LIES)
def test_a_server_that_changes_the_published_candidates_is_refused(founded: LocalFederation, lie: str) -> None:
    """SF352, exit 13, an entry; nothing was sent."""
    founded.open_round("early", OPEN_PROMPTS, kind=OutputKind.TEXT) if lie == "of-no-proposals" else None
    prompts, source = LIES[lie](*founded.coordinator.to_vote_on(ASKED))
    founded.open_round(lie, prompts, candidates_from=source)
    with site(founded, VOTER) as client:
        with pytest.raises(PeerError) as caught:
            client.join(lie)
        assert (caught.value.code, caught.value.exit_code) == ("SF352", 13)
        assert events(client)[-1] == ("peer.refused", "denied")
    for name in {lie, "early"} & {head.round_id for head in founded.coordinator.rounds() if head.state == "collecting"}:
        founded.coordinator.abort_round(RoundId(name), "the test is over")


def test_a_candidate_that_holds_an_identifier_is_refused_whatever_the_server_admitted(
    founded: LocalFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The site looks again at every text that others wrote: SF352."""
    founded.vote_on("identifying", ASKED)
    finding = scan("MRN 4471-229, born 12 March 1951")
    assert finding
    monkeypatch.setattr(
        "semfed_secure.client.candidates.scan", lambda text: finding if text.startswith("poison 3") else ()
    )
    with site(founded, VOTER) as client, pytest.raises(PeerError, match="SF352"):
        client.join("identifying")
    founded.coordinator.abort_round(RoundId("identifying"), "the test is over")


def under(
    federation: LocalFederation, prompts: Sequence[str], proposed: Sequence[str], rules: Sequence[str] | None = None
) -> Client:
    """A site as it begins, whose policy grants these prompts, these with proposed candidates, and names the rules."""
    state = f"state-{len(list(federation.site('bay').glob('state-*')))}"
    policy: dict[str, Any] = {"grants": {"prompts": prompts, "proposed_candidates": proposed}}
    policy |= {} if rules is None else {"limits": {"peers": {"rules": rules}}}
    return site(federation, "bay", policy=policy, sections={"site": {"state": state}})


def test_candidates_that_nobody_here_has_seen_need_a_grant_of_their_own(founded: LocalFederation) -> None:
    """The prompts alone are not enough; the very set, once somebody has looked at it, is; a refusal stands for both."""
    manifest = founded.vote_on("granted", ASKED)
    base, seen = hex_digest(OPEN_PROMPTS.digest), hex_digest(manifest.prompt_set_digest)
    for prompts, proposed in (([base], []), ([base], [seen])):
        with under(founded, prompts, proposed) as client, pytest.raises(PolicyDenied, match="PRM-001"):
            client.join("granted")
    for prompts, proposed in (([seen], []), ([], [base])):
        with under(founded, prompts, proposed) as client:
            client.join("granted")
    with under(founded, [base], [base]) as client:
        record_verdict(client.site, OPEN_PROMPTS.digest, person="Sam Rivera", role="privacy_officer", approve=False)
        with pytest.raises(PolicyDenied, match="PRM-003"):
            client.join("granted")
    founded.coordinator.abort_round(RoundId("granted"), "the test is over")


def test_a_site_refuses_rounds_whose_rule_its_policy_does_not_name(founded: LocalFederation) -> None:
    """Of proposals, where a text of its own alone would be published, or of votes: before anything is trained."""
    founded.open_round("own-texts", OPEN_PROMPTS, kind=OutputKind.TEXT, max_candidates=4)
    base = hex_digest(OPEN_PROMPTS.digest)
    with (
        under(founded, [base], [], ["weighted_plurality", "semantic_group"]) as client,
        pytest.raises(PolicyDenied, match="PEER-008"),
    ):
        client.join("own-texts")
    with under(founded, [base], [], ["proposals"]) as client:
        client.join("own-texts")
    founded.coordinator.abort_round(RoundId("own-texts"), "the test is over")


def resigned(federation: LocalFederation, **changes: Any) -> Any:
    """The consensus with its first result changed, as the server itself would sign it."""

    def change(data: bytes) -> bytes:
        key = federation.context.keys.signing
        shown = parse_consensus(verify(MessageType.CONSENSUS, data, [key.public], limits=CONSENSUS_LIMITS).payload)
        first, *others = shown.results[0]
        results = ((replace(first, **changes), *others),)
        return sign(MessageType.CONSENSUS, encode_consensus(replace(shown, results=results)), key)

    return change


@pytest.mark.parametrize(
    "changes",
    [
        {"status": PromptStatus.AGREED, "label": "poison", "candidates": (), "support_ppm": 1_000_000},
        {"candidates": ("one", "two", "three", "four", "five")},
    ],
    ids=["a-label", "too-many"],
)
def test_a_round_of_proposals_publishes_nothing_else(founded: LocalFederation, changes: dict[str, Any]) -> None:
    """SF325: no label that somebody might learn unvoted, no more candidates than the manifest says."""
    transport = Altering(founded.transport(), consensus=resigned(founded, **changes))
    name = f"later-{len(changes)}"
    founded.vote_on(name, ASKED)
    with site(founded, VOTER, transport=transport) as client, pytest.raises(PeerError, match="SF325"):
        client.join(name)
    founded.coordinator.abort_round(RoundId(name), "the test is over")


def listed(federation: LocalFederation, *texts: str) -> tuple[str, ...]:
    """Candidates of the first prompt in the order that is theirs."""
    with site(federation, "bay") as client:
        found = client.join(ASKED).wait_for_consensus()
    seed = tie_seed(found.round.manifest.nonce, found.consensus.commitments_root)
    return in_order(texts, nonce=seed, prompt_id=OPEN_PROMPTS.prompts[0].id)


def vote_on_another_list(
    federation: LocalFederation, name: str, candidates: tuple[str, ...], monkeypatch: pytest.MonkeyPatch
) -> Altering:
    """A round of votes on candidates that the server signs instead of those that it published; its log holds both."""
    transport = Altering(federation.transport(), consensus=resigned(federation, candidates=candidates))
    key = federation.context.keys.signing.public
    signed = verify(MessageType.CONSENSUS, transport.consensus(ASKED), [key], limits=CONSENSUS_LIMITS)
    shown = parse_consensus(signed.payload)
    source = replace(federation.coordinator.to_vote_on(ASKED)[1], consensus_digest=shown.digest)
    federation.open_round(name, voting_set(OPEN_PROMPTS, shown.results[0]), candidates_from=source)
    monkeypatch.setattr("semfed_secure.client.collecting.require_published", lambda *_: None)
    return transport


def test_a_site_votes_on_no_other_list_than_it_has_collected(
    founded: LocalFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Though the server signs two and its log holds both: SF352 where the first was seen."""
    other = listed(founded, "true 0 of bay", "poison of the server")
    transport = vote_on_another_list(founded, "other-list", other, monkeypatch)
    with site(founded, VOTER, transport=transport) as client:
        client.join("other-list")  # has seen neither
    with site(founded, "bay", transport=transport) as client, pytest.raises(PeerError, match="SF352"):
        client.join("other-list")
    founded.coordinator.abort_round(RoundId("other-list"), "the test is over")


def test_a_list_in_an_order_that_the_server_chose_is_refused(
    founded: LocalFederation, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It could tell who proposed what, or put one first where a model picks by place: SF352."""
    first, *_ = published(founded)
    assert first.candidates == listed(founded, *first.candidates)
    transport = vote_on_another_list(founded, "other-order", first.candidates[::-1], monkeypatch)
    with (
        site(founded, VOTER, transport=transport) as client,
        pytest.raises(PeerError, match=r"SF352.*order of the round's own hash"),
    ):
        client.join("other-order")
    founded.coordinator.abort_round(RoundId("other-order"), "the test is over")


@pytest.mark.parametrize("lists", [("HEART", "lung"), ()], ids=["a label of the prompt", "none"])
def test_lists_of_which_there_is_no_prompt_set_are_a_lie_of_the_server(lists: tuple[str, ...]) -> None:
    """SF352, which is logged as the server's, and not an error of this site's configuration."""
    asked = PromptSet("x", (Prompt(PromptId("p0"), "q"),), ("heart",))
    source = CandidateSource(ASKED, asked.digest, sha256(b"consensus"))
    status = PromptStatus.PROPOSED if lists else PromptStatus.TOO_FEW
    consensus = SimpleNamespace(digest=source.consensus_digest)
    terms = SimpleNamespace(
        round_id=ASKED, prompt_set_digest=asked.digest, rule=SimpleNamespace(name="proposals", max_candidates=4)
    )
    proposals: Any = SimpleNamespace(
        round=SimpleNamespace(manifest=terms, prompts=asked),
        consensus=consensus,
        results=(PromptResult(status, None, 0, 0, lists),),
    )
    vote: Any = SimpleNamespace(manifest=SimpleNamespace(candidates_from=source, prompt_set_digest=sha256(b"any")))
    with pytest.raises(PeerError, match="SF352"):
        require_proposed(vote, proposals)


def test_only_published_proposals_are_voted_on(founded: LocalFederation) -> None:
    """No other round has candidates, nor one that is still open."""
    founded.open_round("open", OPEN_PROMPTS, kind=OutputKind.TEXT, max_candidates=4)
    with pytest.raises(ConsensusError, match="SF401"):
        founded.vote_on("early", "open")
    founded.coordinator.abort_round(RoundId("open"), "the test is over")
    with pytest.raises(PeerError, match="SF304"):
        founded.vote_on("early", "none")
    with pytest.raises(ConfigurationError, match="SF105"):
        founded.open_round("votes", OPEN_PROMPTS, max_candidates=4)


def test_a_prompt_without_a_choice_is_not_voted_on() -> None:
    """Its own candidates stand before the proposed ones, and two are needed of both together."""
    asked = PromptSet("x", tuple(Prompt(PromptId(f"p{n}"), f"q{n}") for n in range(3)), ("none of these",))
    lists = (("flu",), (), ("gout", "flu"))
    results = [PromptResult(PromptStatus.PROPOSED, None, 0, 0, own) for own in lists]
    found = voting_set(asked, results)
    assert [(prompt.id, prompt.candidates) for prompt in found.prompts] == [
        ("p0", ("none of these", "flu")),
        ("p2", ("none of these", "gout", "flu")),
    ]
