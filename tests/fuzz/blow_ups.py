"""Large inputs that are one thing over and over: where a parser is slower than its input is long, they tell."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from tests.fuzz.target import Target

_PIECES = (
    b"\0", b" ", b"\n", b"0", b"9", b"a", b"-", b".", b"@", b"[", b"{", b"(", b'"', b"\\", b"'", b"#", b"|", b">",
    b":", b"- ", b"? ", b"[[", b"{a: ", b'{"a":', b"a: b\n", b"a.b", b"a.", b"a = ", b"[a]\n", b"[[a]]\n", b"0-", b"1 ",
    b"1.", b"\xc3\xa9", b"\xe2\x80\x8b", b"\xef\xb7\xba", b"\xff", b"\x80", b"\x81", b"\x9f", b"\xa1", b"\xa1\0",
    b"\xbf", b"\xd8\x62", b"\x41\0", b"\x5f", b"\x60", b"\x81\x81", b"\xf6", b"\xff\xff\xff\xff", b"ab:", b"A1",
    b"x@y.", b"1/2/", b"+1 ",
)  # fmt: skip


def repeated(target: Target, size: int) -> Iterator[bytes]:
    """Every piece, and some words of the target, repeated to ``size`` bytes: alone, behind and before a seed's half."""
    seed = max(target.seeds(), key=len)[:size]
    for piece in (*_PIECES, *(word.encode("utf-8", "surrogatepass") for word in target.words[:8])):
        many = piece * (size // len(piece))
        yield many
        yield (seed[: len(seed) // 2] + many)[:size]
        yield (many + seed)[-size:]


def counted(size: int) -> Iterator[bytes]:
    """CBOR heads that promise much: strings, arrays and maps of up to 2**64 - 1 items, and one nested ever deeper."""
    for major in (0x40, 0x60, 0x80, 0xA0):
        for info, width in ((24, 1), (25, 2), (26, 4), (27, 8)):
            yield bytes([major | info]) + b"\xff" * width + bytes(size - 1 - width)
        count = size - 5
        yield bytes([major | 26]) + count.to_bytes(4, "big") + bytes(count)
