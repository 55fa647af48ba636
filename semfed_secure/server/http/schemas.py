"""What answers look like, for those who make them and for the description that callers read."""

from __future__ import annotations

from collections import defaultdict
from http import HTTPStatus
from typing import TYPE_CHECKING, Annotated, Any

from pydantic import BaseModel, ConfigDict, Field

from semfed_secure.errors import CATALOGUE
from semfed_secure.server.http.problems import COSE, OURS, PROBLEM, status_of

if TYPE_CHECKING:
    from collections.abc import Mapping

Responses = dict[int | str, dict[str, Any]]
"""Status to description, as FastAPI takes it."""

BYTES: dict[str, Any] = {"type": "string", "format": "binary"}
RETRY_AFTER = {"Retry-After": {"description": "Seconds to wait.", "schema": {"type": "integer", "minimum": 1}}}
PROBLEM_SCHEMA: dict[str, Any] = {
    "type": "object",
    "description": "RFC 9457. `code` is a row of the catalogue of errors; without one the status says it all.",
    "required": ["type", "title", "status"],
    "additionalProperties": False,
    "properties": {
        "type": {"const": "about:blank"},
        "title": {"type": "string"},
        "status": {"type": "integer", "minimum": 400, "maximum": 599},
        "code": {"type": "string", "pattern": r"^SF\d{3}$"},
    },
}


class _Answer(BaseModel):
    model_config = ConfigDict(extra="forbid")


class RoundLine(_Answer):
    """One round and where it stands."""

    round_id: str
    state: str
    closes_at_ms: Annotated[int, Field(description="Unix time in milliseconds.")]


class RoundList(_Answer):
    """Every round, oldest first."""

    rounds: list[RoundLine]


class RoundStatus(_Answer):
    """Where a round stands, without names."""

    round_id: str
    state: str
    final: Annotated[bool, Field(description="Whether it stays in this state.")]
    closes_at_ms: Annotated[int, Field(description="Unix time in milliseconds.")]
    committed: Annotated[int, Field(ge=0, description="Commitments that are not opened yet.")]
    admitted: Annotated[int, Field(ge=0, description="Contributions that were admitted.")]
    code: Annotated[str | None, Field(pattern=r"^SF\d{3}$", description="Why it was aborted, if it was.")]


class Proof(_Answer):
    """Nodes of a Merkle proof."""

    proof: list[Annotated[str, Field(pattern="^[0-9a-f]{64}$")]]


class Cosigned(_Answer):
    """What was taken."""

    size: Annotated[int, Field(ge=0, description="Of the checkpoint that was cosigned.")]


def signed(description: str) -> dict[str, Any]:
    """An answer that holds a signed message."""
    return {"description": description, "content": {COSE: {"schema": BYTES}}}


def octets(description: str, media_type: str) -> dict[str, Any]:
    """An answer of other bytes."""
    return {"description": description, "content": {media_type: {"schema": BYTES}}}


def text(description: str) -> dict[str, Any]:
    """An answer of plain text."""
    return {"description": description, "content": {"text/plain": {"schema": {"type": "string"}}}}


def refusals(*codes: str, plain: tuple[int, ...] = ()) -> Responses:
    """The problem documents of ``codes``, by status, and of the statuses ``plain``, which have no code."""
    found: defaultdict[int, list[str]] = defaultdict(list)
    for code in codes:
        found[status_of(code)].append(code)
    made: Responses = {status: _problem(status, found.get(status, []), status in plain) for status in {*found, *plain}}
    return dict(sorted(made.items(), key=lambda row: str(row[0])))


def _problem(status: int, codes: list[str], may_be_plain: bool) -> dict[str, Any]:  # noqa: FBT001
    """One problem document: which codes it may have, and whether it must have one."""
    exact: dict[str, Any] = {"properties": {"status": {"const": status}}}
    if codes:
        exact["properties"]["code"] = {"enum": sorted(codes)}
    if not may_be_plain:
        exact["required"] = ["code"]
    elif not codes:
        exact["properties"]["code"] = False
    ours = [code for code in codes if code.startswith(OURS)]
    said = "; ".join(f"`{code}` {CATALOGUE[code].title}" for code in sorted(set(codes) - set(ours)))
    said = f"{said}; `SF1xx` or `SF5xx`, the server's own fault" if ours else said or HTTPStatus(status).phrase
    schema = {"allOf": [{"$ref": "#/components/schemas/Problem"}, exact]}
    response: dict[str, Any] = {"description": said, "content": {PROBLEM: {"schema": schema}}}
    if status in {429, 503}:
        response["headers"] = RETRY_AFTER
    return response


def everywhere() -> Responses:
    """What any request may be told, whatever it asks for."""
    ours = (code for code in CATALOGUE if code.startswith(OURS))
    return refusals("SF306", "SF346", "SF347", "SF348", "SF322", *ours, plain=(500,))


def merged(*parts: Mapping[int | str, dict[str, Any]]) -> Responses:
    """All of ``parts``; no status stands in two of them."""
    whole: Responses = {}
    for part in parts:
        assert not whole.keys() & part.keys()
        whole |= part
    return whole
