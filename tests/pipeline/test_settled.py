"""Every entry ends once, in its place, as a document or with a reason."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.data.entries import Broken, Entry
from spacy_padellm.pipeline import settled
from spacy_padellm.pipeline.settled import Failure, settle
from tests.pipeline.makers import DATA, TEXTS, entities


def entry(text: str | Doc, number: int = 1) -> Entry:
    return Entry("a.txt", number, text, {})


BROKEN = Broken("a.txt", ValueError("[P106] not UTF-8"))


@Language.component("test_fails_at_x")
def fails_at_x(doc: Doc) -> Doc:
    if doc.text == "x":
        raise ValueError("no x, please")
    return doc


@Language.factory("test_drops_y")
class DropsY:
    def __init__(self, nlp: Language, name: str):
        pass

    def __call__(self, doc: Doc) -> Doc:
        return doc

    def pipe(self, stream: Iterator[Doc], batch_size: int) -> Iterator[Doc]:
        yield from (doc for doc in stream if doc.text != "y")


@Language.component("test_makes_new")
def makes_new(doc: Doc) -> Doc:
    return Doc(doc.vocab, words=[token.text for token in doc])


@Language.component("test_changes_text")
def changes_text(doc: Doc) -> Doc:
    new = Doc(doc.vocab, words=["other"])
    new._context = doc._context
    return new


def pipeline(*names: str) -> Language:
    nlp = spacy.blank("en")
    for name in names:
        nlp.add_pipe(name)
    return nlp


def told(outcome: Doc | Failure) -> str:
    return outcome.code if isinstance(outcome, Failure) else outcome.text


@pytest.mark.parametrize("batch_size", [1, 3, None])
@pytest.mark.parametrize("zone", [1, 2, 10_000])
def test_each_has_its_place(monkeypatch: pytest.MonkeyPatch, batch_size: int | None, zone: int):
    monkeypatch.setattr(settled, "ZONE", zone)
    texts = ["x", "a", "y", "x", "", "y", "b", "\ud800", "x", "a" * 1_000_001, "y"]
    entries = [*(entry(text, number) for number, text in enumerate(texts)), BROKEN]
    entries.insert(3, BROKEN)
    found = []
    for one, outcome in settle(pipeline("test_fails_at_x", "test_drops_y"), entries, batch_size=batch_size):
        found.append((one, told(outcome)))
    assert [one for one, _ in found] == entries
    codes = ["ValueError", "a", "P188", "P106", "ValueError", "", "P188", "b"]
    assert [code for _, code in found] == [*codes, "UnicodeEncodeError", "ValueError", "E088", "P188", "P106"]


def test_what_is_told():
    long = entry("\ud800" + "a" * 1000)
    first, second, third = (outcome for _, outcome in settle(pipeline("test_fails_at_x"), [BROKEN, entry("x"), long]))
    assert first == Failure("P106", "[P106] not UTF-8", "")
    assert second == Failure("ValueError", "no x, please", "x")
    assert third.code == "UnicodeEncodeError" and third.text == "\ud800" + "a" * 59


def test_a_changed_text_p153():
    ((_, outcome),) = settle(pipeline("test_changes_text"), [entry("Ann")])
    assert isinstance(outcome, Failure) and outcome.code == "P153" and outcome.text == "Ann"


def test_documents_of_its_own_p187():
    with pytest.raises(ValueError, match=r"\[P187\].*'Ann '"):
        list(settle(pipeline("test_makes_new"), [entry("Ann")]))


def test_lazy_and_without_end():
    nlp = pipeline("test_drops_y")
    taken = []

    def endless() -> Iterator[Entry]:
        for number in itertools.count():
            taken.append(number)
            yield entry("y" if number % 2 else "Ann")

    found = settle(nlp, endless(), batch_size=2)
    assert taken == []
    assert [told(outcome) for _, outcome in itertools.islice(found, 5)] == ["Ann", "P188", "Ann", "P188", "Ann"]
    assert len(taken) < 15


def test_words_are_forgotten(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(settled, "ZONE", 10)
    sizes = {}
    for bounded in (True, False):
        nlp = pipeline("test_fails_at_x")
        entries = [entry(f"word{number}") for number in range(100)]
        assert sum(isinstance(one, Doc) for _, one in settle(nlp, entries, bounded=bounded)) == 100
        sizes[bounded] = len(nlp.vocab.strings)
    assert sizes[True] + 100 <= sizes[False]


def test_with_a_model(trained: Callable[..., Language]):
    """The long text is the only one that has no document."""
    nlp, found = trained(), []
    long = "Show me Jaws " * 200
    for _, outcome in settle(nlp, map(entry, [TEXTS[0], long, *TEXTS[1:], ""])):
        found.append(outcome.code if isinstance(outcome, Failure) else entities(outcome))
    assert found == [DATA[0][1], "P023", *[ents for _, ents in DATA[1:]], []]


def test_documents_go_through_as_they_are(trained: Callable[..., Language]):
    nlp = trained()
    docs = [nlp.make_doc(text) for text in TEXTS]
    found = [outcome for _, outcome in settle(nlp, map(entry, docs), bounded=False)]
    assert all(one is doc for one, doc in zip(found, docs, strict=True))
    assert [entities(doc) for doc in docs] == [ents for _, ents in DATA]


def test_a_pipe_that_hands_on_what_its_error_handler_gives(monkeypatch: pytest.MonkeyPatch):
    """spaCy's entity_ruler does."""
    nlp = spacy.blank("en")
    ruler = nlp.add_pipe("entity_ruler")
    ruler.add_patterns([{"label": "PER", "pattern": "Ann"}])
    match = type(ruler).match

    def fails_at_x(self: Any, doc: Doc) -> Any:
        if doc.text == "x":
            raise ValueError("no x, please")
        return match(self, doc)

    monkeypatch.setattr(type(ruler), "match", fails_at_x)
    outcomes = [outcome for _, outcome in settle(nlp, [entry(text) for text in ("Ann", "x", "Ann")], bounded=False)]
    assert [told(outcome) for outcome in outcomes] == ["Ann", "ValueError", "Ann"]
