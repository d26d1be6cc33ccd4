"""A service on loopback, with the pipeline that learnt the tests' texts."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import httpx
import pytest
import uvicorn
from spacy.language import Language

from spacy_padellm.service.annotator import Annotator
from spacy_padellm.service.app import make_app
from spacy_padellm.service.limits import Limits
from tests.pipeline.makers import blank, ours, train


@pytest.fixture(scope="session")
def weights() -> bytes:
    return ours(train(blank())).to_bytes()


@pytest.fixture
def pipeline(weights: bytes) -> Callable[..., Language]:
    """Makes a pipeline that has learnt the tests' texts."""

    def make(**settings: Any) -> Language:
        nlp = blank(**settings)
        ours(nlp).from_bytes(weights)
        return nlp

    return make


class Running:
    """A server in a thread of its own."""

    def __init__(self, annotator: Annotator, limits: Limits, hosts: list[str]) -> None:
        self.annotator = annotator
        config = uvicorn.Config(
            make_app(annotator, limits=limits, hosts=hosts), port=0, log_level="warning", timeout_graceful_shutdown=30
        )
        self.server = uvicorn.Server(config)
        self.thread = threading.Thread(target=self.server.run, daemon=True)
        self.thread.start()
        end = time.monotonic() + 30
        while not self.server.started:
            assert time.monotonic() < end and self.thread.is_alive()
            time.sleep(0.01)
        port = self.server.servers[0].sockets[0].getsockname()[1]
        self.url = f"http://127.0.0.1:{port}"
        self.client = httpx.Client(base_url=self.url, timeout=60)

    def annotate(self, **body: Any) -> httpx.Response:
        return self.client.post("/annotate", json=body)

    def stop(self) -> None:
        self.server.should_exit = True
        self.thread.join(60)
        self.client.close()
        assert not self.thread.is_alive()


@pytest.fixture
def serve(pipeline: Callable[..., Language]) -> Iterator[Callable[..., Running]]:
    """Starts services, which are stopped at the end."""
    running: list[Running] = []

    def start(
        nlp: Language | None = None, *, limits: Limits | None = None, hosts: list[str] | None = None, **settings: Any
    ) -> Running:
        annotator = Annotator(nlp or pipeline(strict=True), **settings)
        running.append(Running(annotator, limits or Limits(), hosts or ["127.0.0.1"]))
        return running[-1]

    yield start
    for one in running:
        one.stop()
