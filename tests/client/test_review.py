"""A review of a prompt set: what it finds and what it never shows; decisions, and that no peer can tell them."""

from __future__ import annotations

import json
import stat
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest

from semfed_secure.audit.events import encode_entry
from semfed_secure.audit.people import erase, is_commitment
from semfed_secure.audit.verify import verify_log
from semfed_secure.client.review import NEAR, read_canaries, review_prompts
from semfed_secure.client.review_report import document_of, markdown_of, require_report, write_report
from semfed_secure.client.reviews import record_verdict, verdicts_on
from semfed_secure.errors import ApprovalNeeded, ConfigurationError, ConsensusError, PolicyDenied
from semfed_secure.ids import PromptId
from semfed_secure.llm.model import Record
from semfed_secure.wire.prompts import Prompt, PromptSet
from tests.client.world import PROMPTS, ROUND, UNSAFE, VOTES, events, records

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from tests.client.world import World

NOTES = (
    "Crushing chest pain after shovelling snow, troponin raised, admitted under the cardiology team overnight.",
    "Itchy ring-shaped rash on the left forearm since a holiday, no fever, treated with terbinafine cream.",
    "Follow-up of well controlled asthma, inhaler technique checked, peak flow 480, no night-time cough.",
    "Cataract of the right eye, listed for surgery, lives with her daughter, drives no longer.",
    "Canary kestrel-harbour-7319 was seen in clinic and had no complaints.",
)
CLINIC = tuple((2 * n + 1, Record(f"person-{n}", note, "heart")) for n, note in enumerate(NOTES))
CANARIES = {3: "kestrel harbour 7319"}
ASKED = {
    "plain": "What are the usual symptoms of anaemia?",
    "copied": "Which department: crushing chest pain after shovelling snow, troponin raised?",
    "reworded": "A man cleared his drive in winter and then felt pressure on the breastbone; where to?",
    "person": "Which department for the patient with MRN 4471-229, born 12 March 1951?",
    "canary": "Which department does Kestrel-Harbour 7319 belong to?",
}
SET = PromptSet("triage", tuple(Prompt(PromptId(name), text) for name, text in ASKED.items()), ("heart", "lung"))


class Meaning:
    """Embeds by hand: the reworded prompt means what the first note says; everything else means something else."""

    name = "meaning"

    def embed(self, texts: Sequence[str]) -> Any:
        """One axis per text that was never seen, one for the two that mean the same."""
        same = {NOTES[0], ASKED["reworded"]}
        rows = [np.eye(64, dtype=np.float32)[0 if text in same else 1 + sum(text.encode()) % 63] for text in texts]
        return np.asarray(rows)


@pytest.fixture
def site(world: World):
    """A site whose policy permits to open its data set."""
    with world.client() as client:
        yield client.site


def reviewed(site: Any, *, embedder: Any = None) -> Any:
    """The review of `SET` against `CLINIC`."""
    return review_prompts(site, SET, CLINIC, canaries=CANARIES, embedder=embedder)


def test_what_to_look_at_first_stands_first(site: Any) -> None:
    """A planted canary, then an identifier, then what was copied from a record, with the line of that record."""
    found = reviewed(site)
    assert [one.prompt.id for one in found.ranked[:3]] == ["canary", "person", "copied"]
    by_name = {one.prompt.id: one for one in found.ranked}
    assert by_name["canary"].canaries == (3,)
    assert "mrn" in by_name["person"].identifiers
    words = by_name["copied"].nearest[0]
    assert (words.measure, words.line, words.near) == ("words", 1, 1)
    assert words.value > NEAR["words"]
    assert by_name["plain"].reasons == by_name["reworded"].reasons == ()


def test_a_reworded_record_is_found_by_meaning_only(site: Any) -> None:
    """With an embedder the prompt that shares no words with the record is called near it; without one it is not."""
    (found,) = (one for one in reviewed(site, embedder=Meaning()).ranked if one.prompt.id == "reworded")
    assert found.nearest[2].line == 1
    assert found.reasons == ("means nearly what the record of line 1 says (cosine 1.00), the only one near",)


def test_a_near_question_is_found_in_an_answer_too(site: Any) -> None:
    """What was answered counts like what was asked, each by itself: neither hides the other."""
    told = [(7, Record("person-1", "Note?", NOTES[0])), (8, Record("person-2", "Note?", ""))]
    found = review_prompts(site, SET, told, canaries={}, embedder=None).ranked
    near = {one.prompt.id: one.nearest[0].line for one in found if one.nearness >= 1}
    assert near == {"copied": 7}


def test_candidates_are_compared_like_questions(site: Any, tmp_path: Path) -> None:
    """Whoever proposes one may aim at a record: what is near, holds a canary or an identifier is named as such."""
    proposed = ("crushing chest pain after shovelling snow, troponin raised", "anaemia")
    rows = {"near": proposed, "planted": ("kestrel-harbour 7319 was seen",), "person": ("MRN 4471-229",), "plain": ()}
    asked = tuple(Prompt(PromptId(name), ASKED["plain"], candidates) for name, candidates in rows.items())
    review = review_prompts(site, PromptSet("x", asked), CLINIC, canaries=CANARIES, embedder=None)
    found = {one.prompt.id: one for one in review.ranked}
    assert found["near"].reasons[0].startswith(f"candidate `{proposed[0]}`: 100% of its runs of words stand in")
    assert found["near"].nearest[0].line == 1
    assert found["planted"].canaries == (3,)
    assert found["person"].identifiers == {"mrn": 1}
    assert found["plain"].reasons == ()
    rows = {row["id"]: row for row in document_of(review)["prompts"]}
    assert rows["near"]["nearest"]["words"]["candidate"] == proposed[0]
    write_report(tmp_path / "reviews", review)


def test_the_report_holds_no_text_of_a_record_and_only_its_owner_reads_it(site: Any, tmp_path: Path) -> None:
    """No word of a record that is not in a prompt, no entity; mode 0600 in a directory of mode 0700."""
    found = reviewed(site, embedder=Meaning())
    asked = " ".join(ASKED.values()).casefold()
    private = {word for note in NOTES for word in note.casefold().split() if len(word) > 6 and word not in asked}
    private |= {record.entity_id for _, record in CLINIC}
    for path in write_report(tmp_path / "reviews", found):
        text = path.read_text().casefold()
        assert "crushing chest pain" in text  # the prompt, which is public
        assert not {word for word in private if word in text}
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert stat.S_IMODE((tmp_path / "reviews").stat().st_mode) == 0o700
    write_report(tmp_path / "reviews", found)  # a later review takes its place
    assert require_report(tmp_path / "reviews", SET.digest).read_text() == markdown_of(found)
    assert json.loads((tmp_path / "reviews" / f"{SET.digest.hex()}.json").read_text()) == document_of(found)


def test_the_log_grows_alike_whatever_is_found(site: Any) -> None:
    """Checkpoints show peers the length of the log: it tells neither what a review found nor what was decided."""
    grown = []
    harmless = PromptSet("harmless", SET.prompts[:1], SET.candidates)
    for prompts, approve in ((SET, False), (harmless, True)):
        before = site.audit.size()
        review_prompts(site, prompts, CLINIC, canaries=CANARIES, embedder=None)
        record_verdict(site, prompts.digest, person="Sam Rivera", role="privacy_officer", approve=approve)
        grown.append([str(e.event.type) for e in site.audit.entries(before, site.audit.size())])
    assert grown[0] == grown[1] == ["decision", "dataset.opened", "prompts.reviewed"]


def test_an_entry_of_a_decision_holds_nothing_of_what_was_found(site: Any) -> None:
    """Digest, decision, role and who: the same fields and lengths for a set full of canaries and one without."""
    reviewed(site)
    number = record_verdict(site, SET.digest, person="Sam Rivera", role="privacy_officer", approve=False)
    (entry,) = site.audit.entries(number, number + 1)
    assert set(entry.event.details) == {"prompt_set_digest", "decision", "role"}
    assert is_commitment(entry.event.actor)
    assert "Sam" not in encode_entry(entry).decode()


def test_no_record_is_read_without_the_policy(world: World) -> None:
    """A policy that does not let the data set be opened ends the review before the first record."""

    def unread():
        raise AssertionError("a record was read")
        yield

    with world.client(policy={"grants": {"actions": ["join"]}}) as client, pytest.raises(PolicyDenied):
        review_prompts(client.site, SET, unread(), canaries={}, embedder=None)


def test_the_last_word_of_each_person_counts(site: Any) -> None:
    """A refusal stands until the same person, however spelled, approves; approvals of others do not lift it."""

    def say(person: str, role: str, *, approve: bool) -> Any:
        record_verdict(site, SET.digest, person=person, role=role, approve=approve)
        with site.database.snapshot() as tx:
            return verdicts_on(tx, SET.digest)

    assert say("Sam Rivera", "privacy_officer", approve=False).refused_by == ("Sam Rivera",)
    both = say("Kim Ode", "researcher", approve=True)
    assert both.refused_by == ("Sam Rivera",)
    assert [one.approver for one in both.approvals] == ["Kim Ode"]
    lifted = say("sam  rivera", "privacy_officer", approve=True)
    assert lifted.refused_by == ()
    assert {(one.approver, one.role) for one in lifted.approvals} == {
        ("Kim Ode", "researcher"),
        ("Sam Rivera", "privacy_officer"),
    }
    with site.database.snapshot() as tx:
        assert verdicts_on(tx, PROMPTS.digest).approvals == ()  # of this set, of no other


def test_what_an_erased_person_said_counts_as_nobodys(site: Any) -> None:
    """Approvals lapse; a refusal stands until anybody approves; the log is the same, and verifies."""

    def stands() -> Any:
        with site.database.snapshot() as tx:
            return verdicts_on(tx, SET.digest)

    def say(person: str, *, approve: bool) -> None:
        record_verdict(site, SET.digest, person=person, role="privacy_officer", approve=approve)

    say("Kim Ode", approve=True)
    first = erase(site.database, site.audit, "Kim Ode", actor="bay")
    assert stands().approvals == ()
    say("Sam Rivera", approve=False)
    refused_by = erase(site.database, site.audit, "Sam Rivera", actor="bay")
    assert stands().refused_by == (refused_by,)
    say("Kim Ode", approve=True)
    assert (stands().refused_by, [one.approver for one in stands().approvals]) == ((), ["Kim Ode"])
    verdicts = [entry.event.actor for entry in site.audit.entries(0, 100) if entry.event.type == "prompts.reviewed"]
    assert verdicts[:2] == [first, refused_by]
    assert verdicts[2] != first, "one who is back is somebody new"
    verify_log(site.config.site.state, key=site.keys.record.log_key)


def test_an_approval_opens_what_the_policy_keeps_shut_until_then(world: World) -> None:
    """Where the policy wants the privacy officer's yes to join, the review's yes is one; for this prompt set only."""
    world.open_round()
    wanted = {"limits": {"approvals": {"join": {"privacy_officer": 1}}}}
    with world.client(mechanism=UNSAFE, policy=wanted) as client:
        with pytest.raises(ApprovalNeeded):
            client.join(ROUND)
        record_verdict(client.site, SET.digest, person="Sam Rivera", role="privacy_officer", approve=True)
        with pytest.raises(ApprovalNeeded):
            client.join(ROUND)
        record_verdict(client.site, PROMPTS.digest, person="Sam Rivera", role="privacy_officer", approve=True)
        assert client.join(ROUND).round_id == ROUND


def test_a_refusal_denies_what_the_policy_grants(world: World) -> None:
    """A granted prompt set that somebody refused is neither joined nor, if it was joined before, answered."""
    world.open_round()
    with world.client(mechanism=UNSAFE) as client:
        joined = client.join(ROUND)
        record_verdict(client.site, PROMPTS.digest, person="Sam Rivera", role="privacy_officer", approve=False)
        with pytest.raises(PolicyDenied, match="PRM-003"):
            joined.contribute([PROMPTS.candidates[vote] for vote in VOTES])
        assert all(kind != "bundle.released" for kind, _ in events(client))
    with world.client("hill", mechanism=UNSAFE) as client:
        record_verdict(client.site, PROMPTS.digest, person="Sam Rivera", role="privacy_officer", approve=False)
        with pytest.raises(PolicyDenied, match="PRM-003"):
            client.join(ROUND)


class Heard:
    """A way to the server that remembers what was sent."""

    def __init__(self, transport: Any) -> None:
        """Pass everything on to ``transport``."""
        self._transport, self.calls = transport, []

    def __getattr__(self, name: str) -> Any:
        """The call, remembered with its arguments."""
        call = getattr(self._transport, name)

        def remembered(*arguments: Any) -> Any:
            self.calls.append((name, *arguments))
            return call(*arguments)

        return remembered


def test_declined_absent_and_late_look_the_same_to_peers(tmp_path_factory: pytest.TempPathFactory) -> None:
    """One site refuses, is late or never comes: the server hears the same calls, and publishes the same round."""
    from tests.client.world import World

    heard, published = {}, {}
    for kind in ("declined", "late", "absent"):
        world = World(tmp_path_factory.mktemp(kind))
        world.open_round(min_clients=1)
        for member in ("bay", "hill"):
            with world.client(member, mechanism=UNSAFE) as client:
                client.join(ROUND).contribute([PROMPTS.candidates[vote] for vote in VOTES])
        transport = Heard(world.federation.transport())
        with world.client("lake", mechanism=UNSAFE, transport=transport) as client:
            if kind != "absent":
                review_prompts(client.site, PROMPTS, enumerate(records("lake")), canaries={}, embedder=None)
                approve = kind == "late"
                record_verdict(client.site, PROMPTS.digest, person="Sam", role="privacy_officer", approve=approve)
                assert transport.calls == []  # a review is offline
            if kind == "declined":
                with pytest.raises(PolicyDenied):
                    client.join(ROUND)
            if kind == "late":
                joined = client.join(ROUND)
            heard[kind] = [call[0] for call in transport.calls]
            world.clock.advance(seconds=601)
            world.federation.close_round(ROUND)
            if kind == "late":
                with pytest.raises(ConsensusError):
                    joined.contribute([PROMPTS.candidates[vote] for vote in VOTES])
                assert not any(call[0] == "post" for call in transport.calls)
        with world.client("bay", mechanism=UNSAFE) as client:
            consensus = client.join(ROUND).wait_for_consensus().consensus
        log = [entry.event for entry in world.federation.context.audit.entries(0, 1000)]
        published[kind] = (
            consensus.results,
            consensus.admitted_count,
            consensus.rejections,
            [(str(event.type), event.outcome, event.actor, event.peer, event.codes) for event in log],
        )
        world.federation.close()
    assert heard["declined"] == heard["late"]
    assert heard["absent"] == []
    assert published["declined"] == published["late"] == published["absent"]


@pytest.mark.parametrize(
    ("content", "code"),
    [(b"kestrel\n\nharbour-7319-south\n", "SF104"), (b"\xff\xfe", "SF104"), (None, "SF102")],
    ids=["a canary of seven letters", "no text", "no file"],
)
def test_canaries_that_mean_nothing_are_refused(content: bytes | None, code: str, tmp_path: Path) -> None:
    """A short one stands in ordinary text by chance; the line is named."""
    path = tmp_path / "canaries.txt"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(ConfigurationError, match=code):
        read_canaries(path)


def test_canaries_are_read_by_line(tmp_path: Path) -> None:
    """Empty lines count, and are no canaries."""
    path = tmp_path / "canaries.txt"
    path.write_text("kestrel harbour\n\nmoss 7319 lantern\n")
    assert read_canaries(path) == {1: "kestrel harbour", 3: "moss 7319 lantern"}


def test_a_review_of_no_records_is_refused(site: Any) -> None:
    """Nothing was compared, so nothing can be said: SF142."""
    with pytest.raises(ConfigurationError, match="SF142"):
        review_prompts(site, SET, [], canaries={}, embedder=None)


@pytest.mark.parametrize(
    ("person", "role"), [("", "officer"), ("a\nb", "officer"), ("x" * 201, "officer"), ("Sam", "Of")]
)
def test_a_decision_has_a_person_and_a_role(site: Any, person: str, role: str) -> None:
    """A name or role that an entry cannot hold is refused, and nothing is written."""
    before = site.audit.size()
    with pytest.raises(ConfigurationError, match="SF105"):
        record_verdict(site, SET.digest, person=person, role=role, approve=True)
    assert site.audit.size() == before
