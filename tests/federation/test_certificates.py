"""Issuing TLS certificates at the root: what leaves, its log names; what is refused, too."""

from __future__ import annotations

from datetime import timedelta
from ipaddress import IPv4Address

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes

from semfed_secure.audit.log import AuditLog
from semfed_secure.audit.sources import open_source, read_entries
from semfed_secure.audit.verify import verify_log
from semfed_secure.audit.wording import describe
from semfed_secure.errors import IntegrityError, SemfedError
from semfed_secure.federation.certificates import issue_certificate
from semfed_secure.identity.records import Role
from semfed_secure.identity.tls_files import CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, Wanted
from tests.federation.test_office import Office
from tests.identity.identity_examples import NOW
from tests.identity.test_files import PASSPHRASE, create

pytestmark = pytest.mark.usefixtures("cheap_key_files")


@pytest.fixture
def office(tmp_path) -> Office:
    """A federation with a server `hub` and a member `both` that is server and client."""
    made = Office(tmp_path)
    for name, roles in (("hub", {Role.SERVER}), ("both", {Role.SERVER, Role.CLIENT})):
        create(tmp_path / name, name, *roles)
        made.enrol((tmp_path / name / "member.record").read_bytes(), without_token=True)
    return made


def issue(office: Office, name: str, out: str = "tls", **wanted):
    """Issue to a member; where it lies."""
    where = office.tmp / out
    with office.open() as opened:
        issue_certificate(
            opened,
            office.directory,
            Wanted(name, timedelta(days=30), **wanted),
            where,
            passphrase=PASSPHRASE,
            key_passphrase=PASSPHRASE,
            now=NOW,
        )
    return where


def entries(office: Office, count: int):
    """The last events of the root's log, which verifies."""
    verify_log(office.directory, key=None)
    with open_source(office.directory) as source:
        return [entry.event for entry in read_entries(source)][-count:]


def printed(path) -> str:
    """The fingerprint of a certificate, as other tools print it."""
    return "sha256:" + x509.load_pem_x509_certificate(path.read_bytes()).fingerprint(hashes.SHA256()).hex()


def test_no_certificate_leaves_that_the_roots_log_does_not_name(office) -> None:
    """The authority's own and the member's: by fingerprint, with its name, purpose, hosts and term."""
    out = issue(office, "hub", addresses=(IPv4Address("192.0.2.1"),), dns_names=("hub.example",))
    founded, issued = entries(office, 2)
    assert (founded.type, founded.details["certificate_digest"]) == (
        "authority.founded",
        printed(office.directory / CA_FILE),
    )
    assert (issued.type, issued.target) == ("certificate.issued", "hub")
    assert issued.details == {
        "certificate_digest": printed(out / CERTIFICATE_FILE),
        "expires_at": "2026-12-22T12:00:00.000Z",
        "uri": "semfed://hospitals/hub",
        "purpose": "server",
        "hosts": ["hub.example", "192.0.2.1"],
    }
    assert describe(issued) == ("root issued a TLS certificate (server) to hub until 2026-12-22T12:00:00.000Z")


def test_a_certificate_that_cannot_be_logged_is_not_written(office, monkeypatch) -> None:
    """Neither the member's nor the authority's; once the log can be written again, both are."""

    def full(*_) -> None:
        raise IntegrityError("SF502", "no space")

    with monkeypatch.context() as patch:
        patch.setattr(AuditLog, "append", full)
        with pytest.raises(IntegrityError, match="SF502"):
            issue(office, "hub")
    assert not (office.directory / CA_FILE).exists()
    assert not (office.tmp / "tls" / CERTIFICATE_FILE).exists()
    assert (issue(office, "hub") / CERTIFICATE_FILE).exists()


@pytest.mark.parametrize("name", ["stranger", "No Name\n"])
def test_a_refusal_is_an_entry_too(office, name) -> None:
    """SF306, with the name if it is one."""
    with pytest.raises(SemfedError, match="SF306"):
        issue(office, name)
    (event,) = entries(office, 1)
    assert (event.type, event.outcome, event.codes) == ("certificate.refused", "denied", ("SF306",))
    assert event.target == ("stranger" if name == "stranger" else None)


def test_a_member_that_is_server_and_client_gets_a_certificate_for_each(office) -> None:
    """One serves, the other does not, and each entry says which it is; a mere server gets none of a client."""
    issue(office, "both")
    issue(office, "both", out="own", as_client=True)
    assert [event.details["purpose"] for event in entries(office, 2)] == ["server", "client"]
    with pytest.raises(SemfedError, match="SF306"):
        issue(office, "hub", out="hub-as-client", as_client=True)
    with pytest.raises(SemfedError, match="SF105"):
        issue(office, "both", out="named", as_client=True, dns_names=("both.example",))


def test_a_key_that_a_crash_left_without_a_certificate_becomes_the_authoritys(office, monkeypatch) -> None:
    """It was believed by nobody, so nothing stands in the way of the next attempt."""
    written: list[bytes] = []

    def crash(*_) -> None:
        written.append((office.directory / CA_KEY_FILE).read_bytes())
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr("semfed_secure.identity.tls_files.write_new", crash)
        with pytest.raises(KeyboardInterrupt):
            issue(office, "hub")
    assert not (office.directory / CA_FILE).exists()
    issue(office, "hub")
    assert [(office.directory / CA_KEY_FILE).read_bytes()] == written


def test_after_a_theft_another_authority_is_founded_and_logged(office) -> None:
    """Its two files out of the way, the next certificate founds another one; the log names both."""
    issue(office, "hub")
    stolen = printed(office.directory / CA_FILE)
    for name in (CA_FILE, CA_KEY_FILE):
        (office.directory / name).rename(office.tmp / name)
    again = issue(office, "hub", out="again")
    named = [event.details["certificate_digest"] for event in entries(office, 4) if event.type == "authority.founded"]
    assert named == [stolen, printed(office.directory / CA_FILE)]
    assert len(set(named)) == 2
    assert (again / KEY_FILE).exists()


@pytest.mark.parametrize(
    "names", [("h" * 254,), ("hub\nexample",), tuple(f"h{n}" for n in range(101))], ids=["long", "two lines", "many"]
)
def test_hosts_that_no_entry_could_hold_are_refused(office, names) -> None:
    """SF105, and nothing is founded."""
    with pytest.raises(SemfedError, match="SF105"):
        issue(office, "hub", dns_names=names)
    assert not (office.directory / CA_FILE).exists()


def test_as_many_hosts_as_are_allowed_fit_into_an_entry(office) -> None:
    """A hundred of the longest names."""
    names = tuple(".".join([f"{n:03}" + "h" * 60] * 3) + "." + "h" * 61 for n in range(100))
    assert {len(name) for name in names} == {253}
    issue(office, "hub", dns_names=names)
    assert len(entries(office, 1)[0].details["hosts"]) == 100
