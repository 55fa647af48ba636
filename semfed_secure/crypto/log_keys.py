"""Keys of an audit log: Ed25519 for its checkpoints and ML-DSA-44 for its cosignature, under one name.

They are apart from message keys, so a log can be kept by another process than the one that speaks for the member.
Verifier keys are printed in the C2SP signed-note form; the notes themselves are `semfed_secure.audit.notes`'
business.
"""

from __future__ import annotations

import base64
import binascii
import hashlib
import re
from dataclasses import dataclass

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.asymmetric.mldsa import MLDSA44PrivateKey, MLDSA44PublicKey

from semfed_secure.crypto.private import PrivateKey, Secret
from semfed_secure.errors import PeerError
from semfed_secure.ids import KeyId, hex_digest, sha256

TYPE_ED25519, TYPE_MLDSA44 = 0x01, 0x06
"""Signature types: C2SP signed-note (a log's own signature) and tlog-cosignature (timestamped ML-DSA-44)."""
_KEY_BYTES = {TYPE_ED25519: 32, TYPE_MLDSA44: 1_312}
_SEPARATOR = ","  # in no name and in no base64
MAX_VKEY_BYTES = 4 * 1024
_NAME = re.compile(r"[!-*.-~-]{1,200}\Z")  # printable ASCII without space, plus, and comma


def note_key_id(name: str, kind: int, public_key: bytes) -> bytes:
    """The four-byte key id of a signature line: SHA-256 of name, newline, kind and key, cut to four."""
    return hashlib.sha256(name.encode() + b"\n" + bytes([kind]) + public_key).digest()[:4]


@dataclass(frozen=True, slots=True)
class LogVerificationKey:
    """The public keys of one log.

    Attributes:
        name: The log's origin, e.g. ``hospitals.example/north-clinic``.
        ed25519: Its raw Ed25519 key.
        mldsa44: Its raw ML-DSA-44 key; None if the log has none, as logs of other software may.
    """

    name: str
    ed25519: bytes
    mldsa44: bytes | None = None

    @property
    def key_id(self) -> KeyId:
        """``sha256:`` of the encoded keys."""
        return KeyId(hex_digest(sha256(self.encode().encode())))

    def encode(self) -> str:
        """One C2SP verifier key per algorithm, the Ed25519 one first, joined by a comma."""
        vkeys = [_encode_vkey(self.name, TYPE_ED25519, self.ed25519)]
        if self.mldsa44 is not None:
            vkeys.append(_encode_vkey(self.name, TYPE_MLDSA44, self.mldsa44))
        return _SEPARATOR.join(vkeys)

    @classmethod
    def parse(cls, text: str) -> LogVerificationKey:
        """Read `encode`'s form, or a lone Ed25519 verifier key as other tools print it.

        Raises:
            PeerError: ``SF302`` if a name, key id, type, or length is wrong, or two names differ.
        """
        if len(text) > MAX_VKEY_BYTES:
            raise _bad_vkey()
        parsed = [_parse_vkey(vkey) for vkey in text.strip().split(_SEPARATOR)]
        kinds = [kind for _, kind, _ in parsed]
        if kinds not in ([TYPE_ED25519], [TYPE_ED25519, TYPE_MLDSA44]) or len({name for name, _, _ in parsed}) != 1:
            raise _bad_vkey()
        return cls(parsed[0][0], *(key for _, _, key in parsed))

    def verify_ed25519(self, signature: bytes, data: bytes) -> None:
        """Accept only a good Ed25519 signature over ``data``.

        Raises:
            PeerError: ``SF307``.
        """
        try:
            Ed25519PublicKey.from_public_bytes(self.ed25519).verify(signature, data)
        except (InvalidSignature, ValueError):
            raise PeerError("SF307", "an Ed25519 signature of this log was expected") from None

    def verify_mldsa44(self, signature: bytes, data: bytes) -> None:
        """Accept only a good ML-DSA-44 signature over ``data``.

        Raises:
            PeerError: ``SF307``, also if the log has no such key.
        """
        try:
            MLDSA44PublicKey.from_public_bytes(self.mldsa44 or b"").verify(signature, data)
        except (InvalidSignature, ValueError):
            raise PeerError("SF307", "an ML-DSA-44 signature of this log was expected") from None


class LogSigningKey(PrivateKey):
    """The private keys of one log."""

    __slots__ = ("_ed25519", "_mldsa44", "_public")

    def __init__(self, name: str, ed25519_seed: bytes, mldsa44_seed: bytes) -> None:
        """Build from two 32-byte seeds; use `generate` or a key file instead.

        Raises:
            ValueError: ``name`` is empty or holds a space, plus or comma; a seed has another length.
        """
        if not _NAME.match(name):
            raise ValueError("a log name of printable ASCII without space, plus and comma was expected")
        self._ed25519 = Ed25519PrivateKey.from_private_bytes(ed25519_seed)
        self._mldsa44 = MLDSA44PrivateKey.from_seed_bytes(mldsa44_seed)
        self._public = LogVerificationKey(
            name, self._ed25519.public_key().public_bytes_raw(), self._mldsa44.public_key().public_bytes_raw()
        )

    @classmethod
    def generate(cls, name: str) -> LogSigningKey:
        """New keys for the log called ``name``, from the operating system's generator."""
        generated = Ed25519PrivateKey.generate(), MLDSA44PrivateKey.generate()
        return cls(name, *(key.private_bytes_raw() for key in generated))

    @classmethod
    def from_secret(cls, name: str, secret: bytes) -> LogSigningKey:
        """The keys that `export_secret` gave.

        Raises:
            ValueError: ``secret`` is not two seeds of 32 bytes.
        """
        hidden = Secret(secret)
        del secret  # a traceback that shows locals shows nothing of it
        if len(hidden.reveal()) != 64:
            raise ValueError("two seeds of 32 bytes were expected")
        return cls(name, hidden.reveal()[:32], hidden.reveal()[32:])

    @property
    def name(self) -> str:
        """The log's origin."""
        return self._public.name

    @property
    def public(self) -> LogVerificationKey:
        """The public half."""
        return self._public

    @property
    def key_id(self) -> KeyId:
        """The id of the public half."""
        return self._public.key_id

    def export_secret(self) -> bytes:
        """Two seeds of 32 bytes; see `PrivateKey.export_secret`."""
        return self._ed25519.private_bytes_raw() + self._mldsa44.private_bytes_raw()

    def sign_ed25519(self, data: bytes) -> bytes:
        """Ed25519 over ``data``, deterministic, 64 bytes."""
        return self._ed25519.sign(data)

    def sign_mldsa44(self, data: bytes) -> bytes:
        """ML-DSA-44 over ``data`` with empty context, randomised, 2,420 bytes."""
        return self._mldsa44.sign(data)


def _encode_vkey(name: str, kind: int, public_key: bytes) -> str:
    encoded = base64.b64encode(bytes([kind]) + public_key).decode()
    return f"{name}+{note_key_id(name, kind, public_key).hex()}+{encoded}"


def _parse_vkey(text: str) -> tuple[str, int, bytes]:
    try:
        name, key_id, encoded = text.split("+", 2)
        raw = base64.b64decode(encoded, validate=True)
    except (ValueError, binascii.Error):
        raise _bad_vkey() from None
    if not _NAME.match(name) or not raw or len(raw) - 1 != _KEY_BYTES.get(raw[0]):
        raise _bad_vkey()
    if note_key_id(name, raw[0], raw[1:]).hex() != key_id or _encode_vkey(name, raw[0], raw[1:]) != text:
        raise _bad_vkey()
    return name, raw[0], raw[1:]


def _bad_vkey() -> PeerError:
    return PeerError("SF302", "a C2SP verifier key `name+id+base64` of a log was expected")
