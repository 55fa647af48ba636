"""Admission, steps 1 to 7: well-formed, for this round, from a member that signed it."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.clock import from_ms, to_ms
from semfed_secure.crypto.keys import SigningKey
from semfed_secure.crypto.signing import sign
from semfed_secure.identity.records import Role
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import FederationId, MemberId, RoundId, sha256
from semfed_secure.server.admission import (
    body_limit,
)
from semfed_secure.server.round import RoundState
from semfed_secure.units import OutputKind
from semfed_secure.wire.cbor import decode, encode
from semfed_secure.wire.messages import (
    Contribution,
    Group,
    MessageType,
    encode_contribution,
    encode_statement,
    parse_contribution,
)
from tests.server.judging import TEXT, VOTES, WIDE, envelope_of, judge, manifest_of, refused, with_envelope
from tests.server.world import (
    NOW,
    answers,
    member,
    post,
    root,
    roster_file,
    statement_for,
    votes,
)


def test_an_honest_contribution_passes_all_steps() -> None:
    """What was answered is what is admitted."""
    bundle = judge(post("bay", manifest_of(VOTES), votes(3, 2, 1, 0, -1, 0)))
    assert bundle.payload.votes == (3, 2, 1, 0, -1, 0)
    assert (bundle.member.member_id, bundle.statement.sender) == ("bay", "bay")


def test_honest_texts_pass_all_steps() -> None:
    """Abstentions, line breaks and letters of any script are content."""
    texts = ("heart", None, "two\nlines", "Herz-Kreislauf", "心臓", None)
    assert judge(post("bay", manifest_of(TEXT), answers(*texts)), TEXT).payload.texts == texts


def test_step_01_oversize() -> None:
    """One byte above the round's limit is refused, however many bytes the server would take."""
    limit = body_limit(VOTES.terms, VOTES.max_body_bytes)
    assert limit < VOTES.max_body_bytes
    assert refused(bytes(limit + 1)) == "SF301"
    assert refused(bytes(limit)) == "SF302"


def test_step_01_oversize_for_the_server() -> None:
    """The server's own limit holds where it is lower, and for rounds that nobody knows."""
    body = post("bay", manifest_of(VOTES))
    assert refused(body, replace(VOTES, max_body_bytes=len(body) - 1)) == "SF301"
    assert judge(body, replace(VOTES, max_body_bytes=len(body)))
    assert refused(bytes(11), replace(VOTES, terms=None, max_body_bytes=10)) == "SF301"


@pytest.mark.parametrize("defect", ["empty", "truncated", "trailing", "garbage", "no-envelope", "duplicate-key"])
def test_step_02_not_well_formed(defect: str) -> None:
    """Cut, padded, random and ambiguous bytes are refused before anything is built from them."""
    body = post("bay", manifest_of(VOTES))
    assets = {
        "empty": b"",
        "truncated": body[:-1],
        "trailing": body + b"\0",
        "garbage": sha256(b"garbage") * 9,
        "no-envelope": encode_contribution(replace(parse_contribution(body), statement=b"\xf6")),
        "duplicate-key": b"\xa2\x00\x01\x00\x01",
    }
    assert refused(assets[defect]) == "SF302"


@given(st.binary(max_size=300))
def test_step_02_no_bytes_raise_anything_but_a_coded_refusal(body: bytes) -> None:
    """Whatever is posted, it is refused by a code."""
    assert refused(body) in {"SF302", "SF303"}


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 10_000), st.integers(1, 255))
def test_no_flipped_byte_is_admitted_differently(place: int, flip: int) -> None:
    """A contribution with any byte changed is refused by a code of the fifteen steps."""
    body = bytearray(_FIXED)
    body[place % len(body)] ^= flip
    assert refused(bytes(body)) in {f"SF3{step:02d}" for step in range(1, 16)}


_FIXED = post("bay", manifest_of(VOTES))


def test_step_03_unknown_version() -> None:
    """A statement of a version that we do not know is refused as such."""
    body = post("bay", manifest_of(VOTES))
    envelope = envelope_of(body)
    fields = dict(decode(envelope.payload, limits=WIDE))
    assert refused(with_envelope(body, replace(envelope, payload=encode({**fields, 1: 2})))) == "SF303"


@pytest.mark.parametrize("changes", [{"federation": FederationId("banks")}, {"round_id": RoundId("round-2")}], ids=str)
def test_step_04_other_federation_or_round(changes: dict[str, Any]) -> None:
    """A statement for somewhere else is refused, though it is signed."""
    assert refused(post("bay", manifest_of(VOTES), **changes)) == "SF304"


def test_step_04_unknown_round() -> None:
    """No terms, no contribution."""
    assert refused(post("bay", manifest_of(VOTES)), replace(VOTES, terms=None)) == "SF304"


@pytest.mark.parametrize(("milliseconds", "open_"), [(-1, False), (0, True), (599_999, True), (600_000, False)])
def test_step_04_early_or_late(milliseconds: int, *, open_: bool) -> None:
    """From the opening time, up to but without the closing time, to the millisecond."""
    context = replace(VOTES, now=from_ms(to_ms(NOW) + milliseconds))
    body = post("bay", manifest_of(VOTES))
    assert judge(body, context) if open_ else refused(body, context) == "SF304"


def test_step_04_closed_before_its_time() -> None:
    """A round that no longer collects takes nothing, whatever the clock says."""
    assert VOTES.terms is not None
    context = replace(VOTES, terms=replace(VOTES.terms, state=RoundState.CLOSED))
    assert refused(post("bay", manifest_of(VOTES)), context) == "SF304"


@pytest.mark.parametrize(
    "changes",
    [
        {"manifest_digest": sha256(b"other")},
        {"nonce": bytes(32)},
        {"prompt_set_digest": sha256(b"other")},
        {"kind": OutputKind.TEXT},
    ],
    ids=lambda changes: next(iter(changes)),
)
def test_step_05_other_terms(changes: dict[str, Any]) -> None:
    """Every term that the statement repeats is the manifest's."""
    assert refused(post("bay", manifest_of(VOTES), **changes)) == "SF305"


def test_step_06_stranger() -> None:
    """A member of no roster is refused, though its signatures are good."""
    assert refused(post("stranger", manifest_of(VOTES))) == "SF306"


def test_step_06_server_as_client() -> None:
    """Another role is not the role of a client."""
    hub = member("hub", Role.SERVER)
    statement = statement_for("bay", manifest_of(VOTES), votes(), sender=hub.member_id)
    statement = replace(statement, ciphertext_digests=(sha256(b"blob"),))
    signed = sign(MessageType.STATEMENT, encode_statement(statement), hub.keys.signing)
    assert refused(encode_contribution(Contribution(signed, (b"blob",)))) == "SF306"


def test_step_06_out_of_term() -> None:
    """A record whose term is over is nobody's."""
    late = NOW + timedelta(days=20_001)
    assert VOTES.terms is not None
    manifest = replace(manifest_of(VOTES), opens_at_ms=to_ms(late), closes_at_ms=to_ms(late) + 1000)
    context = replace(VOTES, now=late, terms=replace(VOTES.terms, manifest=manifest))
    assert refused(post("bay", manifest), context) == "SF306"


def test_step_06_revoked_during_the_round() -> None:
    """A revocation in a newer roster counts at once; it counts for nobody else."""
    newer = verify_roster(roster_file(sequence=2, revoked=["bay"]), root=root()[0], now=NOW, last_sequence=1)
    context = replace(VOTES, current=newer)
    assert refused(post("bay", manifest_of(VOTES)), context) == "SF306"
    assert judge(post("hill", manifest_of(VOTES)), context)


def test_step_06_in_no_group() -> None:
    """Who was revoked when the groups were named, and is not by a clock that was set back, has no part either."""
    groups = (Group("finance", (MemberId("hill"),)), Group("healthcare", (MemberId("lake"), MemberId("moor"))))
    assert VOTES.terms is not None
    manifest = replace(manifest_of(VOTES), groups=groups)
    context = replace(VOTES, terms=replace(VOTES.terms, manifest=manifest))
    assert refused(post("bay", manifest), context) == "SF306"
    assert judge(post("hill", manifest), context)


def test_step_07_signed_by_another_member() -> None:
    """A statement in one member's name with another's signatures is refused."""
    assert refused(post("bay", manifest_of(VOTES), signer="hill")) == "SF307"


def test_step_07_names_another_key() -> None:
    """The key that the statement names is the key that signed."""
    assert refused(post("bay", manifest_of(VOTES), signing_key_id=SigningKey.generate().key_id)) == "SF307"


@pytest.mark.parametrize("kept", [0, 1], ids=["only-classical", "only-post-quantum"])
def test_step_07_stripped_to_one_signature(kept: int) -> None:
    """Half of a hybrid signature is none."""
    body = post("bay", manifest_of(VOTES))
    envelope = envelope_of(body)
    assert refused(with_envelope(body, replace(envelope, signatures=(envelope.signatures[kept],)))) == "SF307"


@pytest.mark.parametrize("broken", [0, 1], ids=["classical", "post-quantum"])
def test_step_07_one_bad_signature(broken: int) -> None:
    """Both must verify."""
    body = post("bay", manifest_of(VOTES))
    signatures = list(envelope_of(body).signatures)
    value = bytearray(signatures[broken].value)
    value[7] ^= 1
    signatures[broken] = replace(signatures[broken], value=bytes(value))
    assert refused(with_envelope(body, replace(envelope_of(body), signatures=tuple(signatures)))) == "SF307"


def test_step_07_signed_as_another_kind_of_message() -> None:
    """A signature over the same bytes as a receipt is not one over a statement."""
    body = post("bay", manifest_of(VOTES))
    signed = sign(MessageType.RECEIPT, envelope_of(body).payload, member("bay").keys.signing)
    assert refused(encode_contribution(replace(parse_contribution(body), statement=signed))) == "SF307"
