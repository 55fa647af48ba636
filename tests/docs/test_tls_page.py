"""The page on TLS and proxies does as it is written."""

from __future__ import annotations

import re
import socket
import sys
import tomllib
from pathlib import Path

import pytest

from semfed_secure.client.config import ServerSection
from semfed_secure.client.transport import HttpTransport
from semfed_secure.errors import PeerError
from semfed_secure.server.config import ServerConfig
from semfed_secure.settings import load_toml
from tests.docs.test_examples import PORT, TAKE_PART, blocks, commands, shell, work

__all__ = ["shell", "work"]
PAGE = "docs/how-to/serve-over-tls.md"


def test_serving_over_tls_works_as_written(shell, work) -> None:
    """From a founded federation to a server that lets in who shows a certificate, and nobody else."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        port = str(probe.getsockname()[1])
    founding = blocks(TAKE_PART, "sh")[0]
    site = blocks(PAGE, "toml")[0].replace("127.0.0.1:8440", f"127.0.0.1:{port}")
    (work / "bay").mkdir()
    (work / "bay" / "reach.toml").write_text(site)
    (work / "reach.py").write_text(
        "import sys\n"
        "from pathlib import Path\n"
        "from tests.docs.test_tls_page import reach\n"
        "reach(Path('bay/reach.toml'))\n"
    )
    issue, serve, stop = blocks(PAGE, "sh")
    done = shell("\n".join([founding, issue, serve.replace(PORT, port), "python reach.py", stop, "echo stopped"]))
    assert done.returncode == 0, done.stderr
    assert "semfed://lab/bay" in done.stdout
    assert "refused without a certificate" in done.stdout
    assert done.stdout.endswith("stopped\n")


def reach(path: Path) -> None:
    """Ask the server of a section with its certificate, and without; in a process of its own."""
    fields = tomllib.loads(path.read_text())["server"]
    files = {name: (path.parent / value).resolve() for name, value in fields.items() if name != "url"}
    with HttpTransport.to(ServerSection(url=fields["url"], **files), "semfed://lab/hub") as transport:
        assert transport.rounds() == ()
    stranger = ServerSection(url=fields["url"], ca=files["ca"])
    with HttpTransport.to(stranger, "semfed://lab/hub") as transport, pytest.raises(PeerError, match="SF345"):
        transport.rounds()
    sys.stdout.write("refused without a certificate\n")


def test_the_sections_of_the_page_are_sections(tmp_path: Path) -> None:
    """Every field that the page shows is one; the server file of step 2 loads."""
    server = re.search(r"^cat > server/server.toml <<'END'\n(.*?)^END$", commands(PAGE), re.MULTILINE | re.DOTALL)
    assert server is not None
    more = blocks(PAGE, "toml")[1].removeprefix("[server]\n")
    (tmp_path / "server.toml").write_text(server[1].replace("port = 8440\n", f"port = 8440\n{more}"))
    assert load_toml(ServerConfig, tmp_path / "server.toml").tls is not None
    for block in (blocks(PAGE, "toml")[0], blocks(PAGE, "toml")[2]):
        fields = dict(re.findall(r'^(\w+) = "([^"]+)"$', block, re.MULTILINE))
        paths = {
            name: Path(fields.pop(name)) for name in ("ca", "certificate", "key", "passphrase_file") if name in fields
        }
        assert ServerSection(**fields, **paths)
