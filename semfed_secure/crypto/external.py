"""A classical signing key that never enters this process: in an HSM, a key service, or another program's file.

`securesystemslib.signer` (extra ``hsm``) speaks to them; here its signatures become COSE's, each is verified before it
is used, and what it raises becomes one code. Post-quantum keys stay in key files: few HSMs sign with ML-DSA yet.
"""

from __future__ import annotations

import re
import stat
import threading
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key, load_pem_public_key

from semfed_secure.crypto.key_files import read_secret_file
from semfed_secure.crypto.p256 import P256PublicKey, fixed_form
from semfed_secure.crypto.parts import PublicPart
from semfed_secure.crypto.private import Undisclosed
from semfed_secure.errors import ConfigurationError
from semfed_secure.wire.cose import Algorithm

if TYPE_CHECKING:
    from collections.abc import Callable

    from securesystemslib.signer import Signer

T = TypeVar("T")

SCHEMES = ("file2", "hsm", "awskms", "gcpkms", "azurekms", "hv")
"""A file of another program, PKCS#11, three clouds' key services, Vault."""
_CHALLENGE = b"semfed-secure asks whether this key can be used"  # opens like no message that is ever signed
_MAX_PUBLIC_FILE = 4 * 1024
# PKCS#11 knows one log-in per process and HSM: two threads that sign must not meet.
_ONE_AT_A_TIME = threading.Lock()


@dataclass(frozen=True, slots=True)
class SignerAddress:
    """Where a private key lies, and where the PIN that unlocks it is written; neither is secret.

    Attributes:
        uri: As `securesystemslib.signer` names it, such as ``hsm:1?label=north-clinic``.
        pin_file: Holds the PIN; None if the key needs none.
    """

    uri: str
    pin_file: Path | None = None

    def open(self, public: PublicPart) -> ExternalPart:
        """Find the private half of ``public``, and have it sign once: what cannot sign is told before it is needed.

        Raises:
            ConfigurationError: ``SF105`` the URI has another form; ``SF103`` the extra is missing; ``SF102`` or
                ``SF122`` the PIN file, or the key's own, cannot be read or others can read it; ``SF125`` the key
                cannot be used, or is not the private half of ``public``.
        """
        check_uri(self.uri)
        self._check_file()
        part = ExternalPart(self, public)
        part.sign(_CHALLENGE)
        return part

    def _check_file(self) -> None:
        scheme, _, rest = self.uri.partition(":")
        if scheme != "file2":
            return
        try:
            mode = Path(rest).stat().st_mode
        except OSError as error:
            raise ConfigurationError("SF102", f"a key file was expected at {rest}: {error.strerror}") from None
        if mode & (stat.S_IRWXG | stat.S_IRWXO):
            raise ConfigurationError("SF122", f"mode 0600 was expected of {rest}, found {stat.S_IMODE(mode):04o}")


class ExternalPart(Undisclosed):
    """One algorithm's private key outside of this process.

    A signature that it returns has been verified with the public half: a wrong key or a failing HSM is told here,
    not by a peer.
    """

    __slots__ = ("_address", "_signer", "public")

    def __init__(self, address: SignerAddress, public: PublicPart) -> None:
        """Find the key at ``address``; use `SignerAddress.open`."""
        self._address, self.public = address, public
        self._signer = _asked(address, lambda: _find(address, public))

    def sign(self, data: bytes) -> bytes:
        """The signature over ``data``, in COSE's form.

        Raises:
            ConfigurationError: ``SF125``.
        """
        with _ONE_AT_A_TIME:
            signature = _asked(self._address, lambda: bytes.fromhex(self._signer.sign(data).signature))
        if self.public.algorithm is Algorithm.ESP256:
            signature = _asked(self._address, lambda: fixed_form(signature))
        if not self.public.verifies(signature, data):
            raise ConfigurationError("SF125", f"the private half of the public key was expected at {self._address.uri}")
        return signature


def check_uri(uri: str) -> str:
    """Accept a signer URI of a known scheme; a file by its absolute path.

    Raises:
        ConfigurationError: ``SF105``.
    """
    scheme, colon, rest = uri.partition(":")
    whole = bool(colon) and rest.isprintable()
    if scheme not in SCHEMES or not whole or (scheme == "file2" and not re.match(r"/[^?#]+\Z", rest)):
        known = ", ".join(f"{scheme}:" for scheme in SCHEMES)
        raise ConfigurationError("SF105", f"a signer such as hsm:1 or file2:/keys/k.pem was expected, of {known}")
    return uri


def read_public_part(path: Path) -> PublicPart:
    """Read a public key as HSMs and key services export it: SubjectPublicKeyInfo, PEM or DER, P-256 or Ed25519.

    Raises:
        ConfigurationError: ``SF102`` cannot be read; ``SF104`` no such key.
    """
    try:
        with path.open("rb") as file:
            data = file.read(_MAX_PUBLIC_FILE)
    except OSError as error:
        raise ConfigurationError("SF102", f"a public key was expected at {path}: {error.strerror}") from None
    try:
        key = (load_pem_public_key if data.startswith(b"-----") else load_der_public_key)(data)
    except Exception:  # noqa: BLE001 - malformed, or of an algorithm that OpenSSL does not know
        key = None
    if isinstance(key, Ed25519PublicKey):
        return PublicPart(Algorithm.ED25519, key.public_bytes_raw())
    if isinstance(key, ec.EllipticCurvePublicKey) and isinstance(key.curve, ec.SECP256R1):
        return PublicPart(Algorithm.ESP256, P256PublicKey(key).public_bytes_raw())
    raise ConfigurationError("SF104", f"a public key of P-256 or Ed25519, PEM or DER, was expected at {path}")


def _find(address: SignerAddress, public: PublicPart) -> Signer:
    try:
        from securesystemslib.signer import Signer, SSlibKey  # noqa: PLC0415 - an extra, and slow to import
    except ImportError:
        raise ConfigurationError("SF103", "the extra `semfed-secure[hsm]` was expected") from None
    key = public.load()
    pin = None if address.pin_file is None else read_secret_file(address.pin_file)

    def pin_for(_: str) -> str:
        if pin is None:
            raise ConfigurationError("SF125", f"a file with the PIN was expected for {address.uri}")
        return pin.reveal().decode()

    return Signer.from_priv_key_uri(
        address.uri, SSlibKey.from_crypto(key.key if isinstance(key, P256PublicKey) else key), pin_for
    )


def _asked(address: SignerAddress, call: Callable[[], T]) -> T:
    """What ``call`` returns; whatever an HSM, a service or the library for it raises, as our code."""
    try:
        return call()
    except ConfigurationError:
        raise
    except Exception as error:  # noqa: BLE001 - each fails in its own ways
        reason = f"{type(error).__name__}: {error}".rstrip(": ")
    # Not from there: the frames below hold the PIN, and a report of this error must not show them.
    raise ConfigurationError("SF125", f"a usable key was expected at {address.uri}: {reason}")
