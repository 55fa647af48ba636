"""Signed notes, log checkpoints and log proofs in the C2SP text formats.

``signed-note`` and ``tlog-checkpoint`` v1.0.0, the ML-DSA-44 form of ``tlog-cosignature``, and ``tlog-proof@v1``. A
log signs its checkpoints twice: with Ed25519, which every tool of that ecosystem reads, and with a timestamped
ML-DSA-44 cosignature, because a log outlives the safety of elliptic curves.
"""

from __future__ import annotations

import base64
import binascii
import re
import struct
from dataclasses import dataclass

from semfed_secure.audit.merkle import HASH_BYTES, MAX_SIZE, verify_inclusion
from semfed_secure.crypto.log_keys import TYPE_ED25519, TYPE_MLDSA44, LogSigningKey, LogVerificationKey, note_key_id
from semfed_secure.errors import PeerError

MAX_NOTE_BYTES = 64 * 1024
"""Room for a checkpoint with a dozen post-quantum cosignatures of 3.3 kB each."""
MAX_SIGNATURES = 16
MAX_PROOF_HASHES = 64
PROOF_HEADER = "c2sp.org/tlog-proof@v1"
_DASH = "\N{EM DASH} "
_MAX_TIMESTAMP = 2**63 - 1
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f]")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """What a log states about itself: its name, its number of entries and the hash of its tree."""

    origin: str
    size: int
    root: bytes

    @property
    def text(self) -> str:
        """The signed text."""
        return f"{self.origin}\n{self.size}\n{_base64(self.root)}\n"


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line: who signed, and the bytes after the four of the key id."""

    name: str
    key_id: bytes
    signature: bytes

    @property
    def line(self) -> str:
        """The line, with its newline."""
        return f"{_DASH}{self.name} {_base64(self.key_id + self.signature)}\n"


@dataclass(frozen=True, slots=True)
class Note:
    """A signed text, not verified yet."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @property
    def encoded(self) -> str:
        """The note as it is stored and sent."""
        return f"{self.text}\n{''.join(signature.line for signature in self.signatures)}"


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint whose log signed it.

    Attributes:
        checkpoint: What was signed.
        cosigned_at: Second since 1970 of the log's ML-DSA-44 cosignature; None if it carries none.
        others: Signature lines of keys that were not asked about (witnesses), not verified.
    """

    checkpoint: Checkpoint
    cosigned_at: int | None
    others: int


@dataclass(frozen=True, slots=True)
class LogProof:
    """All that an outsider needs to check one entry: its number, its path and a signed checkpoint.

    Attributes:
        index: Its number.
        path: The hashes that lead from it to the root.
        checkpoint: Who signed that root.
        entry: The entry itself, on the line that the standard leaves to the application; the path is what proves it.
    """

    index: int
    path: tuple[bytes, ...]
    checkpoint: str
    entry: bytes | None = None

    @property
    def encoded(self) -> str:
        """The ``tlog-proof@v1`` file."""
        path = "".join(f"{_base64(value)}\n" for value in self.path)
        extra = "" if self.entry is None else f"extra {_base64(self.entry)}\n"
        return f"{PROOF_HEADER}\n{extra}index {self.index}\n{path}\n{self.checkpoint}"


def sign_checkpoint(checkpoint: Checkpoint, key: LogSigningKey, *, cosigned_at: int | None) -> str:
    """The checkpoint as a signed note, with an ML-DSA-44 cosignature if ``cosigned_at`` (seconds) is given."""
    public = key.public
    if checkpoint.origin != public.name:
        raise ValueError("a log signs checkpoints of its own origin only")
    ed25519 = key.sign_ed25519(checkpoint.text.encode())
    signatures = [NoteSignature(public.name, _ed25519_id(public), ed25519)]
    if cosigned_at is not None:
        signatures.append(cosign(checkpoint, key, at=cosigned_at))
    return Note(checkpoint.text, tuple(signatures)).encoded


def cosign(checkpoint: Checkpoint, key: LogSigningKey, *, at: int) -> NoteSignature:
    """The ML-DSA-44 cosignature of ``key`` under a checkpoint, of its own log or of another's, at second ``at``."""
    signature = key.sign_mldsa44(_cosigned_message(checkpoint, key.name, at))
    return NoteSignature(key.name, _mldsa44_id(key.public), struct.pack(">Q", at) + signature)


def verify_checkpoint(note: str, key: LogVerificationKey) -> VerifiedCheckpoint:
    """Accept only a checkpoint that this log signed.

    Guarantee: the text is the one the holder of the Ed25519 key signed, and a cosignature of the log's own ML-DSA-44
    key, if there is one, is good as well. Whether there must be one is the caller's decision.

    Raises:
        PeerError: ``SF328``.
    """
    parsed = parse_note(note)
    checkpoint = parse_checkpoint(parsed.text)
    if checkpoint.origin != key.name:
        raise _bad(f"a checkpoint of {key.name} was expected, this one is of another log")
    own = [signature for signature in parsed.signatures if signature.name == key.name]
    ed25519 = [signature for signature in own if signature.key_id == _ed25519_id(key)]
    mldsa44 = [signature for signature in own if key.mldsa44 is not None and signature.key_id == _mldsa44_id(key)]
    if len(ed25519) != 1 or len(mldsa44) > 1:
        raise _bad("a checkpoint signed once by each key of its log was expected")
    try:
        key.verify_ed25519(ed25519[0].signature, parsed.text.encode())
        cosigned_at = verify_cosignature(checkpoint, mldsa44[0], key) if mldsa44 else None
    except PeerError as error:
        raise _bad("the signature of the log under its checkpoint is not good") from error
    return VerifiedCheckpoint(checkpoint, cosigned_at, len(parsed.signatures) - 1 - len(mldsa44))


def verify_cosignature(checkpoint: Checkpoint, signature: NoteSignature, key: LogVerificationKey) -> int:
    """Accept only a cosignature that the holder of ``key`` made of exactly this checkpoint; the second of its time.

    Raises:
        PeerError: ``SF328``.
    """
    if (signature.name, signature.key_id) != (key.name, _mldsa44_id(key)):
        raise _bad(f"a cosignature of {key.name} was expected")
    if len(signature.signature) <= 8:
        raise _bad("a cosignature begins with its time")
    (stamp,) = struct.unpack(">Q", signature.signature[:8])
    if stamp > _MAX_TIMESTAMP:
        raise _bad("the time of a cosignature is out of range")
    try:
        key.verify_mldsa44(signature.signature[8:], _cosigned_message(checkpoint, key.name, stamp))
    except PeerError as error:
        raise _bad(f"the cosignature of {key.name} is not good") from error
    return int(stamp)


def parse_note(text: str) -> Note:
    """Take a signed note apart without trusting it.

    Guarantee: the note's `Note.encoded` is ``text`` again, byte for byte.

    Raises:
        PeerError: ``SF328`` if it is not one.
    """
    if len(text.encode(errors="replace")) > MAX_NOTE_BYTES:
        raise _bad(f"a note of at most {MAX_NOTE_BYTES} bytes was expected")
    body, separator, signed = text.rpartition("\n\n")
    lines = signed.split("\n")
    if not separator or not body or lines[-1] or not 1 <= len(lines) - 1 <= MAX_SIGNATURES:
        raise _bad("a signed note was expected: text, an empty line, signature lines")
    note = Note(body + "\n", tuple(_parse_signature(line) for line in lines[:-1]))
    if note.encoded != text or _CONTROL.search(text):
        raise _bad("a signed note has exactly one way to be written")
    return note


def parse_checkpoint(text: str) -> Checkpoint:
    """Read the text of a checkpoint; extension lines, which nobody could audit, are refused.

    Raises:
        PeerError: ``SF328`` if it is not one.
    """
    lines = text.split("\n")
    if len(lines) != 4 or lines[3] or not lines[0]:
        raise _bad("a log checkpoint has three lines: origin, size, root")
    checkpoint = Checkpoint(lines[0], _decimal(lines[1]), _decode(lines[2]))
    if len(checkpoint.root) != HASH_BYTES or checkpoint.size > MAX_SIZE:
        raise _bad("a log checkpoint has a size and a root of 32 bytes")
    return checkpoint


def parse_log_proof(text: str) -> LogProof:
    """Read a ``tlog-proof@v1`` file.

    Raises:
        PeerError: ``SF328`` if it is not one.
    """
    head, separator, checkpoint = text.partition("\n\n")
    lines = head.split("\n")
    if not separator or lines.pop(0) != PROOF_HEADER:
        raise _bad(f"a proof file begins with {PROOF_HEADER}")
    entry = _decode(lines.pop(0).removeprefix("extra ")) if lines and lines[0].startswith("extra ") else None
    if not 1 <= len(lines) <= MAX_PROOF_HASHES + 1 or not lines[0].startswith("index "):
        raise _bad("a proof file names the index of its entry, and then the hashes")
    number = _decimal(lines[0].removeprefix("index "))
    return LogProof(number, tuple(_decode(line) for line in lines[1:]), checkpoint, entry)


def verify_log_proof(text: str, *, leaf: bytes, key: LogVerificationKey) -> VerifiedCheckpoint:
    """Accept only a proof that the entry with hash ``leaf`` is in the log of ``key``.

    Raises:
        PeerError: ``SF328``.
    """
    proof = parse_log_proof(text)
    verified = verify_checkpoint(proof.checkpoint, key)
    tree = verified.checkpoint
    verify_inclusion(leaf, index=proof.index, size=tree.size, proof=proof.path, root=tree.root)
    return verified


def _cosigned_message(checkpoint: Checkpoint, cosigner: str, at: int) -> bytes:
    # `cosigned_message` of C2SP tlog-cosignature, in the notation of RFC 8446; a checkpoint starts at entry 0.
    return b"".join(
        (
            b"subtree/v1\n\0",
            _vector(cosigner),
            struct.pack(">Q", at),
            _vector(checkpoint.origin),
            struct.pack(">QQ", 0, checkpoint.size),
            checkpoint.root,
        )
    )


def _vector(name: str) -> bytes:
    raw = name.encode()
    return bytes([len(raw)]) + raw


def _parse_signature(line: str) -> NoteSignature:
    name, separator, encoded = line.removeprefix(_DASH).partition(" ")
    raw = _decode(encoded)
    if not line.startswith(_DASH) or not separator or not name or "+" in name or len(raw) <= 4:
        raise _bad("a signature line has a name and base64 of a key id and a signature")
    return NoteSignature(name, raw[:4], raw[4:])


def _ed25519_id(key: LogVerificationKey) -> bytes:
    return note_key_id(key.name, TYPE_ED25519, key.ed25519)


def _mldsa44_id(key: LogVerificationKey) -> bytes:
    return note_key_id(key.name, TYPE_MLDSA44, key.mldsa44 or b"")


def _decimal(text: str) -> int:
    if not (text.isascii() and text.isdigit() and len(text) <= 19) or str(int(text)) != text:
        raise _bad("a decimal number without leading zeros was expected")
    return int(text)


def _base64(data: bytes) -> str:
    return base64.b64encode(data).decode("ascii")


def _decode(text: str) -> bytes:
    try:
        data = base64.b64decode(text, validate=True)
    except (ValueError, binascii.Error):
        raise _bad("base64 was expected") from None
    if _base64(data) != text:  # b64decode takes unused bits that are not zero
        raise _bad("base64 in its only form was expected")
    return data


def _bad(message: str) -> PeerError:
    return PeerError("SF328", message)
