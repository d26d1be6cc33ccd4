"""Texts longer than a window: read in parts, annotated as a whole."""

from __future__ import annotations

import functools
import re
import warnings
from collections.abc import Callable, Iterable, Iterator
from itertools import pairwise
from typing import Any

import numpy as np
import pytest
import spacy
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.backends import local
from spacy_padellm.backends.local import Text
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.pipeline import component
from spacy_padellm.pipeline.labels import words_of
from spacy_padellm.pipeline.windows import Windowing, text_room
from spacy_padellm.types import Answer, Answered, Branch, Finish, Mention, Scheme
from tests.pipeline.makers import DATA, TEXTS, Found, blank, entities, examples, ours, scores, spans

told_of_windows = pytest.mark.filterwarnings("ignore:.*W010")

SCHEMES = ("PaDeLLM", "OneStep", "AutoRegStruct", "AutoRegAug")

NAME = re.compile(r"\bAnn\d+ Bee\d+\b")
TOWN = re.compile(r"\bTown\d+\b")


def block(name: str) -> dict[str, Any]:
    return {"@misc": f"spacy-padellm.{name}.v1", "prompt": {"@misc": "spacy-padellm.EnglishPrompt.v1"}}


def sentence(number: int) -> list[str]:
    """Words of a test sentence: a person of two tokens, and a town of its own in two of three."""
    town = f"Town{number}" if number % 3 else "home"
    return ["On", "Monday", f"Ann{number}", f"Bee{number}", "went", *["very"] * (number % 4), "slowly", "to", town, "."]


def document(n_words: int, *, with_sentences: bool = True) -> Doc:
    """A document of test sentences, without going through a tokenizer."""
    words: list[str] = []
    starts: list[bool] = []
    number = 0
    while len(words) < n_words:
        added = sentence(number)
        words += added
        starts += [True, *[False] * (len(added) - 1)]
        number += 1
    return Doc(spacy.blank("en").vocab, words=words, sent_starts=starts if with_sentences else None)


def gold_of(text: str) -> list[Mention]:
    """The mentions of a text of test sentences: a perfect model knows them by their looks."""
    found = [("person", match) for match in NAME.finditer(text)] + [("town", match) for match in TOWN.finditer(text)]
    found.sort(key=lambda pair: pair[1].start())
    return [Mention(label, match[0], start=match.start()) for label, match in found]


def gold_spans(text: str) -> Found:
    return [(one.start, one.start + len(one.string), one.label) for one in gold_of(text) if one.start is not None]


def asked(pipe: Any) -> Any:
    """The words of a pipe's labels."""
    return words_of(pipe.cfg["labels"], pipe.scheme)


def fresh(nlp_of: Callable[..., Language] = blank, **settings: Any) -> Language:
    """A pipeline that asks about persons and towns, with first weights."""
    nlp = nlp_of(**settings)
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", message=".*W00[23]")
        ours(nlp).initialize(lambda: examples(nlp), nlp=nlp, labels=["person", "town"])
    return nlp


def respond(scheme: Scheme, labels: dict[str, str], text: Text) -> list[Answered]:
    """What a perfect model answers about a text."""
    gold = gold_of(text.string)
    waiting, done = list(scheme.ask(labels, text.string)), []
    while waiting:
        branch = waiting.pop(0)
        answer = scheme.answer(branch, gold)
        done.append(Answered(branch, Answer(answer, 0.5, Finish.END, 1)))
        waiting = [*scheme.follow(branch, answer), *waiting]
    return done


class Perfect:
    """Answers in the model's place, out of order, and notes what it holds meanwhile."""

    def __init__(self) -> None:
        self.sizes: list[int] = []
        self.most_at_once = 0

    def __call__(
        self, lm: object, scheme: Scheme, labels: Any, texts: Iterable[Text | None], *, in_flight: int, **_: Any
    ) -> Iterator[tuple[int, list[Answered]]]:
        held: list[tuple[int, Text | None]] = []
        for number, text in enumerate(texts):
            held.append((number, text))
            self.most_at_once = max(self.most_at_once, sum(len(one.string) for _, one in held if one))
            if len(held) == in_flight:
                yield self._give(scheme, labels, held.pop(number % in_flight))
        while held:
            yield self._give(scheme, labels, held.pop())

    def _give(self, scheme: Scheme, labels: Any, asked: tuple[int, Text | None]) -> tuple[int, list[Answered]]:
        number, text = asked
        if text is not None:
            self.sizes.append(len(text.string))
        return number, [] if text is None else respond(scheme, labels, text)


@pytest.fixture
def perfect(monkeypatch: pytest.MonkeyPatch) -> Perfect:
    stand_in = Perfect()
    monkeypatch.setattr(component, "stream_texts", stand_in)
    return stand_in


def covered(doc: Doc) -> bool:
    """Whether every token lies whole in one of the windows that the document tells of."""
    windows = iter(doc.spans["sc"].attrs["windows"])
    start, end = next(windows)
    for token in doc:
        while token.idx + len(token) > end:
            start, end = next(windows)
        if token.idx < start:
            return False
    return True


# A perfect model


@told_of_windows
@pytest.mark.slow
@pytest.mark.parametrize("with_sentences", [True, False])
def test_two_hundred_thousand_words(perfect: Perfect, with_sentences: bool):
    """Every mention comes back at its place, nothing twice; what is held at once does not grow with the document."""
    nlp = fresh()
    doc = document(200_000, with_sentences=with_sentences)
    assert len(doc) >= 200_000
    ours(nlp)(doc)
    assert spans(doc) == gold_spans(doc.text)
    assert entities(doc) == spans(doc)
    assert covered(doc)
    assert perfect.most_at_once <= 16 * max(perfect.sizes)


@told_of_windows
@pytest.mark.parametrize("with_sentences", [True, False])
@pytest.mark.parametrize("name", SCHEMES)
def test_perfect_answers_come_back_in_every_scheme(perfect: Perfect, name: str, with_sentences: bool):
    doc = document(800, with_sentences=with_sentences)
    ours(fresh(scheme=block(name)))(doc)
    group = doc.spans["sc"]
    assert spans(doc) == gold_spans(doc.text)
    assert covered(doc)
    assert scores(doc) == [0.5] * len(group)
    assert len(group.attrs["windows"]) > 5
    # As many as there are; each with the next ordinal of its label.
    for label in ("person", "town"):
        ordinals = [int(one) for span, one in zip(group, group.attrs["ordinals"], strict=True) if span.label_ == label]
        assert ordinals == [*range(1, group.attrs["counts"][label] + 1)]


@told_of_windows
def test_windows_and_what_is_held_are_linear_in_length(perfect: Perfect):
    nlp, found = fresh(), []
    for n_words in (1000, 2000, 4000):
        perfect.sizes.clear()
        perfect.most_at_once = 0
        ours(nlp)(document(n_words))
        found.append((len(perfect.sizes), sum(perfect.sizes), perfect.most_at_once))
    windows, characters, held = zip(*found, strict=True)
    for few, many in (windows[:2], windows[1:], characters[:2], characters[1:]):
        assert many == pytest.approx(2 * few, rel=0.05)
    assert max(held) < 1.1 * min(held)


@told_of_windows
def test_the_engine_gets_every_mention_back_too(monkeypatch: pytest.MonkeyPatch):
    """Through every forward pass, with scripted answers: steps and pieces are linear, K/V places bounded."""
    inner = local._request

    def scripted(scheme: Scheme, labels: Any, text: Text, script: None) -> Any:
        gold = gold_of(text.string)
        return inner(scheme, labels, text, lambda branch: scheme.answer(branch, gold))

    monkeypatch.setattr(local, "_request", scripted)
    nlp, counters = fresh(), []
    for n_words in (300, 600, 1200):
        doc = document(n_words)
        pipe = ours(nlp)
        pipe.counters = type(pipe.counters)()
        list(pipe.pipe([doc], batch_size=2))
        assert spans(doc) == gold_spans(doc.text)
        counters.append(pipe.counters)
    for few, many in pairwise(counters):
        assert many.pieces == pytest.approx(2 * few.pieces, rel=0.15)
        assert many.documents == pytest.approx(2 * few.documents, rel=0.15)
        assert many.peak_kv_pieces == pytest.approx(few.peak_kv_pieces, rel=0.15)


# Texts that fit


def test_a_text_that_fits_is_asked_as_before(trained: Callable[..., Language]):
    """The same questions, answers and probabilities, to the bit, as from a pipe that knows no windows."""

    def found(**settings: Any) -> list[Any]:
        nlp = trained(**settings)
        return [ours(nlp).predict([nlp.make_doc(text)])[0] for text in [*TEXTS, "  Show me Jaws in Paris \n", ""]]

    assert found() == found(strict=True)
    assert all(one.windows == () for one in found())


def test_no_word_of_windows_where_there_are_none(trained: Callable[..., Language]):
    doc = trained()(TEXTS[0])  # a warning would be an error
    assert "windows" not in doc.spans["sc"].attrs


# The stream


@told_of_windows
@pytest.mark.filterwarnings("ignore:.*W001")
def test_order_and_annotations_do_not_depend_on_the_batch(trained: Callable[..., Language]):
    nlp = trained(window=12)
    texts = [TEXTS[0], "Show me Jaws in Paris " * 12, "", TEXTS[1], "Paris Paris and Jaws " * 5, TEXTS[2]]
    expected = [(text, spans(nlp(text)), [round(score, 4) for score in scores(nlp(text))]) for text in texts]
    for size in (1, 2, 5, 64):
        docs = list(nlp.pipe(texts, batch_size=size))
        assert [(doc.text, spans(doc), [round(score, 4) for score in scores(doc)]) for doc in docs] == expected


@told_of_windows
@pytest.mark.filterwarnings("ignore:.*W001")
def test_a_document_with_labels_of_its_own_is_asked_about_them_in_every_window(trained: Callable[..., Language]):
    """Its neighbours, long or short, are asked about the pipe's."""
    nlp = trained(window=12)
    texts = ["Show me Jaws in Paris " * 12, TEXTS[0], "Paris Paris and Jaws " * 5]
    expected = [spans(nlp(text)) for text in texts]
    assert {label for *_, label in expected[0]} == {"city", "movie"}
    docs = [nlp.make_doc(text) for text in texts]
    docs[0]._.padellm_labels = ["city"]
    found = list(ours(nlp).pipe(docs, batch_size=4))
    assert [spans(doc) for doc in found[1:]] == expected[1:]
    assert {label for *_, label in spans(found[0])} == {"city"}
    assert found[0].spans["sc"].attrs["windows"] == nlp(texts[0]).spans["sc"].attrs["windows"]


@told_of_windows
@pytest.mark.filterwarnings("ignore:.*W001")
def test_thresholds_hold_for_a_document_read_in_windows(trained: Callable[..., Language]):
    """They are judged where windows have been put together: nothing is below twice, and nothing is lost."""
    text = "Show me Jaws in Paris " * 12
    plain = trained(window=12)(text)
    level = float(np.median(plain.spans["sc"].attrs["confidences"]))
    doc = trained(window=12, threshold=level)(text)
    attrs = doc.spans["sc"].attrs
    below = [tuple(row[:3]) for row in attrs["below_threshold"]]
    assert below and spans(doc) and sorted(below + spans(doc)) == sorted(spans(plain))
    assert min(attrs["confidences"]) >= level > max(row[3] for row in attrs["below_threshold"])


@told_of_windows
def test_a_long_document_does_not_keep_short_ones(perfect: Perfect):
    docs = [document(10), document(1000), document(10), document(600)]
    expected = [gold_spans(doc.text) for doc in docs]
    assert [spans(doc) for doc in ours(fresh()).pipe(iter(docs), batch_size=4)] == expected


@told_of_windows
def test_a_window_that_fails_fails_its_document_alone(perfect: Perfect, monkeypatch: pytest.MonkeyPatch):
    """What is left of the document is not asked about."""
    nlp, failed, asked = fresh(), [], []
    inner = component.read_annotation

    def read(scheme: Scheme, text: Text, *rest: Any, **options: Any) -> Any:
        asked.append(text.string)
        if "Ann20 " in text.string:
            raise ValueError("broken")
        return inner(scheme, text, *rest, **options)

    monkeypatch.setattr(component, "read_annotation", read)
    ours(nlp).set_error_handler(lambda name, pipe, docs, error: failed.extend((docs, str(error))))
    docs = [document(10), document(2000), document(30)]
    found = list(ours(nlp).pipe(docs, batch_size=2))
    assert [doc.text for doc in found] == [docs[0].text, docs[2].text]
    assert failed == [[docs[1]], "broken"]
    assert sum(map(len, asked)) < len(docs[1].text) / 2


@pytest.mark.parametrize("documents", [1, 3])
def test_one_warning_says_how_many_w010(perfect: Perfect, documents: int):
    nlp = fresh(window=80)
    docs = [document(10), *[document(200) for _ in range(documents)]]
    with pytest.warns(UserWarning) as caught:
        found = list(ours(nlp).pipe(docs))
    windows = sum(len(doc.spans["sc"].attrs["windows"]) for doc in found[1:])
    (warning,) = caught
    assert str(warning.message).startswith(
        f"[W010] {documents} of {documents + 1} documents are longer than 80 pieces and were read in {windows} windows."
    )
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        list(ours(nlp).pipe([document(10)]))  # counting has begun anew


# Settings


@told_of_windows
def test_window_and_overlap(perfect: Perfect):
    """Windows in pieces, and not in words: measured alone none is above its limit; overlaps grow as asked."""
    shared = {}
    for window, overlap in ((60, 0.0), (60, 0.25), (60, 0.5), (120, 0.25)):
        nlp = fresh(window=window, window_overlap=overlap)
        pieces = shim_of(ours(nlp).model).lm.pieces
        doc = document(600, with_sentences=False)
        ours(nlp)(doc)
        places = doc.spans["sc"].attrs["windows"]
        sizes = [len(pieces.encode([doc.text[start:end]])[0]) for start, end in places]
        assert window - 16 < max(sizes) <= window
        shared[window, overlap] = [one[1] - two[0] for one, two in pairwise(places)]
    assert max(shared[60, 0.0]) < 0 < min(shared[60, 0.25])
    assert 2 * max(shared[60, 0.25]) < 3 * min(shared[60, 0.5])
    assert min(shared[120, 0.25]) > max(shared[60, 0.25])


@told_of_windows
def test_sentences_are_what_is_cut_where_there_are_any(perfect: Perfect):
    nlp = fresh(window=60)
    doc = document(600)
    ours(nlp)(doc)
    starts = {sent.start_char for sent in doc.sents}
    ends = {sent.end_char for sent in doc.sents}
    for start, end in doc.spans["sc"].attrs["windows"]:
        assert start in starts and end in ends


def test_strict_p181(trained: Callable[..., Language]):
    nlp = trained(window=10, strict=True)
    with pytest.raises(ValueError, match=r"\[P181\] A text has \d+ pieces, more than the 10 .*'Is The Ghost"):
        nlp(TEXTS[0])
    with pytest.raises(ValueError, match=r"\[P181\]"):
        nlp.update(examples(nlp, DATA[:1]), sgd=False)
    assert entities(trained(window=100, strict=True)(TEXTS[0])) == DATA[0][1]


def test_a_token_larger_than_a_window_p180(trained: Callable[..., Language]):
    nlp, failed = trained(window=20), []
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.append((docs[0].text, str(error))))
    long = "Show me " + "1x2y" * 40
    assert [doc.text for doc in nlp.pipe([TEXTS[1], long, TEXTS[1]])] == [TEXTS[1]] * 2
    ((text, error),) = failed
    assert text == long and error.startswith("[P180]") and "'1x2y" in error


@pytest.mark.parametrize("name", SCHEMES)
def test_by_default_the_longest_question_and_answer_have_room(name: str):
    """A text as long as a window is asked about and answered without P023, and one piece more is windowed."""
    nlp = fresh(scheme=block(name), max_answer=40)
    lm, pipe = shim_of(ours(nlp).model).lm, ours(nlp)
    words = asked(pipe)
    room = text_room(lm, pipe.scheme, words, max_answer=40)
    assert Windowing.of(lm, pipe.scheme, words, pipe.options).limit == room
    assert 40 < room < lm.max_positions
    text = next(text for n in range(1000) if len(lm.pieces.encode([text := "a" + " a" * n])[0]) == room)
    (found,) = pipe.predict([nlp.make_doc(text)])
    assert found.windows == () and found.answered
    (found,) = pipe.predict([nlp.make_doc(text + " a")])
    assert len(found.windows) == 2


def test_a_window_is_no_larger_than_the_model_has_room_for(trained: Callable[..., Language]):
    pipes = [ours(trained(window=window)) for window in (None, 100_000, 30)]
    limits = [Windowing.of(shim_of(p.model).lm, p.scheme, asked(p), p.options).limit for p in pipes]
    assert limits[0] == limits[1]
    assert limits[2] == 30


@told_of_windows
def test_room_follows_the_labels(trained: Callable[..., Language]):
    """The longest question counts, and it is looked at anew when labels change."""
    nlp = trained()
    pipe, lm = ours(nlp), shim_of(ours(nlp).model).lm
    before = pipe._windowing_for(lm, asked(pipe)).limit
    pipe.set_labels(["city", "a label with a good many words"])
    after = pipe._windowing_for(lm, asked(pipe)).limit
    assert before is not None and after is not None and after < before


@told_of_windows
@pytest.mark.parametrize("repeat", [1, 2])
def test_room_is_shared_by_the_repeats_of_a_text(repeat: int):
    prompt = {"@misc": "spacy-padellm.EnglishPrompt.v1", "repeat_text": repeat}
    nlp = fresh(scheme={"@misc": "spacy-padellm.PaDeLLM.v1", "prompt": prompt})
    pipe, lm = ours(nlp), shim_of(ours(nlp).model).lm
    room = text_room(lm, pipe.scheme, asked(pipe), max_answer=128)
    assert 150 / repeat < room < 200 / repeat


# What is kept of the answers


@told_of_windows
def test_answers_and_what_was_lost_are_those_of_all_windows(trained: Callable[..., Language], monkeypatch: Any):
    def lines(scheme: Scheme, labels: Any, texts: Iterable[Text], **_: Any) -> Iterator[tuple[int, list[Answered]]]:
        for number, text in enumerate(texts):
            said = {("city", 0): "2", ("city", 1): "Paris", ("city", 2): "Oz"}
            waiting, done = list(scheme.ask(labels, text.string)), []
            while waiting:
                branch: Branch = waiting.pop(0)
                answer = said.get((branch.label, branch.ordinal), "0")
                done.append(Answered(branch, Answer(answer, 0.5, Finish.END, 1)))
                waiting = [*scheme.follow(branch, answer), *waiting]
            yield number, done

    monkeypatch.setattr(component, "stream_texts", functools.partial(lambda lm, *rest, **more: lines(*rest, **more)))
    nlp = trained(window=13, window_overlap=0.0, save_io=True, placing="strict")
    with pytest.warns(UserWarning, match=r"\[W001\].*2 mentions that do not stand"):
        doc = nlp("Show me Jaws in Paris . Show me Jaws in Paris")
    group = doc.spans["sc"]
    assert len(group.attrs["windows"]) == 2
    assert [int(one) for one in group.attrs["ordinals"]] == [1, 3]
    assert group.attrs["unplaced"] == [["city", "Oz", 2], ["city", "Oz", 4]]
    assert group.attrs["counts"]["city"] == 4
    assert len(doc.user_data["llm_io"]["padellm_ner"]) == 8


@told_of_windows
def test_windows_survive_a_file(perfect: Perfect):
    doc = document(300)
    ours(fresh(window=60))(doc)
    again = Doc(doc.vocab).from_bytes(doc.to_bytes())
    assert again.spans["sc"].attrs["windows"] == doc.spans["sc"].attrs["windows"]


# Training


def gold_doc_of(nlp: Language, n_words: int, *, with_sentences: bool = True) -> tuple[str, dict[str, Any]]:
    doc = document(n_words, with_sentences=with_sentences)
    return doc.text, {
        "words": [token.text for token in doc],
        "entities": gold_spans(doc.text),
        **({"sent_starts": [token.is_sent_start for token in doc]} if with_sentences else {}),
    }


@pytest.mark.parametrize("with_sentences", [True, False])
@pytest.mark.filterwarnings("ignore:.*W011")
def test_training_texts_are_cut_alike(with_sentences: bool):
    """Each window is a tree that fits, and together they hold the gold mentions, those in overlaps twice."""
    nlp = fresh(window=60)
    pipe, lm = ours(nlp), shim_of(ours(nlp).model).lm
    text, gold = gold_doc_of(nlp, 300, with_sentences=with_sentences)
    example = spacy.training.Example.from_dict(nlp.make_doc(text), gold)
    trees = pipe._trees([example])
    (parts,) = pipe._cut([example], pipe._train_words())
    assert len(trees) == len(parts.parts) > 4
    assert max(max(tree.tree.depths) + 1 for tree in trees) <= lm.max_positions
    for part, mentions in parts.parts:
        assert len(lm.pieces.encode([part.string])[0]) <= 60
        assert [(one.string, one.start) for one in mentions] == [
            (one.string, one.start) for one in gold_of(part.string) if NAME.match(one.string) or TOWN.match(one.string)
        ]
    assert {one.string for _, mentions in parts.parts for one in mentions} == {one.string for one in gold_of(text)}
    assert nlp.update([example], sgd=False)["padellm_ner"] > 0


def test_training_on_texts_that_fit_is_as_before(trained: Callable[..., Language]):
    nlp, strict = trained(), trained(strict=True)
    for one, two in zip(ours(nlp)._trees(examples(nlp)), ours(strict)._trees(examples(strict)), strict=True):
        assert one.tree.pieces == two.tree.pieces
        assert one.nodes.tolist() == two.nodes.tolist()


def test_gold_mentions_that_no_window_holds_are_told_once_w011(trained: Callable[..., Language]):
    nlp = trained(window=14, window_overlap=0.0)
    text = "Show me Jaws in Paris " * 4
    whole = [(0, len(text) - 1, "movie"), (8, 12, "movie")]
    with pytest.warns(UserWarning, match=r"\[W011\] 1 of 2 gold mentions .*movie: 'Show me Jaws"):
        nlp.update(examples(nlp, [(text, whole[:1])]) + examples(nlp, [(text, whole[1:])]), sgd=False)
    nlp.update(examples(nlp, [(text, whole[:1])]), sgd=False)


def test_what_was_learnt_of_sentences_holds_in_windows_of_one_each(trained: Callable[..., Language]):
    nlp = trained(window=30)
    text = " ".join(f"{TEXTS[0]} {TEXTS[1]}" for _ in range(10))
    doc = nlp.make_doc(text)
    for token in doc:
        token.is_sent_start = token.text in ("Is", "Show")
    with pytest.warns(UserWarning, match=r"W010.* in 20 windows"):
        ours(nlp)(doc)
    assert [(ent.text, ent.label_) for ent in doc.ents] == [
        ("The Ghost", "movie"),
        ("Boston", "city"),
        ("Jaws", "movie"),
        ("Paris", "city"),
    ] * 10


@pytest.mark.filterwarnings("ignore:.*W001:UserWarning")
def test_blanks_at_the_edges_are_no_window(trained: Callable[..., Language]):
    """A text that is longer than a window only by blanks in front and behind is read at once, and not told of."""
    blanks = " " * 60
    nlp = trained(window=30)
    padded, plain = nlp(f"{blanks}{TEXTS[0]}{blanks}"), nlp(TEXTS[0])
    found, expected = ([(one.text, one.label_) for one in doc.spans["sc"]] for doc in (padded, plain))
    assert found == expected != []
    with pytest.warns(UserWarning, match=r"\[W010\] 1 of 1 documents"):
        nlp(" ".join(TEXTS * 3))
