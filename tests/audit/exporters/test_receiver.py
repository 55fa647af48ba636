"""Syslog over real TLS on this machine: who is believed, what counts as delivered, and what a break leaves."""

from __future__ import annotations

import re
import socket
import ssl
import struct
from datetime import timedelta
from typing import TYPE_CHECKING

import pytest

from semfed_secure.audit.exporters import receiver as subject
from semfed_secure.audit.exporters.formats import FORMATS, FormatName
from semfed_secure.audit.exporters.receiver import SyslogReceiver, parse_address, receiver_context
from semfed_secure.clock import SystemClock
from semfed_secure.errors import ConfigurationError, PeerError
from semfed_secure.identity.tls import OwnCertificate
from tests.audit.exporters.examples import every_record
from tests.audit.exporters.receivers import Certificates, Receiver, receiving, split

if TYPE_CHECKING:
    from pathlib import Path

RECORDS = every_record()[:40]
MESSAGE = FORMATS[FormatName.SYSLOG].message
assert MESSAGE is not None


@pytest.fixture(scope="module")
def ours(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """The authority that we believe."""
    return Certificates(tmp_path_factory.mktemp("tls") / "ours")


@pytest.fixture(scope="module")
def theirs(tmp_path_factory: pytest.TempPathFactory) -> Certificates:
    """Another one, of the same name."""
    return Certificates(tmp_path_factory.mktemp("tls") / "theirs")


@pytest.fixture
def pauses() -> list[float]:
    """How long was waited between attempts."""
    return []


def sender(to: Receiver | str, ca: Path, pauses: list[float], own: tuple[Path, Path] | None = None) -> SyslogReceiver:
    """Our side."""
    address = parse_address(to if isinstance(to, str) else to.address)
    certificate = None if own is None else OwnCertificate(*own)
    context = receiver_context(certificate, ca=ca, environ={}, now=SystemClock().now())
    return SyslogReceiver(address, MESSAGE, context=context, sleep=pauses.append)


def refused(sending: SyslogReceiver) -> PeerError:
    """Why nothing was delivered."""

    def send() -> None:
        sending.open("log")
        sending.deliver(RECORDS)

    with pytest.raises(PeerError) as caught:
        send()
    return caught.value


def ids(received: list[bytes]) -> list[int]:
    """Which entries were received, in order."""
    return [int(found[1]) for one in received if (found := re.search(rb' index="([0-9]+)"', one))]


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_a_batch_arrives_in_frames_and_is_confirmed(ours: Certificates, pauses: list[float], version) -> None:
    """Every message, whole and in order, by its length; the second batch is a session of its own."""
    with receiving(ours.issue("127.0.0.1"), version=version) as receiver:
        sending = sender(receiver, ours.ca, pauses)
        sending.open("log")
        assert sending.deliver(RECORDS[:25])
        assert ids(receiver.received) == list(range(25)), "what was confirmed is there at once"
        assert sending.deliver(RECORDS[25:])
        sending.finish()
        sending.abandon()
    assert receiver.received == [MESSAGE(record).encode() for record in RECORDS]
    assert (receiver.sessions, pauses) == (2, [])


def test_frames_are_counted_in_bytes() -> None:
    """A message of other than ASCII characters is as long as its bytes, so line ends and digits in it end nothing."""
    assert subject._frame("ε\n7 x") == "6 ε\n7 x".encode()
    assert split(subject._frame("ε\n7 x") + subject._frame("y") + b"9 cut") == ["ε\n7 x".encode(), b"y"]


def test_a_certificate_of_another_authority_gets_nothing(ours, theirs, pauses: list[float]) -> None:
    """SF350 before a byte of the log is sent; trying again would help nobody."""
    with receiving(theirs.issue("127.0.0.1")) as receiver:
        assert refused(sender(receiver, ours.ca, pauses)).code == "SF350"
    assert (receiver.received, pauses) == ([], [])


def test_a_certificate_of_another_host_gets_nothing(ours, pauses: list[float]) -> None:
    """The authority is believed, but the certificate must be of the host that was named."""
    for host in ("siem.example", "127.0.0.2"):
        with receiving(ours.issue(host)) as receiver:
            error = refused(sender(receiver, ours.ca, pauses))
        assert error.code == "SF350"
        assert "127.0.0.1" in error.message
        assert receiver.received == []


def test_a_certificate_that_has_expired_gets_nothing(ours, pauses: list[float]) -> None:
    """However good it was."""
    with receiving(ours.issue("127.0.0.1", ends=-timedelta(hours=1))) as receiver:
        assert refused(sender(receiver, ours.ca, pauses)).code == "SF350"
    assert receiver.received == []


def test_a_receiver_that_demands_a_certificate_gets_ours_or_refuses(ours, theirs, pauses: list[float]) -> None:
    """With one of the right authority it takes everything; without, or with another one, SF350 and nothing counts."""
    mine, other = ours.issue("north.example"), theirs.issue("north.example")
    with receiving(ours.issue("127.0.0.1"), clients=ours.ca) as receiver:
        sending = sender(receiver, ours.ca, pauses, mine)
        sending.open("log")
        assert sending.deliver(RECORDS)
        assert ids(receiver.received) == list(range(len(RECORDS)))
        receiver.received.clear()
        for own in (None, other):
            assert refused(sender(receiver, ours.ca, pauses, own)).code == "SF350"
        assert receiver.received == []


def test_a_receiver_without_tls_gets_nothing(ours, pauses: list[float]) -> None:
    """What answers in the clear is no receiver."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        listening.settimeout(5)
        sending = sender(f"tls://127.0.0.1:{listening.getsockname()[1]}", ours.ca, pauses)
        import threading

        def answer() -> None:
            for _ in range(3):
                plain, _ = listening.accept()
                with plain:
                    plain.recv(10_000)
                    plain.sendall(b"220 welcome\r\n")

        thread = threading.Thread(target=answer)
        thread.start()
        assert refused(sending).code == "SF349"
        thread.join(10)


def test_a_session_that_is_not_confirmed_is_sent_again_whole(ours, pauses: list[float]) -> None:
    """It broke twice, once without a word and once by a reset; the third one counts, and nothing is missing."""

    def end(number: int, session: ssl.SSLSocket) -> None:
        if number == 2:
            session.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        elif number == 3:
            session.unwrap()

    with receiving(ours.issue("127.0.0.1"), end=end) as receiver:
        sending = sender(receiver, ours.ca, pauses)
        sending.open("log")
        assert sending.deliver(RECORDS)
    assert ids(receiver.received) == list(range(len(RECORDS))) * 3
    assert pauses == [1.0, 3.0]


def test_a_receiver_that_never_confirms_has_nothing_that_counts(ours, pauses: list[float]) -> None:
    """It hangs up three times: SF349, to be tried again later."""
    with receiving(ours.issue("127.0.0.1"), end=lambda number, session: None) as receiver:
        error = refused(sender(receiver, ours.ca, pauses))
    assert (error.code, error.retryable, receiver.sessions) == ("SF349", True, 3)


def test_a_receiver_that_is_not_there_is_told_by_its_code(ours, pauses: list[float]) -> None:
    """SF349 after three attempts."""
    with socket.create_server(("127.0.0.1", 0)) as listening:
        port = listening.getsockname()[1]
    assert refused(sender(f"tls://127.0.0.1:{port}", ours.ca, pauses)).code == "SF349"
    assert pauses == [1.0, 3.0]


@pytest.mark.parametrize(
    "text", ["", "127.0.0.1:6514", "tcp://a:1", "tls://a", "tls://:6514", "tls://a:0", "tls://a:x", "tls://a:1/x",
             "tls://u@a:1", "tls://a:99999", "tls://[::1"]
)  # fmt: skip
def test_only_an_address_is_an_address(text: str) -> None:
    """Host and port, and nothing that would be left unheeded."""
    with pytest.raises(ConfigurationError) as caught:
        parse_address(text)
    assert caught.value.code == "SF105"


def test_addresses_are_read_as_they_are_written() -> None:
    """Names, and addresses of both kinds."""
    for text in ("tls://siem.example:6514", "tls://192.0.2.1:6514"):
        assert str(parse_address(text)) == text
    assert parse_address("tls://[::1]:6514").host == "::1"
