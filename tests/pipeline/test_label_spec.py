"""All that may be said about a label, wherever labels are given, and what each part of it does."""

from __future__ import annotations

import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import srsly
from confection import Config
from spacy import displacy
from spacy.cli.init_pipeline import init_labels_cli
from spacy.language import Language

from spacy_padellm.cli.evaluate import ask_about
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.pipeline.colours import displacy_options, palette
from spacy_padellm.pipeline.label_spec import LabelSpec
from spacy_padellm.types import Mention, Wording
from tests.pipeline.makers import TEXTS, answering, answers, blank, examples, ours, spans, write_docs

SPEC: dict[str, Any] = {
    "words": "title of a film",
    "description": "a film, by its name",
    "examples": ["Jaws", "The Ghost"],
    "colour": "#ffd966",
    "threshold": 0.25,
}
LABELS: dict[str, Any] = {"movie": SPEC, "city": "town", "actor": None}
EXPLAINED = "title of a film: a film, by its name (e.g. Jaws, The Ghost)"


def scheme(name: str, prompt: str = "English") -> dict[str, Any]:
    return {"@misc": f"spacy-padellm.{name}.v1", "prompt": {"@misc": f"spacy-padellm.{prompt}Prompt.v1"}}


def asked(nlp: Language) -> list[str]:
    """The first questions about a text."""
    (one,) = ours(nlp).predict([nlp.make_doc("A text")])
    return [branch.question for branch, _ in one.answered if branch.parent is None]


@pytest.fixture
def initialised() -> Callable[..., Language]:
    def make(labels: Any = LABELS, **settings: Any) -> Language:
        nlp = blank(**settings)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=labels)
        return nlp

    return make


# Where a spec may be given


def test_add_label_takes_a_spec_in_both_ways():
    nlp = blank()
    assert ours(nlp).add_label("movie", **SPEC) == ours(nlp).add_label("film", SPEC) == 1
    assert ours(nlp).add_label("movie", "other words") == 0
    assert ours(nlp).add_label("city", "town", colour="#fff") == 1
    assert ours(nlp).label_data == {"movie": SPEC, "film": SPEC, "city": {"words": "town", "colour": "#fff"}}


def test_a_spec_with_nothing_but_words_is_kept_as_words():
    nlp = blank()
    ours(nlp).set_labels({"a": {"words": "thing"}, "b": {}, "c": {"examples": [], "description": None}})
    assert ours(nlp).label_data == {"a": "thing", "b": None, "c": None}
    ours(nlp).set_labels({"b": {}})
    assert ours(nlp).label_data == ["b"]


def test_a_block_of_initialize_takes_specs(tmp_path: Path):
    nlp = blank()
    text = """
    [initialize]

    [initialize.components]

    [initialize.components.padellm_ner]

    [initialize.components.padellm_ner.labels]
    city = null

    [initialize.components.padellm_ner.labels.movie]
    words = "title of a film"
    description = "a film, by its name"
    examples = ["Jaws", "The Ghost"]
    colour = "#ffd966"
    threshold = 0.25
    """
    nlp.config["initialize"]["components"] = Config().from_str(text)["initialize"]["components"]
    nlp.initialize(lambda: examples(nlp))
    assert ours(nlp).label_data == {"city": None, "movie": SPEC}


@pytest.mark.filterwarnings("ignore:.*W00")
def test_init_labels_writes_what_initialize_reads(tmp_path: Path):
    nlp = blank()
    corpus = {"@readers": "spacy.Corpus.v1", "path": str(write_docs(tmp_path / "train.spacy"))}
    config = nlp.config.copy()
    config["corpora"] = {"train": corpus, "dev": corpus}
    config["initialize"]["components"] = {"padellm_ner": {"labels": LABELS}}
    config.to_disk(tmp_path / "config.cfg")
    init_labels_cli(Context(), tmp_path / "config.cfg", tmp_path / "labels", code_path=None, verbose=False, use_gpu=-1)
    written = read_labels_v1(path=tmp_path / "labels" / "padellm_ner.json")
    assert written == LABELS
    again = blank()
    again.config["initialize"]["components"]["padellm_ner"] = {"labels": written}
    again.initialize(lambda: examples(again))
    assert ours(again).label_data == LABELS


class Context:
    args: tuple[str, ...] = ()


def test_files_of_labels_take_specs(initialised: Callable[..., Language], tmp_path: Path):
    srsly.write_json(tmp_path / "labels.json", {"movie": SPEC})
    nlp = initialised()
    ask_about(nlp, read_labels_v1(path=tmp_path / "labels.json"))
    assert ours(nlp).label_data == {"movie": SPEC}


@pytest.mark.filterwarnings("ignore:.*W00")
def test_specs_are_saved_with_the_pipe(initialised: Callable[..., Language], tmp_path: Path):
    nlp = initialised()
    nlp.to_disk(tmp_path / "saved")
    for again in (blank().from_disk(tmp_path / "saved"), blank().from_bytes(nlp.to_bytes())):
        assert ours(again).label_data == LABELS
        assert answers(again) == answers(nlp)
        assert ours(again).displacy_options() == ours(nlp).displacy_options()


@pytest.mark.filterwarnings("ignore:.*W00")
def test_pipes_that_were_saved_before_there_were_specs(initialised: Callable[..., Language], tmp_path: Path):
    nlp = initialised({"movie": "film", "city": None})
    ours(nlp).to_disk(tmp_path / "pipe")
    cfg = srsly.read_json(tmp_path / "pipe" / "cfg")
    srsly.write_json(tmp_path / "pipe" / "cfg", {name: cfg[name] for name in ("labels", "train_labels", "frequencies")})
    again = blank()
    ours(again).cfg["calibration"] = {"slope": 2.0, "offset": 0.0}
    ours(again).from_disk(tmp_path / "pipe")
    assert ours(again).calibration is None
    assert ours(again).label_data == {"movie": "film", "city": None}
    assert answers(again) == answers(nlp)


# What it does to the questions


@pytest.mark.filterwarnings("ignore:.*W001")
@pytest.mark.parametrize(
    ("name", "prompt", "questions"),
    [
        ("PaDeLLM", "English", [f"entity type:\n{EXPLAINED}\n\n<num>", "entity type:\ntown\n\n<num>"]),
        ("OneStep", "English", [f"entity type:\n{EXPLAINED}\n\n<mentions>", "entity type:\ntown\n\n<mentions>"]),
        ("AutoRegStruct", "English", [f"entity types:\n{EXPLAINED}\ntown\nactor\n\n<entities>"]),
        ("AutoRegAug", "English", [f"entity types:\n{EXPLAINED}\ntown\nactor\n\n<marked text>"]),
        (
            "PaDeLLM",
            "Chinese",
            ["指定NER标签:\ntitle of a film：a film, by its name（例如：Jaws、The Ghost）\n\n<数量>"],
        ),
        ("PaDeLLM", "Compact", ["title of a film - a film, by its name (Jaws, The Ghost):", "town:", "actor:"]),
    ],
)
def test_descriptions_and_examples_reach_the_question(
    initialised: Callable[..., Language], name: str, prompt: str, questions: list[str]
):
    nlp = initialised(scheme=scheme(name, prompt))
    assert asked(nlp)[: len(questions)] == questions


@pytest.mark.filterwarnings("ignore:.*W001")
@pytest.mark.parametrize(
    ("spec", "question"),
    [
        ({"description": "a film"}, "movie: a film"),
        ({"examples": ["Jaws"]}, "movie (e.g. Jaws)"),
        ({"colour": "red", "threshold": 0.5}, "movie"),
        ({}, "movie"),
        (None, "movie"),
    ],
)
def test_without_a_part_the_question_is_as_it_was(
    initialised: Callable[..., Language], spec: dict[str, Any] | None, question: str
):
    assert asked(initialised({"movie": spec})) == [f"entity type:\n{question}\n\n<num>"]


@pytest.mark.parametrize("name", ["AutoRegStruct", "AutoRegAug"])
def test_answers_name_a_label_by_its_words_alone(initialised: Callable[..., Language], name: str):
    """Training, too: the description stands in the question of the tree and in no answer."""
    nlp = initialised(scheme=scheme(name))
    built, labels = ours(nlp).scheme, {"movie": Wording("film", "something long", ("Jaws",)), "city": "town"}
    (branch,) = built.ask(labels, "Jaws")
    assert "something long" in branch.question
    answer = built.answer(branch, [mention("movie", "Jaws")])
    assert "film" in answer and "something" not in answer
    assert branch.labels == (("movie", "film"), ("city", "town"))


def mention(label: str, string: str) -> Mention:

    return Mention(label, string, start=0)


def test_training_asks_what_prediction_asks(initialised: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = initialised({"movie": SPEC, "city": None})
    lm = ours(nlp).model.shims[0].lm
    (tree,) = ours(nlp)._trees(examples(nlp)[:1])
    assert EXPLAINED in lm.pieces.decode(tree.tree.pieces)


def test_the_document_carries_the_short_name(initialised: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = initialised({"movie": SPEC})
    with answering(monkeypatch, {("movie", 0): "1", ("movie", 1): "Jaws"}):
        assert spans(nlp(TEXTS[1])) == [(8, 12, "movie")]


# What cannot be said


@pytest.mark.parametrize(
    ("spec", "told"),
    [
        ({"word": "film"}, "'movie': there is no 'word', choose of words, description, examples, colour, threshold"),
        ({"words": " ", "colour": "red"}, "'words' is ' '"),
        ({"words": "\udc80", "colour": "red"}, "'words' is"),
        ({"description": 3}, "'description' is 3"),
        ({"description": ""}, "'description' is ''"),
        ({"examples": "Jaws"}, "'examples' is 'Jaws'"),
        ({"examples": ["Jaws", None]}, r"'examples' is \['Jaws', None\]"),
        ({"examples": [" "]}, "'examples' is"),
        ({"colour": 'red"><script>'}, "'colour' is"),
        ({"colour": "red; x: y"}, "'colour' is"),
        ({"colour": ""}, "'colour' is"),
        ({"threshold": 1.5}, "'threshold' is 1.5"),
        ({"threshold": True}, "'threshold' is True"),
        ({"threshold": "0.5"}, "'threshold' is '0.5'"),
    ],
)
def test_what_cannot_be_said_about_a_label_p190(spec: dict[str, Any], told: str):
    nlp = blank()
    for give in (
        lambda: ours(nlp).set_labels({"movie": spec}),
        lambda: ours(nlp).add_label("movie", spec),
        lambda: ours(nlp).add_label("movie", **spec),
        lambda: ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels={"movie": spec}),
    ):
        with pytest.raises(ValueError, match=rf"\[P190\].*{told}"):
            give()
    assert ours(nlp).labels == ()


def test_every_field_can_be_left_out_and_null():
    nothing = dict.fromkeys(("words", "description", "colour", "threshold"))
    assert LabelSpec.of("a", nothing) == LabelSpec.of("a", {}) == LabelSpec.of("a", None) == LabelSpec()
    assert LabelSpec.of("a", SPEC).kept() == SPEC
    assert LabelSpec.of("a", {"threshold": 0.0}).kept() == {"threshold": 0.0}


# A label that is added to a trained pipe


def test_a_label_is_added_to_a_trained_pipe_without_training(trained: Callable[..., Language]):
    """It is asked about in the words that its spec has: here those of a label that the model has learnt."""
    nlp = trained()
    expected = spans(nlp(TEXTS[1]))
    ours(nlp).add_label("town", words="city", threshold=0.1)
    assert ours(nlp).labels == ("city", "movie", "town")
    found = spans(nlp(TEXTS[1]))
    assert sorted(found) == sorted([*expected, (16, 21, "town")])
    assert (16, 21, "city") in expected


# Colours


def test_colours_for_displacy(initialised: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = initialised(spans_key="mine")
    options = ours(nlp).displacy_options()
    assert options["ents"] == ["movie", "city", "actor"]
    assert options["spans_key"] == "mine"
    assert options["colors"]["movie"] == "#ffd966"
    assert len(set(options["colors"].values())) == 3
    with answering(monkeypatch, {("movie", 0): "1", ("movie", 1): "Jaws", ("city", 0): "1", ("city", 1): "Paris"}):
        doc = nlp(TEXTS[1])
    for style in ("ent", "span"):
        html = displacy.render(doc, style=style, options=options, jupyter=False)
        assert "#ffd966" in html and options["colors"]["city"] in html
    left_out = displacy.render(doc, style="ent", options={**options, "ents": ["city"]}, jupyter=False)
    assert "#ffd966" not in left_out


@pytest.mark.parametrize("number", [1, 2, 7, 100])
def test_black_text_can_be_read_on_every_colour(number: int):
    """The contrast of WCAG 2.1: 7 is its strictest demand."""
    colours = palette([f"label {place}" for place in range(number)])
    assert len(set(colours.values())) == number
    assert min(map(contrast_with_black, colours.values())) > 7
    assert colours == palette(list(colours))


def contrast_with_black(colour: str) -> float:
    parts = [int(colour[place : place + 2], 16) / 255 for place in (1, 3, 5)]
    linear = [part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts]
    luminance = sum(weight * part for weight, part in zip((0.2126, 0.7152, 0.0722), linear, strict=True))
    return (luminance + 0.05) / 0.05


def test_no_labels_no_colours():
    assert displacy_options({}, spans_key="sc") == {"ents": [], "colors": {}, "spans_key": "sc"}
