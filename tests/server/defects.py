"""One contribution for each way to fail: named by the defect, numbered by the step of admission that it fails.

Defects combine: a body with several of them shows which step comes first.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from decimal import Decimal
from typing import TYPE_CHECKING, Any

from semfed_secure.crypto.keys import OpeningKey
from semfed_secure.ids import RoundId, sha256
from semfed_secure.units import OutputKind
from semfed_secure.wire.cbor import decode, encode
from tests.server.judging import WIDE, envelope_of, manifest_of, with_envelope
from tests.server.world import PRIVACY, answers, post, votes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from semfed_secure.server.admission import AdmissionContext

OTHER_KEY = OpeningKey.generate().public


def _trailing_byte(body: bytes) -> bytes:
    return body + b"\0"


def _unknown_version(body: bytes) -> bytes:
    envelope = envelope_of(body)
    fields = dict(decode(envelope.payload, limits=WIDE))
    return with_envelope(body, replace(envelope, payload=encode({**fields, 1: 2})))


@dataclass(frozen=True)
class Defect:
    """What is wrong: fields of the honest contribution, its bytes, or what the server knows already."""

    step: int
    name: str
    changes: dict[str, Any] = field(default_factory=dict)
    damage: Callable[[bytes], bytes] | None = None
    past: dict[str, Any] = field(default_factory=dict)


DEFECTS = {
    defect.step: defect
    for defect in (
        Defect(1, "larger-than-the-server-takes", past={"max_body_bytes": 5_000}),
        Defect(2, "trailing-byte", damage=_trailing_byte),
        Defect(3, "unknown-version", damage=_unknown_version),
        Defect(4, "of-another-round", {"round_id": RoundId("round-2")}),
        Defect(5, "another-nonce", {"nonce": bytes(32)}),
        Defect(6, "stranger", {"name": "stranger"}),
        Defect(7, "signed-by-another-member", {"signer": "lake"}),
        Defect(8, "sealed-to-another-server", {"recipient_key_id": OTHER_KEY.key_id}),
        Defect(9, "second-contribution", past={"standing": lambda _member: sha256(b"the first one")}),
        Defect(10, "privacy-below-the-floor", {"privacy": replace(PRIVACY, epsilon=Decimal(9))}),
        Defect(11, "other-ciphertext-than-signed", {"digests": (sha256(b"another blob"),)}),
        Defect(12, "sealed-with-another-key", {"to": OTHER_KEY}),
        Defect(13, "other-payload-than-committed", {"commitment": bytes(32)}),
        Defect(14, "one-output-too-few", {"item_count": 5}),
        Defect(15, "identifier-in-a-text", {"payload": answers("SSN 536-22-8726", *[None] * 5)}),
    )
}


def with_defects(defects: Iterable[Defect], context: AdmissionContext) -> tuple[bytes, AdmissionContext]:
    """An otherwise honest contribution with all of ``defects``, and the past in which it arrives."""
    listed = sorted(defects, key=lambda defect: defect.step)
    text = manifest_of(context).kind is OutputKind.TEXT
    arguments: dict[str, Any] = {"name": "bay", "payload": answers("heart", *[None] * 5) if text else votes()}
    for defect in listed:
        arguments |= defect.changes
    body = post(arguments.pop("name"), manifest_of(context), **arguments)
    for defect in reversed(listed):  # what is outermost is done last
        body = defect.damage(body) if defect.damage is not None else body
        context = replace(context, **defect.past)
    return body, context
