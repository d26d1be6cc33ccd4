"""Documents that come one by one: what is on its way is joined by what comes."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.engine.stream import Pause
from spacy_padellm.pipeline import component
from spacy_padellm.pipeline.parts import Unwanted
from tests.pipeline.makers import TEXTS, blank, ours, scores, spans

LONG = "Show me Jaws " * 200
"""Longer than the model has positions."""


class Arrivals:
    """A source that has a text ready only every so many times it is asked, and waits for one only when nothing is on
    its way."""

    def __init__(self, nlp: Language, texts: list[str], every: int) -> None:
        self.nlp = nlp
        self.texts = texts
        self.every = every
        self.on_the_way = 0
        self.most = 0
        self.pauses = 0

    def __iter__(self) -> Iterator[Doc | Pause]:
        asked = 0
        for text in self.texts:
            asked += 1
            while self.on_the_way and asked % self.every:
                asked += 1
                self.pauses += 1
                yield Pause.NOTHING_YET
            self.on_the_way += 1
            self.most = max(self.most, self.on_the_way)
            yield self.nlp.make_doc(text)
        while self.on_the_way:
            self.pauses += 1
            yield Pause.NOTHING_YET


def served(nlp: Language, arrivals: Arrivals, **options: int) -> dict[str, tuple[Doc, Exception | None]]:
    found = {}
    for doc, failure in ours(nlp).serve(arrivals, **options):
        arrivals.on_the_way -= 1
        found[doc.text] = (doc, failure)
    return found


@pytest.mark.filterwarnings("ignore:.*W001:UserWarning")
@pytest.mark.parametrize("every", [1, 2, 3, 50])
@pytest.mark.parametrize("size", [1, 3, 64])
def test_what_comes_later_is_what_would_have_been_found_alone(trained: Callable[..., Language], every: int, size: int):
    nlp = trained()
    texts = [*TEXTS, "", " ", *(f"{text} tonight" for text in TEXTS)]
    arrivals = Arrivals(nlp, texts, every)
    found = served(nlp, arrivals, batch_size=size)
    assert set(found) == set(texts) and not any(failure for _, failure in found.values())
    for text in texts:
        alone = nlp(text)
        assert spans(found[text][0]) == spans(alone)
        assert scores(found[text][0]) == pytest.approx(scores(alone), rel=1e-4)
    assert arrivals.most <= max(size, 1) * 4


@pytest.mark.filterwarnings("ignore:.*W001:UserWarning")
def test_those_that_come_join_those_under_way(trained: Callable[..., Language]):
    """With one step between two arrivals they share steps: fewer than one after the other takes."""
    nlp = trained()
    texts = [f"{text} {number}" for number in range(4) for text in TEXTS]
    counters = ours(nlp).counters
    before = counters.steps
    for text in texts:
        nlp(text)
    one_by_one = counters.steps - before
    before = counters.steps
    arrivals = Arrivals(nlp, texts, every=2)
    assert len(served(nlp, arrivals)) == len(texts)
    assert arrivals.most > 1 and arrivals.pauses > 0
    assert counters.steps - before < 0.8 * one_by_one


def test_one_that_fails_fails_alone(trained: Callable[..., Language]):
    nlp = trained(strict=True)
    handled: list[Doc] = []
    ours(nlp).set_error_handler(lambda name, pipe, docs, error: handled.extend(docs))
    found = served(nlp, Arrivals(nlp, [TEXTS[0], LONG, TEXTS[1]], every=2))
    assert "P023" in str(found[LONG][1]) and not handled
    assert found[TEXTS[0]][1] is found[TEXTS[1]][1] is None
    assert spans(found[TEXTS[1]][0]) == spans(nlp(TEXTS[1]))


@pytest.mark.filterwarnings("ignore:.*W001:UserWarning")
def test_long_documents_come_back_whole(trained: Callable[..., Language]):
    nlp, long = trained(window=40), " . ".join(TEXTS * 6)
    with pytest.warns(UserWarning, match="W010"):
        found = served(nlp, Arrivals(nlp, [TEXTS[0], long, TEXTS[1]], every=2))
    with pytest.warns(UserWarning, match="W010"):
        alone = nlp(long)
    assert found[long][1] is None and len(spans(alone)) > 3
    assert spans(found[long][0]) == spans(alone)


class Watched:
    """The texts that go to the model: how many were asked about, and the most that were on their way at once."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.asked = self.on_the_way = self.most = 0
        self.answer = component.stream_texts
        monkeypatch.setattr(component, "stream_texts", self)

    def __call__(self, lm: Any, scheme: Any, labels: Any, texts: Any, **settings: Any) -> Iterator[Any]:
        for answered in self.answer(lm, scheme, labels, self.counted(texts), **settings):
            self.on_the_way -= 1
            yield answered

    def counted(self, texts: Any) -> Iterator[Any]:
        for text in texts:
            if text is not Pause.NOTHING_YET:
                self.asked += 1
                self.on_the_way += 1
                self.most = max(self.most, self.on_the_way)
            yield text


@pytest.mark.filterwarnings("ignore:.*W0(01|10):UserWarning")
@pytest.mark.parametrize(("size", "share"), [(3, 1), (8, 2)])
def test_a_long_document_leaves_room_for_others(
    trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch, size: int, share: int
):
    nlp, watched = trained(window=30), Watched(monkeypatch)
    served(nlp, Arrivals(nlp, [" . ".join(TEXTS * 8)], every=1), batch_size=size)
    assert watched.most == share and watched.asked > size
    list(ours(nlp).pipe([nlp.make_doc(" . ".join(TEXTS * 8))], batch_size=size))
    assert watched.most == size


@pytest.mark.filterwarnings("ignore:.*W0(01|10):UserWarning")
@pytest.mark.parametrize("size", [1, 2])
def test_no_more_long_documents_are_begun_than_there_is_room_for(trained: Callable[..., Language], size: int):
    """What is not begun waits where it is counted, and too many can be refused."""
    nlp, long = trained(window=30), " . ".join(TEXTS * 3)
    arrivals = Arrivals(nlp, [f"{long} {number}" for number in range(14)], every=1)
    found = served(nlp, arrivals, batch_size=size)
    assert set(found) == set(arrivals.texts) and not any(failure for _, failure in found.values())
    assert 4 * size <= arrivals.most <= 5 * size < 14


@pytest.mark.filterwarnings("ignore:.*W0(01|10):UserWarning")
def test_of_a_document_that_nobody_waits_for_any_more_nothing_is_read(trained: Callable[..., Language]):
    nlp = trained()
    pipe = ours(nlp)
    before = pipe.counters.documents
    found = {doc.text: failure for doc, failure in pipe.serve(map(nlp.make_doc, TEXTS), is_wanted=lambda doc: False)}
    assert set(found) == set(TEXTS) and all(isinstance(failure, Unwanted) for failure in found.values())
    assert pipe.counters.documents == before


def test_each_document_has_labels_of_its_own(trained: Callable[..., Language]):
    nlp = trained()

    def source() -> Iterator[Doc | Pause]:
        for labels in (["city"], None, ["movie"]):
            doc = nlp.make_doc(TEXTS[0])
            doc._.padellm_labels = labels
            yield doc

    counts = [set(doc.spans["sc"].attrs["counts"]) for doc, _ in ours(nlp).serve(source())]
    assert sorted(map(sorted, counts)) == [["city"], ["city", "movie"], ["movie"]]


def test_a_pipe_without_a_model_fails_each_document():
    nlp = blank({"@architectures": "spacy-padellm.FreshCausalLM.v1"})
    found = served(nlp, Arrivals(nlp, list(TEXTS), every=2))
    assert len(found) == len(TEXTS) and all("P010" in str(failure) for _, failure in found.values())
