"""The service over HTTP, on loopback."""

from __future__ import annotations

import json
import socket
import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import httpx
import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.service.limits import Limits
from tests.pipeline.makers import TEXTS, ours
from tests.service.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore:.*W001:UserWarning")

LONG = "Show me Jaws " * 200
"""Longer than the model has positions."""


def mentions(found: dict[str, Any]) -> list[tuple[int, int, str]]:
    return [(one["start"], one["end"], one["label"]) for one in found["spans"]]


def expected(nlp: Language, text: str) -> list[tuple[int, int, str]]:
    doc = nlp(text)
    return [(span.start_char, span.end_char, span.label_) for span in doc.spans["sc"]]


def test_a_text(serve: Callable[..., Running], pipeline: Callable[..., Language]):
    found = serve().annotate(text=TEXTS[0])
    assert found.status_code == 200
    doc = pipeline()(TEXTS[0])
    group = doc.spans["sc"]
    told = found.json()
    assert mentions(told) == expected(pipeline(), TEXTS[0]) != []
    assert [one["text"] for one in told["spans"]] == [span.text for span in group]
    for name, key in (("scores", "score"), ("count_scores", "count_score"), ("confidences", "confidence")):
        assert [one[key] for one in told["spans"]] == pytest.approx(list(map(float, group.attrs[name])), rel=1e-4)
    assert told["counts"] == {"padellm_ner": group.attrs["counts"]}
    assert [(one["start"], one["end"]) for one in told["ents"]] == [(ent.start_char, ent.end_char) for ent in doc.ents]
    assert {one["pipe"] for one in told["spans"] + told["ents"]} == {"padellm_ner"}


def test_several_texts(serve: Callable[..., Running], pipeline: Callable[..., Language]):
    texts = [*TEXTS, "", LONG, TEXTS[0]]
    told = serve().annotate(texts=texts).json()["documents"]
    nlp = pipeline()
    assert [mentions(one) for one in told if "spans" in one] == [expected(nlp, text) for text in texts if text != LONG]
    assert told[texts.index(LONG)]["error"]["code"] == "P023"
    assert serve().annotate(texts=[]).json() == {"documents": []}


def test_lines_as_they_are_done(serve: Callable[..., Running], pipeline: Callable[..., Language]):
    running = serve(batch_size=2)
    with running.client.stream(
        "POST", "/annotate", json={"texts": [*TEXTS, LONG]}, headers={"Accept": "application/x-ndjson"}
    ) as response:
        assert response.headers["content-type"].startswith("application/x-ndjson")
        lines = [json.loads(line) for line in response.iter_lines()]
    assert sorted(line["number"] for line in lines) == list(range(len(TEXTS) + 1))
    nlp = pipeline()
    for line in lines:
        if line["number"] < len(TEXTS):
            assert mentions(line) == expected(nlp, TEXTS[line["number"]])
        else:
            assert line["error"]["code"] == "P023"


def test_labels_and_thresholds(serve: Callable[..., Running]):
    running = serve()
    every = running.annotate(text=TEXTS[0]).json()
    assert set(every["counts"]["padellm_ner"]) == {"city", "movie"}
    named = running.annotate(text=TEXTS[0], labels=["city"]).json()
    assert set(named["counts"]["padellm_ner"]) == {"city"}
    spec = {"movie": {"words": "movie", "threshold": 1.0}, "city": "city", "person": None}
    told = running.annotate(text=TEXTS[0], labels=spec).json()
    assert set(told["counts"]["padellm_ner"]) == set(spec)
    assert "movie" not in {one["label"] for one in told["spans"]}
    assert every["spans"] and running.annotate(text=TEXTS[0], threshold=1.0).json()["spans"] == []
    # A threshold of a label's own goes before that of the request.
    kept = running.annotate(text=TEXTS[0], labels={"movie": {"threshold": 0.0}, "city": None}, threshold=1.0).json()
    assert {one["label"] for one in kept["spans"]} == {"movie"}


def test_what_could_not_be_read_is_told(serve: Callable[..., Running], pipeline: Callable[..., Language]):
    """No answer is not the answer that there is nothing."""
    nlp = pipeline()
    ours(nlp).scheme = replace(ours(nlp).scheme, max_mentions=1)
    told = serve(nlp).annotate(text="Paris Paris and Jaws").json()
    assert told["unreadable"] == {"padellm_ner": [["city", "2"]]}
    assert [one["text"] for one in told["spans"]] == ["Jaws"]
    assert serve().annotate(text="Paris Paris and Jaws").json()["unreadable"] == {"padellm_ner": []}


@pytest.mark.parametrize(("code", "expected"), [("P073", 502), ("P079", 502), ("P023", 422)])
def test_who_is_to_blame(serve: Callable[..., Running], monkeypatch: pytest.MonkeyPatch, code: str, expected: int):
    def broken(*args: object, **how: object) -> None:
        raise ValueError(f"[{code}] The server said no.")

    monkeypatch.setattr(PaDeLLMNER, "set_annotations", broken)
    found = serve().annotate(text="Paris")
    assert (found.status_code, found.json()["error"]["code"]) == (expected, code)


@pytest.mark.parametrize(
    ("body", "code"),
    [
        ({}, "invalid"),
        ({"text": "a", "texts": ["b"]}, "invalid"),
        ({"text": "a", "label": ["city"]}, "invalid"),
        ({"text": "a", "threshold": 2}, "invalid"),
        ({"text": 5}, "invalid"),
        ({"text": "a", "labels": [" "]}, "P015"),
        ({"text": "a", "labels": {"city": {"description": " "}}}, "P190"),
        ({"text": LONG}, "P023"),
    ],
)
def test_what_is_no_request(serve: Callable[..., Running], body: dict[str, Any], code: str):
    told = serve().annotate(**body)
    assert (told.status_code, told.json()["error"]["code"]) == (422, code)
    assert told.json()["error"]["message"]


def test_lone_surrogates(serve: Callable[..., Running]):
    running = serve()
    for raw in (b'{"text": "in \\ud800 Paris"}', b'{"text": "a", "labels": ["\\ud800"]}', b'{"text": "\\udcff"'):
        told = running.client.post("/annotate", content=raw, headers={"Content-Type": "application/json"})
        assert told.status_code in (200, 422), told.text


@pytest.mark.parametrize(
    ("limits", "body", "what"),
    [
        (Limits(texts=2), {"texts": ["a"] * 3}, "3 texts"),
        (Limits(characters=5), {"texts": ["a", "longer"]}, "6 characters"),
        (Limits(labels=1), {"text": "a", "labels": ["a", "b"]}, "2 labels"),
        (Limits(body=100), {"text": "a" * 200}, "bytes"),
    ],
)
def test_no_more_than_may_be_asked(serve: Callable[..., Running], limits: Limits, body: dict[str, Any], what: str):
    running = serve(limits=limits)
    told = running.annotate(**body)
    assert told.status_code == 413
    assert told.json()["error"]["code"] == "P179" and what in told.json()["error"]["message"]
    assert running.annotate(text="a").status_code == 200


def test_a_body_that_does_not_say_how_large_it_is(serve: Callable[..., Running]):
    running = serve(limits=Limits(body=1000))

    def chunks() -> Any:
        yield b'{"text": "'
        for _ in range(100):
            yield b"a" * 100
        yield b'"}'

    told = running.client.post("/annotate", content=chunks(), headers={"Content-Type": "application/json"})
    assert told.status_code == 413 and told.json()["error"]["code"] == "P179"


class Gate:
    """A pipe that holds every text until it is opened."""

    def __init__(self) -> None:
        self.held = threading.Event()
        self.open = threading.Event()

    def __call__(self, doc: Doc) -> Doc:
        self.held.set()
        assert self.open.wait(60)
        return doc


@pytest.fixture
def gated(pipeline: Callable[..., Language]) -> tuple[Language, Gate]:
    gate, nlp = Gate(), pipeline(strict=True)
    Language.component("tests-service-gate", func=gate)
    nlp.add_pipe("tests-service-gate", first=True)
    return nlp, gate


def test_a_full_line(serve: Callable[..., Running], gated: tuple[Language, Gate]):
    nlp, gate = gated
    running = serve(nlp, most_waiting=1)
    answers: list[httpx.Response] = []
    asking = [threading.Thread(target=lambda: answers.append(running.annotate(text=TEXTS[0]))) for _ in range(2)]
    asking[0].start()
    assert gate.held.wait(60)
    asking[1].start()
    _until(lambda: running.annotator.waiting == 1)
    refused = running.annotate(text=TEXTS[1])
    assert (refused.status_code, refused.json()["error"]["code"]) == (429, "P176")
    assert refused.headers["retry-after"] == "1"
    gate.open.set()
    for thread in asking:
        thread.join()
    assert [answer.status_code for answer in answers] == [200, 200]
    # More texts than may wait come in as there is room.
    assert len(running.annotate(texts=TEXTS * 3).json()["documents"]) == 3 * len(TEXTS)


def test_an_answer_that_takes_too_long(serve: Callable[..., Running], gated: tuple[Language, Gate]):
    nlp, gate = gated
    running = serve(nlp, limits=Limits(seconds=0.2))
    late = running.annotate(text=TEXTS[0])
    assert (late.status_code, late.json()["error"]["code"]) == (504, "P178")
    gate.open.set()
    assert running.annotate(text=TEXTS[0]).status_code == 200


def test_a_client_that_goes_frees_its_place_in_line(serve: Callable[..., Running], gated: tuple[Language, Gate]):
    nlp, gate = gated
    running = serve(nlp)
    first = threading.Thread(target=lambda: running.annotate(text=TEXTS[0]))
    first.start()
    assert gate.held.wait(60)
    body = json.dumps({"texts": TEXTS}).encode()
    head = (
        f"POST /annotate HTTP/1.1\r\nHost: 127.0.0.1\r\nContent-Type: application/json\r\nContent-Length: {len(body)}"
    )
    with socket.create_connection(("127.0.0.1", int(running.url.rpartition(":")[2]))) as client:
        client.sendall(head.encode() + b"\r\n\r\n" + body)
        _until(lambda: running.annotator.waiting == len(TEXTS))
    _until(lambda: running.annotator.waiting == 0)
    gate.open.set()
    first.join()
    _until(lambda: running.annotator.under_way == 0)
    assert ours(nlp).counters.documents == 1


def test_closing_answers_what_was_accepted(serve: Callable[..., Running], gated: tuple[Language, Gate]):
    nlp, gate = gated
    running = serve(nlp)
    answers: list[httpx.Response] = []
    asking = threading.Thread(target=lambda: answers.append(running.annotate(texts=TEXTS)))
    asking.start()
    assert gate.held.wait(60)
    running.server.should_exit = True
    time.sleep(0.3)
    gate.open.set()
    asking.join(60)
    running.stop()
    assert answers[0].status_code == 200 and len(answers[0].json()["documents"]) == len(TEXTS)
    assert running.annotator.under_way == 0


def test_a_component_that_fails(serve: Callable[..., Running], pipeline: Callable[..., Language]):
    @Language.component("tests-service-fails")
    def fails(doc: Doc) -> Doc:
        raise RuntimeError("no luck")

    nlp = pipeline()
    nlp.add_pipe("tests-service-fails", last=True)
    told = serve(nlp).annotate(text=TEXTS[0])
    assert told.status_code == 500
    assert told.json() == {"error": {"code": "RuntimeError", "message": "no luck"}}


def test_hosts(serve: Callable[..., Running]):
    """A page of elsewhere, whose name was made to mean this machine, cannot ask."""
    running = serve()
    port = running.url.rpartition(":")[2]
    for host, status in ((f"127.0.0.1:{port}", 200), ("evil.example", 400), (f"evil.example:{port}", 400)):
        assert running.client.get("/health", headers={"Host": host}).status_code == status


def test_what_is_told_of_it(serve: Callable[..., Running]):
    running = serve()
    assert running.client.get("/health").json() == {"status": "ok", "waiting": 0, "under_way": 0}
    (pipe,) = running.client.get("/pipeline").json()["pipes"]
    assert pipe == {"name": "padellm_ner", "labels": ["city", "movie"], "threshold": 0.0}
    running.annotate(text=TEXTS[0])
    running.annotate(text=LONG)
    figures = _figures(running)
    assert figures['padellm_documents_total{outcome="done"}'] == 1
    assert figures['padellm_documents_total{outcome="failed"}'] == 1
    assert figures["padellm_document_seconds_count"] == 2
    counters = running.annotator.pipes[0].counters
    assert figures["padellm_steps_total"] == counters.steps > 0
    assert figures["padellm_pieces_total"] == counters.pieces > 0
    assert figures['padellm_requests_total{path="/annotate",status="200"}'] == 1
    assert figures['padellm_requests_total{path="/annotate",status="422"}'] == 1
    description = running.client.get("/openapi.json").json()
    assert set(description["paths"]) == {"/annotate", "/pipeline", "/health", "/metrics"}
    answer = running.client.get("/nothing")
    assert answer.status_code == 404 and answer.json() == {"error": {"code": "invalid", "message": "Not Found"}}
    assert answer.headers["content-security-policy"].startswith("default-src 'self'")


def _figures(running: Running) -> dict[str, float]:
    lines = running.client.get("/metrics").text.splitlines()
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines if not line.startswith("#"))}


def _until(true: Callable[[], bool]) -> None:
    end = time.monotonic() + 30
    while not true():
        assert time.monotonic() < end
        time.sleep(0.01)
