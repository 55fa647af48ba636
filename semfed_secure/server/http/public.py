"""What everybody may read over HTTP: roster, prompts, log, health, figures, and the description of all this."""

from __future__ import annotations

from typing import TYPE_CHECKING, Annotated

from fastapi import APIRouter, Path, Query, Request, Response
from fastapi.responses import JSONResponse, PlainTextResponse
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from semfed_secure.audit.tiles import parse_tile_path, read_tile
from semfed_secure.errors import PeerError
from semfed_secure.ids import DIGEST_BYTES, Digest
from semfed_secure.server.http import callers
from semfed_secure.server.http.incoming import read_body
from semfed_secure.server.http.problems import COSE, HANG_UP
from semfed_secure.server.http.schemas import Cosigned, Proof, octets, refusals, signed, text
from semfed_secure.server.metrics import render_metrics
from semfed_secure.server.witnesses import MAX_COSIGNATURE_BYTES, newest_checkpoint, take_cosignature

if TYPE_CHECKING:
    from semfed_secure.server.service import Service

router = APIRouter(generate_unique_id_function=lambda route: route.name)
CBOR = "application/cbor"
TILE = "application/octet-stream"
TEXT = "text/plain"
KEEP = "max-age=31536000, immutable"
"""A tile of hashes never changes; a year is the longest that caches are told anything for."""
KEEP_A_DAY = "max-age=86400"
"""Entries lose their content when their time is over: caches must not have it for long after that."""
_SIZE = Query(ge=0, le=2**63 - 1)


@router.get("/v1/roster", response_class=Response, responses={200: signed("The roster file.")}, tags=["federation"])
def roster(request: Request) -> Response:
    """The newest roster file."""
    return Response(_service(request).context.rosters.data(), media_type=COSE)


@router.get(
    "/v1/prompts/{digest}",
    response_class=Response,
    responses={200: octets("The prompt set.", CBOR), **refusals("SF304", plain=(404,))},
    tags=["rounds"],
)
def prompts(
    digest: Annotated[str, Path(description="64 hexadecimal digits; `sha256:` may stand before them.")],
    request: Request,
) -> Response:
    """The prompt set with this digest."""
    try:
        wanted = bytes.fromhex(digest.removeprefix("sha256:"))
    except ValueError:
        wanted = b""
    if len(wanted) != DIGEST_BYTES:
        raise HTTPException(404)
    return Response(_service(request).coordinator.store.prompts(Digest(wanted)), media_type=CBOR)


@router.get(
    "/v1/log/checkpoint",
    response_class=PlainTextResponse,
    responses={200: text("A signed note (C2SP tlog-checkpoint).")},
    tags=["log"],
)
def checkpoint(request: Request) -> PlainTextResponse:
    """The newest signed checkpoint of the server's log, with the cosignatures that witnesses gave it."""
    return PlainTextResponse(newest_checkpoint(_service(request).context), headers={"cache-control": "no-cache"})


@router.post(
    "/v1/log/cosignatures",
    responses=refusals("SF301", "SF306", "SF328", "SF346", plain=(408, 415)),
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A checkpoint of this log as a signed note with one line: the ML-DSA-44 cosignature of a "
            "member with the role `witness` (C2SP tlog-cosignature).",
            "content": {TEXT: {"schema": {"type": "string", "maxLength": MAX_COSIGNATURE_BYTES}}},
        }
    },
    tags=["log"],
)
async def cosign(request: Request) -> Cosigned:
    """Take a witness's cosignature; the same again may be posted."""
    service = _service(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != TEXT:
        raise HTTPException(415, headers=HANG_UP)
    caller = callers.member(request.scope, service.context.federation)
    with request.app.state.bodies.one_of(request.client.host if request.client else "") as place:
        body = await read_body(request, place, MAX_COSIGNATURE_BYTES)
        async with request.app.state.judging:
            return Cosigned(size=await run_in_threadpool(take_cosignature, service.context, body, caller))


@router.get("/v1/log/consistency", responses=refusals("SF302", plain=(404,)), tags=["log"])
def consistency(request: Request, old: Annotated[int, _SIZE], new: Annotated[int, _SIZE]) -> Proof:
    """The proof that the log of size ``new`` extends that of size ``old``, as hex."""
    try:
        proof = _service(request).context.audit.consistency_proof(old, new)
    except ValueError:
        raise HTTPException(404) from None
    return Proof(proof=[node.hex() for node in proof])


@router.get(
    "/v1/log/tile/{path:path}",
    response_class=Response,
    responses={200: octets("A tile or entry bundle.", TILE), **refusals("SF302", plain=(404,))},
    tags=["log"],
)
def tile(
    path: Annotated[str, Path(description="As C2SP tlog-tiles has it, without `tile/`.")], request: Request
) -> Response:
    """One tile or entry bundle of C2SP tlog-tiles."""
    named = parse_tile_path(f"tile/{path}")
    with _service(request).context.database.snapshot() as tx:
        data = read_tile(tx, named)
    if data is None:
        raise HTTPException(404)
    return Response(data, media_type=TILE, headers={"cache-control": KEEP_A_DAY if named.level is None else KEEP})


@router.get("/v1/openapi.json", response_class=JSONResponse, tags=["operation"])
def openapi(request: Request) -> JSONResponse:
    """This description."""
    return JSONResponse(request.app.state.document)


@router.get("/healthz", response_class=PlainTextResponse, responses={200: text("It answers.")}, tags=["operation"])
async def healthz() -> PlainTextResponse:
    """Whether the process answers."""
    return PlainTextResponse("ok\n")


@router.get(
    "/readyz", response_class=PlainTextResponse, responses={200: text("It can do its work.")}, tags=["operation"]
)
def readyz(request: Request) -> PlainTextResponse:
    """Whether it can do its work: database, log and the present roster file, and it is not stopping."""
    if request.app.state.draining:
        raise PeerError("SF348", "a server that goes on was expected, this one is stopping")
    service = _service(request)
    service.context.audit.size()
    service.context.rosters.current()
    if service.context.rosters.problem is not None:  # the file that was refused may revoke somebody
        raise PeerError("SF322", "a roster file that can be read and verifies was expected")
    return PlainTextResponse("ready\n")


@router.get(
    "/metrics", response_class=PlainTextResponse, responses={200: text("Prometheus text format.")}, tags=["operation"]
)
def metrics(request: Request) -> PlainTextResponse:
    """Figures in the Prometheus text format."""
    figures = render_metrics(_service(request), answers=request.app.state.answers)
    return PlainTextResponse(figures, media_type="text/plain; version=0.0.4")


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service
