"""Messages of the protocol: what parses encodes to the same bytes, and nothing else happens."""

from __future__ import annotations

import re
from dataclasses import replace
from functools import cache
from typing import TYPE_CHECKING, Any

from semfed_secure.crypto.keys import SealingKey, SigningKey, Suite, VerificationKey
from semfed_secure.crypto.signing import sign, sign_by_all, verify
from semfed_secure.identity import records, roster
from semfed_secure.identity.records import create_record, verify_record
from semfed_secure.identity.root import FederationRoot
from semfed_secure.identity.roster import verify_roster
from semfed_secure.wire import messages
from semfed_secure.wire.cbor import Limits, decode, encode
from semfed_secure.wire.cose import encode_signed, parse_signed
from semfed_secure.wire.messages import MANIFEST_LIMITS, MessageType
from semfed_secure.wire.prompts import encode_prompt_set, parse_prompt_set
from tests.fuzz.target import Target
from tests.identity import identity_examples as people
from tests.wire import wire_examples as examples

if TYPE_CHECKING:
    from collections.abc import Callable

_LIMITS = Limits(max_bytes=64 * 1024, max_items=10_000)


def _cbor(data: bytes) -> None:
    assert encode(decode(data, limits=_LIMITS)) == data


def _envelope(data: bytes) -> None:
    assert encode_signed(parse_signed(data, limits=_LIMITS)) == data


def _signed_manifest(data: bytes) -> None:
    verified = verify(MessageType.MANIFEST, data, [people.key(3).public], limits=MANIFEST_LIMITS)
    assert verified.payload == messages.encode_manifest(examples.MANIFEST), "a payload that this key never signed"


def _exact(parse: Callable[[bytes], Any], encoded: Callable[[Any], bytes]) -> Callable[[bytes], None]:
    def run(data: bytes) -> None:
        assert encoded(parse(data)) == data

    return run


def _roster_file(data: bytes) -> None:
    found = verify_roster(data, root=people.ROOT, now=people.NOW, last_sequence=0)
    assert found.digest == verify_roster(_roster(), root=people.ROOT, now=people.NOW, last_sequence=0).digest


def _signed_record(data: bytes) -> None:
    """Signed by the key that the first record holds: whatever a key holder may put into its own record."""
    verify_record(sign_by_all(MessageType.MEMBER_RECORD, data, [_QUICK]) if data[:1] != b"\xd8" else data)


_QUICK = SigningKey.from_secret(Suite.NIST_P256, bytes([1] * 32))
"""Signs in a tenth of the time of a hybrid key."""


def _record_of_quick() -> bytes:
    return _unsigned(create_record(replace(people.NORTH, signing_keys=(_QUICK.public,)), [_QUICK]))


@cache
def _roster() -> bytes:
    return people.roster()


def _unsigned(data: bytes) -> bytes:
    return parse_signed(data, limits=Limits(max_bytes=1 << 20)).payload


@cache
def _roster_payload() -> bytes:
    return _unsigned(roster._ROSTER_FILE.parse(_roster()).roster)


_KINDS: tuple[tuple[Any, Any, list[Any]], ...] = (
    (
        messages.parse_manifest,
        messages.encode_manifest,
        [examples.MANIFEST, replace(examples.MANIFEST, policy_digest=bytes(32))],
    ),
    (messages.parse_statement, messages.encode_statement, [examples.STATEMENT]),
    (messages.parse_contribution, messages.encode_contribution, [examples.CONTRIBUTION]),
    (messages.parse_payload, messages.encode_payload, [examples.PAYLOAD, examples.VOTES]),
    (messages.parse_receipt, messages.encode_receipt, [examples.RECEIPT]),
    (messages.parse_commitments, messages.encode_commitments, [examples.COMMITMENTS]),
    (messages.parse_consensus, messages.encode_consensus, [examples.CONSENSUS]),
    (parse_prompt_set, encode_prompt_set, [examples.PROMPT_SET]),
    (FederationRoot.parse, FederationRoot.encode, [people.ROOT]),
    (VerificationKey.parse, VerificationKey.encode, [people.key(1).public]),
    (SealingKey.parse, SealingKey.encode, [people.HUB.sealing_key]),
    (records._RECORD.parse, records._RECORD.encode, [people.NORTH, people.HUB]),
    (roster._ROSTER.parse, roster._ROSTER.encode, [roster._ROSTER.parse(_roster_payload())]),
)
"""How each kind of message is read and written, and what it may say."""
_TAG = re.compile(rb".{1,2}\0.(semfed/[a-z-]+)", re.DOTALL)
"""The type that a message opens with, behind the head of its map and the key 0."""


def _tag(data: bytes) -> bytes:
    found = _TAG.match(data)
    return found.group(1) if found else b""


_BY_TAG = {_tag(encoded(values[0])): _exact(parse, encoded) for parse, encoded, values in _KINDS}
assert len(_BY_TAG) == len(_KINDS)


def _message(data: bytes) -> None:
    """Read by the kind that it says it is; what says none is refused by every kind alike."""
    _BY_TAG.get(_tag(data), _exact(messages.parse_manifest, messages.encode_manifest))(data)


def _messages() -> list[bytes]:
    return [encoded(value) for _, encoded, values in _KINDS for value in values]


def _plain_cbor() -> list[bytes]:
    return [encode(value) for value in (0, -1, 2**64 - 1, "é", b"\0" * 24, [1, [2, {3: None}]], {"a": True, "bb": []})]


TARGETS = (
    Target("cbor", _cbor, _plain_cbor, 512, tree=True),
    Target(
        "envelope",
        _envelope,
        lambda: [sign(MessageType.RECEIPT, b"payload", people.key(3))],
        longest=8192,
        tree=True,
    ),
    Target("message", _message, _messages, longest=16_384, tree=True),
    Target(
        "signed_manifest",
        _signed_manifest,
        lambda: [sign(MessageType.MANIFEST, messages.encode_manifest(examples.MANIFEST), people.key(3))],
        longest=8192,
        tree=True,
    ),
    Target("roster_file", _roster_file, lambda: [_roster()], longest=64 * 1024, tree=True),
    Target(
        "signed_record",
        _signed_record,
        lambda: [people.RECORDS[0], _record_of_quick(), _unsigned(people.RECORDS[2])],
        longest=16_384,
        tree=True,
    ),
)
