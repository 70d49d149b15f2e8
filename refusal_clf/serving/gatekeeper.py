"""What stands before the application: the key, and the size of a request, checked before its body is held.

Since every answer passes here, those that are refused among them, it is here that they are counted.
"""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Final

from starlette.datastructures import Headers
from starlette.exceptions import HTTPException
from starlette.responses import JSONResponse
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_OPEN: Final = frozenset({"/health"})
"""Paths that need no key: load balancers have none."""


class Gatekeeper:
    """Refuses requests without the key (401) and with more than `max_bytes` of body (413).

    Parameters
    ----------
    key
        What `Authorization: Bearer` must hold; empty for none.
    on_answer
        Told the path of each request and the status of its answer.
    """

    def __init__(self, app: ASGIApp, *, key: str, max_bytes: int, on_answer: Callable[[str, int], None]) -> None:
        self._app, self._key, self._max_bytes, self._on_answer = app, key.encode(), max_bytes, on_answer

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Let a request through, or answer it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status = 500  # what the server answers for an application that raises

        async def watched(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        try:
            await self._admit(scope, receive, watched)
        finally:
            self._on_answer(scope["path"], status)

    async def _admit(self, scope: Scope, receive: Receive, send: Send) -> None:
        headers = Headers(scope=scope)
        if self._key and scope["path"] not in _OPEN and not self._has_key(headers):
            refusal = JSONResponse({"detail": "no key, or a wrong one"}, 401, {"WWW-Authenticate": "Bearer"})
            await refusal(scope, receive, send)
            return
        length = headers.get("content-length", "")
        if length.isdecimal() and int(length[:20]) > self._max_bytes:
            # The connection ends: its body is not read.
            await JSONResponse({"detail": self._too_large}, 413, {"Connection": "close"})(scope, receive, send)
            return
        taken = 0

        async def counted() -> Message:
            nonlocal taken
            message = await receive()
            taken += len(message.get("body", b""))
            if taken > self._max_bytes:
                raise HTTPException(413, self._too_large, {"Connection": "close"})
            return message

        await self._app(scope, counted, send)

    @property
    def _too_large(self) -> str:
        return f"the body has more than {self._max_bytes:,} bytes"

    def _has_key(self, headers: Headers) -> bool:
        scheme, _, given = headers.get("authorization", "").partition(" ")
        return scheme.lower() == "bearer" and hmac.compare_digest(given.strip().encode(), self._key)
