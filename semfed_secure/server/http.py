"""HTTP in front of the coordinator: limits before parsing, problem details with codes, a clock that ticks.

Every answer carries bytes that clients verify by themselves; who speaks HTTP to us decides nothing. Put TLS, and
whatever else the institution demands of callers, in front.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, FastAPI, Query, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.requests import ClientDisconnect

from semfed_secure.audit.tiles import parse_tile_path, read_tile
from semfed_secure.errors import CATALOGUE, PeerError, SemfedError
from semfed_secure.ids import DIGEST_BYTES, Digest, RoundId, is_name
from semfed_secure.server.admission import body_limit
from semfed_secure.server.bodies import Bodies, BusyError
from semfed_secure.server.metrics import render_metrics
from semfed_secure.server.round import FINAL, RoundState
from semfed_secure.storage import round_rows

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from semfed_secure.server.bodies import Body
    from semfed_secure.server.service import Service

COSE = "application/cose"
PROBLEM = "application/problem+json"
TICK_SECONDS = 0.25
"""How often rounds are looked at."""
JUDGED_AT_ONCE = 8
"""Contributions that are judged at the same time; the other threads stay free for readers."""

# What is not in this table is the sender's fault: 400.
_STATUS = {
    "SF301": 413,
    "SF304": 404,
    "SF306": 403,
    "SF307": 403,
    "SF309": 409,
    "SF322": 503,
    "SF401": 409,
    "SF402": 410,
    "SF403": 410,
    "SF404": 409,
}
_log = logging.getLogger(__name__)


def create_app(service: Service, *, tick_seconds: float = TICK_SECONDS) -> FastAPI:
    """The ASGI application of one server.

    Its background task moves rounds on; a fault of one turn is logged and the next turn comes.
    """
    app = FastAPI(
        title="semfed-secure consensus server",
        version="1",
        openapi_url="/v1/openapi.json",
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        lifespan=lambda app: _lifespan(app, service, tick_seconds),
    )
    app.state.service, app.state.draining = service, False
    app.state.bodies = Bodies(service.context.limits.max_body_bytes)
    app.state.judging = asyncio.Semaphore(JUDGED_AT_ONCE)
    app.state.answers = Counter[int]()
    app.include_router(_rounds)
    app.include_router(_public)
    app.add_middleware(_Counting, answers=app.state.answers)
    app.exception_handler(SemfedError)(_on_refusal)
    app.exception_handler(RequestValidationError)(_on_bad_request)
    app.exception_handler(HTTPException)(_on_http_error)
    app.exception_handler(BusyError)(_on_busy)
    app.exception_handler(Exception)(_on_defect)
    return app


@asynccontextmanager
async def _lifespan(app: FastAPI, service: Service, tick_seconds: float) -> AsyncIterator[None]:
    await run_in_threadpool(service.log_started)
    ticking = asyncio.create_task(_tick(service, tick_seconds))
    try:
        yield
    finally:
        app.state.draining = True
        ticking.cancel()
        with suppress(asyncio.CancelledError):
            await ticking
        await run_in_threadpool(service.log_stopped)


async def _tick(service: Service, tick_seconds: float) -> None:
    while True:
        # Shielded: a stop waits for the turn in progress, whose thread could not be cancelled anyway.
        turn = asyncio.ensure_future(run_in_threadpool(service.coordinator.advance))
        try:
            await asyncio.shield(turn)
        except asyncio.CancelledError:
            with suppress(Exception):
                await turn
            raise
        except SemfedError as error:
            _log.error("a turn failed: %s", error)
        except Exception:  # noqa: BLE001 - whatever one turn raises, the next must come
            _log.exception("a turn failed")
        await asyncio.sleep(tick_seconds)


# -- rounds ---------------------------------------------------------------------------------------------

_rounds = APIRouter(prefix="/v1/rounds", tags=["rounds"])
_BINARY: dict[int | str, dict[str, Any]] = {200: {"content": {COSE: {}}, "description": "A signed message."}}


@_rounds.post(
    "/{round_id}/contributions",
    responses={
        201: {"content": {COSE: {}}, "description": "Admitted: a signed receipt."},
        422: {"content": {COSE: {}}, "description": "Refused after the signatures: a signed receipt with a code."},
        400: {"content": {PROBLEM: {}}, "description": "Refused before the signatures: a code."},
    },
)
async def contribute(round_id: str, request: Request) -> Response:
    """Judge one contribution. The same statement again gets the same receipt."""
    service = _service(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != COSE:
        raise HTTPException(415)
    limit = await run_in_threadpool(_limit, service, round_id)
    with request.app.state.bodies.one_of(request.client.host if request.client else "") as place:
        try:
            body = await _read(request, place, limit)
        except PeerError as refusal:
            service.coordinator.refusals.count(RoundId(round_id), refusal.code)
            raise
        async with request.app.state.judging:
            answer = await run_in_threadpool(service.coordinator.receive, RoundId(round_id), body)
    return Response(answer.receipt, status_code=201 if answer.admitted else 422, media_type=COSE)


@_rounds.get("")
def list_rounds(request: Request) -> JSONResponse:
    """Every round and its state, oldest first; unsigned, a hint where to look."""
    heads = _service(request).coordinator.rounds()
    rows = [{"round_id": row.round_id, "state": row.state, "closes_at_ms": row.closes_at_ms} for row in heads]
    return JSONResponse({"rounds": rows})


@_rounds.get("/{round_id}", response_class=Response, responses=_BINARY)
def manifest(round_id: str, request: Request) -> Response:
    """The signed manifest."""
    return Response(_service(request).coordinator.store.manifest(_known(round_id)), media_type=COSE)


@_rounds.get("/{round_id}/status")
def status(round_id: str, request: Request) -> JSONResponse:
    """Where the round stands, without names; unsigned."""
    service = _service(request)
    head = service.coordinator.store.head(_known(round_id))
    with service.context.database.snapshot() as tx:
        admitted = len(round_rows.admitted_members(tx, round_id))
    reason = head.reason[:5] if head.reason else None
    return JSONResponse(
        {
            "round_id": round_id,
            "state": head.state,
            "final": RoundState.stored(head.state) in FINAL,
            "closes_at_ms": head.closes_at_ms,
            "admitted": admitted,
            "code": reason,
        }
    )


@_rounds.get("/{round_id}/consensus", response_class=Response, responses=_BINARY)
def consensus(round_id: str, request: Request) -> Response:
    """The signed consensus; 409 with ``SF401`` while there is none, 410 if there never will be."""
    return Response(_service(request).coordinator.consensus(_known(round_id)), media_type=COSE)


# -- what everybody may read ----------------------------------------------------------------------------

_public = APIRouter()


@_public.get("/v1/roster", response_class=Response, responses=_BINARY, tags=["federation"])
def roster(request: Request) -> Response:
    """The newest roster file."""
    return Response(_service(request).context.rosters.data(), media_type=COSE)


@_public.get("/v1/prompts/{digest}", response_class=Response, tags=["rounds"])
def prompts(digest: str, request: Request) -> Response:
    """The prompt set with this digest, given in hex."""
    try:
        wanted = bytes.fromhex(digest.removeprefix("sha256:"))
    except ValueError:
        wanted = b""
    if len(wanted) != DIGEST_BYTES:
        raise HTTPException(404)
    return Response(_service(request).coordinator.store.prompts(Digest(wanted)), media_type="application/cbor")


@_public.get("/v1/log/checkpoint", response_class=PlainTextResponse, tags=["log"])
def checkpoint(request: Request) -> PlainTextResponse:
    """The newest signed checkpoint of the server's log."""
    return PlainTextResponse(_service(request).context.audit.checkpoint())


@_public.get("/v1/log/consistency", tags=["log"])
def consistency(
    request: Request,
    old: Annotated[int, Query(ge=0, le=2**63 - 1)],
    new: Annotated[int, Query(ge=0, le=2**63 - 1)],
) -> JSONResponse:
    """The proof that the log of size ``new`` extends that of size ``old``, as hex."""
    try:
        proof = _service(request).context.audit.consistency_proof(old, new)
    except ValueError:
        raise HTTPException(404) from None
    return JSONResponse({"proof": [node.hex() for node in proof]})


@_public.get("/v1/log/tile/{path:path}", response_class=Response, tags=["log"])
def tile(path: str, request: Request) -> Response:
    """One tile or entry bundle of C2SP tlog-tiles."""
    named = parse_tile_path(f"tile/{path}")
    with _service(request).context.database.snapshot() as tx:
        data = read_tile(tx, named)
    if data is None:
        raise HTTPException(404)
    return Response(data, media_type="application/octet-stream")


@_public.get("/healthz", response_class=PlainTextResponse, tags=["operation"])
async def healthz() -> PlainTextResponse:
    """Whether the process answers."""
    return PlainTextResponse("ok\n")


@_public.get("/readyz", response_class=PlainTextResponse, tags=["operation"])
def readyz(request: Request) -> PlainTextResponse:
    """Whether it can do its work: database, log and roster, and it is not stopping."""
    if request.app.state.draining:
        raise HTTPException(503)
    service = _service(request)
    service.context.audit.size()
    service.context.rosters.current()
    return PlainTextResponse("ready\n")


@_public.get("/metrics", response_class=PlainTextResponse, tags=["operation"])
def metrics(request: Request) -> PlainTextResponse:
    """Figures in the Prometheus text format."""
    text = render_metrics(_service(request), answers=request.app.state.answers)
    return PlainTextResponse(text, media_type="text/plain; version=0.0.4")


# -- helpers --------------------------------------------------------------------------------------------


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


def _known(round_id: str) -> RoundId:
    if not is_name(round_id):
        raise PeerError("SF304", "a round of this server was expected")
    return RoundId(round_id)


def _limit(service: Service, round_id: str) -> int:
    store, largest = service.coordinator.store, service.context.limits.max_body_bytes
    try:
        return body_limit(store.terms(_known(round_id)).at(RoundState.COLLECTING), largest)
    except PeerError:
        service.coordinator.refusals.count(None, "SF304")
        raise


async def _read(request: Request, place: Body, limit: int) -> bytes:
    """The body, given up at the first byte beyond ``limit``, whatever the headers promised."""
    promised = request.headers.get("content-length", "0")
    if not promised.isdigit() or len(promised) > 12 or int(promised) > limit:
        raise PeerError("SF301", f"a body of at most {limit} bytes was expected", limit_bytes=limit)
    try:
        return await place.read(request.stream(), limit=limit)
    except (TimeoutError, ClientDisconnect):
        raise HTTPException(408, headers=_HANG_UP) from None


class _Counting:
    """Counts answers by status, and marks every answer as what it is: not to be guessed at, not to be stored."""

    def __init__(self, app: ASGIApp, answers: Counter[int]) -> None:
        self._app, self._answers = app, answers

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        async def counting(message: Message) -> None:
            if message["type"] == "http.response.start":
                self._answers[message["status"]] += 1
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        await self._app(scope, receive, counting)


_HANG_UP = {"connection": "close"}  # else the rest of an endless body would still be read, and thrown away
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]


def _problem(
    status_code: int, *, code: str | None, title: str, headers: Mapping[str, str] | None = None
) -> JSONResponse:
    # RFC 9457; the caller learns the code and its public title, never our sentence or fields (no oracle).
    document = {"type": "about:blank", "title": title, "status": status_code}
    if code is not None:
        document["code"] = code
    return JSONResponse(document, status_code=status_code, media_type=PROBLEM, headers=headers)


async def _on_refusal(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, SemfedError)
    ours = error.code.startswith(("SF1", "SF5"))
    if ours:
        _log.error("a request failed: %s", error)
    status_code = 503 if ours else _STATUS.get(error.code, 400)
    headers = {"SF401": {"retry-after": "1"}, "SF301": _HANG_UP}.get(error.code)
    return _problem(status_code, code=error.code, title=CATALOGUE[error.code].title, headers=headers)


async def _on_bad_request(_request: Request, _error: Exception) -> JSONResponse:
    return _problem(400, code="SF302", title=CATALOGUE["SF302"].title)


async def _on_http_error(_request: Request, error: Exception) -> JSONResponse:
    assert isinstance(error, HTTPException)
    return _problem(error.status_code, code=None, title=error.detail, headers=error.headers)


async def _on_busy(_request: Request, _error: Exception) -> JSONResponse:
    return _problem(503, code=None, title="Service Unavailable", headers={**_HANG_UP, "retry-after": "1"})


async def _on_defect(_request: Request, _error: Exception) -> JSONResponse:
    return _problem(500, code=None, title="Internal Server Error")
