"""Labels of a document: where they may come from, and that each document is asked about its own."""

from __future__ import annotations

import json
import subprocess
import sys
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.types import Answered
from tests.pipeline.makers import TEXTS, blank, examples, ours, spans

Answers = list[tuple[str, int, str, float]]


@pytest.fixture
def nlp(trained: Callable[..., Language]) -> Language:
    return trained(labels_from_context="labels")


def doc_with(nlp: Language, text: str, labels: Any) -> Doc:
    doc = nlp.make_doc(text)
    doc._.padellm_labels = labels
    return doc


def read(answered: Sequence[Answered]) -> Answers:
    return [(branch.label, branch.ordinal, answer.text, round(answer.probability, 4)) for branch, answer in answered]


def answers(nlp: Language, docs: Sequence[Doc]) -> list[Answers]:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return [read(one.answered) for one in ours(nlp).predict(docs)]


def questions(nlp: Language, doc: Doc) -> list[str]:
    (one,) = ours(nlp).predict([doc])
    return [branch.question for branch, _ in one.answered if branch.parent is None]


def test_without_labels_of_its_own_a_document_is_asked_about_the_pipes(nlp: Language):
    assert nlp.make_doc("text")._.padellm_labels is None
    assert spans(nlp(TEXTS[1])) == [(8, 12, "movie"), (16, 21, "city")]


def test_a_list_of_names(nlp: Language):
    assert spans(nlp(doc_with(nlp, TEXTS[1], ["city"]))) == [(16, 21, "city")]
    assert spans(nlp(doc_with(nlp, TEXTS[1], ("movie",)))) == [(8, 12, "movie")]


def test_names_that_the_pipe_has_are_asked_as_the_pipe_asks_them(nlp: Language):
    ours(nlp).set_labels({"city": "town", "movie": {"description": "a film"}})
    asked = questions(nlp, doc_with(nlp, "text", ["movie", "city", "person"]))
    expected = ["movie: a film", "town", "person"]
    assert asked == [f"entity type:\n{one}\n\n<num>" for one in expected]


def test_names_that_only_training_asks_about_are_asked_in_its_words():
    nlp = blank()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=["movie"], train_labels={"city": "town"})
        assert questions(nlp, doc_with(nlp, "text", ["city"])) == ["entity type:\ntown\n\n<num>"]


def test_a_document_may_say_how_it_asks(nlp: Language):
    doc = doc_with(nlp, TEXTS[1], {"place": "city", "city": None, "film": {"words": "movie", "threshold": 1.0}})
    assert sorted(spans(nlp(doc))) == [(16, 21, "city"), (16, 21, "place")]
    assert [row[2] for row in doc.spans["sc"].attrs["below_threshold"]] == ["film"]
    # Nothing of it stays with the pipe.
    assert ours(nlp).labels == ("city", "movie")
    assert spans(nlp(TEXTS[1])) == [(8, 12, "movie"), (16, 21, "city")]


def test_no_labels_at_all_ask_nothing(nlp: Language):
    (doc,) = nlp.pipe([doc_with(nlp, TEXTS[1], [])])
    assert spans(doc) == [] and doc.spans["sc"].attrs["counts"] == {}


def test_a_pipe_without_labels_asks_about_those_of_documents(nlp: Language):
    ours(nlp).cfg["labels"].clear()
    assert spans(nlp(doc_with(nlp, TEXTS[1], ["city"]))) == [(16, 21, "city")]
    with pytest.raises(ValueError, match=r"\[P011\]"):
        nlp(TEXTS[1])


def test_what_a_document_is_asked_does_not_depend_on_its_neighbours(nlp: Language):
    """Different labels in one forest, and in every order, give what each document gives alone."""
    given: list[Any] = [["city"], ["movie"], None, {"town": "city"}, [], ["movie", "city", "person"], ["city"], None]
    pairs = [(TEXTS[place % len(TEXTS)], labels) for place, labels in enumerate(given)]
    alone = [answers(nlp, [doc_with(nlp, *pair)])[0] for pair in pairs]
    assert answers(nlp, [doc_with(nlp, *pair) for pair in pairs]) == alone
    assert answers(nlp, [doc_with(nlp, *pair) for pair in pairs[::-1]]) == alone[::-1]
    assert len({str(one) for one in alone}) == len(pairs)


# Contexts


@pytest.mark.filterwarnings("ignore:.*W001")
@pytest.mark.parametrize("batch_size", [1, 4])
def test_contexts_have_the_labels_of_their_documents(nlp: Language, batch_size: int):
    contexts: list[Any] = [{"labels": ["city"], "id": 1}, {"labels": None}, {"id": 3}, None, {"labels": {"x": "movie"}}]
    found = list(nlp.pipe([(TEXTS[1], one) for one in contexts], as_tuples=True, batch_size=batch_size))
    assert [context for _, context in found] == contexts
    both = [(8, 12, "movie"), (16, 21, "city")]
    assert [spans(doc) for doc, _ in found] == [[(16, 21, "city")], both, both, both, [(8, 12, "x")]]


def test_contexts_are_left_alone_unless_they_are_asked_for(trained: Callable[..., Language]):
    nlp = trained()
    ((doc, _),) = nlp.pipe([(TEXTS[1], {"labels": ["city"]})], as_tuples=True)
    assert spans(doc) == [(8, 12, "movie"), (16, 21, "city")]
    assert len(list(nlp.pipe([(TEXTS[1], "a context of another kind")], as_tuples=True))) == 1


def test_another_key(trained: Callable[..., Language]):
    nlp = trained(labels_from_context="types")
    ((doc, _),) = nlp.pipe([(TEXTS[1], {"labels": ["movie"], "types": ["city"]})], as_tuples=True)
    assert spans(doc) == [(16, 21, "city")]


def test_the_attribute_goes_before_the_context(nlp: Language):
    doc = doc_with(nlp, TEXTS[1], ["movie"])
    ((found, _),) = nlp.pipe([(doc, {"labels": ["city"]})], as_tuples=True)
    assert spans(found) == [(8, 12, "movie")]


IN_TWO_PROCESSES = """
import json, sys
import spacy

if __name__ == "__main__":
    nlp = spacy.load(sys.argv[1])
    docs = [nlp.make_doc(sys.argv[2]) for _ in range(4)]
    docs[1]._.padellm_labels = ["city"]
    docs[2]._.padellm_labels = {"film": {"words": "movie"}}
    pairs = [(doc, {"labels": ["movie"]} if place == 3 else None) for place, doc in enumerate(docs)]
    found = nlp.pipe(pairs, as_tuples=True, n_process=2, batch_size=2)
    print(json.dumps([[span.label_ for span in doc.spans["sc"]] for doc, _ in found]))
"""


def test_labels_of_documents_reach_other_processes(nlp: Language, tmp_path: Path):
    nlp.to_disk(tmp_path / "saved")
    script = tmp_path / "two.py"
    script.write_text(IN_TWO_PROCESSES)
    command = [sys.executable, str(script), str(tmp_path / "saved"), TEXTS[1]]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    assert json.loads(done.stdout.splitlines()[-1]) == [["movie", "city"], ["city"], ["film"], ["movie"]]


# What is wrong


@pytest.mark.parametrize(
    ("labels", "code"),
    [
        ("city", "P016"),
        (3, "P016"),
        ([" "], "P015"),
        ({"city": 3}, "P016"),
        ({"city": {"unheard of": 3}}, "P190"),
    ],
)
def test_wrong_labels_fail_alone(nlp: Language, labels: Any, code: str):
    met: list[tuple[str, str]] = []
    nlp.set_error_handler(lambda name, pipe, docs, error: met.append((docs[0].text, str(error))))
    docs = [nlp.make_doc(TEXTS[1]), doc_with(nlp, TEXTS[2], labels), nlp.make_doc(TEXTS[0])]
    assert [doc.text for doc in nlp.pipe(docs)] == [TEXTS[1], TEXTS[0]]
    ((text, told),) = met
    assert text == TEXTS[2] and told.startswith(f"[{code}]")
    with pytest.raises(ValueError, match=rf"\[{code}\]"):
        ours(nlp).predict(docs)


@pytest.mark.parametrize("context", ["city", ["city"], 5])
def test_contexts_without_keys_p191(nlp: Language, context: Any):
    met: list[str] = []
    nlp.set_error_handler(lambda name, pipe, docs, error: met.append(str(error)))
    found = list(nlp.pipe([(TEXTS[1], context), (TEXTS[0], None)], as_tuples=True))
    assert [doc.text for doc, _ in found] == [TEXTS[0]]
    assert len(met) == 1 and met[0].startswith("[P191]") and f"type {type(context).__name__}" in met[0]


def test_labels_that_the_scheme_cannot_tell_apart_fail_alone():
    prompt = {"@misc": "spacy-padellm.EnglishPrompt.v1"}
    nlp = blank(scheme={"@misc": "spacy-padellm.AutoRegStruct.v1", "prompt": prompt})
    nlp.initialize(lambda: examples(nlp))
    met: list[str] = []
    nlp.set_error_handler(lambda name, pipe, docs, error: met.append(str(error)))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = list(nlp.pipe([doc_with(nlp, "one text", {"a": "thing", "b": "thing"}), nlp.make_doc("another")]))
    assert [doc.text for doc in found] == ["another"]
    assert len(met) == 1 and met[0].startswith("[P017]")
