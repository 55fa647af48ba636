"""Rounds over HTTP: take part, and read what was decided."""

from __future__ import annotations

from typing import TYPE_CHECKING

from fastapi import APIRouter, Request, Response
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException
from starlette.responses import PlainTextResponse

from semfed_secure.errors import PeerError
from semfed_secure.ids import RoundId, is_name
from semfed_secure.server.admission import body_limit
from semfed_secure.server.http import callers
from semfed_secure.server.http.incoming import read_body
from semfed_secure.server.http.problems import COSE, HANG_UP
from semfed_secure.server.http.schemas import BYTES, RoundLine, RoundList, RoundStatus, refusals, signed, text
from semfed_secure.server.round import FINAL, RoundState
from semfed_secure.storage import round_rows
from semfed_secure.wire.messages import Outcome

if TYPE_CHECKING:
    from semfed_secure.server.service import Service

router = APIRouter(prefix="/v1/rounds", tags=["rounds"], generate_unique_id_function=lambda route: route.name)

BEFORE_THE_SIGNATURES = ("SF301", "SF302", "SF303", "SF304", "SF305", "SF306", "SF307", "SF309", "SF311", "SF346")
"""Codes of contributions that no member can be held to."""


@router.post(
    "/{round_id}/contributions",
    status_code=201,
    response_class=Response,
    responses={
        201: signed("Admitted or committed to: a signed receipt."),
        422: signed("Refused after the signatures: a signed receipt with the code."),
        **refusals(*BEFORE_THE_SIGNATURES, plain=(408, 415)),
    },
    openapi_extra={
        "requestBody": {
            "required": True,
            "description": "A signed statement and the sealed outputs, no larger than the round's prompt set needs; "
            "of texts the statement alone while the round is `collecting`, and both while it is `opening`.",
            "content": {COSE: {"schema": BYTES}},
        }
    },
)
async def contribute(round_id: str, request: Request) -> Response:
    """Judge one contribution or commitment. The same again gets the same receipt, so a post may be repeated."""
    service = _service(request)
    if request.headers.get("content-type", "").partition(";")[0].strip().lower() != COSE:
        raise HTTPException(415, headers=HANG_UP)
    limit = await run_in_threadpool(_limit, service, round_id)
    caller = callers.member(request.scope, service.context.federation)
    with request.app.state.bodies.one_of(request.client.host if request.client else "") as place:
        try:
            body = await read_body(request, place, limit)
            callers.require_sender(body, caller)
        except PeerError as refusal:
            service.coordinator.refusals.count(RoundId(round_id), refusal.code)
            raise
        async with request.app.state.judging:
            answer = await run_in_threadpool(service.coordinator.receive, RoundId(round_id), body)
    return Response(answer.receipt, status_code=422 if answer.outcome is Outcome.REJECTED else 201, media_type=COSE)


@router.get("")
def list_rounds(request: Request) -> RoundList:
    """Every round and its state, oldest first; unsigned, a hint where to look."""
    heads = _service(request).coordinator.rounds()
    return RoundList(
        rounds=[RoundLine(round_id=row.round_id, state=row.state, closes_at_ms=row.closes_at_ms) for row in heads]
    )


@router.get(
    "/{round_id}", response_class=Response, responses={200: signed("The signed manifest."), **refusals("SF304")}
)
def manifest(round_id: str, request: Request) -> Response:
    """The signed manifest."""
    return Response(_service(request).coordinator.store.manifest(_known(round_id)), media_type=COSE)


@router.get("/{round_id}/status", responses=refusals("SF304"))
def status(round_id: str, request: Request) -> RoundStatus:
    """Where the round stands, without names; unsigned."""
    service = _service(request)
    head = service.coordinator.store.head(_known(round_id))
    with service.context.database.snapshot() as tx:
        committed = len(round_rows.members_with(tx, round_id, "committed"))
        admitted = len(round_rows.members_with(tx, round_id, "admitted"))
    return RoundStatus(
        round_id=round_id,
        state=head.state,
        final=RoundState.stored(head.state) in FINAL,
        closes_at_ms=head.closes_at_ms,
        committed=committed,
        admitted=admitted,
        code=head.reason[:5] if head.reason else None,
    )


@router.get(
    "/{round_id}/commitments",
    response_class=Response,
    responses={200: signed("The signed list of commitments."), **refusals("SF304", "SF401")},
)
def commitments(round_id: str, request: Request) -> Response:
    """What a round of texts was committed to, signed; 409 with ``SF401`` before no more commitments are taken."""
    return Response(_service(request).coordinator.commitments(_known(round_id)), media_type=COSE)


@router.get(
    "/{round_id}/consensus",
    response_class=Response,
    responses={200: signed("The signed consensus."), **refusals("SF304", "SF401", "SF402", "SF403")},
)
def consensus(round_id: str, request: Request) -> Response:
    """The signed consensus; 409 with ``SF401`` while there is none, 410 if there never will be."""
    return Response(_service(request).coordinator.consensus(_known(round_id)), media_type=COSE)


@router.get(
    "/{round_id}/consensus/proof",
    response_class=PlainTextResponse,
    responses={
        200: text("A C2SP tlog-proof of the log entry that published it."),
        **refusals("SF304", "SF401", "SF402", "SF403"),
    },
)
def consensus_proof(round_id: str, request: Request) -> PlainTextResponse:
    """Where the consensus stands in the server's log."""
    return PlainTextResponse(_service(request).coordinator.consensus_proof(_known(round_id)))


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
