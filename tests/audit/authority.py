"""A timestamp authority on loopback: the one of the openssl command, behind HTTP."""

from __future__ import annotations

import shutil
import subprocess
import threading
from contextlib import contextmanager
from dataclasses import dataclass
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

OPENSSL = shutil.which("openssl")
_CONFIG = """
[tsa]
default_tsa = stamping
[stamping]
serial = {home}/serial
crypto_device = builtin
signer_cert = {home}/signer.pem
signer_key = {home}/signer.key
signer_digest = sha256
default_policy = 1.2.3.4.1
digests = sha256, sha384, sha512
ess_cert_id_alg = sha256
[root]
basicConstraints = critical,CA:true
keyUsage = critical,keyCertSign
[signer]
basicConstraints = critical,CA:false
keyUsage = critical,digitalSignature
extendedKeyUsage = critical,timeStamping
[req]
distinguished_name = name
[name]
"""


@dataclass(frozen=True)
class Authority:
    """Where one lies, and how it is asked."""

    home: Path
    url: str = ""

    @property
    def root(self) -> Path:
        """Its root certificate."""
        return self.home / "root.pem"

    def answer(self, question: bytes) -> bytes:
        """What it says."""
        asked, said = self.home / "question.tsq", self.home / "answer.tsr"
        asked.write_bytes(question)
        openssl("ts", "-reply", "-config", str(self.home / "conf"), "-queryfile", str(asked), "-out", str(said))
        return said.read_bytes()


def openssl(*arguments: str) -> str:
    """Run it; fail if it does."""
    assert OPENSSL is not None
    done = subprocess.run([OPENSSL, *arguments], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


def founded(home: Path) -> Authority:
    """A root and a signer for timestamps."""
    home.mkdir()
    conf, root, signer = home / "conf", home / "root", home / "signer"
    conf.write_text(_CONFIG.format(home=home))
    (home / "serial").write_text("01")
    new = ("-config", str(conf), "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes")
    openssl(
        *("req", "-x509", *new, "-days", "9", "-subj", "/CN=Root of time", "-extensions", "root"),
        *("-keyout", f"{root}.key", "-out", f"{root}.pem"),
    )
    openssl("req", *new, "-subj", "/CN=Clock", "-keyout", f"{signer}.key", "-out", f"{signer}.csr")
    openssl(
        *("x509", "-req", "-in", f"{signer}.csr", "-CA", f"{root}.pem", "-CAkey", f"{root}.key", "-days", "9"),
        *("-extfile", str(conf), "-extensions", "signer", "-out", f"{signer}.pem"),
    )
    return Authority(home)


@contextmanager
def answering(answer: Callable[[bytes], bytes]) -> Iterator[str]:
    """The address where ``answer`` is asked by HTTP."""

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = answer(self.rfile.read(int(self.headers["content-length"])))
            self.send_response(200)
            self.send_header("content-type", "application/timestamp-reply")
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Nobody reads it."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        thread.join()
        server.server_close()
