"""Issuing TLS certificates: to members of the roster only, for what they are, with keys sealed from the start."""

from __future__ import annotations

import json
import stat
from datetime import timedelta
from typing import TYPE_CHECKING, Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store

from semfed_secure.cli import main
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.roster import verify_roster
from semfed_secure.identity.tls import member_uri, parse_member_uri
from semfed_secure.identity.tls_files import CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, Issued, Wanted, issue_tls
from semfed_secure.ids import FederationId, MemberId
from tests.server.world import FEDERATION, NOW, SITES, root, roster_file

if TYPE_CHECKING:
    from datetime import datetime
    from pathlib import Path

PASSPHRASE, OTHER = b"correct horse battery staple", b"another horse, another staple"
DAY = timedelta(days=1)


def issue(
    directory: Path, name: str, *, revoked: tuple[str, ...] = (), passphrase: bytes = PASSPHRASE, **wanted: Any
) -> Path:
    """Issue to a member; where it lies."""
    out = directory / name
    roster = verify_roster(roster_file(SITES[:2], revoked=revoked), root=root()[0], now=NOW, last_sequence=0)
    wish = Wanted(MemberId(name), wanted.pop("valid_for", 30 * DAY), **wanted)
    now = SystemClock().now()
    issue_tls(directory, wish, out, roster=roster, passphrase=passphrase, key_passphrase=OTHER, note=note, now=now)
    return out


def note(issued: Issued) -> None:
    """The root's log has tests of its own."""
    assert issued.certificate.startswith(b"-----BEGIN CERTIFICATE")


def certificate(out: Path) -> x509.Certificate:
    """What was issued."""
    return x509.load_pem_x509_certificate((out / CERTIFICATE_FILE).read_bytes())


def request(key: Any, *, name: str = "mallory") -> bytes:
    """A certificate request."""
    builder = x509.CertificateSigningRequestBuilder().subject_name(
        x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    )
    algorithm = None if isinstance(key, ed25519.Ed25519PrivateKey) else hashes.SHA256()
    return builder.sign(key, algorithm).public_bytes(serialization.Encoding.PEM)


def test_a_client_certificate_names_its_member_and_verifies(tmp_path: Path) -> None:
    """P-256, the member's URI and nothing else, for clients only; an independent verifier believes the chain."""
    out = issue(tmp_path, "bay")
    issued = certificate(out)
    names = issued.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    assert [name.value for name in names] == ["semfed://hospitals/bay"]
    assert isinstance(issued.public_key(), ec.EllipticCurvePublicKey)
    assert issued.not_valid_after_utc - issued.not_valid_before_utc <= 31 * DAY
    authority = x509.load_pem_x509_certificate((tmp_path / CA_FILE).read_bytes())
    verifier = PolicyBuilder().store(Store([authority])).build_client_verifier()
    assert verifier.verify(issued, []).subjects == [x509.UniformResourceIdentifier("semfed://hospitals/bay")]


def test_a_server_certificate_names_its_hosts(tmp_path: Path) -> None:
    """Its domain, unless it is told otherwise; no client verifier takes it."""
    issued = certificate(issue(tmp_path, "hub"))
    authority = x509.load_pem_x509_certificate((tmp_path / CA_FILE).read_bytes())
    policy = PolicyBuilder().store(Store([authority]))
    policy.build_server_verifier(x509.DNSName("hub.example")).verify(issued, [])
    with pytest.raises(x509.verification.VerificationError):
        policy.build_client_verifier().verify(issued, [])


def test_keys_lie_sealed_and_private(tmp_path: Path) -> None:
    """Both files are their owner's alone, and open by their own passphrase only."""
    out = issue(tmp_path, "bay")
    for path, passphrase, wrong in ((tmp_path / CA_KEY_FILE, PASSPHRASE, OTHER), (out / KEY_FILE, OTHER, PASSPHRASE)):
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
        serialization.load_pem_private_key(path.read_bytes(), passphrase)
        with pytest.raises(ValueError, match=r"(?i)password|decrypt"):
            serialization.load_pem_private_key(path.read_bytes(), wrong)


@pytest.mark.parametrize("name", ["stranger", "bay"])
def test_only_valid_members_get_a_certificate(tmp_path: Path, name: str) -> None:
    """Unknown and revoked ones are told SF306, and nothing is written, no authority either."""
    with pytest.raises(PeerError, match="SF306"):
        issue(tmp_path, name, revoked=("bay",))
    assert list(tmp_path.iterdir()) == []


def test_a_member_keeps_a_key_that_it_made_itself(tmp_path: Path) -> None:
    """By a request: its key is in the certificate, and nothing else that it asked for."""
    key = ec.generate_private_key(ec.SECP256R1())
    out = issue(tmp_path, "bay", request=request(key))
    assert certificate(out).public_key() == key.public_key()
    assert "mallory" not in certificate(out).subject.rfc4514_string()
    assert not (out / KEY_FILE).exists()


@pytest.mark.parametrize("kind", ["garbage", "ed25519", "rsa", "p384", "signed by another"])
def test_a_request_that_proves_no_p256_key_is_refused(tmp_path: Path, kind: str) -> None:
    """SF104."""
    asked = {
        "garbage": lambda: b"garbage",
        "ed25519": lambda: request(ed25519.Ed25519PrivateKey.generate()),
        "rsa": lambda: request(rsa.generate_private_key(65537, 2048)),
        "p384": lambda: request(ec.generate_private_key(ec.SECP384R1())),
        "signed by another": _signed_by_another,
    }[kind]()
    with pytest.raises(ConfigurationError, match="SF104"):
        issue(tmp_path, "bay", request=asked)


def _signed_by_another() -> bytes:
    """A request whose signature is not that of its key."""
    der = x509.load_pem_x509_csr(request(ec.generate_private_key(ec.SECP256R1()))).public_bytes(
        serialization.Encoding.DER
    )
    at = der.index(b"mallory")
    return x509.load_der_x509_csr(der[:at] + b"mallorx" + der[at + 7 :]).public_bytes(serialization.Encoding.PEM)


def test_nothing_is_overwritten_and_no_passphrase_guessed(tmp_path: Path) -> None:
    """SF123 for a second certificate in the same place, SF121 for a wrong passphrase of the authority."""
    out = issue(tmp_path, "bay")
    before = (out / CERTIFICATE_FILE).read_bytes()
    with pytest.raises(ConfigurationError, match="SF123"):
        issue(tmp_path, "bay")
    with pytest.raises(ConfigurationError, match="SF121"):
        issue(tmp_path, "hill", passphrase=OTHER)
    assert (out / CERTIFICATE_FILE).read_bytes() == before
    assert not (tmp_path / "hill").exists()


@pytest.mark.parametrize(
    ("name", "wanted"),
    [
        ("bay", {"dns_names": ("bay.example",)}),
        ("hub", {"dns_names": ("höst",)}),
        ("hub", {"valid_for": timedelta(days=6 * 365)}),
    ],
    ids=["a host of a client", "no host name", "longer than the authority"],
)
def test_what_no_certificate_may_say_is_refused(tmp_path: Path, name: str, wanted: dict[str, Any]) -> None:
    """SF105."""
    with pytest.raises(ConfigurationError, match="SF105"):
        issue(tmp_path, name, **wanted)


@pytest.mark.parametrize(
    "uri",
    [
        "",
        "semfed://hospitals",
        "semfed://hospitals/",
        "semfed:///bay",
        "semfed://hospitals/bay/",
        "semfed://Hospitals/bay",
        "semfed://hospitals/bay?x",
        "semfed://hospitals/bay#x",
        "semfed://u@hospitals/bay",
        "https://hospitals/bay",
    ],
)
def test_a_uri_of_another_form_names_nobody(uri: str) -> None:
    """One form, and no other spelling of it."""
    assert parse_member_uri(uri) is None
    assert parse_member_uri(member_uri(FEDERATION, MemberId("bay"))) == (FederationId("hospitals"), MemberId("bay"))


def test_the_command_issues_and_says_what(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    """`semfed federation issue-tls`, from an empty directory."""
    passphrase = tmp_path / "passphrase"
    passphrase.touch(mode=0o600)
    passphrase.write_bytes(PASSPHRASE)
    given = ["--passphrase-file", str(passphrase)]
    where, keys = str(tmp_path / "root"), str(tmp_path / "keys")
    assert main(["federation", "init", where, "--id", "lab", *given]) == 0
    who = ["--member", "hub", "--domain", "hub.example", "--jurisdiction", "US", "--role", "server"]
    assert main(["keys", "create", "--federation", "lab", *who, "--out", keys, *given]) == 0
    assert main(["federation", "add-member", where, f"{keys}/member.record", "--without-token", *given]) == 0
    capsys.readouterr()
    words = ["federation", "issue-tls", where, "--member", "hub", "--out", str(tmp_path / "tls"), "--ip", "127.0.0.1"]
    assert main([*words, *given, "--valid-days", "7", "--json"]) == 0
    said = json.loads(capsys.readouterr().out)
    assert said["uri"] == "semfed://lab/hub"
    assert certificate(tmp_path / "tls").not_valid_after_utc <= _in_days(8)
    assert main([*words, "--ip", "nowhere", *given]) == 2


def _in_days(days: int) -> datetime:
    return SystemClock().now() + timedelta(days=days)
