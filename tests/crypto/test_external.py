"""A key outside of this process signs like any other, or is refused with a code and without a secret."""

from __future__ import annotations

import copy
import os
import pickle
import subprocess
import sys
import threading
import traceback
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat
from securesystemslib.signer import HSMSigner

from semfed_secure.crypto.external import SignerAddress, check_uri, read_public_part
from semfed_secure.crypto.key_files import Argon2Cost, load_signing_key, save_key
from semfed_secure.crypto.keys import SigningKey, Suite
from semfed_secure.crypto.signing import sign, verify
from semfed_secure.errors import ConfigurationError
from semfed_secure.wire.cbor import Limits
from semfed_secure.wire.cose import Algorithm, MessageType
from tests.tokens import PIN

LIMITS = Limits(max_bytes=100)
PASSPHRASE = b"correct horse battery staple"
CHEAP = Argon2Cost(memory_kib=64, iterations=1, lanes=1)


def code(call, *arguments) -> str:
    """The code with which ``call`` is refused."""
    with pytest.raises(ConfigurationError) as caught:
        call(*arguments)
    return caught.value.code


def key_file(directory: Path, private) -> tuple[SignerAddress, Path]:
    """A private key as another program keeps it, with its public half beside it."""
    path = directory / "private.pem"
    path.touch(mode=0o600)
    path.write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = directory / "public.pem"
    public.write_bytes(private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo))
    return SignerAddress(f"file2:{path}"), public


@pytest.fixture
def p256_file(tmp_path):
    """A P-256 key in a file of another program."""
    return key_file(tmp_path, ec.generate_private_key(ec.SECP256R1()))


@pytest.mark.parametrize("suite", Suite)
def test_a_key_in_a_file_of_another_program_signs_in_every_suite(suite, p256_file) -> None:
    """The signatures are those of any key: r || s for P-256, all of the suite's algorithms, one key id."""
    address, public = p256_file
    key = SigningKey.generate(suite, outside=address.open(read_public_part(public)))
    assert key.public.algorithms[0] is Algorithm.ESP256
    for _ in range(8):  # a signature's s is the higher one every second time
        data = sign(MessageType.STATEMENT, b"x", key)
        assert verify(MessageType.STATEMENT, data, [key.public], limits=LIMITS).key_id == key.key_id


def test_an_ed25519_key_outside_is_the_classical_half_of_a_hybrid_and_no_key_of_nist(tmp_path) -> None:
    """As Vault keeps them; a suite without Ed25519 has no place for it."""
    address, public = key_file(tmp_path, ed25519.Ed25519PrivateKey.generate())
    part = address.open(read_public_part(public))
    key = SigningKey.generate(outside=part)
    assert key.public.algorithms == (Algorithm.ED25519, Algorithm.ML_DSA_65)
    verify(MessageType.STATEMENT, sign(MessageType.STATEMENT, b"x", key), [key.public], limits=LIMITS)
    with pytest.raises(ValueError, match="nist-p256"):
        SigningKey.generate(Suite.NIST_P256, outside=part)


@pytest.mark.parametrize("suite", Suite)
def test_a_key_file_keeps_what_does_not_lie_outside_and_needs_what_does(suite, p256_file, tmp_path) -> None:
    """The same key comes back with the signer; without it, or with one that the file does not ask for, SF125."""
    address, public = p256_file
    key = SigningKey.generate(suite, outside=address.open(read_public_part(public)))
    save_key(tmp_path / "a.key", key, PASSPHRASE, cost=CHEAP)
    assert load_signing_key(tmp_path / "a.key", PASSPHRASE, outside=address.open).public == key.public
    assert len(key.export_secret()) == 32 * (len(key.public.parts) - 1)
    assert code(load_signing_key, tmp_path / "a.key", PASSPHRASE) == "SF125"
    save_key(tmp_path / "b.key", SigningKey.generate(suite), PASSPHRASE, cost=CHEAP)
    with pytest.raises(ConfigurationError, match="inside") as caught:
        load_signing_key(tmp_path / "b.key", PASSPHRASE, outside=address.open)
    assert caught.value.code == "SF125"


def test_another_private_key_is_refused_when_it_is_opened(p256_file, tmp_path) -> None:
    """Not when a peer gets a signature that does not verify."""
    address, _ = p256_file
    (tmp_path / "other").mkdir()
    _, other = key_file(tmp_path / "other", ec.generate_private_key(ec.SECP256R1()))
    assert code(address.open, read_public_part(other)) == "SF125"


def test_a_key_file_that_others_can_read_or_that_is_missing_is_refused(p256_file, tmp_path) -> None:
    """SF122 and SF102, as for our own."""
    address, public = p256_file
    part = read_public_part(public)
    (tmp_path / "private.pem").chmod(0o640)
    assert code(address.open, part) == "SF122"
    (tmp_path / "private.pem").unlink()
    assert code(address.open, part) == "SF102"


def test_a_file_that_is_no_key_is_refused_and_not_shown(p256_file, tmp_path) -> None:
    """SF125, with nothing of its content in the report."""
    address, public = p256_file
    (tmp_path / "private.pem").write_bytes(
        b"-----BEGIN PRIVATE KEY-----\nMIGHnobodymayseethis\n-----END PRIVATE KEY-----"
    )
    with pytest.raises(ConfigurationError) as caught:
        address.open(read_public_part(public))
    assert caught.value.code == "SF125"
    assert "nobodymaysee" not in shown(caught.value)


@pytest.mark.parametrize(
    "uri",
    ["file2:relative.pem", "hsm", "hsm:1\n", "envvar:KEY", "sigstore:", "", "file:/x", "file2:/x?y", "file2:/x#y"],
)
def test_a_uri_of_another_form_is_refused(uri) -> None:
    """SF105: only known schemes, files by absolute path, and nothing that spoils a log line."""
    assert code(check_uri, uri) == "SF105"


@pytest.mark.parametrize(
    "uri",
    [
        "file2:/k.pem",
        "hsm:",
        "hsm:2?label=a",
        "awskms:1234",
        "gcpkms:projects/x",
        "azurekms:v.vault.azure.net/k",
        "hv:k/1",
    ],
)
def test_tokens_files_key_services_and_vault_are_accepted(uri) -> None:
    """The schemes that the adapter was written for."""
    assert check_uri(uri) == uri


@pytest.mark.parametrize("scheme", ["awskms", "gcpkms", "azurekms", "hv"])
def test_a_key_service_whose_library_is_missing_is_said_to_be_unusable(scheme, p256_file, monkeypatch) -> None:
    """SF125 names the address; nothing is asked over the network for it."""
    _, public = p256_file
    monkeypatch.setenv("VAULT_ADDR", "http://127.0.0.1:9")
    assert code(SignerAddress(f"{scheme}:key").open, read_public_part(public)) == "SF125"


def test_public_keys_of_other_kinds_are_refused(tmp_path) -> None:
    """SF104 for P-384, RSA, a private key, and no key; SF102 for no file."""
    for private in (ec.generate_private_key(ec.SECP384R1()), rsa.generate_private_key(65537, 2048)):
        _, public = key_file(tmp_path, private)
        assert code(read_public_part, public) == "SF104"
    assert code(read_public_part, tmp_path / "private.pem") == "SF104"
    (tmp_path / "nothing").write_bytes(b"\x30\x00")
    assert code(read_public_part, tmp_path / "nothing") == "SF104"
    assert code(read_public_part, tmp_path / "none") == "SF102"


def test_the_library_is_imported_for_keys_outside_only() -> None:
    """Who keeps all keys in files neither needs the extra nor waits for it; without it, SF103 says its name."""
    script = """
import sys
import semfed_secure.settings
from semfed_secure.crypto.external import SignerAddress
from semfed_secure.crypto.keys import SigningKey, Suite
from semfed_secure.errors import ConfigurationError
assert not [name for name in sys.modules if name.startswith(("securesystemslib", "pkcs11"))]
sys.modules["securesystemslib"] = None
try:
    SignerAddress("hsm:1").open(SigningKey.generate(Suite.NIST_P256).public.parts[0])
except ConfigurationError as error:
    assert error.code == "SF103" and "semfed-secure[hsm]" in error.message, error
else:
    raise AssertionError
"""
    subprocess.run([sys.executable, "-c", script], check=True)


def shown(error: ConfigurationError) -> str:
    """The whole report with the locals of every frame in the product and below it, causes and contexts included."""
    report = traceback.TracebackException.from_exception(error, capture_locals=True)
    assert error.__context__ is None
    assert error.__cause__ is None
    frames = [frame for frame in report.stack if "tests" not in Path(frame.filename).parts]
    assert frames
    return "".join(f"{frame.name} {frame.locals}" for frame in frames) + str(error) + repr(error.fields)


def test_a_key_in_a_token_signs_in_every_suite(token) -> None:
    """PKCS#11, for real: generated in SoftHSM, signed there, r || s here."""
    part = SignerAddress(token.uri(), token.pin_file).open(read_public_part(token.public_keys[1]))
    for suite in Suite:
        key = SigningKey.generate(suite, outside=part)
        data = sign(MessageType.STATEMENT, b"x", key)
        assert verify(MessageType.STATEMENT, data, [key.public], limits=LIMITS).payload == b"x"


def test_several_threads_sign_with_one_token(token) -> None:
    """PKCS#11 knows one log-in per process; the server has several threads."""
    part = SignerAddress(token.uri(), token.pin_file).open(read_public_part(token.public_keys[1]))
    signatures: list[bytes] = []
    threads = [threading.Thread(target=lambda: signatures.append(part.sign(b"x"))) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(signatures) == 8
    assert all(part.public.verifies(signature, b"x") for signature in signatures)


def test_another_key_of_the_token_no_key_no_token_and_a_missing_pin_file_are_refused(token, tmp_path) -> None:
    """SF125 when it is opened, and SF102 for the file."""
    part = read_public_part(token.public_keys[1])
    for uri in (token.uri(2), token.uri(9), "hsm:1?label=elsewhere", "hsm:no-number"):
        assert code(SignerAddress(uri, token.pin_file).open, part) == "SF125"
    assert code(SignerAddress(token.uri()).open, part) == "SF125"
    assert code(SignerAddress(token.uri(), tmp_path / "none").open, part) == "SF102"


def test_a_pin_file_that_others_can_read_is_refused(token, tmp_path) -> None:
    """SF122, before the token is asked."""
    (tmp_path / "pin").write_text(PIN)
    (tmp_path / "pin").chmod(0o644)
    address = SignerAddress(token.uri(), tmp_path / "pin")
    assert code(address.open, read_public_part(token.public_keys[1])) == "SF122"


def test_a_wrong_pin_is_tried_once_and_never_shown(token, tmp_path, monkeypatch) -> None:
    """An HSM locks itself after a few; a report with locals shows neither the PIN nor what was tried."""
    find, tried = HSMSigner._find_token, []
    monkeypatch.setattr(HSMSigner, "_find_token", lambda *arguments: tried.append(1) or find(arguments[-1]))
    wrong = tmp_path / "pin"
    wrong.touch(mode=0o600)
    wrong.write_text("0815-wrong")
    with pytest.raises(ConfigurationError) as caught:
        SignerAddress(token.uri(), wrong).open(read_public_part(token.public_keys[1]))
    assert caught.value.code == "SF125"
    assert "PinIncorrect" in caught.value.message
    assert len(tried) == 1
    assert "0815" not in shown(caught.value)
    SignerAddress(token.uri(), token.pin_file).open(read_public_part(token.public_keys[1]))


def test_a_token_that_breaks_later_is_told_by_a_code_and_shows_no_pin(token, monkeypatch) -> None:
    """A key that was usable at the start and is not any more: SF125, not a traceback of the library's."""
    part = SignerAddress(token.uri(), token.pin_file).open(read_public_part(token.public_keys[1]))
    monkeypatch.delenv("PYKCS11LIB")
    with pytest.raises(ConfigurationError) as caught:
        part.sign(b"x")
    assert caught.value.code == "SF125"
    assert PIN not in shown(caught.value)


def test_a_key_outside_is_neither_copied_nor_pickled_and_shows_no_pin(token) -> None:
    """Nor does the library's own object below it."""
    part = SignerAddress(token.uri(), token.pin_file).open(read_public_part(token.public_keys[1]))
    for attempt in (copy.copy, copy.deepcopy, pickle.dumps):
        with pytest.raises(TypeError, match="neither pickled nor copied"):
            attempt(part)
    assert not hasattr(part, "__dict__")
    assert PIN not in repr(part) + repr(vars(part._signer)) + repr(SigningKey.generate(outside=part))
    assert PIN not in str(dict(os.environ))
