"""One TLS session whose end is known: whether the other side ended it in order, or it broke.

The sockets of `ssl` cannot tell: their `unwrap` also returns when the other side hung up or sent an alert. Here the
records are read from memory, where an end in order, an alert and a mere hanging up are three different things.
"""

from __future__ import annotations

import socket
import ssl
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable

T = TypeVar("T")
_READ = 65_536


class Session:
    """Speaks to one receiver, which sends nothing but the end."""

    def __init__(self, host: str, port: int, context: ssl.SSLContext, *, timeout: float) -> None:
        """Connect and shake hands.

        Raises:
            OSError: nobody listens, or what answers is not as ``context`` demands.
        """
        self._socket = socket.create_connection((host, port), timeout=timeout)
        self._incoming, self._outgoing = ssl.MemoryBIO(), ssl.MemoryBIO()
        try:
            self._tls = context.wrap_bio(self._incoming, self._outgoing, server_hostname=host)
            self._until_done(self._tls.do_handshake)
            self._flush()
        except BaseException:
            self.close()
            raise

    def send(self, data: bytes) -> None:
        """Send all of ``data``.

        Raises:
            OSError: the session broke, or the other side refused it.
        """
        try:
            for start in range(0, len(data), _READ):
                self._tls.write(data[start : start + _READ])
                self._flush()
        except ConnectionError as error:
            raise self._last_word(error) from error

    def end(self) -> None:
        """End the session, and return when the other side has ended it too, behind all that was sent.

        Raises:
            OSError: it broke, was refused, or was ended by the other side before.
        """
        try:
            self._tls.unwrap()
        except ssl.SSLWantReadError:
            pass
        else:
            raise ssl.SSLEOFError("the session was ended before all was sent")
        try:
            self._flush()
            while self._until_done(lambda: self._tls.read(_READ)):
                pass
            raise ssl.SSLEOFError("the other side hung up")  # of which newer Pythons tell by raising the same
        except ssl.SSLZeroReturnError:
            self._socket.shutdown(socket.SHUT_WR)
            while self._socket.recv(_READ):  # what was not read behind the end would be answered by a reset
                pass
        except ConnectionError as error:
            raise self._last_word(error) from error

    def close(self) -> None:
        """Hang up."""
        self._socket.close()

    def _until_done(self, act: Callable[[], T]) -> T:
        while True:
            try:
                return act()
            except ssl.SSLWantReadError:
                self._flush()
                self._hear()
            except ssl.SSLError:
                self._flush()  # the alert that says why
                raise

    def _flush(self) -> None:
        if self._outgoing.pending:
            self._socket.sendall(self._outgoing.read())

    def _hear(self) -> None:
        data = self._socket.recv(_READ)
        if data:
            self._incoming.write(data)
        else:
            self._incoming.write_eof()

    def _last_word(self, error: OSError) -> OSError:
        """Why the other side hung up, if it said so before."""
        try:
            self._hear()
            while self._tls.read(_READ):
                self._hear()
        except ssl.SSLWantReadError:
            return error
        except ssl.SSLError as said:
            return said
        except OSError:
            return error
        return error
