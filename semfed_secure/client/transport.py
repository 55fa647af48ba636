"""The way to the server: the interface that a test world implements too, and its HTTP form."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Protocol, Self

import httpx

from semfed_secure.audit.tiles import TILE_WIDTH, Tile, split_bundle
from semfed_secure.errors import CATALOGUE, ConsensusError, PeerError
from semfed_secure.ids import Digest, RoundId, is_name
from semfed_secure.wire.messages import CONSENSUS_LIMITS
from semfed_secure.wire.prompts import PROMPT_SET_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

MAX_MESSAGE_BYTES = CONSENSUS_LIMITS.max_bytes + 64 * 1024
"""The largest signed message there is, a consensus, with its signatures."""
MAX_RECEIPT_BYTES = 64 * 1024
"""A receipt holds one inclusion proof and one checkpoint."""
ATTEMPTS = 5
FIRST_PAUSE_SECONDS = 0.2
"""The pause doubles with each attempt: 3 s in all, so that a restarting server is met again."""
_COSE = "application/cose"
_TRY_AGAIN = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """One line of the server's list of rounds: unsigned, a hint where to look, believed for nothing else."""

    round_id: RoundId
    state: str


class Transport(Protocol):
    """What a client asks of a server: bytes out, bytes in, nothing verified here.

    Raises of every method: `PeerError` SF341 where the server cannot be reached, SF342 where it refused.
    """

    def roster(self) -> bytes:
        """The current signed roster."""
        ...

    def rounds(self) -> tuple[RoundSummary, ...]:
        """The rounds that the server knows, oldest first."""
        ...

    def manifest(self, round_id: RoundId) -> bytes:
        """The signed manifest of one round."""
        ...

    def prompts(self, digest: Digest) -> bytes:
        """The public prompt set with this digest."""
        ...

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """Send a contribution; the signed receipt. Posting the same bytes again gives the same receipt."""
        ...

    def consensus(self, round_id: RoundId) -> bytes:
        """The signed consensus; `ConsensusError` SF401 while there is none, SF403 if there never will be."""
        ...

    def checkpoint(self) -> str:
        """The server log's newest checkpoint."""
        ...

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the server's log of size ``new`` extends its log of size ``old``."""
        ...

    def log_entry(self, index: int, size: int) -> bytes:
        """Entry ``index`` of the server's log when it had ``size`` entries."""
        ...


class HttpTransport:
    """The production transport: HTTP with retries of the transport only.

    A request is sent again when the connection failed or the server said it is overloaded or restarting; never
    because of what a message said. Every request is safe to repeat: reads change nothing, and a repeated post
    carries the same bytes, which the server answers with the same receipt.
    """

    def __init__(
        self,
        url: str,
        *,
        timeout_seconds: float = 30.0,
        client: httpx.Client | None = None,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        """Talk to the server at ``url``; ``client`` replaces the default HTTP client (proxies, TLS)."""
        self._url = url.rstrip("/")
        self._client = client if client is not None else httpx.Client(timeout=timeout_seconds)
        self._sleep = sleep

    def __enter__(self) -> Self:
        """Nothing is opened before the first request."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Close the connections."""
        self.close()

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def roster(self) -> bytes:
        """``GET /v1/roster``."""
        return self._get("/v1/roster")

    def rounds(self) -> tuple[RoundSummary, ...]:
        """``GET /v1/rounds``."""
        return parse_rounds(self._get("/v1/rounds"))

    def manifest(self, round_id: RoundId) -> bytes:
        """``GET /v1/rounds/{id}``."""
        return self._get(f"/v1/rounds/{round_id}")

    def prompts(self, digest: Digest) -> bytes:
        """``GET /v1/prompts/{digest}``."""
        return self._get(f"/v1/prompts/{digest.hex()}", limit=PROMPT_SET_LIMITS.max_bytes)

    def post(self, round_id: RoundId, body: bytes) -> bytes:
        """``POST /v1/rounds/{id}/contributions``: 201 and 422 both carry a receipt."""
        status, kind, answer = self._exchange(
            "POST", f"/v1/rounds/{round_id}/contributions", body=body, limit=MAX_RECEIPT_BYTES
        )
        if status in {200, 201, 422} and kind == _COSE:
            return answer
        raise _refusal(status, answer)

    def consensus(self, round_id: RoundId) -> bytes:
        """``GET /v1/rounds/{id}/consensus``."""
        return self._get(f"/v1/rounds/{round_id}/consensus")

    def checkpoint(self) -> str:
        """``GET /v1/log/checkpoint``."""
        return _text(self._get("/v1/log/checkpoint"))

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """``GET /v1/log/consistency?old=N&new=M``."""
        return parse_proof(self._get(f"/v1/log/consistency?old={old}&new={new}"))

    def log_entry(self, index: int, size: int) -> bytes:
        """``GET /v1/log/tile/entries/…``, the entry bundle that holds it."""
        tile = entry_tile(index, size)
        return pick_entry(self._get(f"/v1/log/{tile.path}"), index)

    def _get(self, path: str, *, limit: int = MAX_MESSAGE_BYTES) -> bytes:
        status, _, answer = self._exchange("GET", path, limit=limit)
        if status != 200:
            raise _refusal(status, answer)
        return answer

    def _exchange(
        self, method: str, path: str, *, body: bytes | None = None, limit: int = MAX_MESSAGE_BYTES
    ) -> tuple[int, str, bytes]:
        """One request, repeated while only the transport is at fault."""
        pause = FIRST_PAUSE_SECONDS
        for attempt in range(1, ATTEMPTS + 1):
            try:
                status, kind, answer = self._once(method, path, body, limit)
            except httpx.TransportError as error:
                reason = type(error).__name__
            else:
                if status not in _TRY_AGAIN:
                    return status, kind, answer
                reason = f"status {status}"
            if attempt < ATTEMPTS:
                self._sleep(pause)
                pause *= 2
        raise PeerError(
            "SF341", f"no answer from {self._url} in {ATTEMPTS} attempts: {reason}", url=self._url, reason=reason
        )

    def _once(self, method: str, path: str, body: bytes | None, limit: int) -> tuple[int, str, bytes]:
        """One request; the answer is cut off, not stored, beyond ``limit``."""
        headers = {"accept-encoding": "identity"}  # what is limited is what was sent, no decompression in between
        if body is not None:
            headers["content-type"] = _COSE
        with self._client.stream(method, self._url + path, content=body, headers=headers) as response:
            parts: list[bytes] = []
            size = 0
            for part in response.iter_bytes():
                size += len(part)
                if size > limit:
                    raise PeerError("SF301", f"the server's answer is larger than {limit} bytes", limit_bytes=limit)
                parts.append(part)
            kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return response.status_code, kind, b"".join(parts)


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


def parse_rounds(data: bytes) -> tuple[RoundSummary, ...]:
    """Read ``{"rounds": [{"round_id": …, "state": …}]}``.

    Raises:
        PeerError: SF302 if it is anything else.
    """
    try:
        rows = [(row["round_id"], row["state"]) for row in _list(data, "rounds")]
    except (KeyError, TypeError) as error:
        raise PeerError("SF302", "the list of rounds is not well-formed") from error
    if not all(isinstance(name, str) and isinstance(state, str) for name, state in rows):
        raise PeerError("SF302", "the list of rounds is not well-formed")
    found = tuple(RoundSummary(RoundId(name), state) for name, state in rows)
    if not all(is_name(row.round_id) for row in found):
        raise PeerError("SF302", "the list of rounds holds a name that is none")
    return found


def parse_proof(data: bytes) -> tuple[bytes, ...]:
    """Read ``{"proof": ["hex", …]}``.

    Raises:
        PeerError: SF302 if it is anything else.
    """
    try:
        return tuple(bytes.fromhex(node) for node in _list(data, "proof"))
    except (TypeError, ValueError) as error:
        raise PeerError("SF302", "the consistency proof is not well-formed") from error


def _list(data: bytes, name: str) -> list[Any]:
    """The list under ``name`` of a JSON object."""
    try:
        document = json.loads(data)
    except (ValueError, RecursionError) as error:  # no JSON, no UTF-8, digits without end, nested without end
        raise PeerError("SF302", "the server's answer is not JSON") from error
    rows = document.get(name) if isinstance(document, dict) else None
    if not isinstance(rows, list):
        raise PeerError("SF302", f"the server's answer has no list `{name}`")
    return rows


def _text(data: bytes) -> str:
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError as error:
        raise PeerError("SF302", "the server's answer is not text") from error


def _refusal(status: int, answer: bytes) -> PeerError | ConsensusError:
    """The error behind a problem document; a code that is not in our catalogue is not repeated."""
    code = _problem_code(answer)
    if code in {"SF401", "SF402", "SF403"}:
        return ConsensusError(code, f"the server says: {CATALOGUE[code].title}")
    said = f"{code}, {CATALOGUE[code].title}" if code else "without a code"
    return PeerError("SF342", f"the server refused (status {status}): {said}", status=status, server_code=code)


def _problem_code(answer: bytes) -> str:
    """The catalogue code of an RFC 9457 document, or nothing."""
    try:
        document = json.loads(answer)
    except (ValueError, RecursionError):
        return ""
    code = document.get("code") if isinstance(document, dict) else None
    return code if isinstance(code, str) and code in CATALOGUE else ""
