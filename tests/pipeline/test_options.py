"""Every option set away from its default, with what is seen then; and what is reported as lost."""

from __future__ import annotations

import itertools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch
from spacy.language import Language

from spacy_padellm.engine.compiled import CompiledLayers
from spacy_padellm.engine.graphs import CapturedSteps
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline import component
from spacy_padellm.types import Reading
from tests.engine.recording import record
from tests.pipeline.makers import (
    DATA,
    TEXTS,
    Script,
    annotations,
    answering,
    answers,
    blank,
    entities,
    examples,
    ours,
    scores,
    spans,
)

PARIS = "Paris Paris and Jaws"


@pytest.fixture
def scripted(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Any]:
    """Annotates a text with answers that are given, and without anything being lost unless that is expected."""

    def annotate(script: Script, text: str = PARIS, **settings: Any) -> Any:
        nlp = trained(**settings)
        with answering(monkeypatch, script):
            return nlp(text)

    return annotate


# Where spans go


def test_spans_key(trained: Callable[..., Language]):
    doc = trained(spans_key="mine")(TEXTS[1])
    assert list(doc.spans) == ["mine"]
    assert spans(doc, "mine") == DATA[1][1]


def test_scores_are_float32_beside_their_spans(scripted: Callable[..., Any]):
    doc = scripted({("city", 0): "1", ("city", 1): "Paris"})
    group = doc.spans["sc"]
    assert [group.attrs[name].dtype for name in ("scores", "count_scores")] == [np.float32, np.float32]
    assert group.attrs["scores"].tolist() == [0.5] * len(group) != []
    assert group.attrs["count_scores"].tolist() == [0.75] * len(group)


def test_nested_mentions_are_spans_and_the_longest_is_an_entity(scripted: Callable[..., Any]):
    doc = scripted({("city", 0): "1", ("city", 1): "Jaws", ("movie", 0): "1", ("movie", 1): "and Jaws"})
    assert spans(doc) == [(12, 20, "movie"), (16, 20, "city")]
    assert entities(doc) == [(12, 20, "movie")]


@pytest.mark.parametrize("overwrite", [True, False])
def test_overwrite_ents(trained: Callable[..., Language], overwrite: bool):
    nlp = trained(overwrite_ents=overwrite)
    doc = nlp.make_doc(PARIS)
    doc.set_ents([doc.char_span(6, 11, label="person", kb_id="Q5"), doc.char_span(12, 15, label="word")])
    ours(nlp)(doc)
    assert spans(doc) == DATA[2][1]
    if overwrite:
        assert entities(doc) == DATA[2][1]
    else:
        assert entities(doc) == [(0, 5, "city"), (6, 11, "person"), (12, 15, "word"), (16, 20, "movie")]
        assert doc.ents[1].kb_id_ == "Q5"


def test_save_io(scripted: Callable[..., Any]):
    script = {("city", 0): "1", ("city", 1): "Paris"}
    assert "llm_io" not in scripted(script).user_data
    asked = scripted(script, save_io=True).user_data["llm_io"]["padellm_ner"]
    rest = {"finish": "end", "pieces": 1, "steps": [1, 1]}
    count, mention = {**rest, "ordinal": 0, "probability": 0.75}, {**rest, "ordinal": 1, "probability": 0.5}
    assert asked == [
        {"prompt": "entity type:\ncity\n\n<num>", "response": "1", "label": "city", **count},
        {"prompt": "\n<mention 1>", "response": "Paris", "label": "city", **mention},
        {"prompt": "entity type:\nmovie\n\n<num>", "response": "0", "label": "movie", **count},
    ]


# Which place a string takes


@pytest.mark.parametrize(
    ("placing", "count", "expected"),
    [
        ("ordered", 1, [(0, 5), (6, 11)]),
        ("strict", 1, [(0, 5)]),
        ("first", 2, [(0, 5)]),
        ("all", 1, [(0, 5), (6, 11)]),
        ("strict", 2, [(0, 5), (6, 11)]),
    ],
)
def test_placing(scripted: Callable[..., Any], placing: str, count: int, expected: list[tuple[int, int]]):
    script: Script = {("city", 0): str(count), ("city", 1): "Paris", ("city", 2): "Paris"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore" if placing == "first" else "error")
        doc = scripted(script, placing=placing)
    assert spans(doc) == [(*place, "city") for place in expected]


def test_ordered_and_all_differ_on_a_string_with_two_labels(scripted: Callable[..., Any]):
    script = {("city", 0): "1", ("city", 1): "Paris", ("movie", 0): "1", ("movie", 1): "Paris"}
    assert spans(scripted(script)) == [(0, 5, "city"), (0, 5, "movie")]
    assert len(spans(scripted(script, placing="all"))) == 4


def test_one_label_per_string(scripted: Callable[..., Any]):
    script = {("city", 0): "1", ("city", 1): "Jaws", ("movie", 0): "1", ("movie", 1): "Jaws"}
    assert spans(scripted(script)) == [(16, 20, "city"), (16, 20, "movie")]
    assert spans(scripted(script, one_label_per_string=True)) == [(16, 20, "city")]


# Decoding


def untrained(**settings: Any) -> Language:
    nlp = blank(**settings)
    nlp.initialize(lambda: examples(nlp))
    return nlp


def test_constrain(monkeypatch: pytest.MonkeyPatch):
    """A model that knows nothing answers with strings of the text if it is held to them, else with anything."""

    scheme = type(ours(blank()).scheme)
    follow = scheme.follow
    # Whatever the count, one mention is asked for, and what is read out of the answers does not matter.
    monkeypatch.setattr(scheme, "follow", lambda self, asked, _: [] if asked.ordinal else follow(self, asked, "1"))
    monkeypatch.setattr(scheme, "read", lambda self, answered: Reading(()))

    def mentions(constrain: bool) -> list[str]:
        found = answers(untrained(constrain=constrain, max_answer=6))
        return [text for one in found for _, ordinal, text, _ in one if ordinal]

    whole = " \n ".join(TEXTS)
    held, free = mentions(True), mentions(False)
    assert len(held) == len(free) == 2 * len(TEXTS)
    assert all(string and string in whole for string in held)
    assert not all(string and string in whole for string in free)


def test_max_answer_ends_a_free_answer(trained: Callable[..., Language]):
    def longest(limit: int) -> int:
        nlp = trained(constrain=False, max_answer=limit)
        found = ours(nlp).predict([nlp.make_doc(TEXTS[0])])[0]
        return max(answer.n_pieces for _, answer in found.answered)

    assert longest(1) == 1
    assert longest(128) > 1


@pytest.mark.parametrize("setting", [True, False])
def test_cuda_graphs_captures_steps_and_changes_no_answer(trained: Callable[..., Language], setting: bool):
    nlp = trained(cuda_graphs=setting)
    expected = [spans(doc) for doc in nlp.pipe(TEXTS)]
    lm = shim_of(nlp.get_pipe("padellm_ner").model).lm
    lm.steps = CapturedSteps(lambda _: record)
    for _ in range(4):
        assert [spans(doc) for doc in nlp.pipe(TEXTS)] == expected
    assert (lm.steps.replays > 0) == setting
    if setting:
        # Training moves the weights; what was captured would hold memory meanwhile.
        assert lm.steps._shelf._rooms
        nlp.update(examples(nlp), sgd=nlp.resume_training())
        assert not lm.steps._shelf._rooms


@pytest.mark.parametrize("setting", [True, False])
def test_compile_layers_runs_what_torch_compiles(trained: Callable[..., Language], setting: bool):
    nlp, plain = trained(compile_layers=setting), trained()
    graphs = []

    def backend(graph: torch.fx.GraphModule, inputs: list[torch.Tensor]) -> Callable[..., Any]:
        graphs.append(graph)
        return graph.forward

    torch._dynamo.reset()
    shim_of(nlp.get_pipe("padellm_ner").model).lm.layers = CompiledLayers(backend)
    assert [spans(doc) for doc in nlp.pipe(TEXTS)] == [spans(doc) for doc in plain.pipe(TEXTS)]
    assert bool(graphs) == setting


def test_max_row_bounds_a_step_and_changes_no_answer(trained: Callable[..., Language]):
    wide, narrow = trained(), trained(max_row=5)
    assert answers(wide) == answers(narrow)
    assert ours(narrow).counters.steps > ours(wide).counters.steps
    assert ours(narrow).counters.pieces <= 5 * ours(narrow).counters.steps


@pytest.mark.parametrize("scheme", ["PaDeLLM", "OneStep"])
def test_labels_at_once_bounds_keys_and_values_and_changes_no_answer(trained: Callable[..., Language], scheme: str):
    """Labels that nothing was learnt about are asked about, too. Batches end their groups at different times."""
    block = {"@misc": f"spacy-padellm.{scheme}.v1", "prompt": {"@misc": "spacy-padellm.EnglishPrompt.v1"}}
    together, grouped = (trained(scheme=block, max_answer=6, labels_at_once=at_once) for at_once in (None, 4))
    for nlp in (together, grouped):
        ours(nlp).set_labels(["city", *(f"kind {number}" for number in range(22)), "movie"])
    assert answers(grouped) == answers(together)
    assert annotations(grouped) == annotations(together)
    assert ours(grouped).counters.peak_kv_pieces < ours(together).counters.peak_kv_pieces / 2
    assert ours(grouped).counters.steps > ours(together).counters.steps


@pytest.mark.parametrize(
    ("drafted", "left"),
    [({"draft_copies": 12}, {}), ({"draft_questions": True}, {}), ({"draft_counts": True}, {})],
    ids=["copies", "questions", "counts"],
)
def test_each_kind_of_draft_saves_steps_and_changes_no_answer(
    trained: Callable[..., Language], drafted: dict[str, Any], left: dict[str, Any]
):
    off = {"draft_questions": False, "draft_copies": 0, "draft_counts": False}
    plain, with_drafts = trained(**off | left), trained(**off | left | drafted)
    assert answers(plain) == answers(with_drafts)
    few, many = ours(with_drafts).counters, ours(plain).counters
    assert few.steps < many.steps
    assert many.drafts == 0 < few.drafts_accepted
    assert few.pieces - (few.drafts - few.drafts_accepted) == many.pieces


def test_max_mentions(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    scheme = {"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": {"@misc": "spacy-padellm.EnglishPrompt.v1"}}
    nlp = trained(scheme={**scheme, "max_mentions": 1})
    script = {("city", 0): "2", ("city", 1): "Paris", ("city", 2): "Paris", ("movie", 0): "1", ("movie", 1): "Jaws"}
    with answering(monkeypatch, script), pytest.warns(UserWarning, match=r"\[W001\].*1 counts over the limit.*city: 2"):
        doc = nlp(PARIS)
    assert spans(doc) == [(16, 20, "movie")]


# Training


def test_weighting(trained: Callable[..., Language]):
    tree, sequence = trained(), trained(weighting="sequence")
    assert abs(ours(tree).get_loss(examples(tree))[0] - ours(sequence).get_loss(examples(sequence))[0]) > 1e-6
    (one,) = ours(tree)._trees(examples(tree, [DATA[2]]))
    (other,) = ours(sequence)._trees(examples(sequence, [DATA[2]]))
    assert set(one.weights.tolist()) == {1.0}
    assert max(other.weights.tolist()) == 2.0


def test_copy_share_asks_one_more_question(trained: Callable[..., Language]):
    def pieces(nlp: Language) -> int:
        return sum(len(tree.tree) for tree in ours(nlp)._trees(examples(nlp)))

    assert pieces(trained(copy_share=1.0)) > pieces(trained())


def test_text_weight_makes_the_text_a_target(trained: Callable[..., Language]):
    (plain,) = ours(trained())._trees(examples(blank(), [DATA[1]]))
    (more,) = ours(trained(text_weight=0.25))._trees(examples(blank(), [DATA[1]]))
    assert more.tree.pieces == plain.tree.pieces
    added = more.weights == 0.25
    trunk = more.nodes[added].tolist()
    assert trunk == list(range(len(trunk)))
    # Each piece of "text:\nShow me Jaws in Paris\n" but the first, in order, and nothing else is new.
    assert more.pieces[added].tolist() == more.tree.pieces[1 : len(trunk) + 1]
    spelled = shim_of(ours(trained()).model).lm.pieces.decode([more.tree.pieces[0], *more.pieces[added].tolist()])
    assert spelled.replace(" ", "") == "text:\nShowmeJawsinParis\n"
    assert sorted(more.weights[~added]) == sorted(plain.weights)


def test_count_weight(trained: Callable[..., Language]):
    (plain,) = ours(trained())._trees(examples(blank(), [DATA[1]]))
    (heavy,) = ours(trained(count_weight=4.0))._trees(examples(blank(), [DATA[1]]))
    assert heavy.tree.pieces == plain.tree.pieces
    counts = heavy.weights == 4.0
    assert shim_of(ours(trained()).model).lm.pieces.decode(heavy.pieces[counts].tolist()).split() == ["1", "1"]
    assert sorted(heavy.weights[~counts]) == [1.0] * (len(plain.weights) - 2)


@pytest.mark.parametrize("setting", [{"text_weight": -0.1}, {"text_weight": "0.1"}, {"max_row": 0}, {"max_row": "9"}])
def test_numbers_out_of_range_p001(setting: dict[str, object]):
    with pytest.raises(ValueError, match=rf"\[P001\].*{next(iter(setting))}"):
        blank(**setting)


def test_repeat_text_puts_the_text_into_the_trunk_again():
    def trunk(times: int) -> tuple[str, ...]:
        prompt = {"@misc": "spacy-padellm.EnglishPrompt.v1", "repeat_text": times}
        nlp = blank(scheme={"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": prompt})
        return ours(nlp).scheme.trunk("A")

    assert (trunk(1).count("A"), trunk(2).count("A")) == (1, 2)


# What is lost is told, once


def lost(nlp: Language, monkeypatch: pytest.MonkeyPatch, script: Script, texts: list[str]) -> str:
    with answering(monkeypatch, script), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        list(nlp.pipe(texts, batch_size=1))
    told = [str(warning.message) for warning in caught]
    assert len(told) == 1
    assert told[0].startswith("[W001] ")
    return told[0]


@pytest.mark.parametrize(
    ("script", "what", "example"),
    [
        ({("city", 0): "many"}, "2 unreadable answers", "city: 'many'"),
        ({("city", 0): "07"}, "2 unreadable answers", "city: '07'"),
        ({("city", 0): ""}, "2 unreadable answers", "city: ''"),
        ({("city", 0): "250"}, "2 counts over the limit", "city: 250"),
        ({("city", 0): "1", ("city", 1): "Rome"}, "2 mentions that do not stand in the text", "city: 'Rome'"),
        ({("city", 0): "1", ("city", 1): "Par"}, "2 mentions that do not stand in the text", "city: 'Par'"),
        (
            {("movie", 0): "2", ("movie", 1): "Jaws", ("movie", 2): "Jaws"},
            "2 repeats beyond the text's",
            "movie: 'Jaws'",
        ),
    ],
)
def test_lost_answers_w001(
    trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch, script: Script, what: str, example: str
):
    told = lost(trained(), monkeypatch, script, [PARIS, PARIS, ""])
    assert what in told
    assert told.endswith(f"For instance {example}.")


def test_lost_answers_are_counted_anew(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    assert "2 unreadable" in lost(nlp, monkeypatch, {("city", 0): "x"}, [PARIS, PARIS])
    assert "1 unreadable" in lost(nlp, monkeypatch, {("city", 0): "x"}, [PARIS])
    assert [spans(doc) for doc in nlp.pipe(TEXTS)] == [ents for _, ents in DATA]


def test_a_stream_without_end_tells_what_was_lost(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(component, "_REPORT_EVERY", 4)
    nlp = trained()
    texts = itertools.repeat(PARIS)
    with answering(monkeypatch, {("city", 0): "x"}), warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        stream = nlp.pipe(texts, batch_size=2)
        for _ in range(9):
            next(stream)
        told = [str(warning.message) for warning in caught]
        stream.close()
    assert [text.split(": ")[1] for text in told] == ["4 unreadable answers. For instance city"] * 2


def test_label_that_is_not_asked_about_is_never_found(trained: Callable[..., Language]):
    nlp = trained()
    for text in ["Paris is a person", *TEXTS]:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            assert {label for *_, label in spans(nlp(text))} <= set(ours(nlp).labels)


def test_scores_are_probabilities(trained: Callable[..., Language]):
    found = [score for doc in trained().pipe(TEXTS) for score in scores(doc)]
    assert len(found) == 7
    assert all(0 < score <= 1 for score in found)


def test_counters_count(trained: Callable[..., Language]):
    nlp = trained()
    list(nlp.pipe([*TEXTS, ""]))
    assert ours(nlp).counters.documents == len(TEXTS)
