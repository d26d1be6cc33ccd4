"""Hostile texts and labels: what is asked stays the same, every document is annotated by the rules or fails alone."""

from __future__ import annotations

import random
import threading
import warnings
from collections.abc import Callable, Iterable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.backends.local import Text, stream_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline.annotate import Lost, read_annotation
from spacy_padellm.pipeline.examples import text_of
from spacy_padellm.pipeline.labels import words_of
from tests.checkpoints import TOKENIZERS, build_lm, pieces_of
from tests.pipeline import hostile
from tests.pipeline.hostile import CHARACTERS, LABELS, MARKERS, NAMES, SPECIALS, TEXTS, check
from tests.pipeline.makers import DATA, answering, blank, block, entities, ours, scores, spans

pytestmark = [pytest.mark.filterwarnings("ignore:.*W001"), pytest.mark.filterwarnings("ignore:.*W010")]

REFUSED = {"P023", "P180"}
"""What a text may fail by: an answer that the model has no room for, a token that no window holds."""

SCHEMES = ("PaDeLLM", "OneStep", "AutoRegStruct", "AutoRegAug")
each_scheme = pytest.mark.parametrize("scheme", SCHEMES)

Outcome = tuple[list[tuple[int, int, str]], list[tuple[int, int, str]], list[float]] | str


def run(nlp: Language, docs: Iterable[str | Doc], **settings: Any) -> list[Outcome]:
    """What became of each document: entities, spans and scores, or the code of the error that its handler got."""
    made = [nlp.make_doc(doc) if isinstance(doc, str) else doc.copy() for doc in docs]
    texts = [doc.text for doc in made]
    outcomes: dict[int, Outcome] = {}

    def note(name: str, pipe: object, failed: list[Doc], error: Exception) -> None:
        for doc in failed:
            outcomes[doc._context] = str(error)[1:5]

    nlp.set_error_handler(note)  # type: ignore[arg-type]
    given = ((doc, number) for number, doc in enumerate(made))
    for doc, number in nlp.pipe(given, as_tuples=True, **settings):
        check(doc, texts[number], nlp)
        assert number not in outcomes
        outcomes[number] = (entities(doc), spans(doc), [round(score, 3) for score in scores(doc)])
    return [outcomes[number] for number in range(len(made))]


def failures(outcomes: Iterable[Outcome]) -> set[str]:
    return {one for one in outcomes if isinstance(one, str)}


@each_scheme
@pytest.mark.parametrize("constrain", [True, False])
def test_every_text_is_annotated_or_fails_alone(learnt: Callable[..., Language], scheme: str, constrain: bool):
    outcomes = run(learnt(scheme, constrain=constrain, max_answer=60), TEXTS)
    assert failures(outcomes) <= REFUSED
    assert sum(not isinstance(one, str) for one in outcomes) > 0.8 * len(TEXTS)
    assert any(one[1] for one in outcomes if not isinstance(one, str))


@each_scheme
def test_neighbours_batch_and_order_change_nothing(learnt: Callable[..., Language], scheme: str):
    nlp = learnt(scheme, max_answer=60)
    texts = TEXTS[:: 1 if scheme == "PaDeLLM" else 3]
    alone = {text: run(nlp, [text], batch_size=1)[0] for text in texts}
    for seed, size in ((0, 3), (1, 64)):
        order = random.Random(seed).sample(texts, len(texts))
        assert run(nlp, order, batch_size=size) == [alone[text] for text in order]


@each_scheme
def test_known_texts_beside_hostile_ones(learnt: Callable[..., Language], scheme: str):
    nlp = learnt(scheme, max_answer=60)
    mixed = [text for strange in TEXTS[::2] for text in (strange, DATA[len(strange) % 4][0])]
    expected = dict(DATA)
    for text, outcome in zip(mixed, run(nlp, mixed), strict=True):
        if text in expected:
            assert outcome[0] == expected[text]


@each_scheme
def test_a_text_cannot_change_its_questions(learnt: Callable[..., Language], scheme: str):
    """Neither their words nor their pieces; and what it says stays text: the pieces of its trunk spell it."""
    nlp = learnt(scheme, max_answer=60, strict=True)
    lm = shim_of(ours(nlp).model).lm
    asked = ours(nlp).scheme.ask(words_of(ours(nlp).cfg["labels"], ours(nlp).scheme))
    fed: list[tuple[int, ...]] = []
    inner = lm.step

    def step(stretches: Any, awaited: Any, **options: Any) -> torch.Tensor:
        fed.extend(tuple(stretch.tree.pieces) for stretch in stretches if not stretch.start)
        return inner(stretches, awaited, **options)

    lm.step = step  # type: ignore[method-assign]
    for text in (text for text in TEXTS if text.strip()):
        fed.clear()
        try:
            (found,) = ours(nlp).predict([nlp.make_doc(text)])
        except ValueError as error:
            assert str(error).startswith("[P023]")
            continue
        first = [branch for branch, _ in found.answered if not branch.ordinal]
        assert [(one.question, one.label) for one in first] == [(one.question, one.label) for one in asked]
        pieces = fed[0]
        trunk = [piece for cut in lm.pieces.encode(ours(nlp).scheme.trunk(text)) for piece in cut]
        start = len(lm.pieces.start)
        assert list(pieces[start : start + len(trunk)]) == trunk
        assert lm.pieces.end not in trunk


@pytest.mark.parametrize("family", TOKENIZERS)
@given(st.lists(st.sampled_from([*SPECIALS, *MARKERS, *CHARACTERS, *NAMES, " "]), max_size=8))
def test_special_tokens_are_text_to_every_tokenizer(family: str, parts: list[str]):
    pieces = pieces_of(family)
    named = [str(token) for token in pieces.tokenizer.all_special_tokens]
    specials = set(pieces.tokenizer.all_special_ids) - {pieces.tokenizer.unk_token_id}
    text = "".join([*parts, *named])
    (cut,) = pieces.encode([text])
    assert specials.isdisjoint(cut)
    if family in ("fresh", "gpt2"):  # the others normalise: NFC, a blank in front
        assert pieces.decode(cut) == text


# Documents of any tokens

WORDS = st.one_of(
    st.sampled_from([name for name in (*NAMES, *SPECIALS, *MARKERS, *CHARACTERS, "Paris", "Jaws") if name]),
    st.text(st.characters(exclude_categories=["Cs"]), min_size=1, max_size=6),
    st.sampled_from([" ", "\n", "  "]),
)
DOCUMENTS = st.lists(st.lists(st.tuples(WORDS, st.booleans()), max_size=10), min_size=1, max_size=5)
"""Documents as tokens, each with whether a blank follows: what no tokenizer makes, but a user may."""


def make_docs(nlp: Language, documents: list[list[tuple[str, bool]]]) -> list[Doc]:
    return [
        Doc(nlp.vocab, words=[word for word, _ in tokens], spaces=[space for _, space in tokens])
        for tokens in documents
    ]


@each_scheme
@settings(max_examples=8, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(DOCUMENTS, st.lists(st.sampled_from([*LABELS, "city", "movie"]), min_size=1, max_size=4, unique=True))
def test_any_tokens_and_labels(
    learnt: Callable[..., Language], scheme: str, documents: list[list[tuple[str, bool]]], labels: list[str]
):
    nlp = pipelines(learnt, scheme)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        ours(nlp).set_labels(labels)
        docs = make_docs(nlp, documents)
        together = run(nlp, docs)
        assert failures(together) <= REFUSED
        assert [run(nlp, [doc])[0] for doc in docs] == together
        assert run(nlp, docs[::-1], batch_size=2) == together[::-1]


_MADE: dict[str, Language] = {}


def pipelines(learnt: Callable[..., Language], scheme: str) -> Language:
    """One pipeline a scheme for all examples of a property."""
    if scheme not in _MADE:
        _MADE[scheme] = learnt(scheme, max_answer=40)
    return _MADE[scheme]


@pytest.mark.parametrize("family", TOKENIZERS)
@each_scheme
@settings(max_examples=5)
@given(DOCUMENTS)
def test_a_model_of_any_family_that_knows_nothing(scheme: str, family: str, documents: list[list[tuple[str, bool]]]):
    """What it answers stands in the text on token borders, or it is refused by a code."""
    nlp = blank(scheme=block(scheme))
    lm = build_lm("llama", pieces_of(family), seed=1, initializer_range=0.1)
    texts = [text_of(doc) for doc in make_docs(nlp, documents) if doc.text.strip()]
    for number, outcome in answer(lm, ours(nlp).scheme, texts):
        if isinstance(outcome, Exception):
            assert str(outcome)[1:5] == "P023"
            continue
        lost = Lost()
        found = read_annotation(ours(nlp).scheme, texts[number], outcome, placing="ordered", one_label=False, lost=lost)
        # An answer has no blanks at its edges, so none can be placed on a token that has.
        words = [text.string[start:end] for text in texts for start, end in text.borders]
        assert lost.unplaced == 0 or any(word != word.strip() for word in words)
        starts, ends = (set(edges) for edges in zip(*texts[number].borders, strict=True))
        assert all(one.start in starts and one.end in ends for one in found.spans)


def answer(lm: Any, scheme: Any, texts: list[Text]) -> Iterable[tuple[int, Any]]:
    decoding = Decoding(max_answer=20)
    labels = {"city": "city", "x": '"x"\n'}
    return stream_texts(lm, scheme, labels, texts, decoding=decoding, counters=Counters(), in_flight=3)


# Answers


def outcomes_with(nlp: Language, change: Callable[[torch.Tensor], torch.Tensor]) -> list[Outcome]:
    """What becomes of the known texts if the logits are changed."""
    lm = shim_of(ours(nlp).model).lm
    inner = lm.step
    lm.step = lambda *args, **options: change(inner(*args, **options))  # type: ignore[method-assign]
    try:
        return run(nlp, [text for text, _ in DATA])
    finally:
        lm.step = inner  # type: ignore[method-assign]


@each_scheme
def test_logits_that_are_no_numbers_p024(learnt: Callable[..., Language], scheme: str):
    """And nothing of it is left behind."""
    nlp = learnt(scheme)
    for value in (torch.nan, torch.inf):
        assert outcomes_with(nlp, lambda logits, value=value: torch.full_like(logits, value)) == ["P024"] * 4
    assert [one[0] for one in run(nlp, [text for text, _ in DATA])] == [ents for _, ents in DATA]


@each_scheme
@pytest.mark.parametrize("constrain", [True, False])
def test_an_answer_that_never_ends(learnt: Callable[..., Language], scheme: str, constrain: bool):
    nlp = learnt(scheme, constrain=constrain, max_answer=12)
    end = shim_of(ours(nlp).model).lm.pieces.end

    def never(logits: torch.Tensor) -> torch.Tensor:
        logits = logits.clone()
        logits[:, end] = -1e9
        return logits

    outcomes = outcomes_with(nlp, never)
    assert failures(outcomes) == set() and len(outcomes) == 4


@pytest.mark.parametrize("count", ["1000000000", "999999999", "100", "-1", "1e9", "٣", "99 ", ""])
def test_counts_of_any_size(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch, count: str):
    nlp = trained()
    with answering(monkeypatch, {("city", 0): count, ("movie", 0): "1", ("movie", 1): "Jaws"}):
        assert spans(nlp(DATA[1][0])) == [(8, 12, "movie")]


def test_the_highest_count(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    nlp = trained()
    script = {("city", 0): "99", **{("city", ordinal): "Paris" for ordinal in range(1, 100)}}
    with answering(monkeypatch, script):
        doc = nlp(DATA[1][0])
    assert spans(doc) == [(16, 21, "city")]
    assert len(doc.spans["sc"].attrs["surplus"]) == 98


# Sizes


@each_scheme
def test_ten_thousand_tokens_of_one_letter(learnt: Callable[..., Language], scheme: str):
    """Too long for the model, and not to be read in windows: it alone fails."""
    nlp = learnt(scheme, strict=True)
    long = Doc(nlp.vocab, words=["a"] * 10_000, spaces=[False] * 10_000)
    first, middle, last = run(nlp, [DATA[0][0], long, DATA[1][0]])
    assert (first[0], last[0]) == (DATA[0][1], DATA[1][1])
    assert failures([middle]) == {"P023"}


@pytest.mark.slow
def test_a_megabyte_without_a_blank(trained: Callable[..., Language]):
    """No window holds its only token."""
    nlp = trained()
    first, middle, last = run(nlp, [DATA[0][0], "a" * 1_000_000, DATA[1][0]])
    assert (first[0], last[0]) == (DATA[0][1], DATA[1][1])
    assert failures([middle]) == {"P180"}


@pytest.mark.parametrize("scheme", ["PaDeLLM", "OneStep"])
def test_a_thousand_labels(learnt: Callable[..., Language], scheme: str):
    nlp = learnt(scheme, max_answer=8, labels_at_once=300)
    labels = ["movie", *(f"{LABELS[number % len(LABELS)]}{number}" for number in range(998)), "city"]
    ours(nlp).set_labels(labels)
    (found,) = ours(nlp).predict([nlp.make_doc("Jaws in Paris")])
    assert [branch.label for branch, _ in found.answered if not branch.ordinal] == labels
    (outcome,) = run(nlp, ["Jaws in Paris"])
    assert not isinstance(outcome, str)


# Threads


def test_two_threads_on_one_pipeline(trained: Callable[..., Language]):
    """Each gets the answers that it gets alone."""
    nlp = trained()
    mine, theirs = [text for text, _ in DATA], hostile.TEXTS[:12]
    nlp.set_error_handler(lambda *_: None)  # type: ignore[arg-type,return-value]

    def annotated(texts: list[str]) -> list[Any]:
        return [(doc.text, spans(doc), entities(doc)) for doc in nlp.pipe(texts, batch_size=3)]

    alone = {0: annotated(mine), 1: annotated(theirs)}
    found: dict[int, list[Any]] = {0: [], 1: []}
    failed: list[Exception] = []

    def work(number: int, texts: list[str]) -> None:
        try:
            for _ in range(4):
                found[number].append(annotated(texts))
        except Exception as error:
            failed.append(error)

    threads = [threading.Thread(target=work, args=pair) for pair in ((0, mine), (1, theirs))]
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert failed == []
    assert found == {number: [one] * 4 for number, one in alone.items()}
