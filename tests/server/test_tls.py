"""TLS between members on a real loopback socket: who gets in, who does not, and what each is told."""

from __future__ import annotations

import ipaddress
import socket
import ssl
import threading
import time
from typing import TYPE_CHECKING, Any

import pytest

from semfed_secure.client.config import ServerSection
from semfed_secure.client.transport import HttpTransport
from semfed_secure.crypto.certificates import Purpose
from semfed_secure.errors import ConfigurationError, PeerError, SemfedError
from semfed_secure.identity import tls
from semfed_secure.ids import FederationId, MemberId, RoundId
from semfed_secure.server.config import LimitsSection, TlsSection
from semfed_secure.server.http import process
from tests.server.serving import Authority, listening
from tests.server.world import World, post, roster_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

ROUND = RoundId("round-1")
HERE = (ipaddress.IPv4Address("127.0.0.1"),)
ELSEWHERE = (ipaddress.IPv4Address("192.0.2.1"),)


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """The federation's authority."""
    return Authority(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    """Another one, of the same name."""
    return Authority(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture
def url(world: World, ours: Authority) -> Iterator[str]:
    """A server that demands certificates, with a round open."""
    with listening(world, tls=section(ours)) as (_, address):
        yield address


def section(ours: Authority, *, out: Path | None = None, **more: Any) -> TlsSection:
    """The server's TLS files; its certificate is ``out``."""
    served = out if out is not None else ours.issue("hub", addresses=HERE)
    return TlsSection(**ours.files(served), client_ca=ours.ca, **more)


def client(url: str, ours: Authority, own: dict[str, Path] | None = None, *, ca: Path | None = None) -> HttpTransport:
    """A site that believes our authority, and shows ``own``."""
    section = ServerSection(url=url, ca=ca or ours.ca, **(own or {}))
    return HttpTransport.to(section, tls.member_uri(FederationId("hospitals"), MemberId("hub")))


def refused(url: str, ours: Authority, own: dict[str, Path] | None = None, *, ca: Path | None = None) -> SemfedError:
    """What the site is told; a certificate is no matter of trying again, so there is no pause."""
    with client(url, ours, own, ca=ca) as transport:
        transport._sleep = lambda _: pytest.fail("it was tried again")
        with pytest.raises(SemfedError) as caught:
            transport.roster()
    return caught.value


def test_a_member_contributes_over_mutual_tls(world: World, ours: Authority, url: str) -> None:
    """Its certificate, its statement: admitted; the sealed keys are opened by their passphrase."""
    manifest = world.open()
    with client(url, ours, ours.files(ours.issue("bay"))) as transport:
        assert transport.manifest(ROUND)
        assert transport.post(ROUND, post("bay", manifest))
    assert world.events().count("bundle.admitted") == 1


def test_another_members_certificate_brings_no_contribution(world: World, ours: Authority, url: str) -> None:
    """SF346, before anything is judged or logged; the signatures on it are good."""
    manifest = world.open()
    with client(url, ours, ours.files(ours.issue("hill"))) as transport, pytest.raises(PeerError) as caught:
        transport.post(ROUND, post("bay", manifest))
    assert (caught.value.code, caught.value.fields["server_code"]) == ("SF342", "SF346")
    assert not {"bundle.admitted", "bundle.rejected"} & set(world.events())


@pytest.mark.parametrize("uri", ["semfed://banks/bay", "semfed://hospitals/bay/x", "https://bay.example", "semfed:bay"])
def test_a_certificate_that_names_no_member_of_this_federation_reads_nothing(
    world: World, ours: Authority, url: str, uri: str
) -> None:
    """Whatever our authority was brought to sign."""
    ours.issue("bay")
    with client(url, ours, ours.files(ours.issue_for(uri))) as transport, pytest.raises(PeerError) as caught:
        transport.roster()
    assert caught.value.fields["server_code"] == "SF346"


def test_a_member_reads_nothing_once_it_is_revoked(world: World, ours: Authority, url: str) -> None:
    """SF306 from the next request on, whatever its certificate says; one that never was a member likewise."""
    own = ours.files(ours.issue("bay"))
    with client(url, ours, own) as transport:
        assert transport.roster()
        world.publish_roster(roster_file(sequence=2, revoked=("bay",)))
        with pytest.raises(PeerError) as revoked:
            transport.roster()
    stranger = ours.files(ours.issue_for("semfed://hospitals/stranger"))
    with client(url, ours, stranger) as transport, pytest.raises(PeerError) as unknown:
        transport.roster()
    assert (revoked.value.fields["server_code"], unknown.value.fields["server_code"]) == ("SF306", "SF306")
    with client(url, ours, ours.files(ours.issue("hill"))) as transport:
        assert transport.roster()


def test_a_member_is_held_to_its_own_rate(tmp_path: Path, ours: Authority) -> None:
    """Who asks too often waits as long as the server says; another member at the same address does not."""
    world = World(tmp_path, limits=LimitsSection(member_rate=1, member_burst=2))
    pauses: list[float] = []
    with listening(world, tls=section(ours)) as (_, url):
        with client(url, ours, ours.files(ours.issue("bay"))) as transport:
            transport._sleep = lambda seconds: (pauses.append(seconds), time.sleep(seconds))
            for _ in range(50):
                assert transport.roster()
                if pauses:
                    break
        assert len(pauses) >= 1
        assert all(pause >= 1 for pause in pauses)
        with client(url, ours, ours.files(ours.issue("hill"))) as transport:
            transport._sleep = lambda _: pytest.fail("another member had to wait")
            assert transport.roster()


def test_without_a_certificate_nobody_gets_in(ours: Authority, url: str) -> None:
    """SF345, and the sentence says what is missing."""
    error = refused(url, ours)
    assert (error.code, "demands a certificate" in error.message) == ("SF345", True)


def test_a_certificate_of_another_authority_is_refused(ours: Authority, theirs: Authority, url: str) -> None:
    """SF345: the name in it is right, whoever wrote it is not."""
    error = refused(url, ours, theirs.files(theirs.issue("bay")))
    assert (error.code, "authority" in error.message) == ("SF345", True)


def test_an_expired_certificate_is_told_at_home(ours: Authority, url: str) -> None:
    """SF124 before anything is sent."""
    own = ours.files(ours.issue("bay", days_ago=10, days=5))
    with pytest.raises(ConfigurationError, match="SF124"):
        client(url, ours, own)


def test_an_expired_certificate_is_refused_by_the_server(
    ours: Authority, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SF345 for one whose clock is behind."""
    own = ours.files(ours.issue("bay", days_ago=10, days=5))
    fresh = tls.term_of((ours.issue("bay") / "tls.pem").read_bytes())
    monkeypatch.setattr(tls, "term_of", lambda _: fresh)
    error = refused(url, ours, own)
    assert (error.code, "expired" in error.message) == ("SF345", True)


def test_a_server_of_another_authority_is_refused(ours: Authority, theirs: Authority, url: str) -> None:
    """SF344, before a byte is asked."""
    theirs.issue("bay")
    assert refused(url, ours, ours.files(ours.issue("bay")), ca=theirs.ca).code == "SF344"


@pytest.mark.parametrize("defect", ["expired", "another address", "a client's"])
def test_a_server_with_a_wrong_certificate_is_refused(
    world: World, ours: Authority, defect: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SF344: out of its term, of another host, or of a member that may not serve."""
    out = {
        "expired": lambda: ours.issue("hub", days_ago=10, days=5, addresses=HERE),
        "another address": lambda: ours.issue("hub", addresses=(*ELSEWHERE, *ELSEWHERE)),
        "a client's": lambda: ours.issue("bay"),
    }[defect]()
    fresh = tls.term_of((ours.issue("hill") / "tls.pem").read_bytes())
    monkeypatch.setattr(tls, "term_of", lambda _: fresh)
    with listening(world, tls=section(ours, out=out)) as (_, url):
        assert refused(url, ours, ours.files(ours.issue("hill"))).code == "SF344"


@pytest.mark.parametrize("uri", ["semfed://hospitals/lake", "semfed://banks/hub", "semfed://hospitals/hub/x"])
def test_another_member_does_not_pose_as_the_server(world: World, ours: Authority, uri: str) -> None:
    """SF344, before a byte is asked: the address is right and our authority issued it, to somebody else."""
    own = ours.files(ours.issue("bay"))
    out = ours.issue_for(uri, purpose=Purpose.SERVER, addresses=HERE)
    with listening(world, tls=section(ours, out=out)) as (listener, url):
        error = refused(url, ours, own)
        assert not listener.config.app.state.answers
    assert (error.code, "semfed://hospitals/hub was expected" in error.message) == ("SF344", True)


def test_a_servers_certificate_that_names_no_member_is_of_another_authority(world: World, ours: Authority) -> None:
    """The federation's names one in every certificate; that of an institution or its proxy names the host alone."""
    own = ours.files(ours.issue("bay"))
    out = ours.issue_for("https://hub.example", purpose=Purpose.SERVER, addresses=HERE)
    with listening(world, tls=section(ours, out=out)) as (_, url), client(url, ours, own) as transport:
        assert transport.rounds() == ()


def test_whoever_does_not_agree_on_tls_in_time_is_cut_off(
    world: World, ours: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A connection that says nothing is closed, before it counts as one."""
    monkeypatch.setattr(process, "HANDSHAKE_SECONDS", 0.3)
    with listening(world, tls=section(ours)) as (_, url):
        host, _, port = url.removeprefix("https://").rpartition(":")
        with socket.create_connection((host, int(port)), timeout=20) as raw:
            assert raw.recv(1) == b""


def test_tls_1_2_is_refused_by_the_server(ours: Authority, url: str) -> None:
    """An old client gets an alert, no answer."""
    context = ssl.create_default_context(cafile=str(ours.ca))
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    host, _, port = url.removeprefix("https://").rpartition(":")
    with (
        socket.create_connection((host, int(port)), timeout=10) as raw,
        pytest.raises(ssl.SSLError, match="PROTOCOL_VERSION"),
    ):
        context.wrap_socket(raw, server_hostname=host)


def test_a_server_of_tls_1_2_is_refused_by_the_client(ours: Authority) -> None:
    """SF344, and the sentence says which version is wanted."""
    files = ours.files(ours.issue("hub", addresses=HERE))
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    context.load_cert_chain(files["certificate"], files["key"], "correct horse battery staple")
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def accept() -> None:
            with listener.accept()[0] as raw, pytest.raises(ssl.SSLError):
                context.wrap_socket(raw, server_side=True)

        thread = threading.Thread(target=accept)
        thread.start()
        error = refused(f"https://127.0.0.1:{listener.getsockname()[1]}", ours)
        thread.join(10)
    assert (error.code, "TLS 1.3" in error.message) == ("SF344", True)


def test_a_server_without_tls_is_refused_where_tls_is_expected(world: World, ours: Authority) -> None:
    """SF344: no address is tried in the clear."""
    with listening(world) as (_, url):
        assert refused(url.replace("http:", "https:"), ours).code == "SF344"


def test_where_certificates_are_not_required_others_read_but_nobody_poses(world: World, ours: Authority) -> None:
    """Without one everything is as without TLS; with one it is held to its name."""
    manifest = world.open()
    with listening(world, tls=section(ours, require_client_certificates=False)) as (_, url):
        with client(url, ours) as transport:
            assert transport.post(ROUND, post("bay", manifest))
        with client(url, ours, ours.files(ours.issue("hill"))) as transport, pytest.raises(PeerError) as caught:
            transport.post(ROUND, post("lake", manifest))
    assert caught.value.fields["server_code"] == "SF346"


def test_a_wrong_passphrase_or_key_is_told_by_its_own_code(ours: Authority, tmp_path: Path) -> None:
    """SF121 for the passphrase, SF124 for another key, SF122 for one that others can read, SF102 for none."""
    bay, hill = ours.files(ours.issue("bay")), ours.files(ours.issue("hill"))
    wrong, open_key = tmp_path / "wrong", tmp_path / "key"
    wrong.touch(mode=0o600)
    wrong.write_text("another passphrase")
    open_key.write_bytes(bay["key"].read_bytes())
    open_key.chmod(0o640)
    for code, own in {
        "SF121": bay | {"passphrase_file": wrong},
        "SF124": bay | {"key": hill["key"]},
        "SF122": bay | {"key": open_key},
        "SF102": bay | {"key": tmp_path / "none"},
    }.items():
        with pytest.raises(ConfigurationError, match=code):
            client("https://127.0.0.1:1", ours, own)
