"""The OpenAPI 3.1 document: every route with its bodies, statuses and codes."""

from __future__ import annotations

from typing import Any

from fastapi.openapi.utils import get_openapi

from semfed_secure.server.http import public, rounds
from semfed_secure.server.http.schemas import PROBLEM_SCHEMA, everywhere

_SUMMARY = """\
Every signed message is verified by whoever reads it; TLS only keeps strangers out. Every refusal is a problem
document (RFC 9457), also for a path, a method or bytes that are none of these. A request may be repeated: reads
change nothing, and a repeated post gets the receipt that it got before."""
_UNGATED = "/healthz"
_MADE_UP = ("HTTPValidationError", "ValidationError")
"""What FastAPI describes by itself and this server never sends."""


def document() -> dict[str, Any]:
    """The document, made of the routes themselves."""
    found = get_openapi(
        title="semfed-secure consensus server",
        version="1",
        openapi_version="3.1.0",
        description=_SUMMARY,
        routes=[*rounds.router.routes, *public.router.routes],
        tags=[
            {"name": "rounds", "description": "Take part, and read what was decided."},
            {"name": "federation", "description": "Who belongs to it."},
            {"name": "log", "description": "The server's audit log, for whoever keeps watch over it."},
            {"name": "operation", "description": "Is it well."},
        ],
    )
    schemas = found["components"]["schemas"]
    for name in _MADE_UP:
        schemas.pop(name, None)
    schemas["Problem"] = PROBLEM_SCHEMA
    for path, operations in found["paths"].items():
        for operation in operations.values():
            _complete(path, operation)
    return found


def _complete(path: str, operation: dict[str, Any]) -> None:
    """Give an operation what every one may answer, and take away what FastAPI made up."""
    responses = operation["responses"]
    if "HTTPValidationError" in str(responses.get("422", "")):
        del responses["422"]
    for status, response in everywhere().items():
        if path != _UNGATED or status == 500:
            responses.setdefault(str(status), response)
    operation["responses"] = dict(sorted(responses.items()))
