"""The schemes beside PaDeLLM in the component: trained, saved, held to the text, and what is lost is told."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from typing import Any

import pytest
import spacy
from spacy.language import Language
from spacy.training import Example

from spacy_padellm.types import Finish
from tests.pipeline.makers import (
    DATA,
    TEXTS,
    Gold,
    annotations,
    answering,
    answers,
    blank,
    block,
    entities,
    examples,
    ours,
    spans,
    train,
    weights,
)

SCHEMES = ("OneStep", "AutoRegStruct", "AutoRegAug")
each_scheme = pytest.mark.parametrize("name", SCHEMES)


def without_blanks(found: list[list[tuple[str, int, str, float]]]) -> list[list[str]]:
    """The answers; a fresh tokenizer gives free ones a blank too many where a string of the text begins."""
    return [["".join(text.split()) for _, _, text, _ in one] for one in found]


@each_scheme
def test_it_learns_and_finds_in_any_batch_held_or_free(learnt: Callable[..., Language], name: str):
    nlp = learnt(name)
    for made in (nlp, learnt(name, constrain=False), learnt(name, max_row=5)):
        assert [entities(doc) for doc in made.pipe(TEXTS)] == [ents for _, ents in DATA]
        assert without_blanks(answers(made)) == without_blanks(answers(nlp))
    assert [annotations(nlp, [text])[0] for text in TEXTS] == annotations(nlp)


@pytest.mark.parametrize("name", ["PaDeLLM", *SCHEMES])
def test_it_learns_with_the_compact_prompt(name: str, tmp_path: Any):
    """And finds the same in any batch, label by label, and after it was saved."""
    nlp = train(blank(scheme=block(name, prompt="Compact")))
    nlp.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert ours(loaded).scheme == ours(nlp).scheme != ours(blank(scheme=block(name))).scheme
    assert [entities(doc) for doc in loaded.pipe(TEXTS)] == [ents for _, ents in DATA]
    assert [annotations(nlp, [text])[0] for text in TEXTS] == annotations(loaded)
    grouped = blank(scheme=block(name, prompt="Compact"), labels_at_once=1)
    ours(grouped).from_bytes(ours(nlp).to_bytes())
    assert annotations(grouped) == annotations(loaded)


@each_scheme
def test_a_pipe_on_disk_is_the_same(learnt: Callable[..., Language], name: str, tmp_path: Any):
    nlp = learnt(name)
    nlp.to_disk(tmp_path / "pipeline")
    loaded = spacy.load(tmp_path / "pipeline")
    assert ours(loaded).scheme == ours(nlp).scheme
    assert annotations(loaded) == annotations(nlp)


@each_scheme
def test_the_loss_is_finite_and_training_changes_weights(name: str):
    nlp = blank(scheme=block(name), copy_share=0.5, label_draw={"@misc": "spacy-padellm.LabelDraw.v1"})
    optimizer = nlp.initialize(lambda: examples(nlp))
    before = weights(nlp)
    loss = nlp.update(examples(nlp), sgd=optimizer)["padellm_ner"]
    assert 0 < loss < 20
    assert any((weight != before[key]).any() for key, weight in weights(nlp).items())
    assert ours(nlp).get_loss(examples(nlp))[0] > 0


@each_scheme
def test_a_model_that_knows_nothing_still_answers_with_strings_of_the_text(name: str):
    """However its answers end; those that reach the limit are counted and keep what is complete."""
    nlp = blank(scheme=block(name))
    nlp.initialize(lambda: examples(nlp))
    texts = [*TEXTS, 'Is "Jaws" (or [Jaws | x]) \\ on?', "  isn't\n\n Paris  "]
    docs = [nlp.make_doc(text) for text in texts]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        found = ours(nlp).predict(docs)
    for doc, annotation in zip(docs, found, strict=True):
        reading = ours(nlp).scheme.read(annotation.answered)
        inside = {doc[start:end].text for start in range(len(doc)) for end in range(start + 1, len(doc) + 1)}
        assert {mention.string for mention in reading.mentions} <= inside
        finished = all(answer.finish is Finish.END for _, answer in annotation.answered)
        assert finished == (reading.unreadable == ())
    assert ours(nlp)._lost.unplaced == 0


def test_marked_text_says_where_a_repeated_string_stands():
    data: list[Gold] = [("Paris saw Jaws in Paris", [(10, 14, "movie"), (18, 23, "city")])]
    nlp = train(blank(scheme=block("AutoRegAug")), data)
    assert spans(nlp(data[0][0])) == data[0][1]


@pytest.mark.parametrize("name", ["AutoRegStruct", "AutoRegAug"])
def test_labels_without_mentions_and_nested_ones(name: str):
    nlp = blank(scheme=block(name))

    def nested() -> list[Example]:
        found = examples(nlp, [("the Paris Zoo", []), ("a dog", [])])
        doc = found[0].reference
        doc.spans["sc"] = [doc.char_span(0, 13, label="place"), doc.char_span(4, 9, label="city")]
        found[1].reference.spans["sc"] = []
        return found

    optimizer = nlp.initialize(nested)
    optimizer.learn_rate = 0.01
    expected = [(0, 13, "place"), (4, 9, "city")]
    for _ in range(100):
        nlp.update(nested(), sgd=optimizer)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            found = [spans(doc) for doc in nlp.pipe(["the Paris Zoo", "a dog"])]
        if found == [expected, []]:
            return
    raise AssertionError(f"not learnt: {found}")


def test_gold_that_cannot_be_marked_is_told_w004():
    nlp = blank(scheme=block("AutoRegAug"))

    def crossing() -> list[Example]:
        (found,) = examples(nlp, [("the Paris Zoo", [])])
        doc = found.reference
        doc.spans["sc"] = [doc.char_span(0, 9, label="city"), doc.char_span(4, 13, label="place")]
        return [found]

    with pytest.warns(UserWarning, match=r"\[W004\] 1 of 2 gold mentions .* instance place: 'Paris Zoo'\."):
        nlp.initialize(crossing)
    assert nlp.update(crossing())["padellm_ner"] > 0


DAMAGED = {
    "OneStep": ("city", '["Paris", "Pa', "2 unreadable answers", 'city: \'["Paris", "Pa\''),
    "AutoRegStruct": ("", "((city): (Paris), (movie", "1 unreadable answers", "'((city): (Paris), (movie'"),
    "AutoRegAug": ("", "[Paris | city] Paris and Jaws [", "1 unreadable answers", "'['"),
}


@each_scheme
def test_damaged_answers_w001(
    learnt: Callable[..., Language], monkeypatch: pytest.MonkeyPatch, name: str, recwarn: pytest.WarningsRecorder
):
    """What is sound in them is placed."""
    label, answer, counted, example = DAMAGED[name]
    nlp = learnt(name, placing="strict")
    with answering(monkeypatch, {(label, 0): answer}):
        doc = nlp("Paris Paris and Jaws")
    assert spans(doc) == [(0, 5, "city")]
    (told,) = [str(warning.message) for warning in recwarn]
    assert counted in told
    assert told.endswith(f"For instance {example}.")


@pytest.mark.parametrize("name", ["AutoRegStruct", "AutoRegAug"])
def test_labels_with_the_same_words_p017(name: str):
    nlp = blank(scheme=block(name))
    with pytest.raises(ValueError, match=r"\[P017\]"):
        ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels={"city": "thing", "movie": "thing"})


def test_a_long_answer_is_not_shown_as_a_whole(learnt: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    script = {("", 0): "((city): (Paris" + " Paris" * 100}
    with answering(monkeypatch, script), pytest.warns(UserWarning, match=r"instance '.{76}\.\.\.\.$"):
        learnt("AutoRegStruct")("Paris Paris and Jaws")
