"""Between the server and the application: how much a request may send, and what is told of its answer."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from spacy_padellm.service.limits import TooMuch, too_much

HEADERS = {
    "x-content-type-options": "nosniff",
    "referrer-policy": "no-referrer",
    "content-security-policy": "default-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'self'",
}
"""A page of the service loads nothing from elsewhere and stands in no other page."""


class Guard:
    """An ASGI application around another one.

    app (ASGIApp): The other one.
    most (int): Bytes that a request may send, whatever it says of itself.
    refuse (Callable[[TooMuch], ASGIApp]): What answers a request that says it is larger.
    note (Callable[[str, int], None]): Is told the path, as the application has it, and the status of each answer.
    """

    def __init__(
        self, app: ASGIApp, *, most: int, refuse: Callable[[TooMuch], ASGIApp], note: Callable[[str, int], None]
    ) -> None:
        self._app = app
        self._most = most
        self._refuse = refuse
        self._note = note

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return

        size = _said(scope)
        got = 0

        async def counted() -> Message:
            nonlocal got
            message = await receive()
            got += len(message.get("body", b""))
            # What the application makes of the rest is not sent.
            return {"type": "http.disconnect"} if got > self._most else message

        async def answer(message: Message) -> None:
            if got <= self._most:
                await self._answer(scope, message, send)

        if size <= self._most:
            await self._app(scope, counted, answer)
        if max(size, got) > self._most:
            refusal = self._refuse(too_much("bytes", max(size, got), self._most))
            await refusal(scope, receive, partial(self._answer, scope, send=send))

    async def _answer(self, scope: Scope, message: Message, send: Send) -> None:
        if message["type"] == "http.response.start":
            headers = MutableHeaders(scope=message)
            for name, value in HEADERS.items():
                headers.setdefault(name, value)
            self._note(getattr(scope.get("route"), "path", "other"), message["status"])
        await send(message)


def _said(scope: Scope) -> int:
    """The bytes that a request says it has; none where it does not say."""
    for name, value in scope["headers"]:
        if name == b"content-length" and value.isdigit():
            return int(value)
    return 0
