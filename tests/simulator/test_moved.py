"""A genuine message that is taken to another round, federation, sender, recipient or policy is refused there.

Each case says in which way the message is moved: ``as it is``, or ``signed anew`` by whoever would gain by it and has
keys to do so.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import pytest

from semfed_secure.client.round import Trust, verify_commitments, verify_consensus, verify_manifest
from semfed_secure.client.server_log import verified_checkpoint, verify_receipt_entry
from semfed_secure.crypto.key_files import load_signing_key
from semfed_secure.crypto.keys import OpeningKey
from semfed_secure.identity.member_files import RECORD_FILE
from semfed_secure.identity.roster import sign_roster, verify_roster
from semfed_secure.ids import FederationId, RoundId, sha256
from semfed_secure.server.admission import read_contribution
from semfed_secure.testing.federation import PASSPHRASE
from semfed_secure.wire.messages import parse_contribution
from tests.server.judging import VOTES, make_context, manifest_of, refused
from tests.server.world import body_of, member, post
from tests.simulator.samples import Round, refusal
from tests.simulator.world import FIRST

if TYPE_CHECKING:
    from collections.abc import Iterator
    from typing import Any

    from semfed_secure.client.round import VerifiedRound
    from semfed_secure.server.admission import AdmissionContext

# -- to the server ------------------------------------------------------------------------------------------

BODY = post("bay", manifest_of(VOTES))
STATEMENT = read_contribution(BODY, VOTES).statement
(BLOB,) = parse_contribution(BODY).sealed
OTHER_ROUND = make_context(round_id=RoundId("round-2"))
OTHER_KEY = OpeningKey.generate()


def moved(signer: str, **changes: Any) -> bytes:
    """The same sealed blob under a statement with ``changes``, signed by ``signer``."""
    return body_of(replace(STATEMENT, **changes), BLOB, signer=signer)


def in_round_two() -> AdmissionContext:
    """The same server, where a contribution is posted to another round that is open too."""
    assert OTHER_ROUND.terms is not None
    manifest = replace(OTHER_ROUND.terms.manifest, round_id=RoundId("round-2"))
    return replace(OTHER_ROUND, terms=replace(OTHER_ROUND.terms, manifest=manifest))


TWO = in_round_two()
TWO_TERMS = {
    "round_id": RoundId("round-2"),
    "nonce": manifest_of(TWO).nonce,
    "manifest_digest": manifest_of(TWO).digest,
}
AT_ANOTHER_KEY = replace(VOTES, key=OTHER_KEY)
ELSEWHERE = replace(VOTES, federation=FederationId("banks"))
MINE = {"sender": "hill", "signing_key_id": member("hill").keys.signing.key_id}

TO_SERVER: dict[str, tuple[bytes, AdmissionContext, str]] = {
    "round, as it is": (BODY, TWO, "SF304"),
    "round, renamed by its sender": (moved("bay", round_id=RoundId("round-2")), TWO, "SF305"),
    "round, signed anew by its sender": (moved("bay", **TWO_TERMS), TWO, "SF312"),
    "federation, as it is": (BODY, ELSEWHERE, "SF304"),
    "federation, signed anew by its sender": (moved("bay", federation=FederationId("banks")), ELSEWHERE, "SF312"),
    "sender, in the true one's name": (moved("hill"), VOTES, "SF307"),
    "sender, with the thief's name alone": (moved("hill", sender="hill"), VOTES, "SF307"),
    "sender, signed anew by the thief": (moved("hill", **MINE), VOTES, "SF312"),
    "recipient, as it is": (BODY, AT_ANOTHER_KEY, "SF308"),
    "recipient, signed anew by its sender": (
        moved("bay", recipient_key_id=OTHER_KEY.public.key_id),
        AT_ANOTHER_KEY,
        "SF312",
    ),
    "policy, signed anew by its sender": (moved("bay", policy_digest=sha256(b"a looser one")), VOTES, "SF312"),
    "policy, in the sender's name": (moved("hill", policy_digest=sha256(b"a looser one")), VOTES, "SF307"),
    "declared privacy, signed anew": (
        moved("bay", privacy=replace(STATEMENT.privacy, epsilon=STATEMENT.privacy.epsilon / 2)),
        VOTES,
        "SF312",
    ),
}


def test_the_contribution_is_admitted_where_it_belongs() -> None:
    """So that it is the move that is refused below."""
    from tests.server.judging import judge

    assert judge(BODY, VOTES).member.member_id == "bay"
    assert judge(moved("bay"), VOTES).payload == judge(BODY, VOTES).payload


@pytest.mark.parametrize("case", TO_SERVER)
def test_a_moved_contribution_is_refused(case: str) -> None:
    """Before it is opened where names differ, and at the seal where a thief made the names fit."""
    body, context, code = TO_SERVER[case]
    assert refused(body, context) == code


LATER = datetime(2030, 1, 1, tzinfo=UTC)


# -- to a client --------------------------------------------------------------------------------------------


@dataclass
class Two:
    """The same round of two federations of the same name, with the same members: all that differs is their keys."""

    here: Round
    there: Round


@pytest.fixture(scope="module")
def two(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Two]:
    """Two federations."""
    directory = tmp_path_factory.mktemp("two")
    names = ("bay", "hill", "lake")
    held = Two(Round(directory / "here", names=names), Round(directory / "there", names=(*names, "moor")))
    assert held.here.root.federation == held.there.root.federation
    yield held
    held.here.close()
    held.there.close()


def manifest(held: Round, data: bytes, *, round_id: RoundId = FIRST, member_id: str = "bay") -> object:
    """The check of a manifest."""
    trust = Trust(held.root, member_id, "server", 0, None)  # type: ignore[arg-type]
    return verify_manifest(data, held.roster_data, trust=trust, round_id=round_id, now=held.now)


def another_round(held: Round) -> VerifiedRound:
    """The check's terms of another round of the same server."""
    other = replace(held.announced.manifest, round_id=RoundId("round-2"), nonce=bytes(32))
    return replace(held.round, manifest=other, manifest_digest=other.digest)


CLIENT_CASES = (
    ("manifest", "round", "SF324"),
    ("manifest", "federation", "SF321"),
    ("manifest", "recipient", "SF306"),
    ("roster", "federation", "SF322"),
    ("member record", "federation", "SF322"),
    ("receipt", "round", "SF326"),
    ("receipt", "federation", "SF321"),
    ("receipt", "sender", "SF326"),
    ("receipt", "step", "SF326"),
    ("receipt's entry", "sender", "SF326"),
    ("receipt's entry", "federation", "SF326"),
    ("commitments", "round", "SF329"),
    ("commitments", "federation", "SF321"),
    ("commitments", "recipient", "SF329"),
    ("consensus", "round", "SF325"),
    ("consensus", "federation", "SF321"),
    ("log checkpoint", "federation", "SF323"),
)


@pytest.mark.parametrize(("message", "to", "code"), CLIENT_CASES)
def test_a_moved_answer_is_refused(two: Two, message: str, to: str, code: str) -> None:
    """By the code that names the message; by the key's where another server signed it."""
    here, there = two.here, two.there
    elsewhere = another_round(here)
    stranger = sha256(b"the statement of a member that did not commit")
    mine, theirs = here.answer(here.receipt("bay")), here.answer(here.receipt("hill"), name="hill")
    tree = verified_checkpoint(mine.log_checkpoint, here.server)

    def list_for(round_: Any, digest: Any, data: bytes) -> object:
        return verify_commitments(data, round_=round_, statement_digest=digest)

    def root_with_a_foreign_record() -> object:
        record = (there.federation.site("bay") / "keys" / RECORD_FILE).read_bytes()
        other = replace(here.root, federation=FederationId("banks"))
        key = load_signing_key(here.federation.directory / "root-1.key", PASSPHRASE)
        return sign_roster([record], root=other, keys=[key], sequence=1, issued_at=here.now, expires_at=LATER)

    acts = {
        ("manifest", "round"): lambda _: manifest(here, here.manifest_data, round_id=RoundId("round-2")),
        ("manifest", "federation"): lambda _: manifest(here, there.manifest_data),
        ("manifest", "recipient"): lambda _: manifest(here, here.manifest_data, member_id="moor"),
        ("roster", "federation"): lambda _: verify_roster(
            there.roster_data, root=here.root, now=here.now, last_sequence=0
        ),
        ("member record", "federation"): lambda _: root_with_a_foreign_record(),
        ("receipt", "round"): lambda _: here.answer(here.receipt("bay"), round_=elsewhere),
        ("receipt", "federation"): lambda _: here.answer(there.receipt("bay")),
        ("receipt", "sender"): lambda _: here.answer(here.receipt("hill")),
        ("receipt", "step"): lambda _: here.answer(here.receipt("bay", step=0)),
        ("receipt's entry", "sender"): lambda _: verify_receipt_entry(here.entry(theirs.log_index), mine, tree),
        ("receipt's entry", "federation"): lambda _: verify_receipt_entry(there.entry(mine.log_index), mine, tree),
        ("commitments", "round"): lambda _: list_for(elsewhere, here.statement("bay"), here.commitments_data),
        ("commitments", "federation"): lambda _: list_for(here.round, here.statement("bay"), there.commitments_data),
        ("commitments", "recipient"): lambda _: list_for(here.round, stranger, here.commitments_data),
        ("consensus", "round"): lambda _: verify_consensus(here.consensus_data, round_=elsewhere),
        ("consensus", "federation"): lambda _: verify_consensus(there.consensus_data, round_=here.round),
        ("log checkpoint", "federation"): lambda _: verified_checkpoint(mine.log_checkpoint, there.server),
    }
    assert set(acts) == {(name, where) for name, where, _ in CLIENT_CASES}
    assert refusal(acts[message, to], b"") == code
