"""Who vouches for a log: present witnesses of other organisations, for exactly this checkpoint, lately, once each."""

from __future__ import annotations

from dataclasses import replace

import pytest

from semfed_secure.audit.notes import Checkpoint, NoteSignature, cosign, sign_checkpoint, verify_checkpoint
from semfed_secure.audit.witnesses import AHEAD_SECONDS, FRESH_SECONDS, verify_witness, vouching
from semfed_secure.clock import to_ms
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.errors import PeerError
from semfed_secure.identity.records import MemberRecord, Role, create_record
from semfed_secure.identity.roster import Revocation, Roster, verify_roster
from tests.identity.identity_examples import DAY, NOW, ROOT, key, member, roster

SECOND = to_ms(NOW) // 1000
NAMES = ("bay", "hill", "lake", "moor")
HUB = member("hub", 9, Role.SERVER)
PLACE = {name: number for number, name in enumerate((*NAMES, "plain", "hub"), start=4)}


def log(name: str, number: int | None = None) -> LogSigningKey:
    """A member's log key."""
    seed = bytes([PLACE[name] if number is None else number] * 32)
    return LogSigningKey(f"{name}.example/log", seed, seed)


def witness(name: str, **changes: object) -> MemberRecord:
    """A client that is a witness too."""
    return member(name, PLACE[name], Role.CLIENT, Role.WITNESS, **changes)


def known(*records: MemberRecord, revoked: tuple[str, ...] = ()) -> Roster:
    """The verified roster of the hub, these members, and one that is no witness."""
    members = [HUB, member("plain", PLACE["plain"]), *(records or map(witness, NAMES))]
    signed = [create_record(each, [key(PLACE[each.member_id])]) for each in members]
    gone = tuple(Revocation(name, 1, to_ms(NOW), "left") for name in revoked)
    return verify_roster(roster(signed, revocations=gone), root=ROOT, now=NOW, last_sequence=0)


HERE = Checkpoint("hub.example/log", 7, bytes(range(32)))
NOTE = sign_checkpoint(HERE, log("hub"), cosigned_at=SECOND)


def lines(*names: str, checkpoint: Checkpoint = HERE, at: int = SECOND) -> str:
    """What these members said."""
    return "".join(cosign(checkpoint, log(name), at=at).line for name in names)


def who(note: str, roster: Roster | None = None) -> list[str]:
    """Who vouches for a note."""
    return [each.member_id for each, _ in vouching(note, roster or known(), server=HUB, now=NOW)]


def test_each_witness_that_cosigned_counts() -> None:
    """Two of four vouch; the log's own signatures stay good with their lines below them."""
    note = NOTE + lines("hill", "bay")
    assert who(note) == ["hill", "bay"]
    assert who(NOTE) == []
    assert verify_checkpoint(note, log("hub").public).checkpoint == HERE


def test_nobody_counts_twice() -> None:
    """The same witness again, or another member of its organisation, adds nothing."""
    twins = known(witness("bay", domain="group.example"), witness("hill", domain="group.example"), witness("lake"))
    assert who(NOTE + lines("bay", "bay", "hill"), twins) == ["bay"]
    assert who(NOTE + lines("hill", "lake"), twins) == ["hill", "lake"]


def test_the_logs_own_organisation_does_not_count() -> None:
    """Neither the log itself nor another member of its organisation."""
    own = known(witness("bay", domain="hub.example"), witness("hill"))
    assert who(NOTE + lines("hub", "bay", "hill"), own) == ["hill"]


def test_who_is_no_present_witness_does_not_count() -> None:
    """Without the role, revoked, out of its term, or unknown."""
    assert who(NOTE + lines("plain", "bay")) == ["bay"]
    assert who(NOTE + lines("hill", "bay"), known(revoked=("hill",))) == ["bay"]
    over = witness("lake", valid_from_ms=to_ms(NOW - 9 * DAY), valid_until_ms=to_ms(NOW - DAY))
    assert who(NOTE + lines("lake", "bay"), known(over, witness("bay"))) == ["bay"]
    assert who(NOTE + lines("moor", "bay"), known(witness("bay"))) == ["bay"]


@pytest.mark.parametrize(
    "other",
    [
        replace(HERE, size=6),
        replace(HERE, root=bytes(32)),
        replace(HERE, origin="hub.example/another-federation"),
    ],
    ids=["smaller", "forked", "another log"],
)
def test_a_cosignature_of_another_checkpoint_does_not_count(other: Checkpoint) -> None:
    """An old one that is replayed, one of a fork, and one of the same member's log in another federation."""
    assert who(NOTE + lines("bay", checkpoint=other) + lines("hill")) == ["hill"]


def test_a_cosignature_by_another_key_does_not_count() -> None:
    """Under the witness's name, with its key id or without."""
    other = cosign(HERE, log("bay", 77), at=SECOND)
    true = cosign(HERE, log("bay"), at=SECOND)
    forged = NoteSignature(true.name, true.key_id, other.signature)
    flipped = replace(true, signature=true.signature[:-1] + bytes([true.signature[-1] ^ 1]))
    redated = replace(true, signature=(SECOND - 1).to_bytes(8, "big") + true.signature[8:])
    for line in (other, forged, flipped, redated, replace(true, signature=b"short")):
        assert who(NOTE + line.line) == []


@pytest.mark.parametrize(
    ("age", "counts"), [(FRESH_SECONDS, True), (FRESH_SECONDS + 1, False), (-AHEAD_SECONDS, True), (-301, False)]
)
def test_an_old_cosignature_counts_no_more(age: int, counts: bool) -> None:
    """For seven days it does, so that a fork behind it does not live longer; a clock may be five minutes fast."""
    assert (who(NOTE + lines("bay", at=SECOND - age)) == ["bay"]) is counts


def test_a_refusal_says_what_was_wrong() -> None:
    """SF306 for who signed, SF328 for what and when."""
    for names, at, code in ((("plain",), SECOND, "SF306"), (("bay",), SECOND - 10**7, "SF328")):
        (signature,) = (cosign(HERE, log(name), at=at) for name in names)
        with pytest.raises(PeerError, match=code):
            verify_witness(HERE, signature, known(), server=HUB, now=NOW)
