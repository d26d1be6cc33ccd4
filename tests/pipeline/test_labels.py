"""Which labels are asked about: in training, where some are drawn, and at prediction, where they may be replaced."""

from __future__ import annotations

import random
import warnings
from collections.abc import Callable
from typing import Any

import pytest
import srsly
from spacy.language import Language

from spacy_padellm.engine import fresh
from spacy_padellm.model import sources
from spacy_padellm.pipeline import component
from spacy_padellm.pipeline.labels import enumerated
from spacy_padellm.training.targets import TargetTree, grow_gold
from spacy_padellm.types import Mention
from tests.pipeline.makers import (
    DATA,
    TEXTS,
    Gold,
    answering,
    answers,
    blank,
    entities,
    examples,
    ours,
    same_weights,
    spans,
    weights,
)

SCHEMES = ["PaDeLLM", "OneStep", "AutoRegStruct", "AutoRegAug"]
each_scheme = pytest.mark.parametrize("name", SCHEMES)


@pytest.fixture(autouse=True)
def seeded() -> None:
    random.seed(7)


def draw(**settings: Any) -> dict[str, Any]:
    return {"@misc": "spacy-padellm.LabelDraw.v1", **settings}


def scheme(name: str) -> dict[str, Any]:
    return {"@misc": f"spacy-padellm.{name}.v1", "prompt": {"@misc": "spacy-padellm.EnglishPrompt.v1"}}


@pytest.fixture
def grown(monkeypatch: pytest.MonkeyPatch) -> list[tuple[dict[str, str], list[Mention]]]:
    """What every training tree was grown from: labels with words, and gold mentions."""
    calls: list[tuple[dict[str, str], list[Mention]]] = []

    def noting(scheme: Any, labels: Any, text: str, gold: Any, *rest: Any, **settings: Any) -> TargetTree:
        calls.append((dict(labels), list(gold)))
        return grow_gold(scheme, labels, text, gold, *rest, **settings)

    monkeypatch.setattr(component, "grow_gold", noting)
    return calls


def initialised(data: list[Gold] = DATA, *, labels: Any = None, train_labels: Any = None, **settings: Any) -> Language:
    nlp = blank(**settings)
    ours(nlp).initialize(lambda: examples(nlp, data), nlp=nlp, labels=labels, train_labels=train_labels)
    return nlp


# The draw in training


def test_without_a_draw_all_labels_are_asked_in_order(grown: list[Any]):
    nlp = initialised()
    nlp.update(examples(nlp))
    assert [list(labels) for labels, _ in grown] == [["city", "movie"]] * len(DATA)


def test_absent_labels_make_trees_larger(trained: Callable[..., Language]):
    def pieces(nlp: Language) -> int:
        return sum(len(tree.tree) for tree in ours(nlp)._trees(examples(nlp)))

    none, one, many = (pieces(trained(label_draw=draw(absent=absent))) for absent in (0, 1, 9))
    assert none < one < many == pieces(trained())


def test_texts_about_which_nothing_is_asked_teach_nothing(trained: Callable[..., Language]):
    nlp = trained(label_draw=draw(absent=0))
    before = weights(nlp)
    assert nlp.update(examples(nlp, [("nothing here", [])])) == {"padellm_ner": 0.0}
    assert ours(nlp).get_loss(examples(nlp, [("nothing here", [])]))[0] == 0.0
    assert same_weights(before, weights(nlp))


def test_absent_labels_come_by_their_frequency_in_the_examples(grown: list[Any]):
    data: list[Gold] = [*[("Paris", [(0, 5, "city")])] * 8, ("Jaws", [(0, 4, "movie")]), ("nothing", [])]
    nlp = initialised(data, label_draw=draw(absent=1))
    assert ours(nlp).cfg["frequencies"] == {"city": 8, "movie": 1}
    for _ in range(20):
        ours(nlp)._trees(examples(nlp, [("nothing", [])] * 10))
    assert 0.8 < sum("city" in labels for labels, _ in grown) / 200 < 0.96
    grown.clear()
    nlp = initialised(data, label_draw=draw(absent=1, sampling="uniform"))
    for _ in range(20):
        ours(nlp)._trees(examples(nlp, [("nothing", [])] * 10))
    assert 0.35 < sum("city" in labels for labels, _ in grown) / 200 < 0.65


@each_scheme
def test_labels_that_are_not_asked_are_in_no_answer(name: str, grown: list[Any]):
    """With dropout one of the two labels is left out at times: the tree is the one of a text without its mentions."""
    nlp = initialised(scheme=scheme(name), label_draw=draw(absent=0, dropout=0.5))
    seen = set()
    for _ in range(12):
        (example,) = examples(nlp, [DATA[2]])
        trees = ours(nlp)._trees([example])
        labels, gold = grown[-1]
        seen.add(tuple(labels))
        assert [mention.label for mention in gold] == [label for *_, label in DATA[2][1] if label in labels]
        # The same text, annotated with nothing but what was asked, and all asked about.
        plain = blank(scheme=scheme(name))
        ours(plain).model = ours(nlp).model
        for label in labels:
            ours(plain).add_label(label)
        kept = [(DATA[2][0], [ent for ent in DATA[2][1] if ent[2] in labels])]
        expected = ours(plain)._trees(examples(plain, kept)) if labels else []
        assert [tree.tree.pieces for tree in trees] == [tree.tree.pieces for tree in expected]
        assert [tree.pieces.tolist() for tree in trees] == [tree.pieces.tolist() for tree in expected]
    assert {("city",), ("movie",), ("city", "movie")} <= seen


def test_shuffle_reaches_the_tree(grown: list[Any]):
    nlp = initialised(label_draw=draw(absent=9, shuffle=True), scheme=scheme("AutoRegStruct"))
    ours(nlp)._trees(examples(nlp, [DATA[0]] * 30))
    assert {tuple(labels) for labels, _ in grown} == {("city", "movie"), ("movie", "city")}


def test_the_draw_follows_the_seed(grown: list[Any]):
    nlp = initialised(label_draw=draw(absent=1, dropout=0.4))
    for seed in (3, 3, 4):
        random.seed(seed)
        ours(nlp)._trees(examples(nlp, DATA * 10))
    asked = [list(labels) for labels, _ in grown]
    third = len(asked) // 3
    assert asked[:third] == asked[third : 2 * third] != asked[2 * third :]


# Labels that only training asks about


@pytest.mark.filterwarnings("ignore:.*W001")
def test_train_labels_are_what_training_asks_and_labels_what_prediction_asks(grown: list[Any]):
    nlp = initialised(labels=["place"], train_labels={"city": "a town", "movie": None})
    assert ours(nlp).labels == ("place",)
    nlp.update(examples(nlp, [DATA[0]]))
    assert grown[0][0] == {"city": "a town", "movie": "movie"}
    assert {label for one in answers(nlp) for label, *_ in one} == {"place"}


@pytest.mark.filterwarnings("error:.*W00")
def test_labels_default_to_train_labels_and_those_may_be_unused(grown: list[Any]):
    nlp = initialised(train_labels=["movie", "city", "person"])
    assert ours(nlp).labels == ("movie", "city", "person")


def test_unused_and_unknown_labels_are_still_told():
    with pytest.warns(UserWarning, match=r"\[W002\].*: person\."):
        initialised(labels=["movie", "city", "person"])
    with pytest.warns(UserWarning, match=r"\[W003\].*: city\."):
        initialised(labels=["place"], train_labels=["movie"])


def test_messages_name_the_first_of_very_many():
    labels = [f"l{number}" for number in range(25)]
    assert enumerated(labels).endswith("l19 and 5 more")
    assert enumerated(labels[:2]) == "l0, l1"


@pytest.mark.parametrize("given", [{"labels": []}, {"labels": ["a"], "train_labels": []}])
def test_no_labels_p011(given: dict[str, Any]):
    with pytest.raises(ValueError, match=r"\[P011\]"):
        initialised(**given)


@pytest.mark.parametrize("setting", ["labels", "train_labels"])
@pytest.mark.parametrize(
    ("wrong", "code"), [("city", "P016"), ({"city": 3}, "P016"), (["a", " "], "P015"), (3, "P016")]
)
def test_wrong_labels_change_nothing(setting: str, wrong: Any, code: str):
    nlp = blank()
    with pytest.raises(ValueError, match=rf"\[{code}\]"):
        ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, **{"labels": ["ok"], setting: wrong})
    assert ours(nlp).labels == ()
    assert ours(nlp).cfg["train_labels"] is None


def test_the_pool_is_saved_with_the_pipe(grown: list[Any]):
    nlp = initialised(labels=["place"], train_labels=["city", "movie"], label_draw=draw())
    again = blank(label_draw=draw())
    ours(again).from_bytes(ours(nlp).to_bytes())
    assert ours(again).cfg == ours(nlp).cfg
    assert ours(again).cfg["frequencies"] == {"city": 3, "movie": 3}
    again.update(examples(again, [DATA[0]]))
    assert list(grown[-1][0]) == ["city", "movie"]


def test_thirteen_thousand_labels(grown: list[Any], monkeypatch: pytest.MonkeyPatch):
    """Neither initialising nor an update asks about all of them, and the tokenizer is trained on a bounded part."""
    many = [f"type {number}" for number in range(13_000)]
    segments: list[str] = []
    train = fresh.train_tokenizer
    monkeypatch.setattr(
        sources, "train_tokenizer", lambda texts, asked, size: segments.extend(asked) or train(texts, asked, size)
    )
    nlp = initialised(labels=["city"], train_labels=[*many, "movie", "city"], label_draw=draw(absent=3))
    assert 200 <= len(segments) < 250
    # The labels that texts have come first.
    assert any("movie" in segment for segment in segments)
    nlp.update(examples(nlp))
    assert [len(labels) for labels, _ in grown] == [5, 5, 5, 3]


# Other labels at prediction


def test_set_labels_replaces_what_is_asked(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    ours(nlp).set_labels({"movie": None, "town": "city"})
    assert ours(nlp).labels == ("movie", "town")
    assert "town" in nlp.vocab.strings
    # The model has learnt "city", and is asked about it under another name.
    expected = [(start, end, {"city": "town"}.get(label, label)) for start, end, label in DATA[1][1]]
    assert sorted(spans(nlp(TEXTS[1]))) == sorted(expected)
    ours(nlp).set_labels(["town"])
    with answering(monkeypatch, {("town", 0): "1", ("town", 1): "Jaws"}):
        assert entities(nlp(TEXTS[1])) == [(8, 12, "town")]


@pytest.mark.parametrize(
    ("wrong", "code"),
    [([], "P011"), ({}, "P011"), ("city", "P016"), (None, "P016"), (["a", ""], "P015"), ({"a": " "}, "P016")],
)
def test_wrong_labels_leave_those_that_are_there(trained: Callable[..., Language], wrong: Any, code: str):
    nlp = trained()
    with pytest.raises(ValueError, match=rf"\[{code}\]"):
        ours(nlp).set_labels(wrong)
    assert ours(nlp).labels == ("city", "movie")


def test_labels_that_the_scheme_cannot_tell_apart_p017():
    nlp = initialised(scheme=scheme("AutoRegStruct"))
    with pytest.raises(ValueError, match=r"\[P017\]"):
        ours(nlp).set_labels({"a": "thing", "b": "thing"})
    assert ours(nlp).labels == ("city", "movie")


def test_other_labels_are_saved(trained: Callable[..., Language], tmp_path: Any):
    nlp = trained()
    ours(nlp).set_labels({"town": "city"})
    ours(nlp).to_disk(tmp_path / "pipe")
    again = trained()
    ours(again).from_disk(tmp_path / "pipe")
    assert ours(again).label_data == {"town": "city"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert answers(again) == answers(nlp)


def test_a_label_added_to_a_loaded_pipe_is_asked_about(trained: Callable[..., Language], grown: list[Any]):
    nlp = trained()
    assert ours(nlp).add_label("person") == 1
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        assert {label for label, *_ in answers(nlp, TEXTS[:1])[0]} == {"city", "movie", "person"}
    nlp.update(examples(nlp, [DATA[0]]))
    assert list(grown[0][0]) == ["city", "movie", "person"]


def test_set_labels_reads_what_the_file_has(trained: Callable[..., Language], tmp_path: Any):
    srsly.write_json(tmp_path / "labels.json", {"town": "city"})
    nlp = trained()
    ours(nlp).set_labels(srsly.read_json(tmp_path / "labels.json"))
    assert ours(nlp).label_data == {"town": "city"}
