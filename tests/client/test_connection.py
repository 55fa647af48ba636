"""The way to the server as the site file says it: proxies on purpose only, TLS files that fit."""

from __future__ import annotations

import threading
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from pydantic import ValidationError

from semfed_secure.client.config import ServerSection
from semfed_secure.client.session import Client
from semfed_secure.client.transport import HttpTransport
from semfed_secure.errors import PeerError
from semfed_secure.testing.federation import FEDERATION, SERVER

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.client.world import World


class Proxy:
    """A proxy on this machine that answers everything itself, and remembers what it was asked for."""

    def __init__(self, port: int) -> None:
        self.url, self.asked = f"http://127.0.0.1:{port}", list[str]()


@pytest.fixture
def proxy() -> Iterator[Proxy]:
    """The proxy."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            made.asked.append(self.path)
            self.send_response(200)
            self.send_header("content-length", "6")
            self.end_headers()
            self.wfile.write(b"roster")

        def do_CONNECT(self) -> None:
            made.asked.append(self.path)
            self.send_error(403)

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        made = Proxy(server.server_address[1])
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        yield made
        server.shutdown()
        thread.join()


def reach(url: str, **fields: Any) -> bytes:
    """Ask the server of this section for its roster, without pauses."""
    with HttpTransport.to(ServerSection(url=url, **fields), "semfed://hospitals/hub") as transport:
        transport._sleep = lambda _: None
        return transport.roster()


def test_a_proxy_is_used_where_the_site_file_names_it(proxy: Proxy) -> None:
    """The whole address goes to the proxy, nothing to the server by itself."""
    assert reach("http://127.0.0.1:9", proxy=proxy.url) == b"roster"
    assert proxy.asked == ["http://127.0.0.1:9/v1/roster"]


def test_over_tls_a_proxy_learns_the_address_only(proxy: Proxy) -> None:
    """It is asked for a tunnel; one that it does not dig is no connection."""
    with pytest.raises(PeerError, match="SF341"):
        reach("https://127.0.0.1:9", proxy=proxy.url)
    assert set(proxy.asked) == {"127.0.0.1:9"}


def test_variables_name_a_proxy_only_to_one_who_asks(proxy: Proxy, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without `proxy = "environment"` they are not looked at; with it, `no_proxy` counts too."""
    monkeypatch.setenv("http_proxy", proxy.url)
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.delenv("NO_PROXY", raising=False)
    with pytest.raises(PeerError, match="SF341"):
        reach("http://127.0.0.1:9")
    assert proxy.asked == []
    assert reach("http://127.0.0.1:9", proxy="environment") == b"roster"
    monkeypatch.setenv("no_proxy", "127.0.0.1")
    with pytest.raises(PeerError, match="SF341"):
        reach("http://127.0.0.1:9", proxy="environment")


@pytest.mark.parametrize(
    "fields",
    [
        {"url": "https://hub.example", "certificate": Path("a")},
        {"url": "https://hub.example", "key": Path("a")},
        {"url": "http://hub.example", "ca": Path("a")},
        {"url": "http://hub.example", "certificate": Path("a"), "key": Path("b")},
        {"url": "https://hub.example", "proxy": "hub.example:3128"},
        {"url": "https://hub.example", "proxy": "socks5://hub.example:3128"},
    ],
    ids=["no key", "no certificate", "ca in the clear", "certificate in the clear", "no scheme", "socks"],
)
def test_half_a_protection_is_no_section(fields: dict[str, Any]) -> None:
    """What would not be used is refused, not forgotten."""
    with pytest.raises(ValidationError):
        ServerSection(**fields)


def test_a_site_expects_the_server_of_its_site_file(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """The federation and the server's id that the file names are the name that its certificate must carry."""
    expected: list[str] = []
    monkeypatch.setattr(HttpTransport, "to", lambda _, uri: expected.append(uri) or world.federation.transport())
    Client.open(world.federation.site_file("bay", world.settings()), clock=world.clock).close()
    assert expected == [f"semfed://{FEDERATION}/{SERVER}"]
