"""Bodies of requests: read up to their limit, and not a byte further."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from semfed_secure.errors import PeerError
from semfed_secure.server.http.problems import HANG_UP

if TYPE_CHECKING:
    from starlette.requests import Request

    from semfed_secure.server.bodies import Body


async def read_body(request: Request, place: Body, limit: int) -> bytes:
    """The body, given up at the first byte beyond ``limit``, whatever the headers promised."""
    promised = request.headers.get("content-length", "0")
    if not promised.isdigit() or len(promised) > 12 or int(promised) > limit:
        raise PeerError("SF301", f"a body of at most {limit} bytes was expected", limit_bytes=limit)
    try:
        return await place.read(request.stream(), limit=limit)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, headers=HANG_UP) from None
