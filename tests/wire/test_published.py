"""Published examples of CBOR and COSE: what of them is ours has their bytes, and all the rest is refused.

Sources and licences stand in each file of ``vectors``.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from semfed_secure.crypto.parts import PublicPart
from semfed_secure.errors import PeerError
from semfed_secure.wire.cbor import Limits, decode, encode
from semfed_secure.wire.cose import Algorithm, parse_signed, signed_limits
from tests.wire.test_cbor import RFC_8949_ACCEPTED

FOLDER = Path(__file__).parent / "vectors"
APPENDIX_A = [example["hex"] for example in json.loads((FOLDER / "rfc8949_appendix_a.json").read_text())["examples"]]
COSE = json.loads((FOLDER / "rfc9052_cose_sign.json").read_text())["examples"]
LIMITS = Limits(max_bytes=4096, max_items=200)
P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
SIGN_TAG = bytes.fromhex("d862")
ALGORITHMS = {"P-256": Algorithm.ESP256, "Ed25519": Algorithm.ED25519}

# RFC 8949 appendix F.1: encodings that are not well-formed, by the defect.
NOT_WELL_FORMED = {
    "short_heads": "18 19 1a 1b 1901 1a0102 1b01020304050607 38 58 78 98 9a01ff00 b8 d8 f8 f900 fa0000 fb000000",
    "short_strings": "41 61 5affffffff00 5bffffffffffffffff010203 7affffffff00 7b7fffffffffffffff010203",
    "containers_with_too_few_items": "81 818181818181818181 8200 a1 a20102 a100 a2000000",
    "tag_without_content": "c0",
    "indefinite_strings_not_closed": "5f4100 7f6100",
    "indefinite_containers_not_closed": "9f 9f0102 bf bf01020102 819f 9f8000 9f9f9f9f9fffffffff 9f819f819f9fffffff",
    "reserved_additional_information": "1c 1d 1e 3c 3d 3e 5c 5d 5e 7c 7d 7e 9c 9d 9e bc bd be dc dd de fc fd fe",
    "reserved_simple_values": "f800 f801 f818 f81f",
    "wrong_string_chunks": "5f00ff 5f21ff 5f6100ff 5f80ff 5fa0ff 5fc000ff 5fe0ff 7f4100ff",
    "indefinite_string_chunks": "5f5f4100ffff 7f7f6100ffff",
    "break_alone": "ff",
    "break_in_definite_containers": "81ff 8200ff a1ff a1ff00 a100ff a20000ff 9f81ff 9f829f819f9fffffffff",
    "break_for_a_value": "bf00ff bf000000ff",
    "indefinite_integers_and_tags": "1f 3f df",
}


def test_every_example_of_appendix_a_of_rfc_8949_is_ours_or_refused() -> None:
    """Those of our subset decode to the printed value and encode to it again; all others are SF302."""
    ours = {encoded: value for value, encoded in RFC_8949_ACCEPTED}
    assert len(APPENDIX_A) == 82
    assert set(ours) <= set(APPENDIX_A)
    for encoded in APPENDIX_A:
        if encoded in ours:
            assert decode(bytes.fromhex(encoded), limits=LIMITS) == ours[encoded]
            assert encode(ours[encoded]).hex() == encoded
        else:
            with pytest.raises(PeerError, match="SF302"):
                decode(bytes.fromhex(encoded), limits=LIMITS)


@pytest.mark.parametrize("defect", NOT_WELL_FORMED)
def test_what_rfc_8949_calls_not_well_formed_is_refused(defect) -> None:
    """Appendix F.1, example by example."""
    for encoded in NOT_WELL_FORMED[defect].split():
        with pytest.raises(PeerError, match="SF302"):
            decode(bytes.fromhex(encoded), limits=LIMITS)


def example(name: str) -> dict:
    """The COSE example whose name ends so."""
    return next(each for each in COSE if each["name"].endswith(name))


def to_be_signed(each: dict) -> tuple[list[bytes], list[bytes]]:
    """What each signature of an example signs, built with our encoder, and the signatures."""
    body, _, payload, signers = decode(bytes.fromhex(each["cbor"]).removeprefix(SIGN_TAG), limits=LIMITS)
    external = bytes.fromhex(each["external"])
    body = b"" if body == encode({}) else body  # section 4.4: an empty map is signed as the empty string
    structures = [encode(["Signature", body, signer[0], external, payload]) for signer in signers]
    return structures, [signer[2] for signer in signers]


def verifies(each: dict) -> bool:
    """Whether the first signature of an example verifies, as it is or as the twin with the lower ``s``."""
    (structure, *_), (signature, *_) = to_be_signed(each)
    point = bytes.fromhex(each["x"] + each["y"])
    part = PublicPart(ALGORITHMS[each["crv"]], b"\x04" + point if each["y"] else point)
    twin = signature[:32] + (P256_ORDER - int.from_bytes(signature[32:]) % P256_ORDER).to_bytes(32)
    return part.verifies(signature, structure) or part.verifies(twin, structure)


@pytest.mark.parametrize("name", [each["name"] for each in COSE if not each["fail"]])
def test_the_signature_structure_is_that_of_rfc_9052(name) -> None:
    """Our encoder gives the published bytes to be signed, of one and of several signers; the signature is over them."""
    each = example(name)
    assert [structure.hex() for structure in to_be_signed(each)[0]] == each["to_be_signed"]
    assert verifies(each)


@pytest.mark.parametrize("name", ["fail-02", "fail-03", "fail-04", "fail-06", "fail-07"])
def test_the_failing_examples_of_rfc_9052_fail(name) -> None:
    """A changed signature, algorithm or protected header: nothing verifies over the bytes that we would build."""
    assert not verifies(example(name))


@pytest.mark.parametrize("name", [each["name"] for each in COSE])
def test_no_foreign_envelope_is_taken(name) -> None:
    """Ours name key and algorithm under the signature and leave nothing unsigned; every example does otherwise."""
    with pytest.raises(PeerError, match="SF302"):
        parse_signed(bytes.fromhex(example(name)["cbor"]), limits=signed_limits(LIMITS))
