"""Problem details (RFC 9457): a status, a code, its public title, and never a sentence or a field of ours.

What a peer learns of a failed signature, seal or commitment is its code alone, the same bytes whatever part of it
failed: no answer tells one who forges how near it came.
"""

from __future__ import annotations

import logging
from http import HTTPStatus
from typing import TYPE_CHECKING, Any

from fastapi.responses import JSONResponse
from starlette.exceptions import HTTPException

from semfed_secure.errors import CATALOGUE, SemfedError

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

COSE = "application/cose"
PROBLEM = "application/problem+json"
HANG_UP = {"connection": "close"}  # else the rest of an endless body would still be read, and thrown away

# What is not in this table is the sender's fault: 400.
_STATUS = {
    "SF301": 413,
    "SF304": 404,
    "SF306": 403,
    "SF307": 403,
    "SF309": 409,
    "SF322": 503,
    "SF346": 403,
    "SF347": 429,
    "SF348": 503,
    "SF401": 409,
    "SF402": 410,
    "SF403": 410,
    "SF404": 409,
}
OURS = ("SF1", "SF5")
"""Families of codes that no caller can cause: 503, and a line in our own log."""
_log = logging.getLogger(__name__)


def status_of(code: str) -> int:
    """The HTTP status that goes with a code."""
    return 503 if code.startswith(OURS) else _STATUS.get(code, 400)


def coded(code: str, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The problem document of a code of the catalogue."""
    return _problem(status_of(code), title=CATALOGUE[code].title, code=code, headers=headers)


def plain(status: int, *, headers: Mapping[str, str] | None = None) -> JSONResponse:
    """The problem document of what HTTP itself has a status for."""
    return _problem(status, title=HTTPStatus(status).phrase, headers=headers)


def busy() -> JSONResponse:
    """There is no room now; come again."""
    return coded("SF348", headers={**HANG_UP, "retry-after": "1"})


async def on_refusal(_request: Request, error: Exception) -> JSONResponse:
    """A refusal with a code."""
    assert isinstance(error, SemfedError)
    if error.code.startswith(OURS):
        _log.error("a request failed: %s", error)
    return coded(error.code, headers={"SF401": {"retry-after": "1"}, "SF301": HANG_UP}.get(error.code))


async def on_bad_request(_request: Request, _error: Exception) -> JSONResponse:
    """A parameter that is not what the description says."""
    return coded("SF302")


async def on_http_error(_request: Request, error: Exception) -> JSONResponse:
    """What the framework refuses: no such path, no such method."""
    assert isinstance(error, HTTPException)
    return plain(error.status_code, headers=error.headers)


async def on_busy(_request: Request, _error: Exception) -> JSONResponse:
    """No room for a body."""
    return busy()


def _problem(
    status: int, *, title: str, code: str | None = None, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    document: dict[str, Any] = {"type": "about:blank", "title": title, "status": status}
    if code is not None:
        document["code"] = code
    return JSONResponse(document, status_code=status, media_type=PROBLEM, headers=headers)
