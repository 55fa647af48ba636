"""Refuse every connection that leaves this machine: in the test run and, through PYTHONPATH, in its children."""

from __future__ import annotations

import sys

LOOPBACK = ("127.", "::1", "localhost", "::ffff:127.")
_WITH_ADDRESS = frozenset({"socket.connect", "socket.sendto", "socket.sendmsg"})


class OutsideConnection(BaseException):
    """Something tried to leave this machine; not an `Exception`, so that no product code can swallow it."""


def destination(event: str, arguments: tuple[object, ...]) -> str | None:
    """The host that ``event`` is about to reach, or None if it reaches none.

    Unix sockets and name look-ups without a name stay on this machine.
    """
    if event in _WITH_ADDRESS:
        address = arguments[1]
        return str(address[0]) if isinstance(address, tuple) else None
    if event == "socket.getaddrinfo":
        host = arguments[0]
        return host.decode() if isinstance(host, bytes) else (str(host) if host else None)
    return None


def guard(event: str, arguments: tuple[object, ...]) -> None:
    """Raise before a socket of any library reaches beyond loopback."""
    host = destination(event, arguments) if event.startswith("socket.") else None
    if host is not None and not host.startswith(LOOPBACK):
        raise OutsideConnection(f"{event} to {host}: tests talk to loopback only")


# An audit hook sees every socket of the interpreter and cannot be taken out again.
sys.addaudithook(guard)
