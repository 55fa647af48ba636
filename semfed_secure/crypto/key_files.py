"""Private keys at rest: one file per key, mode 0600, sealed under a passphrase.

The passphrase becomes an AES-256-GCM key by Argon2id (RFC 9106); everything else in the file is authenticated with
it. A wrong passphrase and a damaged file look the same. A file that others can read is refused, and none is ever
overwritten.
"""

from __future__ import annotations

import os
import secrets
import stat
import threading
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import TYPE_CHECKING, TypeAlias, TypeVar

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.kdf.argon2 import Argon2id

from semfed_secure.crypto.keys import KEY_LIMITS, OpeningKey, SealingKey, SigningKey, VerificationKey
from semfed_secure.crypto.log_keys import LogSigningKey, LogVerificationKey
from semfed_secure.crypto.parts import SEED_BYTES
from semfed_secure.crypto.private import Secret
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.schema import Message, choice, octets, record, whole

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from semfed_secure.crypto.parts import PrivatePart, PublicPart

AnyKey: TypeAlias = SigningKey | OpeningKey | LogSigningKey
K = TypeVar("K", SigningKey, OpeningKey, LogSigningKey)
P = TypeVar("P")
OpenPart: TypeAlias = Callable[["PublicPart"], "PrivatePart"]
"""Finds the private half of a part that lies outside of the key files."""

PASSPHRASE_VARIABLE = "SEMFED_PASSPHRASE"  # noqa: S105 - the name of a variable, not its content
MIN_PASSPHRASE_BYTES = 8
"""NIST SP 800-63B's floor; a key that a machine loads deserves a random one of 32."""
_FILE_LIMITS = Limits(max_bytes=KEY_LIMITS.max_bytes + 1024)
_TAG_BYTES = 16
_OTHERS = stat.S_IRWXG | stat.S_IRWXO
# OpenSSL computes the lanes of one derivation in threads of its own: two at once wait for each other, for ever.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class Argon2Cost:
    """What guessing one passphrase costs: RFC 9106 section 4, second recommendation."""

    memory_kib: int = 64 * 1024
    iterations: int = 3
    lanes: int = 4


class _Kind(StrEnum):
    SIGNING = "signing"
    OPENING = "opening"
    LOG = "log"


@dataclass(frozen=True, slots=True)
class _KeyFile:
    """``public`` is the encoded public half: whose key this is can be told without the passphrase."""

    kind: _Kind
    public: bytes
    cost: Argon2Cost
    salt: bytes
    nonce: bytes
    sealed: bytes


# The upper bounds keep a hostile file from taking the machine's memory or its afternoon.
_COST = record(
    Argon2Cost,
    {
        1: ("memory_kib", whole(64, 1024 * 1024)),
        2: ("iterations", whole(1, 16)),
        3: ("lanes", whole(1, 8)),
    },
)
_KEY_FILE = Message(
    "semfed/key-file",
    1,
    record(
        _KeyFile,
        {
            2: ("kind", choice(_Kind)),
            3: ("public", octets(1, KEY_LIMITS.max_bytes)),
            4: ("cost", _COST),
            5: ("salt", octets(16)),
            6: ("nonce", octets(12)),
            7: ("sealed", octets(0, 2 * SEED_BYTES + _TAG_BYTES)),
        },
    ),
    _FILE_LIMITS,
)


def save_key(path: Path, key: AnyKey, passphrase: bytes, *, cost: Argon2Cost | None = None) -> None:
    """Write ``key`` to a new file that only its owner can read, sealed under ``passphrase``.

    The file is on disk, whole, when this returns; an existing file is never touched. Of a signing key it holds the
    parts that lie in this process, not one in an HSM or key service.

    Args:
        path: Where; its directory exists.
        key: The key.
        passphrase: At least `MIN_PASSPHRASE_BYTES`; the file is as safe as this is hard to guess.
        cost: How hard one guess is made; the default suits servers and laptops.

    Raises:
        ConfigurationError: ``SF105`` passphrase too short; ``SF123`` the file exists; ``SF102`` cannot be written.
    """
    hidden = Secret(passphrase)
    del passphrase  # a traceback that shows locals shows nothing of it
    check_passphrase(hidden)
    kind, public = _describe(key)
    salt, nonce = secrets.token_bytes(16), secrets.token_bytes(12)
    header = _KeyFile(kind, public, cost or Argon2Cost(), salt, nonce, b"")
    sealed = _cipher(hidden, header).encrypt(nonce, key.export_secret(), _KEY_FILE.encode(header))
    _write_new(path, _KEY_FILE.encode(replace(header, sealed=sealed)))


def check_passphrase(passphrase: Secret) -> None:
    """Refuse what is too easy to guess.

    Raises:
        ConfigurationError: ``SF105`` it is shorter than `MIN_PASSPHRASE_BYTES`.
    """
    if len(passphrase.reveal()) < MIN_PASSPHRASE_BYTES:
        raise ConfigurationError("SF105", f"a passphrase of at least {MIN_PASSPHRASE_BYTES} bytes was expected")


def load_signing_key(path: Path, passphrase: bytes, *, outside: OpenPart | None = None) -> SigningKey:
    """Load the key by which a member signs messages.

    Args:
        path: Its key file.
        passphrase: Of the file.
        outside: Finds the classical part if the file does not hold it; see `semfed_secure.crypto.external`.

    Raises:
        ConfigurationError: ``SF102`` cannot be read; ``SF122`` others can read it; ``SF121`` wrong passphrase, a
            damaged file, or another kind of key; ``SF125`` a part lies outside and ``outside`` is not given or
            cannot use it, or ``outside`` is given for a key that lies in the file.
    """
    hidden = Secret(passphrase)
    del passphrase
    file, material = _load(path, _Kind.SIGNING, hidden)
    public = _parsed(path, VerificationKey.parse, file.public)
    lies_outside = len(material.reveal()) < SEED_BYTES * len(public.parts)
    if lies_outside != (outside is not None):
        where = "outside" if lies_outside else "inside"
        raise ConfigurationError("SF125", f"the classical half of the key {path} lies {where} of its file")
    part = outside(public.parts[0]) if outside is not None else None

    def restore() -> SigningKey:
        return SigningKey.from_secret(public.suite, material.reveal(), algorithms=public.algorithms, outside=part)

    return _restored(path, public, restore)


def load_opening_key(path: Path, passphrase: bytes) -> OpeningKey:
    """Load the key that opens sealed outputs; errors as `load_signing_key`."""
    hidden = Secret(passphrase)
    del passphrase
    file, material = _load(path, _Kind.OPENING, hidden)
    public = _parsed(path, SealingKey.parse, file.public)
    return _restored(path, public, lambda: OpeningKey(public.suite, material))


def load_log_key(path: Path, passphrase: bytes) -> LogSigningKey:
    """Load the keys of an audit log; errors as `load_signing_key`."""
    hidden = Secret(passphrase)
    del passphrase
    file, material = _load(path, _Kind.LOG, hidden)
    public = _parsed(path, lambda data: LogVerificationKey.parse(data.decode("ascii")), file.public)
    return _restored(path, public, lambda: LogSigningKey.from_secret(public.name, material.reveal()))


def read_passphrase(file: Path | None, environ: Mapping[str, str]) -> bytes:
    """The passphrase of this member's key files: the content of ``file``, or of ``SEMFED_PASSPHRASE``.

    A line end after it is not part of it. The file is preferred: other processes may see the environment.

    Raises:
        ConfigurationError: ``SF102`` neither is given, or the file cannot be read; ``SF122`` others can read it.
    """
    if file is not None:
        return read_secret_file(file).reveal()
    if PASSPHRASE_VARIABLE not in environ:
        raise ConfigurationError("SF102", f"a passphrase file or the variable {PASSPHRASE_VARIABLE} was expected")
    return os.fsencode(environ[PASSPHRASE_VARIABLE]).rstrip(b"\r\n")


def read_secret_file(path: Path) -> Secret:
    """The content of a file that only its owner can read, without its line end: a passphrase, or a PIN.

    Raises:
        ConfigurationError: ``SF102`` it cannot be read; ``SF122`` others can read it.
    """
    return Secret(_read_private(path).rstrip(b"\r\n"))


def _describe(key: AnyKey) -> tuple[_Kind, bytes]:
    if isinstance(key, LogSigningKey):
        return _Kind.LOG, key.public.encode().encode()
    return (_Kind.SIGNING if isinstance(key, SigningKey) else _Kind.OPENING), key.public.encode()


def _load(path: Path, kind: _Kind, passphrase: Secret) -> tuple[_KeyFile, Secret]:
    """Header and material of the key file at ``path``, authentic under ``passphrase``."""
    data = _read_private(path)
    try:
        file = _KEY_FILE.parse(data)
    except PeerError:
        raise ConfigurationError("SF121", f"a key file was expected at {path}") from None
    if file.kind is not kind:
        raise ConfigurationError("SF121", f"a {kind} key was expected at {path}, found a {file.kind} key")
    material = _unseal(file, passphrase)
    if material is None:
        raise ConfigurationError("SF121", f"the right passphrase and a whole key file were expected at {path}")
    return file, material


def _parsed(path: Path, parse: Callable[[bytes], P], public: bytes) -> P:
    """The public half that the file at ``path`` names, if this version knows its algorithms."""
    try:
        return parse(public)
    except (PeerError, ValueError):
        raise ConfigurationError("SF121", f"a key of a suite that this version knows was expected at {path}") from None


def _restored(path: Path, public: object, restore: Callable[[], K]) -> K:
    """The private key that ``restore`` makes, if it is that of ``public``."""
    with suppress(ValueError):
        key = restore()
        if key.public == public:
            return key
    raise ConfigurationError("SF121", f"the private half of the public key in {path} was expected")


def _unseal(file: _KeyFile, passphrase: Secret) -> Secret | None:
    header = _KEY_FILE.encode(replace(file, sealed=b""))
    try:
        return Secret(_cipher(passphrase, file).decrypt(file.nonce, file.sealed, header))
    except InvalidTag:
        return None


def _cipher(passphrase: Secret, file: _KeyFile) -> AESGCM:
    derivation = Argon2id(
        salt=file.salt,
        length=32,
        iterations=file.cost.iterations,
        lanes=file.cost.lanes,
        memory_cost=file.cost.memory_kib,
    )
    with _ONE_AT_A_TIME:
        return AESGCM(derivation.derive(passphrase.reveal()))


def _read_private(path: Path) -> bytes:
    try:
        with path.open("rb") as file:
            mode = os.fstat(file.fileno()).st_mode
            data = file.read(_FILE_LIMITS.max_bytes + 1)
    except OSError as error:
        raise ConfigurationError("SF102", f"a readable file was expected at {path}: {error.strerror}") from None
    if mode & _OTHERS:
        raise ConfigurationError("SF122", f"mode 0600 was expected of {path}, found {stat.S_IMODE(mode):04o}")
    return data


def _write_new(path: Path, data: bytes) -> None:
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        directory = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(directory)  # the name of a new file is durable only with its directory
        finally:
            os.close(directory)
    except FileExistsError:
        raise ConfigurationError("SF123", f"no file was expected at {path}") from None
    except OSError as error:
        raise ConfigurationError("SF102", f"{path} cannot be written: {error.strerror}") from None
