"""What the server answers besides signed messages: JSON, text, entry bundles and refusals, read strictly."""

from __future__ import annotations

import json
from typing import Any

from semfed_secure.audit.tiles import TILE_WIDTH, Tile, split_bundle
from semfed_secure.errors import CATALOGUE, ConsensusError, PeerError


def entry_tile(index: int, size: int) -> Tile:
    """The entry bundle that holds entry ``index`` of a log of ``size`` entries.

    Raises:
        PeerError: SF302, the log has no such entry.
    """
    if not 0 <= index < size:
        raise PeerError("SF302", f"an entry below {size} was expected, got {index}")
    number = index // TILE_WIDTH
    return Tile(None, number, min(TILE_WIDTH, size - number * TILE_WIDTH))


def pick_entry(bundle: bytes, index: int) -> bytes:
    """Entry ``index`` out of the bundle that holds it.

    Raises:
        PeerError: SF302, the bundle is not whole.
    """
    try:
        return split_bundle(bundle)[index % TILE_WIDTH]
    except (ValueError, IndexError) as error:
        raise PeerError("SF302", "a whole entry bundle of the server's log was expected") from error


def parse_proof(data: bytes) -> tuple[bytes, ...]:
    """Read ``{"proof": ["hex", …]}``.

    Raises:
        PeerError: SF302 if it is anything else.
    """
    try:
        return tuple(bytes.fromhex(node) for node in list_in(data, "proof"))
    except (TypeError, ValueError) as error:
        raise PeerError("SF302", "the consistency proof is not well-formed") from error


def list_in(data: bytes, name: str) -> list[Any]:
    """The list under ``name`` of a JSON object.

    Raises:
        PeerError: SF302 if there is none.
    """
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, digits without end, nested without end
        raise PeerError("SF302", "the server's answer is not JSON") from error
    rows = document.get(name) if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise PeerError("SF302", f"the server's answer has no list `{name}`")
    return rows


def text_of(data: bytes) -> str:
    """The text of an answer.

    Raises:
        PeerError: SF302 if it is none.
    """
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerError("SF302", "the server's answer is not text") from error


def refusal(status: int, answer: bytes) -> PeerError | ConsensusError:
    """The error behind a problem document; a code that is not in our catalogue is not repeated."""
    code = problem_code(answer)
    if code in {"SF401", "SF402", "SF403"}:
        return ConsensusError(code, f"the server says: {CATALOGUE[code].title}")
    said = f"{code}, {CATALOGUE[code].title}" if code else "without a code"
    return PeerError("SF342", f"the server refused (status {status}): {said}", status=status, server_code=code)


def problem_code(answer: bytes) -> str:
    """The catalogue code of an RFC 9457 document, or nothing."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) and code in CATALOGUE else ""
