"""The way to the server: the interface that a test world implements too, and its HTTP form."""

from __future__ import annotations

import os
import time
from dataclasses import dataclass
from random import SystemRandom
from typing import TYPE_CHECKING, Protocol, Self

import httpx

from semfed_secure.client.connection import certificate_error, http_client
from semfed_secure.client.replies import entry_tile, list_in, parse_proof, pick_entry, problem_code, refusal, text_of
from semfed_secure.errors import PeerError
from semfed_secure.ids import Digest, RoundId, is_name
from semfed_secure.wire.messages import COMMITMENTS_LIMITS, CONSENSUS_LIMITS
from semfed_secure.wire.prompts import PROMPT_SET_LIMITS

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from semfed_secure.client.config import ServerSection

MAX_MESSAGE_BYTES = CONSENSUS_LIMITS.max_bytes + 64 * 1024
"""The largest signed message there is, a consensus, with its signatures."""
MAX_RECEIPT_BYTES = 64 * 1024
"""A receipt holds one inclusion proof and one checkpoint; so does a proof."""
MAX_COMMITMENTS_BYTES = COMMITMENTS_LIMITS.max_bytes + 64 * 1024
"""The closed list, with its signatures."""
ATTEMPTS = 5
"""How often a request is sent to a server that does not answer, or not well."""
FIRST_PAUSE_SECONDS = 0.2
"""The pause doubles with each attempt, and is a little longer by chance, so that many sites do not come back at once:
3 s and more in all, so that a restarting server is met again."""
LONGEST_PAUSE_SECONDS = 30.0
"""The longest pause, whatever the server asks for."""
PATIENCE_SECONDS = 300.0
"""How long a server that says when to come again (``Retry-After``) is waited for, in all pauses together."""
EXCHANGE_SECONDS = 600.0
"""The longest that one answer may take to arrive, however steadily it trickles."""
_CHANCE = SystemRandom()
_COSE, _TEXT = "application/cose", "text/plain"
_TRY_AGAIN = frozenset({408, 429, 502, 503, 504})


@dataclass(frozen=True, slots=True)
class RoundSummary:
    """One line of the server's list of rounds: unsigned, a hint where to look, believed for nothing else."""

    round_id: RoundId
    state: str


class Transport(Protocol):
    """What a client asks of a server: bytes out, bytes in, nothing verified here.

    Raises of every method: `PeerError` SF341 where the server cannot be reached, SF342 where it refused, SF344 and
    SF345 where a certificate did not fit.
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

    def commitments(self, round_id: RoundId) -> bytes:
        """The signed list of what a round of texts was committed to; `ConsensusError` SF401 before it is closed."""
        ...

    def consensus(self, round_id: RoundId) -> bytes:
        """The signed consensus; `ConsensusError` SF401 while there is none, SF403 if there never will be."""
        ...

    def consensus_proof(self, round_id: RoundId) -> str:
        """Where the published consensus stands in the server's log: a C2SP ``tlog-proof``."""
        ...

    def checkpoint(self) -> str:
        """The server log's newest checkpoint."""
        ...

    def cosign(self, note: str) -> None:
        """Hand in a witness's cosignature: a checkpoint with that one line."""
        ...

    def consistency(self, old: int, new: int) -> tuple[bytes, ...]:
        """The proof that the server's log of size ``new`` extends its log of size ``old``."""
        ...

    def log_entry(self, index: int, size: int) -> bytes:
        """Entry ``index`` of the server's log when it had ``size`` entries."""
        ...


class HttpTransport:
    """The production transport: HTTP with retries of the transport only.

    A request is sent again when the connection failed or the server said it is overloaded or restarting, no sooner
    than it said (``Retry-After``); never because of what a message said, nor for a certificate. Every request is
    safe to repeat: reads change nothing, and a repeated post carries the same bytes, which the server answers with
    the same receipt.
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
        self._client = client if client is not None else httpx.Client(timeout=timeout_seconds, trust_env=False)
        self._sleep = sleep

    @classmethod
    def to(cls, server: ServerSection, uri: str) -> Self:
        """As the site file says: TLS, proxy, time-outs; ``uri`` is the server's name, as `member_uri` writes it.

        Raises:
            ConfigurationError: a TLS file is missing or does not fit; the message names it.
        """
        return cls(server.url, client=http_client(server, uri, os.environ))

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
        raise refusal(status, answer)

    def commitments(self, round_id: RoundId) -> bytes:
        """``GET /v1/rounds/{id}/commitments``."""
        return self._get(f"/v1/rounds/{round_id}/commitments", limit=MAX_COMMITMENTS_BYTES)

    def consensus(self, round_id: RoundId) -> bytes:
        """``GET /v1/rounds/{id}/consensus``."""
        return self._get(f"/v1/rounds/{round_id}/consensus")

    def consensus_proof(self, round_id: RoundId) -> str:
        """``GET /v1/rounds/{id}/consensus/proof``."""
        return text_of(self._get(f"/v1/rounds/{round_id}/consensus/proof", limit=MAX_RECEIPT_BYTES))

    def checkpoint(self) -> str:
        """``GET /v1/log/checkpoint``."""
        return text_of(self._get("/v1/log/checkpoint"))

    def cosign(self, note: str) -> None:
        """``POST /v1/log/cosignatures``."""
        status, _, answer = self._exchange(
            "POST", "/v1/log/cosignatures", body=note.encode(), kind=_TEXT, limit=MAX_RECEIPT_BYTES
        )
        if status != 200:
            raise refusal(status, answer)

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
            raise refusal(status, answer)
        return answer

    def _exchange(
        self,
        method: str,
        path: str,
        *,
        body: bytes | None = None,
        kind: str = _COSE,
        limit: int = MAX_MESSAGE_BYTES,
    ) -> tuple[int, str, bytes]:
        """One request, repeated while only the transport is at fault."""
        pause, waited, attempt = FIRST_PAUSE_SECONDS, 0.0, 0
        while True:
            attempt += 1
            told: float | None = None
            try:
                answer = self._once(method, path, body, kind, limit)
            except httpx.TransportError as error:
                final = certificate_error(error, self._url)
                if final is not None:
                    raise final from error
                reason = type(error).__name__
            else:
                if answer.status not in _TRY_AGAIN:
                    return answer.status, answer.kind, answer.body
                reason, told = f"status {answer.status} {problem_code(answer.body)}".strip(), answer.retry_after
            if waited >= PATIENCE_SECONDS or (told is None and attempt >= ATTEMPTS):
                raise PeerError(
                    "SF341",
                    f"no answer from {self._url} in {attempt} attempts: {reason}",
                    url=self._url,
                    reason=reason,
                )
            wait = min(max(pause, told or 0.0), LONGEST_PAUSE_SECONDS) * (1 + _CHANCE.random() / 2)
            self._sleep(wait)
            waited, pause = waited + wait, pause * 2

    def _once(self, method: str, path: str, body: bytes | None, kind: str, limit: int) -> _Answer:
        """One request; the answer is cut off, not stored, beyond ``limit``."""
        headers = {"accept-encoding": "identity"}  # what is limited is what was sent, no decompression in between
        if body is not None:
            headers["content-type"] = kind
        until = time.monotonic() + EXCHANGE_SECONDS
        with self._client.stream(method, self._url + path, content=body, headers=headers) as response:
            parts: list[bytes] = []
            size = 0
            for part in response.iter_bytes():
                size += len(part)
                if size > limit:
                    raise PeerError("SF301", f"the server's answer is larger than {limit} bytes", limit_bytes=limit)
                if time.monotonic() > until:
                    raise httpx.ReadTimeout("the answer trickles")
                parts.append(part)
            said = response.headers.get("content-type", "").partition(";")[0].strip().lower()
            return _Answer(response.status_code, said, b"".join(parts), _retry_after(response))


@dataclass(frozen=True, slots=True)
class _Answer:
    status: int
    kind: str
    body: bytes
    retry_after: float | None


def _retry_after(response: httpx.Response) -> float | None:
    """Seconds until the server wants to be asked again; not its other form, a date, which would trust its clock."""
    said = response.headers.get("retry-after", "")
    return float(said) if said.isdecimal() and len(said) < 6 else None


def parse_rounds(data: bytes) -> tuple[RoundSummary, ...]:
    """Read ``{"rounds": [{"round_id": …, "state": …}]}``.

    Raises:
        PeerError: SF302 if it is anything else.
    """
    try:
        rows = [(row["round_id"], row["state"]) for row in list_in(data, "rounds")]
    except (KeyError, TypeError) as error:
        raise PeerError("SF302", "the list of rounds is not well-formed") from error
    if not all(isinstance(name, str) and isinstance(state, str) for name, state in rows):
        raise PeerError("SF302", "the list of rounds is not well-formed")
    found = tuple(RoundSummary(RoundId(name), state) for name, state in rows)
    if not all(is_name(row.round_id) for row in found):
        raise PeerError("SF302", "the list of rounds holds a name that is none")
    return found
