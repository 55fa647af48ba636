"""Typed names: who, which round, which prompt, which key, which bytes."""

from __future__ import annotations

import hashlib
import re
from typing import NewType

FederationId = NewType("FederationId", str)
MemberId = NewType("MemberId", str)
RoundId = NewType("RoundId", str)
PromptId = NewType("PromptId", str)
KeyId = NewType("KeyId", str)
"""``sha256:`` and 64 hex digits of the canonical public key."""
Digest = NewType("Digest", bytes)
"""A SHA-256 digest, 32 bytes."""

DIGEST_BYTES = 32
_NAME = re.compile(r"[a-z0-9][a-z0-9._-]{0,62}\Z")
_HEX_DIGEST = re.compile(r"sha256:[0-9a-f]{64}\Z")


def is_name(text: str) -> bool:
    """Whether ``text`` may name a federation, member or round: 1-63 of ``a-z 0-9 . _ -``."""
    return _NAME.match(text) is not None


def same_person(name: str) -> str:
    """What two spellings of one person's name have in common: case and blanks do not make two people of one."""
    return " ".join(name.casefold().split())


def sha256(data: bytes) -> Digest:
    """SHA-256 of ``data``."""
    return Digest(hashlib.sha256(data).digest())


def hex_digest(digest: Digest) -> str:
    """The printed form, ``sha256:`` and 64 hex digits."""
    return f"sha256:{digest.hex()}"


def parse_digest(text: str) -> Digest:
    """Read the printed form back.

    Raises:
        ValueError: ``text`` is not ``sha256:`` and 64 lower-case hex digits.
    """
    if not _HEX_DIGEST.match(text):
        raise ValueError("a digest is written sha256: and 64 hex digits")
    return Digest(bytes.fromhex(text.removeprefix("sha256:")))
