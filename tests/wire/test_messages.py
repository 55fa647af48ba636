"""Every message comes back equal, is read as nothing else, and is refused outside its limits."""

from __future__ import annotations

import hmac
from dataclasses import fields, replace
from decimal import Decimal

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.ids import sha256
from semfed_secure.units import OutputKind
from semfed_secure.wire import cbor, messages, prompts
from semfed_secure.wire.messages import CandidateSource, Outcome, Payload, PromptStatus, commit, statement_info
from tests.wire import wire_examples as examples

CODECS = {
    "prompt_set": (prompts.encode_prompt_set, prompts.parse_prompt_set, examples.PROMPT_SET, examples.prompt_sets),
    "manifest": (messages.encode_manifest, messages.parse_manifest, examples.MANIFEST, examples.manifests()),
    "statement": (messages.encode_statement, messages.parse_statement, examples.STATEMENT, examples.statements),
    "payload": (messages.encode_payload, messages.parse_payload, examples.PAYLOAD, examples.payloads),
    "contribution": (
        messages.encode_contribution,
        messages.parse_contribution,
        examples.CONTRIBUTION,
        examples.contributions,
    ),
    "commitments": (
        messages.encode_commitments,
        messages.parse_commitments,
        examples.COMMITMENTS,
        examples.commitments,
    ),
    "receipt": (messages.encode_receipt, messages.parse_receipt, examples.RECEIPT, examples.receipts),
    "consensus": (messages.encode_consensus, messages.parse_consensus, examples.CONSENSUS, examples.consensuses()),
}
WIDE = cbor.Limits(max_bytes=1 << 20, max_items=100_000)


def altered(name: str, change) -> bytes:
    """The example called ``name`` with its wire map changed by ``change``."""
    encode, _, example, _ = CODECS[name]
    value = cbor.decode(encode(example), limits=WIDE)
    change(value)
    return cbor.encode(value)


@pytest.mark.parametrize("name", CODECS)
@settings(max_examples=50, suppress_health_check=[HealthCheck.too_slow])
@given(data=st.data())
def test_every_message_comes_back_equal(name, data) -> None:
    """``parse(encode(x)) == x`` and one value has one encoding."""
    encode, parse, _, strategy = CODECS[name]
    value = data.draw(strategy)
    encoded = encode(value)
    assert parse(encoded) == value
    assert encode(parse(encoded)) == encoded


@pytest.mark.parametrize("name", CODECS)
def test_no_message_is_read_as_another(name) -> None:
    """Type confusion: the tag decides, and a wrong one is SF302."""
    encode, _, example, _ = CODECS[name]
    data = encode(example)
    for other, (_, parse, _, _) in CODECS.items():
        if other != name:
            with pytest.raises(PeerError, match="SF302"):
                parse(data)


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("version", [0, 2, 255, True])
def test_another_version_is_refused(name, version) -> None:
    """An unknown version is SF303, so the sender knows to update rather than to repair."""
    with pytest.raises(PeerError, match="SF303"):
        CODECS[name][1](altered(name, lambda value: value.update({1: version})))


@pytest.mark.parametrize("name", CODECS)
def test_a_missing_and_an_unknown_field_are_refused(name) -> None:
    """Exactly the fields of the table: nothing optional hides, nothing extra rides along."""
    _, parse, _, _ = CODECS[name]
    for key in cbor.decode(CODECS[name][0](CODECS[name][2]), limits=WIDE):
        with pytest.raises(PeerError, match=r"SF302|SF303"):
            parse(altered(name, lambda value, key=key: value.pop(key)))
    with pytest.raises(PeerError, match="SF302"):
        parse(altered(name, lambda value: value.update({99: 0})))


@pytest.mark.parametrize("name", CODECS)
@pytest.mark.parametrize("wrong", [None, True, -1, 2**63, "", "\x00", b"", b"\x00", [], [None], {}, {1: 1}])
def test_a_field_of_another_type_is_refused(name, wrong) -> None:
    """Any value in any field gives a message that encodes to the same bytes, or SF302."""
    encode, parse, example, _ = CODECS[name]
    for key in list(cbor.decode(encode(example), limits=WIDE))[2:]:
        data = altered(name, lambda value, key=key: value.update({key: wrong}))
        try:
            parsed = parse(data)
        except PeerError as error:
            if error.code != "SF302":
                raise
        else:
            assert encode(parsed) == data


@pytest.mark.parametrize(("name", "key"), [("receipt", 6), ("commitments", 5)])
def test_no_place_in_a_log_is_beyond_what_an_entry_holds(name, key) -> None:
    """A site writes the place into its own log, whose integers end at 2^53 - 1."""
    CODECS[name][1](altered(name, lambda value: value.update({key: 2**53 - 1})))
    with pytest.raises(PeerError, match="SF302"):
        CODECS[name][1](altered(name, lambda value: value.update({key: 2**53})))


@pytest.mark.parametrize("name", CODECS)
def test_every_flipped_bit_changes_the_message_or_is_refused(name) -> None:
    """No two encodings mean the same."""
    encode, parse, example, _ = CODECS[name]
    data = encode(example)
    for position in range(len(data) * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        try:
            other = parse(bytes(flipped))
        except PeerError as error:
            if error.code not in {"SF302", "SF303"}:
                raise
        else:
            assert other != example


def listing(status: PromptStatus, listed: tuple[str, ...]) -> messages.Consensus:
    """A consensus of one prompt with these candidates."""
    return replace(examples.CONSENSUS, results=((messages.PromptResult(status, None, 0, 0, listed),),))


REFUSED = {
    "closes_before_it_opens": (messages.encode_manifest, replace(examples.MANIFEST, closes_at_ms=1)),
    "texts_without_a_time_to_open": (messages.encode_manifest, replace(examples.MANIFEST, opening_ends_at_ms=None)),
    "opened_before_commitments_close": (
        messages.encode_manifest,
        replace(examples.MANIFEST, opening_ends_at_ms=examples.MANIFEST.closes_at_ms),
    ),
    "votes_with_a_time_to_open": (messages.encode_manifest, replace(examples.MANIFEST, kind=OutputKind.VOTES)),
    "groups_without_an_embedder": (messages.encode_manifest, replace(examples.MANIFEST, embedder=None)),
    "proposals_without_an_embedder": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=examples.PROPOSALS, embedder=None),
    ),
    "proposals_that_are_votes": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=examples.PROPOSALS, kind=OutputKind.VOTES, opening_ends_at_ms=None),
    ),
    "proposals_without_a_number": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=replace(examples.PROPOSALS, max_candidates=0)),
    ),
    "labels_with_a_number_of_candidates": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=replace(examples.MANIFEST.rule, max_candidates=8)),
    ),
    "texts_with_proposed_candidates": (
        messages.encode_manifest,
        replace(examples.MANIFEST, candidates_from=CandidateSource("round-6", bytes(32), bytes(32))),
    ),
    "proposed_without_candidates": (messages.encode_consensus, listing(PromptStatus.PROPOSED, ())),
    "candidates_of_a_contested_prompt": (messages.encode_consensus, listing(PromptStatus.CONTESTED, ("flu",))),
    "one_candidate_twice": (messages.encode_consensus, listing(PromptStatus.PROPOSED, ("flu", " FLU"))),
    "a_candidate_with_a_hidden_character": (
        messages.encode_consensus,
        listing(PromptStatus.PROPOSED, ("flu", "fl\u202eu")),
    ),
    "too_many_proposals": (
        messages.encode_consensus,
        listing(PromptStatus.PROPOSED, tuple(map(str, range(65)))),
    ),
    "short_nonce": (messages.encode_manifest, replace(examples.MANIFEST, nonce=bytes(31))),
    "upper_case_round": (messages.encode_manifest, replace(examples.MANIFEST, round_id="Round")),
    "path_as_round": (messages.encode_manifest, replace(examples.MANIFEST, round_id="../x")),
    "share_above_one": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=replace(examples.MANIFEST.rule, trim_ppm=1_000_001)),
    ),
    "float_share": (
        messages.encode_manifest,
        replace(examples.MANIFEST, rule=replace(examples.MANIFEST.rule, trim_ppm=0.5)),
    ),
    "epsilon_in_words": (
        messages.encode_manifest,
        replace(examples.MANIFEST, dp_floor=replace(examples.MANIFEST.dp_floor, max_epsilon="8e0")),
    ),
    "epsilon_negative": (
        messages.encode_statement,
        replace(examples.STATEMENT, privacy=replace(examples.STATEMENT.privacy, epsilon=Decimal(-1))),
    ),
    "epsilon_not_a_number": (
        messages.encode_statement,
        replace(examples.STATEMENT, privacy=replace(examples.STATEMENT.privacy, epsilon=Decimal("NaN"))),
    ),
    "epsilon_as_float": (
        messages.encode_statement,
        replace(examples.STATEMENT, privacy=replace(examples.STATEMENT.privacy, epsilon=1.0)),
    ),
    "no_ciphertext": (messages.encode_statement, replace(examples.STATEMENT, ciphertext_digests=())),
    "short_commitment": (messages.encode_statement, replace(examples.STATEMENT, commitment=b"")),
    "checkpoint_too_long": (messages.encode_statement, replace(examples.STATEMENT, log_checkpoint="x" * 5_121)),
    "lone_surrogate": (messages.encode_statement, replace(examples.STATEMENT, log_checkpoint="\ud800")),
    "votes_of_1000": (messages.encode_payload, replace(examples.VOTES, votes=(1_000,))),
    "votes_below_abstain": (messages.encode_payload, replace(examples.VOTES, votes=(-2,))),
    "votes_as_booleans": (messages.encode_payload, replace(examples.VOTES, votes=(True,))),
    "no_outputs": (messages.encode_payload, replace(examples.VOTES, votes=())),
    "two_kinds_of_outputs": (messages.encode_payload, replace(examples.VOTES, texts=("a",))),
    "embedding_without_outputs": (messages.encode_payload, Payload(salt=bytes(32), kind=OutputKind.EMBEDDING)),
    "short_salt": (messages.encode_payload, replace(examples.VOTES, salt=bytes(16))),
    "text_too_long": (messages.encode_payload, replace(examples.PAYLOAD, texts=("x" * 4_097,))),
    "admitted_with_a_code": (messages.encode_receipt, replace(examples.RECEIPT, outcome=Outcome.ADMITTED)),
    "committed_with_a_code": (messages.encode_receipt, replace(examples.RECEIPT, outcome=Outcome.COMMITTED)),
    "commitments_out_of_order": (
        messages.encode_commitments,
        replace(examples.COMMITMENTS, statements=examples.COMMITMENTS.statements[::-1]),
    ),
    "a_commitment_twice": (
        messages.encode_commitments,
        replace(examples.COMMITMENTS, statements=(examples.COMMITMENTS.statements[0],) * 2),
    ),
    "rejected_without_a_code": (messages.encode_receipt, replace(examples.RECEIPT, code=None)),
    "reason_as_code": (messages.encode_receipt, replace(examples.RECEIPT, code="epsilon 9 > 8")),
    "short_proof_hash": (messages.encode_receipt, replace(examples.RECEIPT, inclusion_proof=(b"",))),
    "agreed_without_a_label": (
        messages.encode_consensus,
        replace(examples.CONSENSUS, results=((replace(examples.CONSENSUS.results[0][0], label=None),),)),
    ),
    "contested_with_a_label": (
        messages.encode_consensus,
        replace(
            examples.CONSENSUS,
            results=((replace(examples.CONSENSUS.results[0][0], status=PromptStatus.CONTESTED),),),
        ),
    ),
    "rejections_out_of_order": (
        messages.encode_consensus,
        replace(examples.CONSENSUS, rejections=(("SF312", 1), ("SF310", 1))),
    ),
    "no_prompts": (prompts.encode_prompt_set, prompts.PromptSet("x", ())),
    "prompt_id_twice": (prompts.encode_prompt_set, prompts.PromptSet("x", (prompts.Prompt("a", "b"),) * 2)),
    "candidate_twice": (prompts.encode_prompt_set, prompts.PromptSet("x", (prompts.Prompt("a", "b"),), ("c", "c"))),
    "empty_candidate": (prompts.encode_prompt_set, prompts.PromptSet("x", (prompts.Prompt("a", "b", ("",)),))),
    "prompt_too_long": (prompts.encode_prompt_set, prompts.PromptSet("x", (prompts.Prompt("a", "b" * 8_193),))),
    "candidate_too_long": (
        prompts.encode_prompt_set,
        prompts.PromptSet("x", (prompts.Prompt("a", "b"),), ("c" * 513,)),
    ),
    "too_many_candidates": (
        prompts.encode_prompt_set,
        prompts.PromptSet("x", (prompts.Prompt("a", "b"),), tuple(str(n) for n in range(1_001))),
    ),
}


@pytest.mark.parametrize("defect", REFUSED)
def test_a_value_that_peers_would_refuse_is_not_encoded(defect) -> None:
    """SF105 names the field, never the value."""
    encode, value = REFUSED[defect]
    with pytest.raises(ConfigurationError) as caught:
        encode(value)
    assert caught.value.code == "SF105"
    assert "xxxx" not in caught.value.message


def test_the_largest_prompt_set_round_trips() -> None:
    """20 000 prompts with 1 000 shared candidates; one more prompt is refused."""
    most = tuple(prompts.Prompt(f"p{n}", "x" * 100) for n in range(20_000))
    largest = prompts.PromptSet("x", most, tuple(f"c{n}" for n in range(1_000)))
    assert prompts.parse_prompt_set(prompts.encode_prompt_set(largest)) == largest
    with pytest.raises(ConfigurationError, match="SF105"):
        prompts.encode_prompt_set(replace(largest, prompts=(*most, prompts.Prompt("one-more", ""))))


def test_candidates_of_a_prompt_replace_those_of_the_set() -> None:
    """A prompt's own candidates, else the shared ones."""
    first, second = examples.PROMPT_SET.prompts
    assert examples.PROMPT_SET.candidates_of(first) == ("injury", "circulatory")
    assert examples.PROMPT_SET.candidates_of(second) == ("emergency", "circulatory")


def test_all_candidates_are_those_that_some_prompt_allows() -> None:
    """Each once, in order of appearance; shared ones count only where a prompt has none of its own."""
    assert examples.PROMPT_SET.all_candidates == ("injury", "circulatory", "emergency")
    own = replace(examples.PROMPT_SET, prompts=examples.PROMPT_SET.prompts[1:])
    assert own.all_candidates == ("emergency", "circulatory")


def test_a_digest_names_the_encoded_message() -> None:
    """Manifest, statement, consensus: SHA-256 of exactly the bytes that are signed."""
    for encode, value in (
        (messages.encode_manifest, examples.MANIFEST),
        (messages.encode_statement, examples.STATEMENT),
        (messages.encode_consensus, examples.CONSENSUS),
    ):
        assert value.digest == sha256(encode(value))


def test_a_message_larger_than_its_limit_is_not_encoded() -> None:
    """SF105 when the whole is too large though every field is within its own limit."""
    many = tuple(prompts.Prompt(f"p{n}", "x" * 8_192) for n in range(8_200))
    with pytest.raises(ConfigurationError, match="67108864 bytes"):
        prompts.encode_prompt_set(prompts.PromptSet("x", many))


def test_a_value_of_another_type_is_not_encoded() -> None:
    """A statement is no manifest, and no mapping is either."""
    for value in (examples.STATEMENT, {}, None):
        with pytest.raises(ConfigurationError, match="a RoundManifest was expected"):
            messages.encode_manifest(value)


def test_the_digest_of_a_prompt_set_covers_every_part() -> None:
    """Name, ids, texts, candidates, and order."""
    base = examples.PROMPT_SET
    variants = [
        replace(base, name="other"),
        replace(base, prompts=base.prompts[::-1]),
        replace(base, candidates=base.candidates[::-1]),
        replace(base, prompts=(replace(base.prompts[0], id="p3"), base.prompts[1])),
        replace(base, prompts=(replace(base.prompts[0], text="other"), base.prompts[1])),
        replace(base, prompts=(replace(base.prompts[0], candidates=("a",)), base.prompts[1])),
    ]
    assert len({base.digest, *(variant.digest for variant in variants)}) == len(variants) + 1


def test_votes_travel_as_little_endian_int16() -> None:
    """Two bytes a prompt: 1 then abstain."""
    value = cbor.decode(messages.encode_payload(examples.VOTES), limits=WIDE)
    assert value[4] == bytes.fromhex("0100ffff")


@pytest.mark.parametrize("votes", [b"\x00", b"\xfe\xff", b"\xe8\x03", b"\x00" * 40_002])
def test_votes_that_no_client_can_cast_are_refused(votes) -> None:
    """Half a vote, -2, 1 000, and one vote too many."""

    def change(value):
        value.update({3: "votes", 4: votes, 5: []})

    with pytest.raises(PeerError, match="SF302"):
        messages.parse_payload(altered("payload", change))


def test_the_sealing_context_covers_every_field_but_the_ciphertext_digests() -> None:
    """The HPKE info differs when any other field differs, and is the same before and after sealing."""
    base = examples.STATEMENT
    info = statement_info(base)
    assert statement_info(replace(base, ciphertext_digests=())) == info
    other = replace(base.privacy, epsilon=Decimal("7.85"))
    changes = {
        "manifest_digest": bytes(32),
        "federation": "banks",
        "round_id": "round-8",
        "nonce": bytes(32),
        "prompt_set_digest": bytes(32),
        "kind": OutputKind.VOTES,
        "sender": "south",
        "signing_key_id": "sha256:" + "cd" * 32,
        "recipient_key_id": "sha256:" + "cd" * 32,
        "created_at_ms": 1,
        "commitment": bytes([1] * 32),
        "item_count": 3,
        "dtype": "int16",
        "scale": 2,
        "privacy": other,
        "policy_digest": bytes(32),
        "log_checkpoint": "",
    }
    assert {"ciphertext_digests", *changes} == {field.name for field in fields(base)}
    infos = {statement_info(replace(base, **{name: value})) for name, value in changes.items()}
    assert len({info, *infos}) == len(changes) + 1


def test_the_largest_statement_fits_the_sealing_context() -> None:
    """Every field at its limit stays within 8 KiB."""
    parameters = {f"{n:032d}": "9" * 32 for n in range(16)}
    largest = replace(
        examples.STATEMENT,
        federation="f" * 63,
        round_id="r" * 63,
        sender="s" * 63,
        log_checkpoint="x" * 5 * 1024,
        privacy=replace(examples.STATEMENT.privacy, accountant="a" * 32, parameters=parameters),
    )
    assert len(statement_info(largest)) <= 8 * 1024
    assert messages.parse_statement(messages.encode_statement(largest)) == largest


def test_the_commitment_binds_salt_and_payload() -> None:
    """HMAC-SHA256, and another payload or salt gives another commitment."""
    data = messages.encode_payload(examples.PAYLOAD)
    base = commit(examples.PAYLOAD.salt, data)
    assert base == hmac.digest(examples.PAYLOAD.salt, data, "sha256")
    other_salt = replace(examples.PAYLOAD, salt=bytes(32))
    other_text = replace(examples.PAYLOAD, texts=("fracture of ankle", None))
    others = {commit(value.salt, messages.encode_payload(value)) for value in (other_salt, other_text)}
    assert len({base, *others}) == 3
    assert len(base) == 32


def test_a_payload_never_prints_its_outputs() -> None:
    """The repr shows the kind only: no text, no votes, no salt."""
    for payload in (examples.PAYLOAD, examples.VOTES):
        assert repr(payload) == f"Payload(kind={payload.kind!r})"


def test_payload_limits_hold_the_fullest_payload_and_no_more() -> None:
    """Room for every prompt at its longest answer; one prompt more does not fit."""
    for count in (1, 300):
        votes = Payload(salt=bytes(32), kind=OutputKind.VOTES, votes=(999,) * count)
        texts = Payload(salt=bytes(32), kind=OutputKind.TEXT, texts=("x" * 4_096,) * count)
        for payload in (votes, texts):
            limits = messages.payload_limits(payload.kind, count)
            assert messages.parse_payload(messages.encode_payload(payload), limits=limits) == payload
    with pytest.raises(PeerError, match="SF301"):
        messages.parse_payload(messages.encode_payload(texts), limits=messages.payload_limits(OutputKind.TEXT, 299))
    abstentions = messages.encode_payload(Payload(salt=bytes(32), kind=OutputKind.TEXT, texts=(None,) * 500))
    with pytest.raises(PeerError, match="SF302"):
        messages.parse_payload(abstentions, limits=messages.payload_limits(OutputKind.TEXT, 300))
