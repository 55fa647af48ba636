"""Published test vectors of every algorithm we use, through our own functions where these take such input.

Where ours take less than an algorithm offers (no context of ML-DSA, no associated data of HPKE, ML-KEM only inside
X-Wing), the vectors run on the primitive below, and ours are held to what they say of it. Sources and licences stand
in each file of ``vectors``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, hpke
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cryptography.hazmat.primitives.asymmetric.mlkem import MLKEM768PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from semfed_secure.crypto.keys import OpeningKey, SealingKey, Suite
from semfed_secure.crypto.parts import PublicPart, SoftwarePart
from semfed_secure.crypto.sealing import open_sealed
from semfed_secure.crypto.stream import ChaChaStream
from semfed_secure.errors import PeerError
from semfed_secure.wire.cose import Algorithm
from tests.crypto.hpke_oracle import X_WING, key_schedule

FOLDER = Path(__file__).parent / "vectors"
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def vectors(file: str, part: str) -> list:
    """The vectors of one part of a file, each a parameter named by its place."""
    return [pytest.param(each, id=f"{n}") for n, each in enumerate(json.loads((FOLDER / file).read_text())[part])]


def of(vector: dict, *names: str) -> list[bytes]:
    """These fields as bytes."""
    return [bytes.fromhex(vector[name]) for name in names]


@pytest.mark.parametrize("vector", vectors("ed25519.json", "rfc8032"))
def test_ed25519_is_that_of_rfc_8032(vector) -> None:
    """Section 7.1: public key and signature of each secret key are the printed ones, and verify."""
    seed, public, message, signature = of(vector, "secretKey", "publicKey", "message", "signature")
    private = SoftwarePart.from_seed(Algorithm.ED25519, seed)
    assert private.public == PublicPart(Algorithm.ED25519, public)
    assert private.sign(message) == signature
    assert private.public.verifies(signature, message)
    assert not private.public.verifies(signature, message + b"\x00")


@pytest.mark.parametrize("vector", vectors("ed25519.json", "verify"))
def test_ed25519_accepts_and_refuses_as_published(vector) -> None:
    """Malleable, truncated, garbled and otherwise encoded signatures are refused, edge cases that are good accepted."""
    public, message, signature = of(vector, "publicKey", "msg", "sig")
    assert PublicPart(Algorithm.ED25519, public).verifies(signature, message) == (vector["result"] == "valid")


@pytest.mark.parametrize("vector", vectors("mldsa65.json", "keygen"))
def test_ml_dsa_65_keys_are_those_of_fips_204(vector) -> None:
    """The public key of each seed of NIST's key generation vectors."""
    seed, public = of(vector, "seed", "pk")
    assert SoftwarePart.from_seed(Algorithm.ML_DSA_65, seed).public == PublicPart(Algorithm.ML_DSA_65, public)


@pytest.mark.parametrize("vector", vectors("mldsa65.json", "verify"))
def test_ml_dsa_65_accepts_and_refuses_as_published(vector) -> None:
    """Lengths, norms, hints and flipped bits: good is accepted, bad is refused and never raises."""
    public, message, signature = of(vector, "publicKey", "msg", "sig")
    assert PublicPart(Algorithm.ML_DSA_65, public).verifies(signature, message) == (vector["result"] == "valid")


@pytest.mark.parametrize("vector", vectors("mldsa65.json", "sigver"))
def test_ml_dsa_65_with_a_context_is_that_of_fips_204_and_not_ours(vector) -> None:
    """NIST's vectors hold for the primitive; ours sign no context, so even the good ones are no message."""
    public, message, context, signature = of(vector, "pk", "message", "context", "signature")
    verify = MLDSA65PublicKey.from_public_bytes(public).verify
    if vector["testPassed"]:
        verify(signature, message, context)
    else:
        with pytest.raises(InvalidSignature):
            verify(signature, message, context)
    assert not PublicPart(Algorithm.ML_DSA_65, public).verifies(signature, message)


def p256(vector: dict) -> PublicPart:
    """The public key of an ECDSA vector."""
    return PublicPart(Algorithm.ESP256, b"\x04" + b"".join(of(vector, "x", "y")))


def low(signature: bytes) -> bool:
    """Whether ``s`` is the lower of the two that verify: the only one we take."""
    return int.from_bytes(signature[32:]) <= P256_ORDER // 2


@pytest.mark.parametrize("vector", vectors("ecdsa_p256.json", "rfc6979"))
def test_ecdsa_p256_is_that_of_rfc_6979(vector) -> None:
    """Appendix A.2.5: key and deterministic ``r`` are the printed ones, ``s`` is the printed one or its twin."""
    scalar, message, printed = of(vector, "private", "msg", "sig")
    private = SoftwarePart.from_seed(Algorithm.ESP256, scalar)
    twin = printed[:32] + (P256_ORDER - int.from_bytes(printed[32:])).to_bytes(32)
    assert private.public == p256(vector)
    assert private.sign(message) == (printed if low(printed) else twin)
    assert [private.public.verifies(each, message) for each in (printed, twin)] == [low(printed), low(twin)]


@pytest.mark.parametrize("vector", vectors("ecdsa_p256.json", "sigver") + vectors("ecdsa_p256.json", "verify"))
def test_ecdsa_p256_accepts_and_refuses_as_published(vector) -> None:
    """NIST's and Wycheproof's signatures; of the good ones the twin with the lower ``s`` alone."""
    message, signature = of(vector, "msg", "sig")
    good = vector["result"] == "valid"
    assert p256(vector).verifies(signature, message) == (good and low(signature))
    if good:
        other = signature[:32] + (P256_ORDER - int.from_bytes(signature[32:])).to_bytes(32)
        assert p256(vector).verifies(other, message) == low(other)


def sealing_key(encapsulation_key: bytes) -> bytes:
    """An X-Wing key with this lattice half, as bytes from a peer."""
    curve = X25519PrivateKey.from_private_bytes(bytes([7] * 32)).public_key().public_bytes_raw()
    return SealingKey(Suite.HYBRID_PQ, encapsulation_key + curve).encode()


@pytest.mark.parametrize("vector", vectors("mlkem768.json", "keygen"))
def test_ml_kem_768_keys_are_those_of_fips_203(vector) -> None:
    """The encapsulation key of each seed of NIST's vectors, and it is a half of a key that we take."""
    d, z, public = of(vector, "d", "z", "ek")
    assert MLKEM768PrivateKey.from_seed_bytes(d + z).public_key().public_bytes_raw() == public
    assert SealingKey.parse(sealing_key(public)).raw.startswith(public)


@pytest.mark.parametrize("vector", vectors("mlkem768.json", "decaps"))
def test_ml_kem_768_decapsulates_as_published(vector) -> None:
    """Good and implicitly rejected ciphertexts give the printed shared secret."""
    seed, public, ciphertext, shared = of(vector, "seed", "ek", "c", "K")
    key = MLKEM768PrivateKey.from_seed_bytes(seed)
    assert key.public_key().public_bytes_raw() == public
    assert key.decapsulate(ciphertext) == shared


@pytest.mark.parametrize("vector", vectors("mlkem768.json", "keycheck") + vectors("mlkem768.json", "modulus"))
def test_an_encapsulation_key_is_checked_as_fips_203_says(vector) -> None:
    """Section 7.2: a coefficient at or above the modulus refuses the whole sealing key, SF302."""
    data = sealing_key(*of(vector, "ek"))
    if vector.get("testPassed"):
        assert SealingKey.parse(data)
    else:
        with pytest.raises(PeerError, match="SF302"):
            SealingKey.parse(data)


@pytest.mark.parametrize("vector", vectors("hpke.json", "x_wing"))
def test_what_was_encapsulated_by_the_published_x_wing_we_open(vector) -> None:
    """An encapsulation of draft-ietf-hpke-pq with our key derivation and cipher opens through our function."""
    seed, enc, shared = of(vector, "skRm", "enc", "shared_secret")
    key, nonce = key_schedule(shared, b"context", kem=X_WING, aead=2)
    blob = enc + AESGCM(key).encrypt(nonce, b"outputs", b"")
    assert open_sealed(blob, info=b"context", key=OpeningKey.from_seed(seed)) == b"outputs"


@pytest.mark.parametrize("vector", vectors("hpke_rfc9180.json", "p256"))
def test_what_was_encapsulated_by_rfc_9180_for_p256_we_open(vector) -> None:
    """The printed public key, and a message under the printed encapsulation, key and nonce, through our function.

    The printed messages have associated data, which ours never have: the next test but one is about them.
    """
    secret, public, enc, info, key, nonce = of(vector, "skRm", "pkRm", "enc", "info", "key", "base_nonce")
    ours = OpeningKey.from_seed(secret, Suite.NIST_P256)
    assert ours.public.raw == public
    blob = enc + AESGCM(key).encrypt(nonce, b"outputs", b"")
    assert open_sealed(blob, info=info, key=ours) == b"outputs"
    with pytest.raises(PeerError, match="SF312"):
        open_sealed(blob, info=info + b"\x00", key=ours)


@pytest.mark.parametrize("vector", vectors("hpke_rfc9180.json", "x25519"))
def test_the_primitive_opens_what_rfc_9180_encapsulated_for_x25519(vector) -> None:
    """The classical half of X-Wing as a KEM of its own, with the key derivation and cipher that we use."""
    secret, enc, info, key, nonce = of(vector, "skRm", "enc", "info", "key", "base_nonce")
    suite = hpke.Suite(hpke.KEM.X25519, hpke.KDF.HKDF_SHA256, hpke.AEAD.AES_256_GCM)
    blob = enc + AESGCM(key).encrypt(nonce, b"outputs", b"")
    assert suite.decrypt(blob, X25519PrivateKey.from_private_bytes(secret), info=info) == b"outputs"


@pytest.mark.parametrize("vector", vectors("hpke_rfc9180.json", "p256") + vectors("hpke_rfc9180.json", "x25519"))
def test_our_second_implementation_has_the_key_schedule_of_rfc_9180(vector) -> None:
    """What checks our sealing agrees with the RFC for every message that is printed, not the first alone."""
    shared, info, key, nonce = of(vector, "shared_secret", "info", "key", "base_nonce")
    assert key_schedule(shared, info, kem=vector["kem_id"], aead=2) == (key, nonce)
    for sequence, message in enumerate(vector["encryptions"]):
        aad, ciphertext, plaintext = of(message, "aad", "ct", "pt")
        each = int.from_bytes(nonce, "big") ^ sequence
        assert AESGCM(key).encrypt(each.to_bytes(12, "big"), plaintext, aad) == ciphertext


@pytest.mark.parametrize("vector", vectors("hkdf.json", "sha256"))
def test_hkdf_is_that_of_rfc_5869(vector) -> None:
    """Appendix A.1 to A.3: what HPKE derives its keys with."""
    secret, salt, info, okm = of(vector, "IKM", "salt", "info", "OKM")
    assert HKDF(hashes.SHA256(), vector["L"], salt or None, info).derive(secret) == okm


@pytest.mark.parametrize("vector", vectors("chacha20.json", "nonce_zero"))
def test_the_noise_stream_is_the_keystream_of_rfc_8439(vector) -> None:
    """Block ``n`` of our stream is block ``n`` of ChaCha20 with nonce zero, eight words each."""
    key, keystream = of(vector, "key", "keystream")
    words = ChaChaStream(fixed_key_for_test_vectors=key).words(8 * (vector["block"] + 1))
    assert words[-8:].astype("<u8").tobytes() == keystream
