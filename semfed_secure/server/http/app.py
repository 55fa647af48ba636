"""The ASGI application: routes, handlers of what goes wrong, and the clock that moves rounds on."""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError
from starlette.concurrency import run_in_threadpool
from starlette.exceptions import HTTPException

from semfed_secure.errors import SemfedError
from semfed_secure.server.bodies import Bodies, BusyError
from semfed_secure.server.http import description, problems, public, rounds
from semfed_secure.server.http.gate import Gate
from semfed_secure.server.rates import Rates

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from semfed_secure.server.service import Service

TICK_SECONDS = 0.25
"""How often rounds are looked at."""
JUDGED_AT_ONCE = 8
"""Contributions that are judged at the same time; the other threads stay free for readers."""

_log = logging.getLogger(__name__)


def create_app(service: Service, *, tick_seconds: float = TICK_SECONDS) -> FastAPI:
    """The ASGI application of one server.

    Its background task moves rounds on; a fault of one turn is logged and the next turn comes.
    """
    limits = service.context.limits
    app = FastAPI(
        openapi_url=None,  # `public` has the document, whose every word is ours
        docs_url=None,  # its page would fetch scripts from elsewhere
        redoc_url=None,
        redirect_slashes=False,  # one path, one thing
        lifespan=lambda app: _lifespan(app, service, tick_seconds),
    )
    app.state.service, app.state.draining = service, False
    app.state.bodies = Bodies(limits.max_body_bytes)
    app.state.judging = asyncio.Semaphore(JUDGED_AT_ONCE)
    app.state.answers = Counter[int]()
    app.state.document = description.document()
    app.include_router(rounds.router)
    app.include_router(public.router)
    app.add_middleware(Gate, answers=app.state.answers, rates=Rates(limits))
    app.exception_handler(SemfedError)(problems.on_refusal)
    app.exception_handler(RequestValidationError)(problems.on_bad_request)
    app.exception_handler(HTTPException)(problems.on_http_error)
    app.exception_handler(BusyError)(problems.on_busy)
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
