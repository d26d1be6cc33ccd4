"""The service itself: who may ask what, and how it is answered. Annotating is the annotator's."""

import asyncio
import re
import time
from collections.abc import AsyncIterator, Coroutine
from concurrent.futures import Future
from contextlib import asynccontextmanager
from functools import partial
from typing import Any, TypeVar

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from spacy_padellm.about import __version__
from spacy_padellm.engine.pieces import without_surrogates
from spacy_padellm.errors import Errors
from spacy_padellm.service.annotator import Annotator, Busy, Closed
from spacy_padellm.service.bodies import (
    AnnotateBody,
    DocumentBody,
    DocumentsBody,
    ErrorBody,
    FailedBody,
    document_body,
)
from spacy_padellm.service.figures import Figures
from spacy_padellm.service.guard import Guard
from spacy_padellm.service.limits import Limits, TooMuch

NDJSON = "application/x-ndjson"

_CODE = re.compile(r"\[([A-Z]\d+|invalid)\] ?(.*)", re.DOTALL)

_TOLD = 5
"""Mistakes of a request that are told."""

Outcome = DocumentBody | FailedBody

Result = TypeVar("Result")


class _Late(Exception):
    """An answer took too long."""


class _Asked:
    """The texts of one request on their way.

    Only the first one may be refused for a full line: for the others there is room once one of the same request is
    done.
    """

    def __init__(self, annotator: Annotator, figures: Figures, labels: dict[str, Any] | None) -> None:
        self._annotator = annotator
        self._figures = figures
        self._labels = labels
        self._read = partial(document_body, pipes=annotator.pipes)
        self._on_the_way: dict[asyncio.Future[Any], tuple[int, float]] = {}
        self._futures: list[Future[Any]] = []

    async def outcomes(self, texts: list[str], seconds: float) -> AsyncIterator[tuple[int, Outcome]]:
        """Each text's number and what became of it, as soon as it is done.

        RAISES (Busy): If the line is full before any text is accepted. (Closed), (_Late): Also between two texts.
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
                    raise _Late
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

    def _settled(self, future: asyncio.Future[Any], begun: float) -> Outcome:
        self._figures.seconds.observe(time.monotonic() - begun)
        error = future.exception()
        self._figures.documents.labels("failed" if error else "done").inc()
        if error is None:
            found: DocumentBody = future.result()
            return found
        return FailedBody(error=_told(error))


def _told(error: BaseException) -> ErrorBody:
    said = str(error)
    match = _CODE.match(said)
    return ErrorBody(code=match[1], message=match[2]) if match else ErrorBody(code=type(error).__name__, message=said)


def _refusal(status: int, said: str, **headers: str) -> JSONResponse:
    body = FailedBody(error=_told(ValueError(said)))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def make_app(annotator: Annotator, *, limits: Limits, hosts: list[str]) -> FastAPI:
    """The service as an ASGI application.

    annotator (Annotator): Annotates; it is closed when the application ends.
    limits (Limits): What a request may ask for.
    hosts (list[str]): Names under which it may be asked, so that no page of elsewhere can reach it by another name.
    RETURNS (FastAPI): `POST /annotate`, `GET /pipeline`, `/health`, `/metrics`, `/openapi.json`.
    """

    @asynccontextmanager
    async def lifespan(app: FastAPI) -> AsyncIterator[None]:
        yield
        await asyncio.to_thread(annotator.close, limits.seconds)

    app = FastAPI(
        title="spacy-padellm",
        version=__version__,
        description="Named entity recognition by parallel questions to a language model",
        # Both pages fetch their scripts from elsewhere.
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
    )
    figures = Figures(annotator)
    _add_answers(app, annotator, figures, limits)
    _add_told(app, annotator, figures)
    _add_refusals(app, limits)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(
        Guard,
        most=limits.body,
        refuse=lambda error: _refusal(413, str(error)),
        note=lambda path, status: figures.requests.labels(path, str(status)).inc(),
    )
    return app


def _add_answers(app: FastAPI, annotator: Annotator, figures: Figures, limits: Limits) -> None:
    own: dict[str, Any] = {}
    for pipe in annotator.pipes:
        data = pipe.label_data
        own |= data if isinstance(data, dict) else dict.fromkeys(data)
    failed: dict[int | str, dict[str, Any]] = {
        400: {"model": FailedBody, "description": "Not JSON in UTF-8, or a name of the service that it does not have"},
        413: {"model": FailedBody, "description": "More than may be asked at once"},
        422: {"model": FailedBody, "description": "Not a request, or a text that the pipeline cannot be asked about"},
        429: {"model": FailedBody, "description": "Too many texts are waiting"},
        500: {"model": FailedBody, "description": "A component failed at this text"},
        503: {"model": FailedBody, "description": "The service is shutting down"},
        504: {"model": FailedBody, "description": "The answer took too long"},
    }

    @app.post("/annotate", response_model=DocumentBody | DocumentsBody, responses=failed)
    async def annotate(body: AnnotateBody, request: Request) -> Any:
        """Find the mentions in a text, or in several. With `Accept: application/x-ndjson` each document is a line with
        its `number`, sent as soon as it is done."""
        limits.check(body)
        # No text of spaCy can hold a lone surrogate.
        texts = list(map(without_surrogates, body.texts if body.texts is not None else [body.text or ""]))
        outcomes = _Asked(annotator, figures, body.asked(own)).outcomes(texts, limits.seconds)
        if NDJSON in request.headers.get("accept", ""):
            lines = await _unless_gone(request, _lines(outcomes, limits))
            return StreamingResponse(lines, media_type=NDJSON)
        found = await _unless_gone(request, _all_of(outcomes))
        if body.texts is not None:
            return DocumentsBody(documents=[found[number] for number in range(len(texts))])
        (outcome,) = found.values()
        if isinstance(outcome, FailedBody):
            coded = re.fullmatch(r"P\d+", outcome.error.code)
            return JSONResponse(outcome.model_dump(), status_code=422 if coded else 500)
        return outcome


async def _all_of(outcomes: AsyncIterator[tuple[int, Outcome]]) -> dict[int, Outcome]:
    return dict([pair async for pair in outcomes])


async def _unless_gone(request: Request, work: Coroutine[Any, Any, Result]) -> Result:
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


async def _lines(outcomes: AsyncIterator[tuple[int, Outcome]], limits: Limits) -> AsyncIterator[str]:
    """The lines of a streamed answer. What refuses the whole request does so before the first line."""
    first = await anext(outcomes, None)

    async def lines() -> AsyncIterator[str]:
        if first is not None:
            yield _line(*first)
        try:
            async for number, outcome in outcomes:
                yield _line(number, outcome)
        except (Busy, Closed, _Late) as error:
            yield FailedBody(error=_told(ValueError(_why(error, limits)))).model_dump_json() + "\n"

    return lines()


def _line(number: int, outcome: Outcome) -> str:
    return f'{{"number":{number},{outcome.model_dump_json()[1:]}\n'


def _why(error: Exception, limits: Limits) -> str:
    if isinstance(error, Closed):
        return Errors.P177.format()
    return Errors.P178.format(seconds=limits.seconds)


def _add_told(app: FastAPI, annotator: Annotator, figures: Figures) -> None:
    @app.get("/pipeline")
    async def pipeline() -> dict[str, Any]:
        """What answers: the pipeline, its padellm_ner pipes and their labels."""
        meta = annotator.nlp.meta
        pipes = [
            {"name": pipe.name, "labels": pipe.label_data, "threshold": pipe.options.threshold}
            for pipe in annotator.pipes
        ]
        return {"name": meta["name"], "lang": meta["lang"], "version": meta["version"], "pipes": pipes}

    @app.get("/health")
    async def health() -> dict[str, Any]:
        """Whether texts are taken."""
        return {"status": "ok", "waiting": annotator.waiting, "under_way": annotator.under_way}

    @app.get("/metrics", response_class=Response, responses={200: {"content": {"text/plain": {}}}})
    async def metrics() -> Response:
        """Counters for Prometheus."""
        return Response(generate_latest(figures.registry), media_type=CONTENT_TYPE_LATEST)


def _add_refusals(app: FastAPI, limits: Limits) -> None:
    @app.exception_handler(HTTPException)
    async def refused(request: Request, error: HTTPException) -> JSONResponse:
        return _refusal(error.status_code, f"[invalid] {error.detail}", **(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # What came is not repeated: it may hold what no answer can.
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return _refusal(422, f"[invalid] {without_surrogates('; '.join(told[:_TOLD]))}")

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nginx's number, for the figures: nobody reads it

    @app.exception_handler(TooMuch)
    async def too_large(request: Request, error: TooMuch) -> JSONResponse:
        return _refusal(413, str(error))

    @app.exception_handler(Busy)
    async def busy(request: Request, error: Busy) -> JSONResponse:
        return _refusal(429, Errors.P176.format(waiting=error.args[0]), **{"Retry-After": "1"})

    @app.exception_handler(Closed)
    async def closed(request: Request, error: Closed) -> JSONResponse:
        return _refusal(503, Errors.P177.format())

    @app.exception_handler(_Late)
    async def late(request: Request, error: _Late) -> JSONResponse:
        return _refusal(504, Errors.P178.format(seconds=limits.seconds))
