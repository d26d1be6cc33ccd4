"""What a pipe tells of how it annotated a document."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from spacy.language import Language
from spacy.tokens import Span

from spacy_padellm.engine.counters import Counters
from spacy_padellm.pipeline.trace import Found, Trace
from tests.pipeline.makers import TEXTS, annotations, answering, blank, block, ours, spans

SCHEMES = ("PaDeLLM", "OneStep", "AutoRegStruct", "AutoRegAug")


def trace(nlp: Language, text: str) -> Trace:
    return ours(nlp).trace(nlp.make_doc(text))


def found(traced: Trace) -> list[Found]:
    return [mention for limb in traced.walk() for mention in limb.found]


def test_questions_answers_and_places(trained: Callable[..., Language]):
    text = TEXTS[2]
    (tree,) = trace(trained(), text).trees
    city, movie = tree.limbs
    assert (city.kind, city.label, city.question, city.answer, city.count) == (
        "count",
        "city",
        "entity type:\ncity\n\n<num>",
        "2",
        2,
    )
    assert [(limb.kind, limb.ordinal, limb.answer) for limb in city.opened] == [
        ("mention", 1, "Paris"),
        ("mention", 2, "Paris"),
    ]
    places = [place for limb in (city, movie) for under in limb.opened for place in under.found[0].places]
    assert [(place.start, place.end, place.fate) for place in places] == [
        (0, 5, "entity"),
        (6, 11, "entity"),
        (16, 20, "entity"),
    ]
    assert found(trace(trained(), text))[0].confidence == pytest.approx(
        city.probability * city.opened[0].probability, rel=1e-5
    )


def test_pieces_and_shared_pieces_are_the_tree(trained: Callable[..., Language]):
    nlp = trained(draft_questions=False, draft_copies=0, draft_counts=False)
    text = TEXTS[2]
    traced = trace(nlp, text)
    (tree,) = traced.trees
    assert traced.drafts == 0
    # Without drafts every node of the tree but each answer's last piece before its end is a piece of these.
    computed = tree.trunk_pieces + sum(
        limb.question_pieces - limb.shared_pieces + limb.answer_pieces for limb in tree.walk()
    )
    repeated = traced.pieces - computed
    assert traced.shared_pieces > 0 and repeated <= 1, "one piece may be fed again for its logits"


def test_steps_are_those_of_the_document(trained: Callable[..., Language]):
    traced = trace(trained(), TEXTS[2])
    for limb in traced.walk():
        assert 1 <= limb.begun <= limb.ended <= traced.steps
        assert all(under.begun >= limb.ended for under in limb.opened)
    assert max(limb.ended for limb in traced.walk()) == traced.steps == traced.trees[0].steps


def test_same_results_and_same_cost(trained: Callable[..., Language]):
    nlp = trained()
    pipe = ours(nlp)
    before = annotations(nlp)
    for text in TEXTS:
        pipe.counters = Counters()
        doc = nlp(text)
        traced = pipe.trace(nlp.make_doc(text))
        counted = pipe.counters
        assert (counted.steps, counted.pieces, counted.drafts, counted.drafts_accepted) == (
            traced.steps,
            traced.pieces,
            traced.drafts,
            traced.drafts_accepted,
        )
        assert counted.documents == 1, "a trace is not counted"
        placed = {(place.start, place.end, one.label) for one in found(traced) for place in one.places}
        assert sorted(placed) == spans(doc)
    assert annotations(nlp) == before


def test_recording_changes_no_answer(trained: Callable[..., Language]):
    plain, recorded = (ours(trained(save_io=save)) for save in (False, True))
    docs = [trained().make_doc(text) for text in TEXTS]
    one, two = plain.predict(docs), recorded.predict(docs)
    assert plain.counters == recorded.counters
    for off, on in zip(one, two, strict=True):
        assert [answer.course for _, answer in off.answered] == [None] * len(off.answered)
        assert all(answer.course is not None for _, answer in on.answered)
        assert [(b, a._replace(course=None)) for b, a in on.answered] == [(b, a) for b, a in off.answered]
        assert (off.spans, off.flat, off.counts) == (on.spans, on.flat, on.counts)


def test_document_is_not_changed(trained: Callable[..., Language]):
    nlp = trained()
    doc = nlp.make_doc(TEXTS[1])
    ours(nlp).trace(doc)
    assert not doc.ents and not doc.spans and not doc.user_data


@pytest.mark.parametrize("scheme", SCHEMES)
def test_every_scheme(learnt: Callable[..., Language], scheme: str):
    nlp = learnt(scheme)
    for text in TEXTS:
        traced = trace(nlp, text)
        assert traced.scheme == scheme
        placed = sorted((place.start, place.end, one.label) for one in found(traced) for place in one.places)
        assert placed == spans(nlp(text))
        kinds = {limb.kind for limb in traced.walk()}
        assert kinds <= ({"count", "mention"} if scheme == "PaDeLLM" else {"answer"})


def test_json(trained: Callable[..., Language]):
    traced = trace(trained(), TEXTS[0])
    plain = traced.as_dict()
    assert json.loads(json.dumps(plain)) == plain
    assert plain["trees"][0]["limbs"][0]["opened"][0]["found"][0]["places"][0]["fate"] == "entity"


@pytest.mark.parametrize("text", ["", " ", "\n\t "])
def test_text_without_words(trained: Callable[..., Language], text: str):
    traced = trace(trained(), text)
    assert (traced.text, traced.trees, traced.steps, traced.pieces) == (text, (), 0, 0)


def test_document_that_is_asked_about_nothing(trained: Callable[..., Language]):
    nlp = trained()
    doc = nlp.make_doc(TEXTS[0])
    doc._.padellm_labels = []
    assert ours(nlp).trace(doc).trees == ()


def test_labels_of_the_document(trained: Callable[..., Language]):
    nlp = trained()
    doc = nlp.make_doc(TEXTS[1])
    doc._.padellm_labels = ["movie", "x"]
    assert [limb.label for limb in ours(nlp).trace(doc).trees[0].limbs] == ["movie", "x"]


def test_windows(trained: Callable[..., Language]):
    nlp = trained(window=13, window_overlap=0.0)
    doc = nlp.make_doc(f"{TEXTS[1]}. {TEXTS[2]}")
    traced = ours(nlp).trace(doc)
    assert len(traced.trees) > 1
    for tree in traced.trees:
        assert doc.text[tree.start : tree.end] == tree.text
        for place in (place for limb in tree.walk() for one in limb.found for place in one.places):
            assert tree.start <= place.start < place.end <= tree.end
    annotated = ours(nlp).predict([doc])[0]
    kept = {(place.start, place.end) for one in found(traced) for place in one.places if place.fate == "entity"}
    assert kept == {(one.start, one.end) for one in annotated.flat}


def test_groups_of_labels_share_within_the_group_only(trained: Callable[..., Language]):
    at_once, one_by_one = (trace(trained(labels_at_once=size), TEXTS[1]) for size in (None, 1))
    assert [limb.answer for limb in at_once.walk()] == [limb.answer for limb in one_by_one.walk()]
    assert at_once.trees[0].limbs[1].shared_pieces > 0
    assert one_by_one.trees[0].limbs[1].shared_pieces == 0
    assert one_by_one.steps > at_once.steps


# What became of mentions


@pytest.fixture
def fates(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch) -> Callable[..., list[Any]]:
    """Traces a text as if the model had answered a script."""

    def make(text: str, script: dict[tuple[str, int], str], **settings: Any) -> list[Any]:
        nlp = trained(**settings)
        with answering(monkeypatch, script):
            return [(one.label, one.string, one.fate) for one in found(trace(nlp, text))]

    return make


def test_unplaced_and_surplus(fates: Callable[..., list[Any]]):
    script = {("city", 0): "3", ("city", 1): "Paris", ("city", 2): "Paris", ("city", 3): "Rome"}
    assert fates("Ann in Paris", script) == [
        ("city", "Paris", "entity"),
        ("city", "Paris", "surplus"),
        ("city", "Rome", "unplaced"),
    ]


def test_below_threshold(fates: Callable[..., list[Any]]):
    script = {("city", 0): "1", ("city", 1): "Paris"}
    assert fates("Ann in Paris", script, threshold=0.9) == [("city", "Paris", "below")]
    assert fates("Ann in Paris", script, threshold=0.1) == [("city", "Paris", "entity")]


def test_overlap_is_lost_in_ents(fates: Callable[..., list[Any]]):
    script = {("city", 0): "1", ("city", 1): "Paris", ("movie", 0): "1", ("movie", 1): "in Paris"}
    assert fates("Ann in Paris", script) == [("city", "Paris", "overlapped"), ("movie", "in Paris", "entity")]


def test_one_label_per_string(fates: Callable[..., list[Any]]):
    script = {("city", 0): "1", ("city", 1): "Paris", ("movie", 0): "1", ("movie", 1): "Paris"}
    told = fates("Ann in Paris", script, one_label_per_string=True)
    assert told == [("city", "Paris", "entity"), ("movie", "Paris", "outvoted")]


def test_entities_that_are_there_already(trained: Callable[..., Language]):
    for overwrite, fate in ((False, "overlapped"), (True, "entity")):
        nlp = trained(overwrite_ents=overwrite)
        doc = nlp.make_doc(TEXTS[1])
        doc.set_ents([Span(doc, 1, 4, label="OTHER")], default="outside")
        fates = {one.string: one.fate for one in found(ours(nlp).trace(doc))}
        assert fates == {"Paris": "entity", "Jaws": fate}


def test_trace_after_annotation(trained: Callable[..., Language]):
    nlp = trained()
    assert {one.fate for one in found(ours(nlp).trace(nlp(TEXTS[2])))} == {"entity"}


def test_unreadable_count(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    with answering(monkeypatch, {("city", 0): "many", ("movie", 0): "100"}):
        city, movie = ours(nlp).trace(nlp.make_doc("Ann in Paris")).trees[0].limbs
    assert (city.count, city.unreadable) == (None, ("many",))
    assert (movie.count, movie.opened) == (100, ())


def test_what_was_passed_over(learnt: Callable[..., Language]):
    scheme = {**block("PaDeLLM"), "second_look": 1, "look_floor": 0.0}
    nlp = learnt("PaDeLLM")
    looking = blank(scheme=scheme)
    ours(looking).from_bytes(ours(nlp).to_bytes())
    traced = trace(looking, TEXTS[1])
    counts = [limb for limb in traced.trees[0].limbs if limb.label == "city"]
    assert [limb.passed_over for limb in counts] == [False, True]
    assert counts[1].shared_pieces == 0 and counts[1].count is None
    assert not any(limb.found for limb in counts[1].walk())


def test_errors_are_raised(trained: Callable[..., Language]):
    nlp = trained(window=3, strict=True)
    with pytest.raises(ValueError, match=r"\[P181\]"):
        trace(nlp, TEXTS[0])
