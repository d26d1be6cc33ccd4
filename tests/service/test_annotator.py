"""Texts of many who ask, annotated in one forest: each gets what it would get alone."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.service.annotator import Annotator, Busy, Closed
from tests.pipeline.makers import FRESH, TEXTS, blank, ours, spans, train

pytestmark = pytest.mark.filterwarnings("ignore:.*W001:UserWarning")

LONG = "Show me Jaws " * 200
"""Longer than the model has positions."""


@pytest.fixture(scope="module")
def weights() -> bytes:
    return ours(train(blank())).to_bytes()


@pytest.fixture
def make(weights: bytes) -> Iterator[Callable[..., Annotator]]:
    """Makes annotators, which are closed at the end."""
    made: list[Annotator] = []

    def annotator(nlp: Language | None = None, **settings: Any) -> Annotator:
        if nlp is None:
            nlp = blank(strict=True)
            ours(nlp).from_bytes(weights)
        made.append(Annotator(nlp, **settings))
        return made[-1]

    yield annotator
    for one in made:
        assert one.close(timeout=60)


def alone(weights: bytes, text: str) -> Any:
    nlp = blank(strict=True)
    ours(nlp).from_bytes(weights)
    return spans(nlp(text))


def test_many_who_ask_at_once(make: Callable[..., Annotator], weights: bytes):
    annotator = make()
    texts = [f"{text} {word}" for word in ("tonight", "now", "") for text in TEXTS]
    found: dict[str, Any] = {}

    def ask(mine: list[str]) -> None:
        for text in mine:
            found[text] = annotator.submit(text, spans).result(60)

    threads = [threading.Thread(target=ask, args=(texts[place::4],)) for place in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {text: alone(weights, text) for text in texts}
    assert annotator.under_way == 0


def test_they_share_steps(make: Callable[..., Annotator]):
    annotator = make()
    (pipe,) = annotator.pipes
    texts = [f"{text} {number}" for number in range(6) for text in TEXTS]
    for text in texts:
        annotator.submit(text, len).result(60)
    one_by_one, before = pipe.counters.steps, pipe.counters.steps
    for future in [annotator.submit(text, len) for text in texts]:
        future.result(60)
    assert pipe.counters.steps - before < one_by_one / 3


def test_the_other_pipes_of_the_pipeline_run(weights: bytes, make: Callable[..., Annotator]):
    """A pipe in front of ours, two of ours, and one behind."""
    nlp = blank(strict=True)
    ours(nlp).from_bytes(weights)
    nlp.add_pipe("sentencizer", first=True)
    second = nlp.add_pipe("padellm_ner", "second", config={"model": FRESH, "spans_key": "other"})
    second.from_bytes(weights)
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "word", "pattern": "me"}])
    expected = {text: _all(nlp(text)) for text in TEXTS}
    annotator = make(nlp)
    assert len(annotator.pipes) == 2
    futures = {text: annotator.submit(text, _all) for text in TEXTS}
    assert {text: future.result(60) for text, future in futures.items()} == expected
    assert any(found[0] == found[1] != [] for found in expected.values())


def _all(doc: Doc) -> tuple[Any, ...]:
    mentions = [[(span.text, span.label_) for span in doc.spans[key]] for key in ("sc", "other")]
    return (*mentions, [(ent.text, ent.label_) for ent in doc.ents], len(list(doc.sents)))


def test_a_pipeline_without_our_pipe(make: Callable[..., Annotator]):
    nlp = Language()
    nlp.add_pipe("sentencizer")
    annotator = make(nlp)
    assert annotator.submit("One. Two.", lambda doc: len(list(doc.sents))).result(60) == 2


def test_labels_of_ones_own(make: Callable[..., Annotator]):
    annotator = make()
    asked = [annotator.submit(TEXTS[0], _counted, labels=labels) for labels in (["city"], None, {"movie": "movie"})]
    assert [future.result(60) for future in asked] == [["city"], ["city", "movie"], ["movie"]]


def _counted(doc: Doc) -> list[str]:
    return sorted(doc.spans["sc"].attrs["counts"])


def test_what_fails_fails_alone(make: Callable[..., Annotator], weights: bytes):
    annotator = make()

    def refuse(doc: Doc) -> None:
        raise RuntimeError("not this one")

    good = annotator.submit(TEXTS[0], spans)
    too_long, mistaken = annotator.submit(LONG, spans), annotator.submit(TEXTS[1], spans, labels=[" "])
    unread, other = annotator.submit(TEXTS[1], refuse), annotator.submit(TEXTS[1], spans)
    assert str(too_long.exception(60)).startswith("[P023]")
    assert str(mistaken.exception(60)).startswith("[P015]")
    assert str(unread.exception(60)) == "not this one"
    assert [good.result(60), other.result(60)] == [alone(weights, text) for text in TEXTS[:2]]


def test_a_broken_pipe_in_front_of_ours(weights: bytes, make: Callable[..., Annotator]):
    @Language.component("tests-service-broken")
    def broken(doc: Doc) -> Doc:
        if doc[0].text == "broken":
            raise RuntimeError("in front")
        return doc

    nlp = blank(strict=True)
    ours(nlp).from_bytes(weights)
    nlp.add_pipe("tests-service-broken", first=True)
    annotator = make(nlp)
    failing, good = annotator.submit("broken text", spans), annotator.submit(TEXTS[0], spans)
    assert str(failing.exception(60)) == "in front" and good.result(60) == alone(weights, TEXTS[0])


def test_a_mistake_of_the_engine_is_told_and_survived(
    make: Callable[..., Annotator], weights: bytes, monkeypatch: pytest.MonkeyPatch
):
    nlp = blank(strict=True)
    pipe = ours(nlp).from_bytes(weights)
    inner = pipe.serve

    def broken(source: Any, **options: Any) -> Iterator[Any]:
        monkeypatch.setattr(pipe, "serve", inner)
        yield next(iter(source)), None
        next(iter(source))
        raise RuntimeError("engine")

    monkeypatch.setattr(pipe, "serve", broken)
    annotator = make(nlp)
    assert annotator.submit(TEXTS[0], len).exception(60) is None
    assert str(annotator.submit(TEXTS[0], spans).exception(60)) == "engine"
    assert annotator.submit(TEXTS[1], spans).result(60) == alone(weights, TEXTS[1])


def test_an_engine_that_cannot_begin_is_told(
    make: Callable[..., Annotator], weights: bytes, monkeypatch: pytest.MonkeyPatch
):
    nlp = blank(strict=True)
    pipe = ours(nlp).from_bytes(weights)
    inner = pipe.serve

    def broken(source: Any, **options: Any) -> Iterator[Any]:
        raise RuntimeError("no memory for anything")

    monkeypatch.setattr(pipe, "serve", broken)
    annotator = make(nlp)
    for _ in range(3):
        assert str(annotator.submit(TEXTS[0], len).exception(60)) == "no memory for anything"
    monkeypatch.setattr(pipe, "serve", inner)
    futures = [annotator.submit(TEXTS[0], spans) for _ in range(2)]
    # The one that is next in line may still meet the broken engine, no other does.
    assert futures[1].result(60) == alone(weights, TEXTS[0])


def test_no_more_wait_than_may(make: Callable[..., Annotator]):
    annotator = make(most_waiting=2, batch_size=1)
    held, go = threading.Event(), threading.Event()

    def hold(doc: Doc) -> int:
        held.set()
        assert go.wait(60)
        return len(doc)

    first = annotator.submit("hold on", hold)
    assert held.wait(60)
    waiting = [annotator.submit(text, len) for text in TEXTS[:2]]
    with pytest.raises(Busy):
        annotator.submit(TEXTS[0], len)
    assert (annotator.waiting, annotator.under_way) == (2, 3)
    assert waiting[0].cancel()
    go.set()
    assert first.result(60) == 2 and waiting[1].result(60) > 0
    # Who left the line is not annotated.
    assert annotator.close(60) and annotator.pipes[0].counters.documents == 2


@pytest.mark.filterwarnings("ignore:.*W010:UserWarning")
def test_a_long_text_that_nobody_waits_for_is_read_no_further(make: Callable[..., Annotator], weights: bytes):
    nlp = blank(window=30)
    pipe = ours(nlp).from_bytes(weights)
    annotator = make(nlp, batch_size=2)
    long = " . ".join(TEXTS * 100)
    future = annotator.submit(long, len)
    other = annotator.submit(TEXTS[0], spans)
    end = time.monotonic() + 60
    while not pipe.counters.documents:
        assert time.monotonic() < end
        time.sleep(0.001)
    assert future.cancel()
    assert other.result(60) == alone(weights, TEXTS[0])
    assert annotator.close(60)
    assert 0 < pipe.counters.documents < 60, "windows that were read, of some hundreds"


@pytest.mark.filterwarnings("ignore:.*W010:UserWarning")
@pytest.mark.parametrize("batch_size", [1, 8])
def test_a_short_text_takes_turns_with_a_long_one(batch_size: int, make: Callable[..., Annotator], weights: bytes):
    """It is answered while nearly all of the long one is still to be read."""
    nlp = blank(window=30)
    pipe = ours(nlp).from_bytes(weights)
    expected, whole = alone(weights, TEXTS[1]), " . ".join(TEXTS * 20)
    annotator = make(nlp, batch_size=batch_size)
    long = annotator.submit(whole, spans)

    def at(doc: Doc) -> tuple[Any, int, bool]:
        return spans(doc), pipe.counters.documents, long.done()

    # In the annotator's own thread, so that nothing is read between asking and the first turn.
    first = annotator.submit(TEXTS[0], lambda doc: (pipe.counters.documents, annotator.submit(TEXTS[1], at)))
    before, second = first.result(60)
    found, after, is_over = second.result(60)
    assert found == expected and after - before < 3 * batch_size and not is_over
    assert long.result(60) == spans(nlp(whole))
    assert pipe.counters.documents > 60


@pytest.mark.filterwarnings("ignore:.*W010:UserWarning")
def test_long_texts_that_fail_are_read_no_further_and_hold_nobody_up(
    make: Callable[..., Annotator], weights: bytes, monkeypatch: pytest.MonkeyPatch
):
    """More of them than take turns."""
    nlp = blank(window=30)
    pipe = ours(nlp).from_bytes(weights)
    expected, read = alone(weights, TEXTS[1]), pipe._read

    def fail(text: Any, *answers: Any, **settings: Any) -> Any:
        if "Oops" in text.string:
            raise ZeroDivisionError
        return read(text, *answers, **settings)

    monkeypatch.setattr(pipe, "_read", fail)
    annotator = make(nlp, batch_size=1)
    futures = [annotator.submit("Oops " + " . ".join(TEXTS * 8), len) for _ in range(6)]
    last = annotator.submit(TEXTS[1], spans)
    assert all(isinstance(future.exception(30), ZeroDivisionError) for future in futures)
    assert last.result(30) == expected and annotator.close(30)
    assert pipe.counters.documents < 3 * 7, "windows that were read, of more than a hundred"


def test_closing_finishes_what_was_accepted(make: Callable[..., Annotator]):
    annotator = make(batch_size=2)
    futures = [annotator.submit(text, len) for text in TEXTS * 4]
    assert annotator.close(60)
    assert all(future.done() and future.result() > 0 for future in futures)
    with pytest.raises(Closed):
        annotator.submit(TEXTS[0], len)


def test_words_of_texts_are_forgotten(make: Callable[..., Annotator], weights: bytes):
    annotator = make(zone=4)
    texts = [f"{TEXTS[0]} qqword{number}" for number in range(12)]
    futures = [annotator.submit(text, spans) for text in texts]
    assert [future.result(60) for future in futures] == [alone(weights, text) for text in texts]
    assert annotator.close(60)
    assert not any(f"qqword{number}" in annotator.nlp.vocab.strings for number in range(12))
