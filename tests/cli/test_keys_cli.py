"""Suites and signers on the command line."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from semfed_secure import cli
from semfed_secure.errors import ExitCode
from semfed_secure.identity.federation_files import load_root
from semfed_secure.wire.cose import Algorithm

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.usefixtures("cheap_key_files")

CREATE = (
    "keys create --federation hospitals --member north --domain north.example --jurisdiction US --role server"
    " --passphrase-file passphrase --json"
)


@pytest.fixture
def home(tmp_path, monkeypatch) -> Path:
    """A working directory with a passphrase, and a key of another program."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "passphrase").touch(mode=0o600)
    (tmp_path / "passphrase").write_text("correct horse battery staple\n")
    private = ec.generate_private_key(ec.SECP256R1())
    (tmp_path / "k.pem").touch(mode=0o600)
    (tmp_path / "k.pem").write_bytes(private.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))
    public = private.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)
    (tmp_path / "k.pub").write_bytes(public)
    return tmp_path


@pytest.fixture
def semfed(capsys):
    """Run ``semfed …`` and return its exit status and its JSON document, of the error if there was one."""

    def run(line: str) -> tuple[int, dict]:
        status = cli.main(line.split())
        out, err = capsys.readouterr()
        return status, json.loads(out or err)

    return run


@pytest.mark.parametrize(
    ("options", "suite", "algorithms"),
    [
        ("", "hybrid-pq", ["ED25519", "ML_DSA_65"]),
        ("--suite nist-p256", "nist-p256", ["ESP256"]),
        ("--signer file2:{}/k.pem --signer-public-key k.pub", "hybrid-pq", ["ESP256", "ML_DSA_65"]),
        ("--suite nist-p256 --signer file2:{}/k.pem --signer-public-key k.pub", "nist-p256", ["ESP256"]),
    ],
)
def test_keys_of_every_suite_are_created_and_rotated(home, semfed, options, suite, algorithms) -> None:
    """The suite and its algorithms are told; a rotation keeps the suite and may leave the token."""
    options = options.format(home)
    status, created = semfed(f"{CREATE} --out keys {options}")
    assert (status, created["suite"], created["algorithms"]) == (ExitCode.OK, suite, algorithms)
    assert semfed("keys show keys --json") == (ExitCode.OK, created)
    leaving = (
        options.replace("--suite nist-p256", "").replace("--signer ", "--signer-before ").split("--signer-public")[0]
    )
    status, rotated = semfed(f"keys rotate keys --out new --passphrase-file passphrase --json {leaving}")
    assert (status, rotated["suite"]) == (ExitCode.OK, suite)
    assert rotated["algorithms"] == {"hybrid-pq": ["ED25519", "ML_DSA_65"], "nist-p256": ["ESP256"]}[suite]
    assert rotated["signing_key_ids"][1:] == created["signing_key_ids"]


def test_a_federation_of_nist_p256_from_its_root_to_its_first_member(home, semfed) -> None:
    """Root, roster and member without any other algorithm; the record is enrolled as ever."""
    with_passphrase = "--passphrase-file passphrase --json"
    status, _ = semfed(f"federation init root --id hospitals --suite nist-p256 {with_passphrase}")
    assert status == ExitCode.OK
    (key,) = load_root(home / "root" / "federation.root").keys
    assert key.algorithms == (Algorithm.ESP256,)
    assert semfed(f"{CREATE} --out keys --suite nist-p256")[0] == ExitCode.OK
    role = "--role server --domain north.example --jurisdiction US"
    assert semfed(f"federation invite root north {role} --out token {with_passphrase}")[0] == ExitCode.OK
    assert semfed("keys enrol keys --token-file token --json")[0] == ExitCode.OK
    status, added = semfed(f"federation add-member root keys/enrolment.request {with_passphrase}")
    assert (status, "north" in str(added)) == (ExitCode.OK, True)


@pytest.mark.parametrize(
    ("options", "code"),
    [
        ("--signer file2:{}/k.pem", "SF105"),
        ("--signer-public-key k.pub", "SF105"),
        ("--signer-pin-file passphrase", "SF105"),
        ("--signer k.pem --signer-public-key k.pub", "SF105"),
        ("--signer file2:{}/none --signer-public-key k.pub", "SF102"),
        ("--signer file2:{}/k.pem --signer-public-key none", "SF102"),
        ("--signer file2:{}/k.pem --signer-public-key k.pem", "SF104"),
        ("--signer file2:{}/passphrase --signer-public-key k.pub", "SF125"),
    ],
)
def test_a_signer_that_is_not_whole_is_refused_before_anything_is_written(home, semfed, options, code) -> None:
    """Each with its code; no key file is left behind."""
    status, error = semfed(f"{CREATE} --out keys {options.format(home)}")
    assert (status, error["error"]["code"]) == (ExitCode.USAGE, code)
    assert not (home / "keys").exists()
