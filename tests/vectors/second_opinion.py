"""What other implementations say of the recorded rounds: ``make second-opinion``, in an environment without ours.

``cbor-diag`` (Rust) makes the recorded bytes from their annotations. ``cbor`` (its own decoder and encoder) reads every
message and writes it again. ``cwt`` verifies every Ed25519 and P-256 signature in its COSE_Sign envelope; ML-DSA-65,
which it does not know, is verified over a Sig_structure that ``cbor`` wrote. ``pyhpke`` opens what was sealed to P-256.
Nothing of `semfed_secure` is imported; `requirements.txt` beside this file pins all of them.
"""

from __future__ import annotations

import hashlib
import hmac
from pathlib import Path
from typing import Any

import cbor
import cbor_diag
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA65PublicKey
from cwt import COSE, COSEKey
from cwt.exceptions import VerifyError
from pyhpke import AEADId, CipherSuite, KDFId, KEMId

HERE = Path(__file__).parent
ED25519, ESP256, ML_DSA_65 = -19, -9, -49
SIGN, SIGN_TAG = b"\xd8\x62", 98
P256_OPENING_KEY = bytes([5] * 32)
"""As the recorder has it: it protects nothing."""


def messages(data: bytes) -> list[tuple[bytes, Any]]:
    """Every message in ``data``, nested ones too: its bytes and what ``cbor`` reads in them."""
    if not data.startswith(SIGN) and data[:1] not in {bytes([0xA0 | n]) for n in range(24)} | {b"\xb8"}:
        return []
    value = cbor.loads(data)
    assert cbor.dumps(value) == data, "another encoder writes the same bytes"
    below = [each for part in byte_strings(value) for each in messages(part)]
    return [(data, value), *below]


def byte_strings(value: Any) -> list[bytes]:
    """Every byte string in a value that may hold a message; headers and hashes are shorter."""
    if isinstance(value, bytes):
        return [value] if len(value) > 60 and (value.startswith(SIGN) or b"semfed/" in value[:12]) else []
    if isinstance(value, dict):
        return [part for item in value.values() for part in byte_strings(item)]
    if isinstance(value, list):
        return [part for item in value for part in byte_strings(item)]
    return byte_strings(value.value) if isinstance(value, cbor.Tag) else []


def verify(data: bytes, envelope: Any, keys: dict[bytes, Any]) -> int:
    """Verify each signature of an envelope, and that none verifies for another message type; how many there are."""
    body, unprotected, payload, signatures = envelope.value
    assert (body, unprotected) == (b"", {})
    kind = "semfed/enrolment" if payload.startswith(SIGN) else cbor.loads(payload)[0]
    for protected, _, signature in signatures:
        header = cbor.loads(protected)
        key = keys[header[4]]
        raw = next(part[2] for part in key[3] if part[1] == header[1])
        for stated, good in ((kind, True), ("semfed/another", False)):
            external = cbor.dumps([stated, key[2]])
            structure = cbor.dumps(["Signature", body, protected, external, payload])
            assert accepted(data, header, raw, external, structure, signature) is good
    return len(signatures)


def accepted(
    data: bytes, header: dict[int, Any], raw: bytes, external: bytes, structure: bytes, signature: bytes
) -> bool:
    """Whether one signature verifies: by ``cwt`` in its envelope, or by the bare algorithm that it does not know."""
    try:
        if header[1] == ML_DSA_65:
            MLDSA65PublicKey.from_public_bytes(raw).verify(signature, structure)
        elif header[1] == ED25519:
            COSE.new().decode(
                data, COSEKey.new({1: 1, 2: header[4], 3: ED25519, -1: 6, -2: raw}), external_aad=external
            )
        else:
            point = {-2: raw[1:33], -3: raw[33:]}
            COSE.new().decode(data, COSEKey.new({1: 2, 2: header[4], 3: ESP256, -1: 1, **point}), external_aad=external)
    except (InvalidSignature, VerifyError):
        return False
    return True


def payload_of(data: bytes) -> bytes:
    """What an envelope carries."""
    return cbor.loads(data).value[2]


def check_round(directory: Path) -> None:
    """The digests and the commitment that join the messages of a round, and the seal that another HPKE opens."""

    def read(name: str) -> bytes:
        return (directory / name).read_bytes()

    def sha256(data: bytes) -> bytes:
        return hashlib.sha256(data).digest()

    manifest = payload_of(read("manifest"))
    assert cbor.loads(manifest)[5] == sha256(read("prompt-set"))
    for name in ("contribution", "contribution.nist-p256"):
        contribution = cbor.loads(read(name))
        statement = cbor.loads(payload_of(contribution[2]))
        assert statement[2] == sha256(manifest)
        assert statement[13] == [sha256(blob) for blob in contribution[3]]
    info = cbor.dumps({**statement, 0: "semfed/sealing-context", 13: []})
    suite = CipherSuite.new(KEMId.DHKEM_P256_HKDF_SHA256, KDFId.HKDF_SHA256, AEADId.AES256_GCM)
    private = suite.kem.deserialize_private_key(P256_OPENING_KEY)
    (sealed,) = contribution[3]
    opened = suite.create_recipient_context(sealed[:65], private, info=info).open(sealed[65:])
    assert hmac.digest(cbor.loads(opened)[2], opened, "sha256") == statement[12]


def main() -> None:
    """Ask about every recorded version."""
    versions = sorted(path for path in HERE.glob("v*") if path.is_dir())
    assert versions, "there is a recording"
    for directory in versions:
        names = sorted(path.name for path in directory.iterdir() if path.suffix != ".edn")
        files = {name: (directory / name).read_bytes() for name in names}
        for name, data in files.items():
            assert cbor_diag.diag2cbor((directory / f"{name}.edn").read_text()) == data, name
        found = [each for data in files.values() for each in messages(data)]
        keys = {
            hashlib.sha256(data).digest(): value
            for data, value in found
            if isinstance(value, dict) and value.get(0) == "semfed/verification-key"
        }
        envelopes = [(data, value) for data, value in found if isinstance(value, cbor.Tag)]
        signatures = sum(verify(data, value, keys) for data, value in envelopes)
        assert {key[2] for key in keys.values()} == {"hybrid-pq", "nist-p256"}
        check_round(directory)
        print(  # noqa: T201 - a script's report
            f"{directory.name}: {len(files)} files, {len(found)} messages, {len(envelopes)} envelopes,"
            f" {signatures} signatures: others read, write, verify and open the same"
        )


if __name__ == "__main__":
    main()
