"""The fifteen steps of admission: one defect per step, each refused by its own code and no other."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.clock import SystemRandomness, from_ms, to_ms
from semfed_secure.crypto.keys import OpeningKey, SigningKey
from semfed_secure.crypto.sealing import seal
from semfed_secure.crypto.signing import sign
from semfed_secure.errors import PeerError
from semfed_secure.identity.records import Role
from semfed_secure.identity.roster import verify_roster
from semfed_secure.ids import FederationId, RoundId, sha256
from semfed_secure.server.admission import (
    AdmissionContext,
    AdmittedBundle,
    RoundTerms,
    admit,
    authenticate,
    body_limit,
    read_contribution,
)
from semfed_secure.server.opening import Ground, RoundPlan, make_manifest
from semfed_secure.units import Mechanism, OutputKind, PrivacyUnit, Relation
from semfed_secure.wire.cbor import Limits, decode, encode
from semfed_secure.wire.cose import SignedMessage, encode_signed, parse_signed
from semfed_secure.wire.messages import (
    Contribution,
    MessageType,
    encode_contribution,
    encode_payload,
    encode_statement,
    parse_contribution,
    statement_info,
)
from tests.server.world import (
    EMBEDDER,
    FEDERATION,
    FLOOR,
    NOW,
    PLURALITY,
    PROMPTS,
    SEMANTIC,
    answers,
    body_of,
    member,
    post,
    root,
    roster_file,
    statement_for,
    votes,
)

if TYPE_CHECKING:
    from semfed_secure.wire.messages import RoundManifest

WIDE = Limits(max_bytes=1 << 20)


def make_context(kind: OutputKind = OutputKind.VOTES, **changes: Any) -> AdmissionContext:
    """A round that is open now, with everybody on the roster."""
    hub = member("hub", Role.SERVER).keys
    roster = verify_roster(roster_file(), root=root()[0], now=NOW, last_sequence=0)
    text = kind is OutputKind.TEXT
    plan = RoundPlan(
        round_id=RoundId("round-1"),
        kind=kind,
        rule=SEMANTIC if text else PLURALITY,
        dp_floor=FLOOR,
        max_new_tokens=16,
        opens_at=NOW,
        closes_at=NOW + timedelta(seconds=600),
        embedder=EMBEDDER if text else None,
    )
    ground = Ground(
        federation=FEDERATION,
        roster=roster,
        recipient_key_id=hub.opening.key_id,
        previous_consensus_digest=None,
        log_checkpoint="checkpoint",
    )
    manifest = make_manifest(plan, PROMPTS, ground, SystemRandomness())
    context = AdmissionContext(
        federation=FEDERATION,
        round_id=manifest.round_id,
        terms=RoundTerms(manifest, PROMPTS, collecting=True),
        pinned=roster,
        current=roster,
        key=hub.opening,
        max_body_bytes=1 << 20,
        now=NOW,
        standing=lambda _member: None,
    )
    return replace(context, **changes)


VOTES, TEXT = make_context(), make_context(OutputKind.TEXT)


def manifest_of(context: AdmissionContext) -> RoundManifest:
    """The manifest of the context's round."""
    assert context.terms is not None
    return context.terms.manifest


def judge(body: bytes, context: AdmissionContext = VOTES) -> AdmittedBundle:
    """All fifteen steps."""
    return admit(authenticate(read_contribution(body, context), context), context)


def refused(body: bytes, context: AdmissionContext = VOTES) -> str:
    """The code for which it is refused."""
    with pytest.raises(PeerError) as refusal:
        judge(body, context)
    return refusal.value.code


def with_envelope(body: bytes, envelope: SignedMessage) -> bytes:
    """The same contribution with another signed envelope."""
    return encode_contribution(replace(parse_contribution(body), statement=encode_signed(envelope)))


def envelope_of(body: bytes) -> SignedMessage:
    """The signed envelope of a contribution, taken apart."""
    return parse_signed(parse_contribution(body).statement, limits=WIDE)


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
    context = replace(VOTES, terms=replace(VOTES.terms, collecting=False))
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


def test_step_08_sealed_to_another_recipient() -> None:
    """What names another server's key is not for us."""
    assert refused(post("bay", manifest_of(VOTES), recipient_key_id=OpeningKey.generate().key_id)) == "SF308"


def test_step_08_a_second_recipient() -> None:
    """In direct mode nobody but the server receives a bundle."""
    statement = statement_for("bay", manifest_of(VOTES), votes(), ciphertext_digests=(sha256(b"a"), sha256(b"b")))
    assert refused(body_of(statement, b"a", b"b", signer="bay")) == "SF308"


def test_step_09_equivocation() -> None:
    """A member that was admitted cannot say something else; its own contribution is no contradiction."""
    body = post("bay", manifest_of(VOTES))
    own = read_contribution(body, VOTES).statement.digest
    assert refused(body, replace(VOTES, standing=lambda _member: sha256(b"other"))) == "SF309"
    assert judge(body, replace(VOTES, standing=lambda _member: own))


@pytest.mark.parametrize(
    ("changes", "good"),
    [
        ({"epsilon": Decimal(8)}, True),
        ({"epsilon": Decimal("8.000001")}, False),
        ({"epsilon": Decimal("Infinity")}, False),
        ({"delta": Decimal("0.00001")}, True),
        ({"delta": Decimal("0.000010001")}, False),
        ({"mechanism": Mechanism.UNSAFE_NO_NOISE}, False),
        ({"unit": PrivacyUnit.ORGANISATION}, True),
        ({"relation": Relation.REPLACE_ONE}, False),
    ],
    ids=str,
)
def test_step_10_privacy_below_the_floor(changes: dict[str, Any], *, good: bool) -> None:
    """At the floor is admitted, just below it is refused, in each term of the declaration."""
    declared = replace(statement_for("bay", manifest_of(VOTES), votes()).privacy, **changes)
    body = post("bay", manifest_of(VOTES), privacy=declared)
    assert judge(body) if good else refused(body) == "SF310"


def test_step_10_a_weaker_unit_than_the_floor_asks() -> None:
    """Where organisations are to be hidden, hiding their entities is not enough."""
    floor = replace(FLOOR, unit=PrivacyUnit.ORGANISATION)
    assert VOTES.terms is not None
    manifest = replace(manifest_of(VOTES), dp_floor=floor)
    context = replace(VOTES, terms=replace(VOTES.terms, manifest=manifest))
    assert refused(post("bay", manifest), context) == "SF310"


def test_step_11_swapped_ciphertext() -> None:
    """A blob that opens, and is not the one that was signed, is refused."""
    first, second = (parse_contribution(post("bay", manifest_of(VOTES))) for _ in range(2))
    assert refused(encode_contribution(replace(first, sealed=second.sealed))) == "SF311"


def test_step_11_missing_or_second_blob() -> None:
    """Exactly the signed number of blobs."""
    contribution = parse_contribution(post("bay", manifest_of(VOTES)))
    assert refused(encode_contribution(replace(contribution, sealed=contribution.sealed * 2))) == "SF311"


def test_step_12_sealed_under_another_context() -> None:
    """A blob sealed for another statement does not open for this one, though its digest was signed."""
    other = statement_for("bay", manifest_of(VOTES), votes(), sequence=9)
    assert refused(post("bay", manifest_of(VOTES), sealed_for=other)) == "SF312"


def test_step_12_sealed_to_another_key() -> None:
    """What we cannot open is refused; a forwarded bundle looks like this."""
    statement = statement_for("bay", manifest_of(VOTES), votes())
    blob = seal(encode_payload(votes()), info=statement_info(statement), to=OpeningKey.generate().public)
    body = body_of(replace(statement, ciphertext_digests=(sha256(blob),)), blob, signer="bay")
    assert refused(body) == "SF312"


def test_step_13_other_payload_than_committed() -> None:
    """The plaintext is bound by its commitment before anybody sees it."""
    assert refused(post("bay", manifest_of(VOTES), plaintext=encode_payload(votes(1, 1, 1, 1, 1, 1)))) == "SF313"


def test_step_13_other_salt() -> None:
    """The salt is part of what was committed to."""
    salted = encode_payload(replace(votes(), salt=bytes([1] * 32)))
    assert refused(post("bay", manifest_of(VOTES), plaintext=salted)) == "SF313"


@pytest.mark.parametrize("defect", ["short", "long", "wrong-kind", "no-such-candidate", "not-a-payload"])
def test_step_14_wrong_shape(defect: str) -> None:
    """Too few, too many, another kind, out of range, undecodable."""
    assets = {
        "short": {"payload": votes(0, 1, 2)},
        "long": {"payload": votes(*range(4), 0, 1, 2)},
        "wrong-kind": {"payload": answers(*["heart"] * 6)},
        "no-such-candidate": {"payload": votes(0, 1, 2, 3, 4, 0)},
        "not-a-payload": {"plaintext": b"\xf6"},
    }
    assert refused(post("bay", manifest_of(VOTES), **assets[defect])) == "SF314"


@pytest.mark.parametrize("changes", [{"item_count": 5}, {"dtype": "utf-8"}, {"scale": 2}], ids=str)
def test_step_14_statement_misstates_the_shape(changes: dict[str, Any]) -> None:
    """What is logged about the bundle is what the bundle is."""
    assert refused(post("bay", manifest_of(VOTES), **changes)) == "SF314"


@pytest.mark.parametrize(
    "text",
    ["SSN 536-22-8726", "a\x1b[2Jb", "a\u202eb", "a\u200bb", "   ", "", "x" * (16 * 32 + 1)],
    ids=["identifier", "terminal-escape", "bidi-override", "zero-width", "blank", "empty", "too-long"],
)
def test_step_15_content_gate(text: str) -> None:
    """Identifiers, hidden characters, emptiness and what no decoding of this length makes."""
    body = post("bay", manifest_of(TEXT), answers("heart", text, None, None, None, None))
    assert refused(body, TEXT) == "SF315"


def test_step_15_a_detector_that_breaks_blocks(monkeypatch: pytest.MonkeyPatch) -> None:
    """No verdict is not a clean one."""

    def broken(_text: str) -> tuple[()]:
        raise RecursionError

    monkeypatch.setattr("semfed_secure.server.admission.scan", broken)
    assert refused(post("bay", manifest_of(TEXT), answers("heart", *[None] * 5)), TEXT) == "SF315"
    assert judge(post("bay", manifest_of(VOTES)))


def test_step_15_the_longest_text_passes() -> None:
    """One character less than too long."""
    assert judge(post("bay", manifest_of(TEXT), answers("x" * (16 * 32), *[None] * 5)), TEXT)


def test_the_list_at_the_top_is_the_code_below() -> None:
    """Fifteen numbered lines with their codes, and a block of code for each, in this order."""
    import inspect
    import re

    from semfed_secure.server import admission

    listed = re.findall(r"^ ?(\d+)\. .*(SF3\d\d)$", admission.__doc__ or "", re.MULTILINE)
    assert [(int(number), code) for number, code in listed] == [(step, f"SF3{step:02d}") for step in range(1, 16)]
    source = "".join(inspect.getsource(each) for each in (read_contribution, authenticate, admit))
    assert [int(number) for number in re.findall(r"^    # (\d+)\. ", source, re.MULTILINE)] == [*range(1, 16)]
