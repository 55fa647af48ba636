"""What is sealed opens for its recipient under its context, and in no other way."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.ciphers.aead import AESGCM, ChaCha20Poly1305
from hypothesis import given, settings
from hypothesis import strategies as st

from semfed_secure.crypto.keys import OpeningKey, SealingKey, Suite
from semfed_secure.crypto.sealing import MAX_INFO_BYTES, open_sealed, seal
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.wire import cbor
from tests.crypto.hpke_oracle import X_WING, key_schedule, x_wing_open

VECTORS = json.loads((Path(__file__).parent / "vectors" / "hpke.json").read_text())
KEY = OpeningKey.from_seed(bytes(range(32)))
OTHER = OpeningKey.from_seed(bytes(32))
P256_KEY = OpeningKey.from_seed(bytes(range(32)), Suite.NIST_P256)


@pytest.mark.parametrize("vector", VECTORS["x_wing"], ids=["hkdf", "shake"])
def test_the_seed_form_of_x_wing_is_that_of_the_published_vectors(vector) -> None:
    """The public key of a published 32-byte seed, and the oracle's shared secret."""
    seed = bytes.fromhex(vector["skRm"])
    assert OpeningKey.from_seed(seed).public.raw.hex() == vector["pkRm"]
    assert x_wing_open(seed, bytes.fromhex(vector["enc"])).hex() == vector["shared_secret"]


@pytest.mark.parametrize("vector", VECTORS["key_schedule"], ids=["hpke_pq", "rfc_9180"])
def test_the_oracle_agrees_with_the_published_key_schedules(vector) -> None:
    """Key, nonce and first ciphertext of draft-ietf-hpke-pq (X-Wing) and of RFC 9180 (AES-256-GCM)."""
    shared, info = bytes.fromhex(vector["shared_secret"]), bytes.fromhex(vector["info"])
    key, nonce = key_schedule(shared, info, kem=vector["kem_id"], aead=vector["aead_id"])
    assert (key.hex(), nonce.hex()) == (vector["key"], vector["base_nonce"])
    first = {name: bytes.fromhex(value) for name, value in vector["encryption"].items()}
    aead = AESGCM(key) if vector["aead_id"] == 2 else ChaCha20Poly1305(key)
    assert aead.encrypt(nonce, first["pt"], first["aad"]) == first["ct"]


def test_what_we_seal_the_second_implementation_opens() -> None:
    """X-Wing, HKDF-SHA256, AES-256-GCM as published: no private dialect."""
    blob = seal(b"outputs", info=b"context", to=KEY.public)
    shared = x_wing_open(bytes(range(32)), blob[:1120])
    key, nonce = key_schedule(shared, b"context", kem=X_WING, aead=2)
    assert AESGCM(key).decrypt(nonce, blob[1120:], b"") == b"outputs"


@pytest.mark.parametrize(("own", "overhead"), [(KEY, 1_120 + 16), (P256_KEY, 65 + 16)], ids=list(Suite))
@settings(max_examples=50)
@given(st.binary(max_size=2_000), st.binary(max_size=500))
def test_sealing_comes_back_under_the_same_context_only(own, overhead, plaintext, info) -> None:
    """Any plaintext, any context; one byte more of context and it does not open, nor for a key of another suite."""
    blob = seal(plaintext, info=info, to=own.public)
    assert len(blob) == len(plaintext) + own.public.overhead_bytes == len(plaintext) + overhead
    assert open_sealed(blob, info=info, key=own) == plaintext
    for other_info, key in ((info + b"\x00", own), (info, OTHER), (info, P256_KEY if own is KEY else KEY)):
        with pytest.raises(PeerError, match="SF312"):
            open_sealed(blob, info=other_info, key=key)


@pytest.mark.parametrize("own", [KEY, P256_KEY], ids=list(Suite))
def test_every_flipped_bit_of_a_sealed_blob_is_refused(own) -> None:
    """Encapsulation, ciphertext, tag: each single bit, always SF312 with the same sentence."""
    blob = seal(b"small", info=b"context", to=own.public)
    sentences = set()
    for position in range(len(blob) * 8):
        flipped = bytearray(blob)
        flipped[position // 8] ^= 1 << position % 8
        with pytest.raises(PeerError, match="SF312") as caught:
            open_sealed(bytes(flipped), info=b"context", key=own)
        sentences.add(str(caught.value))
    assert len(sentences) == 1


@pytest.mark.parametrize("length", [0, 1, 31, 1087, 1120, KEY.public.overhead_bytes - 1, KEY.public.overhead_bytes + 4])
def test_a_cut_blob_is_refused(length) -> None:
    """Any cut is SF312."""
    blob = seal(b"small", info=b"", to=KEY.public)
    with pytest.raises(PeerError, match="SF312"):
        open_sealed(blob[:length], info=b"", key=KEY)


def test_a_low_order_curve_point_in_a_blob_is_refused() -> None:
    """An all-zero X25519 share is an error of the exchange, and still SF312."""
    blob = seal(b"small", info=b"", to=KEY.public)
    with pytest.raises(PeerError, match="SF312"):
        open_sealed(blob[:1088] + bytes(32) + blob[1120:], info=b"", key=KEY)


def test_sealing_is_randomised() -> None:
    """The same plaintext twice gives two blobs with nothing in common to compare."""
    first, second = (seal(b"x" * 64, info=b"", to=KEY.public) for _ in range(2))
    assert first[:1120] != second[:1120]
    assert first[1120:] != second[1120:]


def test_the_context_is_bounded() -> None:
    """8 KiB is sealed and opened, a byte more is refused on both sides."""
    info = bytes(MAX_INFO_BYTES)
    assert open_sealed(seal(b"", info=info, to=KEY.public), info=info, key=KEY) == b""
    with pytest.raises(ConfigurationError, match="SF105"):
        seal(b"", info=info + b"\x00", to=KEY.public)
    with pytest.raises(PeerError, match="SF312"):
        open_sealed(seal(b"", info=info, to=KEY.public), info=info + b"\x00", key=KEY)


def test_a_sealing_key_comes_back_equal() -> None:
    """Encoding and id are stable."""
    parsed = SealingKey.parse(KEY.public.encode())
    assert parsed == KEY.public
    assert parsed.key_id == KEY.key_id


def encoded(suite: str, raw: bytes) -> bytes:
    """A sealing key's bytes, whatever is in it."""
    return cbor.encode({0: "semfed/sealing-key", 1: 1, 2: suite, 3: raw})


P256_RAW = P256_KEY.public.raw
BAD_KEYS = {
    "mlkem_coefficients_above_the_modulus": ("hybrid-pq", b"\xff" * 1_184 + KEY.public.raw[1_184:]),
    "curve_point_zero": ("hybrid-pq", KEY.public.raw[:1_184] + bytes(32)),
    "curve_point_one": ("hybrid-pq", KEY.public.raw[:1_184] + b"\x01" + bytes(31)),
    "cut": ("hybrid-pq", KEY.public.raw[:-1]),
    "p256_called_hybrid": ("hybrid-pq", P256_RAW),
    "hybrid_called_p256": ("nist-p256", KEY.public.raw),
    "beside_the_curve": ("nist-p256", P256_RAW[:-1] + bytes([P256_RAW[-1] ^ 1])),
    "compressed": ("nist-p256", bytes([2]) + P256_RAW[1:33]),
    "infinity": ("nist-p256", bytes(65)),
}


def test_the_bytes_of_good_keys_are_those_that_the_next_test_spoils() -> None:
    """So that it refuses what is wrong with each, and nothing else."""
    assert encoded("hybrid-pq", KEY.public.raw) == KEY.public.encode()
    assert SealingKey.parse(encoded("nist-p256", P256_RAW)) == P256_KEY.public


@pytest.mark.parametrize("defect", BAD_KEYS)
def test_a_key_that_weakens_sealing_is_refused(defect) -> None:
    """A key whose classical half would be a constant, that is malformed, or that is another suite's, does not parse."""
    with pytest.raises(PeerError, match="SF302"):
        SealingKey.parse(encoded(*BAD_KEYS[defect]))


@pytest.mark.parametrize("length", [0, 31, 33, 64])
def test_a_seed_of_another_length_is_refused(length) -> None:
    """32 bytes exactly."""
    with pytest.raises(ValueError, match="seed"):
        OpeningKey.from_seed(bytes(length))
