"""The federation root: the keys that say who is a member, and how many of them must agree."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from semfed_secure.crypto.keys import VerificationKey
from semfed_secure.identity.codecs import nested_key
from semfed_secure.ids import Digest, sha256
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.schema import NAME, Message, WireValueError, many, record, whole

if TYPE_CHECKING:
    from semfed_secure.ids import FederationId

MAX_ROOT_KEYS = 16
MAX_ROOT_BYTES = 48 * 1024
"""Sixteen hybrid public keys."""


@dataclass(frozen=True, slots=True)
class FederationRoot:
    """What every member pins: trust in the federation begins here.

    Its digest covers the id, the threshold and every key; whoever holds fewer than ``threshold`` of the private
    keys cannot sign a roster.
    """

    federation: FederationId
    threshold: int
    keys: tuple[VerificationKey, ...]

    @property
    def digest(self) -> Digest:
        """SHA-256 of the encoded root; compare it over another channel before pinning."""
        return sha256(self.encode())

    def encode(self) -> bytes:
        """The bytes of the root file; ``SF105`` if a field is out of range."""
        return _ROOT.encode(self)

    @classmethod
    def parse(cls, data: bytes) -> FederationRoot:
        """Read a root file; it is trusted because it is pinned, not because it parses.

        Raises:
            PeerError: ``SF301``, ``SF302`` or ``SF303``.
        """
        return _ROOT.parse(data)


def _threshold_can_be_met(root: FederationRoot) -> None:
    if len({key.key_id for key in root.keys}) != len(root.keys):
        raise WireValueError("root keys without repeats were expected")
    if root.threshold > len(root.keys):
        raise WireValueError("a threshold of at most the number of root keys was expected")


_ROOT = Message(
    "semfed/federation-root",
    1,
    record(
        FederationRoot,
        {
            2: ("federation", NAME),
            3: ("threshold", whole(1, MAX_ROOT_KEYS)),
            4: ("keys", many(nested_key(VerificationKey), MAX_ROOT_KEYS, 1)),
        },
        _threshold_can_be_met,
    ),
    Limits(max_bytes=MAX_ROOT_BYTES),
)
