"""The world's server behind the very listener that `semfed server run` starts, in a thread."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING, Any

from semfed_secure.clock import SystemClock
from semfed_secure.crypto.certificates import Purpose, Subject, new_key, open_authority
from semfed_secure.identity.roster import verify_roster
from semfed_secure.identity.tls_files import CA_FILE, CA_KEY_FILE, CERTIFICATE_FILE, KEY_FILE, Wanted, issue_tls
from semfed_secure.ids import MemberId
from semfed_secure.server.config import FederationSection, ServerConfig, ServerSection, TlsSection
from semfed_secure.server.http.process import Listener, tls_context
from semfed_secure.server.service import Service
from semfed_secure.settings import IdentitySection
from tests.server.world import NOW, World, root, roster_file

if TYPE_CHECKING:
    from collections.abc import Iterator
    from ipaddress import IPv4Address

PASSPHRASE = b"correct horse battery staple"


@contextmanager
def listening(world: World, *, tls: TlsSection | None = None, **server: Any) -> Iterator[tuple[Listener, str]]:
    """While it lasts the listener serves; it and its address."""
    nothing = Path()
    config = ServerConfig(
        server=ServerSection(federation="hospitals", member="hub", database="postgresql://unused", port=0, **server),
        identity=IdentitySection(keys=nothing),
        federation=FederationSection(root=nothing, roster=nothing),
        tls=tls,
    )
    told: list[str] = []
    reachable = threading.Event()
    service = Service(world.context, version="0")
    listener = Listener(service, config, tls_context(config, {}), lambda url: (told.append(url), reachable.set()))
    thread = threading.Thread(target=listener.run)
    thread.start()
    try:
        assert reachable.wait(30)
        yield listener, told[0]
    finally:
        listener.should_exit = True
        thread.join(30)


class Authority:
    """A federation's TLS authority in a directory, and what it issues."""

    def __init__(self, directory: Path) -> None:
        """Nothing is issued yet."""
        directory.mkdir()
        self.directory = directory
        self.passphrase_file = directory / "passphrase"
        self.passphrase_file.touch(mode=0o600)
        self.passphrase_file.write_bytes(PASSPHRASE)

    @property
    def ca(self) -> Path:
        """What everybody believes."""
        return self.directory / CA_FILE

    def issue(self, name: str, *, days_ago: int = 0, days: int = 30, addresses: tuple[IPv4Address, ...] = ()) -> Path:
        """A member's certificate and key; the directory they lie in."""
        out = self.directory / f"{name}-{days_ago}-{len(addresses)}"
        if not out.exists():
            issue_tls(
                self.directory,
                Wanted(MemberId(name), timedelta(days=days), addresses=addresses),
                out,
                roster=verify_roster(roster_file(), root=root()[0], now=NOW, last_sequence=0),
                passphrase=PASSPHRASE,
                key_passphrase=PASSPHRASE,
                note=lambda _: None,
                now=SystemClock().now() - timedelta(days=days_ago),
            )
        return out

    def issue_for(
        self, uri: str, *, purpose: Purpose = Purpose.CLIENT, addresses: tuple[IPv4Address, ...] = ()
    ) -> Path:
        """A certificate with any URI in it."""
        authority = open_authority(self.ca.read_bytes(), (self.directory / CA_KEY_FILE).read_bytes(), PASSPHRASE)
        key, sealed = new_key(PASSPHRASE)
        now = SystemClock().now()
        out = self.directory / "any"
        out.mkdir(exist_ok=True)
        (out / KEY_FILE).touch(mode=0o600)
        (out / KEY_FILE).write_bytes(sealed)
        subject = Subject("any", uri, purpose, addresses=addresses)
        (out / CERTIFICATE_FILE).write_bytes(authority.issue(subject, key, now=now, valid_for=timedelta(days=1)))
        return out

    def files(self, out: Path) -> dict[str, Path]:
        """The fields of a section of a file that name a certificate."""
        return {
            "certificate": out / CERTIFICATE_FILE,
            "key": out / KEY_FILE,
            "passphrase_file": self.passphrase_file,
        }
