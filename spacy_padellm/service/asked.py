"""The texts of one request on their way, and why a request has no answer."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from typing import Any, TypeVar

from fastapi import Request
from starlette.requests import ClientDisconnect

from spacy_padellm.errors import Errors
from spacy_padellm.service.annotator import Annotator, Busy, Closed, Read
from spacy_padellm.service.bodies import ErrorBody, FailedBody
from spacy_padellm.service.figures import Figures
from spacy_padellm.service.limits import Limits, TooMuch

_CODE = re.compile(r"\[([A-Z]\d+|invalid)\] ?(.*)", re.DOTALL)

Result = TypeVar("Result")


class Late(Exception):
    """An answer took too long."""


class AskedTexts:
    """The texts of one request on their way.

    Only the first one may be refused for a full line: for the others there is room once one of the same request is
    done.

    labels (dict[str, Any] | None): What they are asked about, None for the pipeline's own labels.
    read (Callable[[Doc], Any]): Takes from a document what is wanted of it.
    """

    def __init__(self, annotator: Annotator, figures: Figures, labels: dict[str, Any] | None, read: Read) -> None:
        self._annotator = annotator
        self._figures = figures
        self._labels = labels
        self._read = read
        self._on_the_way: dict[asyncio.Future[Any], tuple[int, float]] = {}
        self._futures: list[Future[Any]] = []

    async def outcomes(self, texts: list[str], seconds: float) -> AsyncIterator[tuple[int, Any]]:
        """Each text's number and what was read of it, or a `FailedBody`, as soon as it is done.

        RAISES (Busy): If the line is full before any text is accepted. (Closed), (Late): Also between two texts.
        """
        end, number = time.monotonic() + seconds, 0
        try:
            while number < len(texts) or self._on_the_way:
                while number < len(texts) and self._submitted(number, texts[number]):
                    number += 1
                left = end - time.monotonic()
                done, _ = await asyncio.wait(
                    self._on_the_way, timeout=max(0.0, left), return_when=asyncio.FIRST_COMPLETED
                )
                if not done:
                    self._figures.documents.labels("late").inc(len(texts) - number + len(self._on_the_way))
                    raise Late
                for future in done:
                    place, begun = self._on_the_way.pop(future)
                    yield place, self._settled(future, begun)
        finally:
            for waiting in self._futures:
                waiting.cancel()

    def _submitted(self, number: int, text: str) -> bool:
        try:
            future = self._annotator.submit(text, self._read, labels=self._labels)
        except Busy:
            if self._on_the_way:
                return False
            self._figures.documents.labels("refused").inc()
            raise
        self._futures.append(future)
        self._on_the_way[asyncio.wrap_future(future)] = (number, time.monotonic())
        return True

    def _settled(self, future: asyncio.Future[Any], begun: float) -> Any:
        self._figures.seconds.observe(time.monotonic() - begun)
        error = future.exception()
        self._figures.documents.labels("failed" if error else "done").inc()
        return future.result() if error is None else FailedBody(error=told(error))


async def all_of(outcomes: AsyncIterator[tuple[int, Any]]) -> dict[int, Any]:
    """All outcomes by the texts' numbers."""
    return dict([pair async for pair in outcomes])


async def unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
    """What some work gives, unless the client goes: then what it still waits for leaves the line.

    RAISES (ClientDisconnect): If it went.
    """

    async def gone() -> None:
        while (await request.receive())["type"] != "http.disconnect":
            pass

    working, going = asyncio.ensure_future(work), asyncio.ensure_future(gone())
    try:
        await asyncio.wait({working, going}, return_when=asyncio.FIRST_COMPLETED)
        if not working.done():
            raise ClientDisconnect
        return working.result()
    finally:
        working.cancel()
        going.cancel()


_ELSEWHERE = ("P072", "P073", "P075", "P076", "P079")
"""What is wrong with a server that is asked in place of a model here."""


def told(error: BaseException) -> ErrorBody:
    """What is told of an error: its code, or the name of its type where it has none."""
    said = str(error)
    match = _CODE.match(said)
    return ErrorBody(code=match[1], message=match[2]) if match else ErrorBody(code=type(error).__name__, message=said)


def blame(error: ErrorBody) -> int:
    """The status for a text that has no answer: the client is to blame if we have a code for it, or the server that
    holds a pipe's model."""
    if error.code in _ELSEWHERE:
        return 502
    return 422 if re.fullmatch(r"P\d+", error.code) else 500


REFUSALS = (TooMuch, Busy, Closed, Late)
"""Why a request is not answered at all."""


def refused(error: Exception, limits: Limits) -> tuple[int, str]:
    """The status and the words for one of `REFUSALS`."""
    if isinstance(error, TooMuch):
        return 413, str(error)
    if isinstance(error, Busy):
        return 429, Errors.P176.format(waiting=error.args[0])
    if isinstance(error, Closed):
        return 503, Errors.P177.format()
    return 504, Errors.P178.format(seconds=limits.seconds)
