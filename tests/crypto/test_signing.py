"""Both signatures verify under one key for one message type, or the message is refused."""

from __future__ import annotations

from dataclasses import replace
from functools import cache

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.crypto.keys import SigningKey, Suite, VerificationKey
from semfed_secure.crypto.signing import Verified, sign, sign_by_all, verify, verify_by_several
from semfed_secure.errors import PeerError
from semfed_secure.ids import hex_digest, sha256
from semfed_secure.wire import cbor
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import Algorithm, MessageType, SignedMessage, encode_signed, parse_signed, sig_structure

LIMITS = Limits(max_bytes=1_000)
STATEMENT = MessageType.STATEMENT


@cache
def key(number: int) -> SigningKey:
    """The same keys in every test."""
    return SigningKey.from_secret(Suite.HYBRID_PQ, bytes([number] * 64))


def apart(data: bytes) -> SignedMessage:
    """The envelope taken apart."""
    return parse_signed(data, limits=Limits(max_bytes=1 << 20))


def refused(data: bytes, *keys: VerificationKey, message_type: MessageType = STATEMENT) -> str:
    """The code with which ``data`` is refused."""
    with pytest.raises(PeerError) as caught:
        verify(message_type, data, keys or [key(1).public], limits=LIMITS)
    return caught.value.code


def p256_key(number: int) -> SigningKey:
    """A key of suite nist-p256."""
    return SigningKey.from_secret(Suite.NIST_P256, bytes([number] * 32))


def hybrid_p256_key(number: int) -> SigningKey:
    """A hybrid whose classical half is P-256, and the very one of `p256_key`."""
    algorithms = (Algorithm.ESP256, Algorithm.ML_DSA_65)
    return SigningKey.from_secret(Suite.HYBRID_PQ, bytes([number] * 64), algorithms=algorithms)


KINDS = {"hybrid": key, "hybrid_p256": hybrid_p256_key, "nist_p256": p256_key}


@pytest.mark.parametrize("kind", KINDS)
@settings(max_examples=20)
@given(st.binary(max_size=1_000), st.sampled_from(MessageType))
def test_what_is_signed_verifies_as_what_it_is(kind, payload, message_type) -> None:
    """The payload comes back with the signer's key id, among several candidates, of every suite."""
    signer = KINDS[kind](1)
    data = sign(message_type, payload, signer)
    verified = verify(message_type, data, [key(2).public, signer.public], limits=LIMITS)
    assert verified == Verified(payload, signer.key_id)


def test_every_flipped_bit_of_a_signed_message_is_refused() -> None:
    """Each bit of heads, headers, payload and Ed25519 signature; one bit of each byte of the ML-DSA-65 signature."""
    data = sign(STATEMENT, b"small", key(1))
    lattice = len(data) - 3_309
    codes = set()
    for position in range(len(data) * 8):
        byte, bit = divmod(position, 8)
        if byte >= lattice and bit != byte % 8:
            continue  # all of them were once run too: 27 000 verifications take half a minute
        flipped = bytearray(data)
        flipped[byte] ^= 1 << bit
        codes.add(refused(bytes(flipped)))
    assert codes == {"SF302", "SF307"}


@pytest.mark.parametrize("dropped", [0, 1])
def test_a_stripped_signature_is_refused(dropped) -> None:
    """Neither the classical nor the post-quantum half is enough alone."""
    message = apart(sign(STATEMENT, b"x", key(1)))
    left = (message.signatures[1 - dropped],)
    assert refused(encode_signed(replace(message, signatures=left))) == "SF307"
    assert refused(encode_signed(replace(message, signatures=left * 2))) == "SF307"


def test_swapped_and_additional_signatures_are_refused() -> None:
    """Exactly the suite's signatures in its order, and nothing beside them."""
    message = apart(sign(STATEMENT, b"x", key(1)))
    other = apart(sign(STATEMENT, b"x", key(2)))
    for signatures in (
        message.signatures[::-1],
        message.signatures * 2,
        message.signatures + other.signatures,
        message.signatures + other.signatures[:1],
    ):
        data = encode_signed(replace(message, signatures=signatures))
        assert refused(data, key(1).public, key(2).public) == "SF307"


def test_the_keys_of_two_members_do_not_mix() -> None:
    """One member's Ed25519 signature and another's ML-DSA-65 signature: refused, though each one verifies."""
    first, second = apart(sign(STATEMENT, b"x", key(1))), apart(sign(STATEMENT, b"x", key(2)))
    mixed = encode_signed(SignedMessage(b"x", (first.signatures[0], second.signatures[1])))
    assert refused(mixed, key(1).public, key(2).public) == "SF307"


def test_a_key_made_of_two_members_halves_does_not_verify_either_ones_messages() -> None:
    """The key id covers both halves, and each signature covers the key id."""
    chimera = VerificationKey(Suite.HYBRID_PQ, (key(1).public.parts[0], key(2).public.parts[1]))
    first, second = apart(sign(STATEMENT, b"x", key(1))), apart(sign(STATEMENT, b"x", key(2)))
    digest = sha256(chimera.encode())
    relabelled = tuple(replace(signature, key_id=digest) for signature in (first.signatures[0], second.signatures[1]))
    assert refused(encode_signed(SignedMessage(b"x", relabelled)), chimera) == "SF307"


def relabelled(message: SignedMessage, key_: VerificationKey, *positions: int) -> bytes:
    """Some of a message's signatures, under the name of another key."""
    digest = sha256(key_.encode())
    signatures = tuple(replace(message.signatures[position], key_id=digest) for position in positions)
    return encode_signed(SignedMessage(message.payload, signatures))


def test_a_hybrid_is_not_stripped_to_the_suite_of_its_classical_half() -> None:
    """The same P-256 key in both suites: its half of a hybrid is no message of nist-p256, under either key's name."""
    hybrid, alone = hybrid_p256_key(1).public, p256_key(1).public
    assert hybrid.parts[0] == alone.parts[0]
    message = apart(sign(STATEMENT, b"x", hybrid_p256_key(1)))
    for keys in ([alone], [hybrid], [alone, hybrid]):
        assert refused(relabelled(message, alone, 0), *keys) == "SF307"
        assert refused(relabelled(message, hybrid, 0), *keys) == "SF307"
        assert refused(relabelled(message, alone, 0, 1), *keys) == "SF307"


def test_a_message_of_nist_p256_is_not_dressed_up_as_a_hybrid() -> None:
    """Its signature beside an ML-DSA signature of the same member's hybrid key: the suite is signed, too."""
    hybrid = hybrid_p256_key(1).public
    classical = apart(sign(STATEMENT, b"x", p256_key(1))).signatures[0]
    lattice = apart(sign(STATEMENT, b"x", hybrid_p256_key(1))).signatures[1]
    mixed = SignedMessage(b"x", (classical, lattice))
    assert refused(relabelled(mixed, hybrid, 0, 1), hybrid, p256_key(1).public) == "SF307"


def test_the_classical_halves_of_two_hybrids_are_not_exchanged() -> None:
    """An Ed25519 half where the key says P-256, and the other way round, beside the right ML-DSA half."""
    for first, second in ((key(1), hybrid_p256_key(1)), (hybrid_p256_key(1), key(1))):
        right, other = apart(sign(STATEMENT, b"x", first)), apart(sign(STATEMENT, b"x", second))
        mixed = SignedMessage(b"x", (other.signatures[0], right.signatures[1]))
        assert refused(relabelled(mixed, first.public, 0, 1), first.public, second.public) == "SF307"


@pytest.mark.parametrize("kind", ["hybrid_p256", "nist_p256"])
def test_every_flipped_bit_of_a_p256_signed_message_is_refused(kind) -> None:
    """Each bit of everything up to the end of the ECDSA signature, its twin with the higher s included."""
    signer = KINDS[kind](1)
    data = sign(STATEMENT, b"small", signer)
    classical = apart(data).signatures[0].value
    end = data.index(classical) + len(classical)
    codes = set()
    for position in range(end * 8):
        flipped = bytearray(data)
        flipped[position // 8] ^= 1 << position % 8
        codes.add(refused(bytes(flipped), signer.public))
    assert codes == {"SF302", "SF307"}
    s = int.from_bytes(classical[32:])
    order = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
    assert refused(data.replace(classical[32:], (order - s).to_bytes(32)), signer.public) == "SF307"


@pytest.mark.parametrize("claimed", [kind for kind in MessageType if kind is not STATEMENT])
def test_type_confusion_is_refused(claimed) -> None:
    """A statement's signatures never verify as those of another message."""
    assert refused(sign(STATEMENT, b"x", key(1)), message_type=claimed) == "SF307"


def test_another_payload_and_another_signer_are_refused() -> None:
    """Signatures moved to another payload; a signer that is not expected."""
    message = apart(sign(STATEMENT, b"x", key(1)))
    assert refused(encode_signed(replace(message, payload=b"y"))) == "SF307"
    assert refused(sign(STATEMENT, b"x", key(2))) == "SF307"
    with pytest.raises(PeerError, match="SF307"):
        verify(STATEMENT, sign(STATEMENT, b"x", key(1)), [], limits=LIMITS)


def test_a_payload_beyond_its_limit_is_refused_before_verification() -> None:
    """SF301 from one byte above the limit."""
    assert verify(STATEMENT, sign(STATEMENT, bytes(1_000), key(1)), [key(1).public], limits=LIMITS)
    assert refused(sign(STATEMENT, bytes(1_001), key(1))) == "SF301"
    assert refused(bytes(10_000)) == "SF302"
    assert refused(sign(STATEMENT, bytes(10_000), key(1))) == "SF301"


def test_each_signature_verifies_alone_with_the_plain_algorithms() -> None:
    """RFC 9052 to the letter: another implementation needs only the public keys and the Sig_structure."""
    message = apart(sign(STATEMENT, b"x", key(1)))
    classical, lattice = message.signatures
    ed25519, mldsa65 = (part.raw for part in key(1).public.parts)
    Ed25519PublicKey.from_public_bytes(ed25519).verify(
        classical.value, sig_structure(STATEMENT, "hybrid-pq", classical, b"x")
    )
    MLDSA65PublicKey.from_public_bytes(mldsa65).verify(
        lattice.value, sig_structure(STATEMENT, "hybrid-pq", lattice, b"x")
    )


def test_several_signers_each_count_once() -> None:
    """Who signed is reported; a repeated, unknown, or incomplete signer refuses the message."""
    keys = [key(number).public for number in (1, 2, 3)]
    data = sign_by_all(STATEMENT, b"x", [key(3), key(1)])
    verified = verify_by_several(STATEMENT, data, keys, limits=LIMITS, max_signers=3)
    assert verified.key_ids == {key(1).key_id, key(3).key_id}
    signatures = apart(data).signatures
    for bad in (
        signatures + signatures[:2],
        signatures[:3],
        signatures + apart(sign(STATEMENT, b"x", key(4))).signatures,
        signatures[:1] + signatures[2:] + signatures[1:2],
    ):
        with pytest.raises(PeerError, match="SF307"):
            verify_by_several(STATEMENT, encode_signed(SignedMessage(b"x", bad)), keys, limits=LIMITS, max_signers=3)


def test_more_signers_than_allowed_are_refused() -> None:
    """One signature set costs one verification, not as many as a peer cares to send."""
    data = sign_by_all(STATEMENT, b"x", [key(1), key(2)])
    assert refused(data, key(1).public, key(2).public) == "SF307"


def test_a_verification_key_comes_back_equal() -> None:
    """Encoding and id are stable; the id is the digest of the encoding."""
    parsed = VerificationKey.parse(key(1).public.encode())
    assert parsed == key(1).public
    assert parsed.key_id == hex_digest(sha256(parsed.encode()))


def encoded(suite: str, *parts: tuple[int, bytes]) -> bytes:
    """A verification key's bytes, whatever is in it."""
    listed = [{1: algorithm, 2: raw} for algorithm, raw in parts]
    return cbor.encode({0: "semfed/verification-key", 1: 1, 2: suite, 3: listed})


ED25519, MLDSA65 = [(int(part.algorithm), part.raw) for part in key(1).public.parts]
[ESP256] = [(int(part.algorithm), part.raw) for part in p256_key(1).public.parts]
OTHER_PARTS = {
    "one_part": ("hybrid-pq", ED25519),
    "the_other_part": ("hybrid-pq", MLDSA65),
    "swapped": ("hybrid-pq", MLDSA65, ED25519),
    "two_classical": ("hybrid-pq", ED25519, ED25519),
    "p256_alone": ("hybrid-pq", ESP256),
    "three": ("hybrid-pq", ED25519, ESP256, MLDSA65),
    "a_hybrid_called_nist": ("nist-p256", ESP256, MLDSA65),
    "ed25519_called_nist": ("nist-p256", ED25519),
    "an_unknown_suite": ("hybrid-px", ED25519, MLDSA65),
    "an_unknown_algorithm": ("hybrid-pq", (-50, bytes(1_952)), MLDSA65),
    "a_short_lattice_key": ("hybrid-pq", ED25519, (-49, MLDSA65[1][:-1])),
    "a_short_curve_key": ("nist-p256", (-9, ESP256[1][:-1])),
    "a_point_beside_the_curve": ("nist-p256", (-9, ESP256[1][:-1] + bytes([ESP256[1][-1] ^ 1]))),
    "a_compressed_point": ("nist-p256", (-9, bytes([2]) + ESP256[1][1:33])),
    "a_hybrid_point": ("nist-p256", (-9, bytes([6 + ESP256[1][-1] % 2]) + ESP256[1][1:])),
    "the_point_at_infinity": ("nist-p256", (-9, bytes(65))),
}


def test_the_bytes_of_good_keys_are_those_that_the_next_test_spoils() -> None:
    """So that it refuses what is wrong with each, and nothing else."""
    assert encoded("hybrid-pq", ED25519, MLDSA65) == key(1).public.encode()
    assert encoded("nist-p256", ESP256) == p256_key(1).public.encode()
    assert VerificationKey.parse(encoded("hybrid-pq", ESP256, MLDSA65)).algorithms == (-9, -49)


@pytest.mark.parametrize("defect", OTHER_PARTS)
def test_a_key_with_other_parts_than_its_suite_is_refused(defect) -> None:
    """The parts are a row of the suite, each a key of its algorithm in its one form, or the key does not parse."""
    with pytest.raises(PeerError, match="SF302"):
        VerificationKey.parse(encoded(*OTHER_PARTS[defect]))


def test_the_seeds_are_those_of_the_published_vectors() -> None:
    """RFC 8032 section 7.1 test 1; FIPS 204 key generation, first ML-DSA-65 vector of post-quantum-cryptography/KAT."""
    ed25519 = "9d61b19deffd5a60ba844af492ec2cc44449c5697b326919703bac031cae7f60"
    mldsa65 = "f696484048ec21f96cf50a56d0759c448f3779752f0383d37449690694cf7a68"
    public = SigningKey.from_secret(Suite.HYBRID_PQ, bytes.fromhex(ed25519 + mldsa65)).public
    assert public.parts[0].raw.hex() == "d75a980182b10ab7d54bfed3c964073a0ee172f3daa62325af021a68f707511a"
    assert sha256(public.parts[1].raw).hex() == "ab0f27cfe4f84d2a9fa74d48467439df9e5dd8401f8715f82ed70e43a371400a"


@pytest.mark.parametrize("length", [0, 32, 63, 65, 96])
def test_a_secret_of_another_length_is_refused(length) -> None:
    """One seed per algorithm, neither fewer nor more."""
    with pytest.raises(ValueError, match=r"."):
        SigningKey.from_secret(Suite.HYBRID_PQ, bytes(length))
