"""The gate that every request passes: room, rates, a count of the answers, and a last word on defects."""

from __future__ import annotations

import logging
import math
from typing import TYPE_CHECKING

from starlette.concurrency import run_in_threadpool

from semfed_secure.errors import PeerError
from semfed_secure.server.http import callers, problems

if TYPE_CHECKING:
    from collections import Counter

    from fastapi.responses import JSONResponse
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from semfed_secure.server.rates import Rates

MAX_REQUESTS = 256
"""Requests at once; more are told to try again (503)."""
UNMETERED = frozenset({"/healthz"})
"""Whoever watches over the process must not be told to come later."""
_HEADERS = [(b"x-content-type-options", b"nosniff"), (b"cache-control", b"no-store")]
_log = logging.getLogger(__name__)


class Gate:
    """Lets a request in or answers it, before a byte of its body is read.

    Every answer, whoever made it, is counted by status and marked as what it is: not to be guessed at, not to be
    stored.
    """

    def __init__(self, app: ASGIApp, *, answers: Counter[int], rates: Rates) -> None:
        """Guard ``app``."""
        self._app, self._answers, self._rates, self._inside = app, answers, rates, 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """One request, or the beginning and end of the application."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        started = False

        async def marking(message: Message) -> None:
            nonlocal started
            if message["type"] == "http.response.start":
                started = True
                self._answers[message["status"]] += 1
                message["headers"] = [*message["headers"], *_HEADERS]
            await send(message)

        refused = self._refusal(scope)
        if refused is not None:
            await refused(scope, receive, marking)
            return
        self._inside += 1
        try:
            await (await _outsider(scope) or self._app)(scope, receive, marking)
        except Exception:  # a defect of ours: whatever it is, the caller gets a problem document
            _log.exception("a request failed")
            if started:
                raise
            await problems.plain(500)(scope, receive, marking)
        finally:
            self._inside -= 1

    def _refusal(self, scope: Scope) -> JSONResponse | None:
        """The answer to one who may not come in."""
        if scope["path"] in UNMETERED:
            return None
        if self._inside >= MAX_REQUESTS:
            return problems.busy()
        try:
            member = callers.member(scope, scope["app"].state.service.context.federation)
        except PeerError as refusal:
            return problems.coded(refusal.code, headers=problems.HANG_UP)
        wait = self._rates.take(callers.address(scope), member)
        if wait > 0:
            # The body that may follow is not read: the connection ends.
            return problems.coded("SF347", headers={**problems.HANG_UP, "retry-after": str(math.ceil(wait))})
        return None


async def _outsider(scope: Scope) -> JSONResponse | None:
    """The answer to one whose certificate names nobody in the roster in force; it may read a file, so it takes room."""
    context = scope["app"].state.service.context
    member = callers.member(scope, context.federation) if scope["path"] not in UNMETERED else None
    if member is None:
        return None
    try:
        roster = await run_in_threadpool(context.rosters.current)
        callers.require_member(member, roster, now=context.clock.now())
    except PeerError as refusal:
        return problems.coded(refusal.code, headers=problems.HANG_UP)
    return None
