"""What holds secrets, and in which forms a secret would show in an output."""

from __future__ import annotations

import base64
from typing import TYPE_CHECKING

from semfed_secure.crypto.certificates import Authority
from semfed_secure.crypto.external import ExternalPart
from semfed_secure.crypto.keys import OpeningKey, SigningKey
from semfed_secure.crypto.log_keys import LogSigningKey
from semfed_secure.crypto.p256 import P256PrivateKey
from semfed_secure.crypto.parts import SoftwarePart
from semfed_secure.crypto.private import PrivateKey, Secret, Undisclosed
from semfed_secure.crypto.stream import ChaChaStream

if TYPE_CHECKING:
    from semfed_secure.identity.member_files import MemberKeys


def holders() -> frozenset[type]:
    """Every class that holds secret bytes itself; all others hold objects of these."""
    return frozenset(
        {
            Authority,
            ChaChaStream,
            ExternalPart,
            LogSigningKey,
            OpeningKey,
            P256PrivateKey,
            Secret,
            SigningKey,
            SoftwarePart,
        }
    )


def bases() -> frozenset[type]:
    """What the holders derive from, besides."""
    return frozenset({Undisclosed, PrivateKey})


def seeds_of(keys: MemberKeys) -> list[bytes]:
    """The private keys of a member, 32 bytes each: none of them may stand in any output of a round."""
    material = b"".join(key.export_secret() for key in (keys.signing, keys.opening, keys.log) if key is not None)
    return [material[at : at + 32] for at in range(0, len(material), 32)]


def forms(secret: bytes) -> list[str]:
    """How a secret looks in text: as hex, as base64 at either offset, as Python prints bytes, as a number."""
    encoded = [base64.b64encode(secret[at:]).decode()[:20] for at in range(3)]
    return [secret.hex(), secret.hex().upper(), *encoded, repr(secret)[2:-1], str(int.from_bytes(secret))]


def shows(text: str, secret: bytes) -> bool:
    """Whether ``secret`` stands in ``text`` in any form, or in a half of it."""
    halves = (secret, secret[: len(secret) // 2], secret[len(secret) // 2 :])
    return any(form in text for half in halves for form in forms(half))
