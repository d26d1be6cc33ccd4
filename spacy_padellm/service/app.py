"""The service itself: who may ask what, and how it is answered. Annotating is the annotator's."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import HTMLResponse, JSONResponse, StreamingResponse
from prometheus_client import CONTENT_TYPE_LATEST, generate_latest
from starlette.exceptions import HTTPException
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import ClientDisconnect

from spacy_padellm.about import __version__
from spacy_padellm.engine.pieces import without_surrogates
from spacy_padellm.service.annotator import Annotator
from spacy_padellm.service.asked import REFUSALS, AskedTexts, all_of, blame, refused, told, unless_gone
from spacy_padellm.service.bodies import (
    AnnotateBody,
    DocumentBody,
    DocumentsBody,
    ErrorBody,
    FailedBody,
    document_body,
)
from spacy_padellm.service.drawing import Drawing, draw
from spacy_padellm.service.figures import Figures
from spacy_padellm.service.guard import Guard
from spacy_padellm.service.limits import Limits
from spacy_padellm.service.page import STYLES, Form, lines_of, page

NDJSON = "application/x-ndjson"

_TOLD = 5
"""Mistakes of a request that are told."""

Outcome = DocumentBody | FailedBody


def _refusal(status: int, said: str, **headers: str) -> JSONResponse:
    body = FailedBody(error=told(ValueError(said)))
    return JSONResponse(body.model_dump(), status_code=status, headers=headers)


def make_app(annotator: Annotator, *, limits: Limits, hosts: list[str]) -> FastAPI:
    """The service as an ASGI application.

    annotator (Annotator): Annotates; it is closed when the application ends.
    limits (Limits): What a request may ask for.
    hosts (list[str]): Names under which it may be asked, so that no page of elsewhere can reach it by another name.
    RETURNS (FastAPI): `POST /annotate`, `GET /pipeline`, `/health`, `/metrics`, `/openapi.json`; on `/` a page.
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
    _add_page(app, annotator, figures, limits)
    _add_refusals(app, limits)
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=hosts)
    app.add_middleware(
        Guard,
        most=limits.body,
        refuse=lambda error: _refusal(413, str(error)),
        note=lambda path, status: figures.requests.labels(path, str(status)).inc(),
    )
    return app


def own_labels(annotator: Annotator) -> dict[str, Any]:
    """The labels of a pipeline, all its padellm_ner pipes together."""
    return {label: kept for pipe in annotator.pipes for label, kept in pipe.cfg["labels"].items()}


def _add_answers(app: FastAPI, annotator: Annotator, figures: Figures, limits: Limits) -> None:
    own = own_labels(annotator)
    failed: dict[int | str, dict[str, Any]] = {
        400: {"model": FailedBody, "description": "Not JSON in UTF-8, or a name of the service that it does not have"},
        413: {"model": FailedBody, "description": "More than may be asked at once"},
        422: {"model": FailedBody, "description": "Not a request, or a text that the pipeline cannot be asked about"},
        429: {"model": FailedBody, "description": "Too many texts are waiting"},
        500: {"model": FailedBody, "description": "A component failed at this text"},
        502: {"model": FailedBody, "description": "The server that holds a pipe's model does not answer as it should"},
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
        read = partial(document_body, pipes=annotator.pipes)
        outcomes = AskedTexts(annotator, figures, body.asked(own), read).outcomes(texts, limits.seconds)
        if NDJSON in request.headers.get("accept", ""):
            lines = await unless_gone(request, _lines(outcomes, limits))
            return StreamingResponse(lines, media_type=NDJSON)
        found = await unless_gone(request, all_of(outcomes))
        if body.texts is not None:
            return DocumentsBody(documents=[found[number] for number in range(len(texts))])
        (outcome,) = found.values()
        if isinstance(outcome, FailedBody):
            return JSONResponse(outcome.model_dump(), status_code=blame(outcome.error))
        return outcome


async def _lines(outcomes: AsyncIterator[tuple[int, Outcome]], limits: Limits) -> AsyncIterator[str]:
    """The lines of a streamed answer. What refuses the whole request does so before the first line."""
    first = await anext(outcomes, None)

    async def lines() -> AsyncIterator[str]:
        if first is not None:
            yield _line(*first)
        try:
            async for number, outcome in outcomes:
                yield _line(number, outcome)
        except REFUSALS as error:
            _, said = refused(error, limits)
            yield FailedBody(error=told(ValueError(said))).model_dump_json() + "\n"

    return lines()


def _line(number: int, outcome: Outcome) -> str:
    return f'{{"number":{number},{outcome.model_dump_json()[1:]}\n'


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


def _add_page(app: FastAPI, annotator: Annotator, figures: Figures, limits: Limits) -> None:
    name = "_".join(filter(None, (annotator.nlp.meta["lang"], annotator.nlp.meta["name"])))
    show = partial(_page, name)

    @app.get("/", include_in_schema=False)
    async def empty() -> HTMLResponse:
        return show(200, Form(labels=lines_of(own_labels(annotator))))

    @app.post("/", include_in_schema=False)
    async def filled(request: Request) -> HTMLResponse:
        if not request.headers.get("content-type", "").startswith("application/x-www-form-urlencoded"):
            return show(415, Form(), error=ErrorBody(code="invalid", message="Expected a form as a browser sends it."))
        form = Form.read(await request.body())
        if request.headers.get("sec-fetch-site", "same-origin") not in ("same-origin", "none"):
            return show(403, form, error=ErrorBody(code="invalid", message="The form was sent from another page."))
        try:
            body = form.body()
        except ValueError:
            return show(422, form, error=ErrorBody(code="invalid", message="The threshold is no number from 0 to 1."))
        try:
            limits.check(body)
            labels = body.asked(own_labels(annotator))
            read = partial(draw, pipes=annotator.pipes, labels=labels)
            outcomes = AskedTexts(annotator, figures, labels, read).outcomes([form.text], limits.seconds)
            outcome = (await unless_gone(request, all_of(outcomes)))[0]
        except REFUSALS as error:
            status, said = refused(error, limits)
            return show(status, form, error=told(ValueError(said)))
        if isinstance(outcome, FailedBody):
            return show(blame(outcome.error), form, error=outcome.error)
        return show(200, form, drawing=outcome)


def _page(
    name: str, status: int, form: Form, *, drawing: Drawing | None = None, error: ErrorBody | None = None
) -> HTMLResponse:
    headers = {"Content-Security-Policy": STYLES}
    return HTMLResponse(page(name, form, drawing=drawing, error=error), status_code=status, headers=headers)


def _add_refusals(app: FastAPI, limits: Limits) -> None:
    @app.exception_handler(HTTPException)
    async def not_found(request: Request, error: HTTPException) -> JSONResponse:
        return _refusal(error.status_code, f"[invalid] {error.detail}", **(error.headers or {}))

    @app.exception_handler(RequestValidationError)
    async def invalid(request: Request, error: RequestValidationError) -> JSONResponse:
        # What came is not repeated: it may hold what no answer can.
        told = [f"{'.'.join(map(str, one['loc']))}: {one['msg']}" for one in error.errors()]
        return _refusal(422, f"[invalid] {without_surrogates('; '.join(told[:_TOLD]))}")

    @app.exception_handler(ClientDisconnect)
    async def gone(request: Request, error: ClientDisconnect) -> Response:
        return Response(status_code=499)  # nginx's number, for the figures: nobody reads it

    for kind in REFUSALS:

        @app.exception_handler(kind)
        async def refuse(request: Request, error: Exception) -> JSONResponse:
            status, said = refused(error, limits)
            return _refusal(status, said, **({"Retry-After": "1"} if status == 429 else {}))
