"""A second look at counts and dropped surplus repeats, through the whole component."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import pytest
from spacy.language import Language

from spacy_padellm.pipeline import component
from spacy_padellm.types import Answer, Answered, Branch, Finish
from tests.pipeline.makers import DATA, TEXTS, annotations, answering, answers, ours, spans

PARIS = "Paris Paris and Jaws"

Lines = list[tuple[str, float, list[tuple[str, float]]]]
"""Counts with their probabilities, each with its mentions and theirs."""


def scheme(**settings: Any) -> dict[str, Any]:
    """The scheme's block, with some settings away from their defaults."""
    prompt = {"@misc": "spacy-padellm.EnglishPrompt.v1"}
    return {"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": prompt, **settings}


@pytest.fixture
def looking(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Annotates a text with several answers for each label's count."""

    def annotate(lines: dict[str, Lines], *, looks: dict[str, Any], text: str = PARIS, **settings: Any) -> Any:
        nlp = trained(scheme=scheme(**looks), **settings)

        def fake(lm: object, scheme: Any, labels: dict[str, str], texts: Any, **_: Any) -> Iterator[Any]:
            done: list[Answered] = []
            ((number, text),) = enumerate(texts)
            for branch in scheme.ask(labels, text.string):
                for count, probability, strings in lines.get(branch.label, [("0", 0.9, [])]):
                    done.append(given(branch, count, probability))
                    asked = scheme.follow(branch, count)
                    done += [given(one, *found) for one, found in zip(asked, strings, strict=True)]
            yield number, done

        with monkeypatch.context() as patch:
            patch.setattr(component, "stream_texts", fake)
            return nlp(text)

    return annotate


def given(branch: Branch, text: str, probability: float) -> Answered:
    return Answered(branch, Answer(text, probability, Finish.END, 1))


ONE_OR_TWO: Lines = [("1", 0.5, [("and", 0.1)]), ("2", 0.4, [("Paris", 0.9), ("Paris", 0.9)])]


def test_counts_spans_and_scores_are_of_the_count_that_was_kept(looking: Callable[..., Any]):
    doc = looking({"city": ONE_OR_TWO}, looks={"second_look": 1, "look_weight": 1.0})
    group = doc.spans["sc"]
    assert spans(doc) == [(0, 5, "city"), (6, 11, "city")]
    assert group.attrs["counts"] == {"city": 2, "movie": 0}
    assert group.attrs["scores"].tolist() == pytest.approx([0.9, 0.9])
    assert group.attrs["count_scores"].tolist() == pytest.approx([0.4, 0.4])


def test_save_io_says_what_was_passed_over(looking: Callable[..., Any]):
    looks = {"second_look": 1, "look_weight": 1.0}
    lines = looking({"city": ONE_OR_TWO}, looks=looks, save_io=True).user_data["llm_io"]["padellm_ner"]
    passed_over = [line.get("passed_over", False) for line in lines]
    assert [line["response"] for line in lines] == ["1", "and", "2", "Paris", "Paris", "0"]
    assert passed_over == [True, True, False, False, False, False]


def test_drop_surplus(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    """The count is lowered, the spans stay as they are, and the repeat is still reported."""
    script = {("movie", 0): "2", ("movie", 1): "Jaws", ("movie", 2): "Jaws"}
    found = []
    for drop in (False, True):
        nlp = trained(scheme=scheme(drop_surplus=drop))
        with answering(monkeypatch, script), pytest.warns(UserWarning, match=r"W001.*1 repeats"):
            found.append(nlp(PARIS))
    assert [doc.spans["sc"].attrs["counts"]["movie"] for doc in found] == [2, 1]
    assert spans(found[0]) == spans(found[1]) == [(16, 20, "movie")]
    assert found[1].spans["sc"].attrs["surplus"] == [["movie", "Jaws", 2]]


def test_with_the_options_off_nothing_changes(trained: Callable[..., Language]):
    """Answers, figures and cost are the same, and so they are with looks that find nothing probable enough."""
    plain, off, blind = (
        trained(**settings)
        for settings in (
            {},
            {"scheme": scheme(second_look=0, look_floor=0.0, look_weight=3.0)},
            {"scheme": scheme(second_look=3, look_floor=1.0)},
        )
    )
    assert answers(plain) == answers(off) == answers(blind)
    assert ours(plain).counters == ours(off).counters == ours(blind).counters
    assert annotations(plain) == annotations(off) == annotations(blind)


@pytest.mark.parametrize("constrain", [True, False], ids=["held", "free"])
def test_a_trained_pipe_looks_and_keeps_what_it_knows(trained: Callable[..., Language], constrain: bool):
    """Several documents in a batch: more answers, at no step more than their mentions take, and the same spans."""
    plain = trained(constrain=constrain)
    looking = trained(constrain=constrain, scheme=scheme(second_look=2, look_floor=0.0, look_weight=0.2))
    found, looked = answers(plain), answers(looking)
    assert all(len(one) > len(other) for one, other in zip(looked, found, strict=True))
    for one, other in zip(looked, found, strict=True):
        assert {answer for answer in one if not answer[1]} > {answer for answer in other if not answer[1]}
    assert ours(looking).counters.pieces > ours(plain).counters.pieces
    assert [spans(doc) for doc in looking.pipe(TEXTS)] == [ents for _, ents in DATA]
