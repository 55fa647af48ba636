"""P-256 in raw forms: what comes in and goes out, and what is refused."""

from __future__ import annotations

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.crypto.p256 import P256PrivateKey, P256PublicKey, fixed_form

ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
KEY = P256PrivateKey.from_private_bytes(bytes(range(32)))


@settings(max_examples=30)
@given(st.binary(max_size=300))
def test_a_signature_is_64_bytes_with_the_lower_s_and_verifies_everywhere(data) -> None:
    """Here, and as DER with the plain library."""
    signature = KEY.sign(data)
    assert len(signature) == 64
    assert int.from_bytes(signature[32:]) <= ORDER // 2
    KEY.public_key().verify(signature, data)
    der = encode_dss_signature(int.from_bytes(signature[:32]), int.from_bytes(signature[32:]))
    KEY.key.public_key().verify(der, data, ec.ECDSA(SHA256()))


def test_signing_draws_no_randomness() -> None:
    """RFC 6979: the same message gives the same signature, so a bad generator cannot give the key away."""
    assert KEY.sign(b"x") == KEY.sign(b"x")


@settings(max_examples=30)
@given(st.binary(max_size=50))
def test_what_a_token_signs_is_brought_to_the_one_form(data) -> None:
    """DER with either s becomes the same 64 bytes; the twin with the higher s is not accepted."""
    r, s = decode_dss_signature(KEY.key.sign(data, ec.ECDSA(SHA256())))
    both = {fixed_form(encode_dss_signature(r, s)), fixed_form(encode_dss_signature(r, ORDER - s))}
    assert len(both) == 1
    KEY.public_key().verify(both.pop(), data)
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(r.to_bytes(32) + max(s, ORDER - s).to_bytes(32), data)


BAD = {
    "empty": b"",
    "short": bytes(63),
    "long": KEY.sign(b"x") + b"\0",
    "zero": bytes(64),
    "r_zero": bytes(32) + KEY.sign(b"x")[32:],
    "s_zero": KEY.sign(b"x")[:32] + bytes(32),
    "r_is_the_order": ORDER.to_bytes(32) + KEY.sign(b"x")[32:],
    "all_ones": b"\xff" * 64,
    "der": KEY.key.sign(b"x", ec.ECDSA(SHA256())),
}


@pytest.mark.parametrize("defect", BAD)
def test_a_signature_of_another_form_is_refused(defect) -> None:
    """Always as a signature that does not verify."""
    with pytest.raises(InvalidSignature):
        KEY.public_key().verify(BAD[defect], b"x")


@pytest.mark.parametrize(
    "der",
    [b"", b"\x30\x00", encode_dss_signature(1, ORDER), encode_dss_signature(ORDER, 1), encode_dss_signature(0, 1)],
)
def test_a_der_signature_of_no_meaning_is_refused(der) -> None:
    """Rather than cut to 64 bytes."""
    with pytest.raises(ValueError, match=r"."):
        fixed_form(der)


@pytest.mark.parametrize("scalar", [bytes(32), ORDER.to_bytes(32), b"\xff" * 32, bytes(31), b"\x01" * 33])
def test_a_scalar_outside_the_group_is_refused(scalar) -> None:
    """Between 1 and the order, 32 bytes."""
    with pytest.raises(ValueError, match=r"."):
        P256PrivateKey.from_private_bytes(scalar)


def test_keys_come_back_from_their_raw_forms() -> None:
    """Private and public."""
    key = P256PrivateKey.generate()
    assert P256PrivateKey.from_private_bytes(key.private_bytes_raw()).private_bytes_raw() == key.private_bytes_raw()
    raw = key.public_key().public_bytes_raw()
    assert P256PublicKey.from_public_bytes(raw).public_bytes_raw() == raw
