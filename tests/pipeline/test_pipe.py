"""Streams of documents: order, batches, contexts, errors, processes."""

from __future__ import annotations

import itertools
import json
import subprocess
import sys
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import torch
from spacy.language import Language
from spacy.tokens import Doc

from spacy_padellm.engine import decoder
from spacy_padellm.engine.stream import AHEAD
from tests.pipeline.makers import DATA, TEXTS, annotations, answering, blank, entities, examples, ours, scores, spans

LONG = "Show me Jaws " * 200
"""Longer than the model has positions."""


def test_order_is_kept_whatever_the_batch_size(trained: Callable[..., Language]):
    nlp = trained()
    texts = [*TEXTS, "", *TEXTS[::-1], " "]
    expected = [spans(nlp(text)) for text in texts]
    for size in (1, 2, 3, 64):
        docs = list(nlp.pipe(texts, batch_size=size))
        assert [doc.text for doc in docs] == texts
        assert [spans(doc) for doc in docs] == expected


@pytest.mark.parametrize("size", [1, 2, 5, 64])
def test_batch_size_bounds_the_documents_at_once(
    trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch, size: int
):
    nlp, fed = trained(), []
    inner = decoder._step

    def step(lm: object, store: Any, stretches: Any, growths: list[Any], **options: Any) -> None:
        fed.append(len(growths))
        inner(lm, store, stretches, growths, **options)

    monkeypatch.setattr(decoder, "_step", step)
    texts = TEXTS * 3
    assert [doc.text for doc in nlp.pipe(texts, batch_size=size)] == texts
    assert max(fed) == min(size, len(texts))


def test_stream_is_lazy(trained: Callable[..., Language]):
    """The stream never ends. What is read ahead is no more than a batch; nothing is before somebody asks."""
    nlp = trained()
    taken: list[str] = []

    def stream() -> Iterator[Doc]:
        for text in itertools.cycle([*TEXTS, " "]):
            taken.append(text)
            yield nlp.make_doc(text)

    docs = ours(nlp).pipe(stream(), batch_size=3)
    assert taken == []
    for number, doc in enumerate(itertools.islice(docs, 40)):
        assert doc.text == taken[number]
        assert len(taken) - number <= 3 * AHEAD
    assert len(taken) < 40 + 3 * AHEAD


def test_a_stream_of_blank_texts_is_lazy_too(trained: Callable[..., Language]):
    nlp, taken = trained(), []

    def stream() -> Iterator[Doc]:
        for number in itertools.count():
            taken.append(number)
            yield nlp.make_doc(" ")

    assert len(list(itertools.islice(ours(nlp).pipe(stream(), batch_size=2), 5))) == len(taken) == 5


def test_kv_bytes_bounds_the_documents_at_once(trained: Callable[..., Language]):
    """As small as it can be: one document after the other. Answers are the same."""
    wide, narrow = trained(), trained(kv_bytes=1)
    assert annotations(narrow, TEXTS * 2) == annotations(wide, TEXTS * 2)
    assert ours(narrow).counters.steps == ours(narrow).counters.document_steps
    assert ours(wide).counters.steps < ours(wide).counters.document_steps


def test_a_failing_allocator_loses_no_document(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch):
    """Memory for one document at a time, and not even that for one of them: it alone goes to the handler."""
    nlp, failed = trained(), []
    expected = annotations(nlp)
    inner = decoder._step

    def step(lm: object, store: Any, stretches: Any, growths: list[Any], **options: Any) -> None:
        pieces = sum(stretch.stop - stretch.start for stretch in stretches)
        if len(growths) > 1 or pieces > 60:
            raise torch.OutOfMemoryError("CUDA out of memory")
        inner(lm, store, stretches, growths, **options)

    monkeypatch.setattr(decoder, "_step", step)
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.append((docs[0].text, error)))
    large = "Jaws in " * 30
    with pytest.warns(UserWarning, match=r"\[W005\].*5 documents.*at most 2"):
        docs = list(nlp.pipe([TEXTS[0], large, *TEXTS[1:]], batch_size=5))
    assert [doc.text for doc in docs] == TEXTS
    assert [(entities(doc), spans(doc), [round(score, 4) for score in scores(doc)]) for doc in docs] == expected
    ((text, error),) = failed
    assert text == large and isinstance(error, torch.OutOfMemoryError)


def test_contexts_survive(trained: Callable[..., Language]):
    nlp = trained()
    pairs = [(text, {"id": number}) for number, text in enumerate([*TEXTS, "", " "])]
    found = list(nlp.pipe(pairs, as_tuples=True, batch_size=4))
    assert [(doc.text, context) for doc, context in found] == pairs
    assert entities(found[1][0]) == DATA[1][1]


def test_context_on_the_doc_survives(trained: Callable[..., Language]):
    nlp = trained()
    docs = [nlp.make_doc(text) for text in TEXTS]
    for number, doc in enumerate(docs):
        doc._context = number
    assert [doc._context for doc in ours(nlp).pipe(docs, batch_size=2)] == [0, 1, 2, 3]


@pytest.mark.parametrize("text", ["", " ", " \n\t ", "\u3000\u00a0"])
def test_texts_without_words_pass_through(trained: Callable[..., Language], monkeypatch: pytest.MonkeyPatch, text: str):
    nlp = trained()
    with answering(monkeypatch, {}) as calls:
        doc = nlp(text)
    assert calls == [[]]
    assert (doc.text, list(doc.ents), list(doc.spans["sc"])) == (text, [], [])
    assert doc.spans["sc"].attrs["scores"].shape == (0,)
    assert all(token.ent_iob_ == "O" for token in doc)


# Errors


def test_handler_gets_only_the_document_that_failed(trained: Callable[..., Language]):
    nlp = trained(strict=True)
    failed: list[tuple[Any, ...]] = []
    ours(nlp).set_error_handler(lambda *told: failed.append(told))
    docs = list(nlp.pipe([TEXTS[0], LONG, TEXTS[1], TEXTS[2]], batch_size=3))
    assert [entities(doc) for doc in docs] == [ents for _, ents in DATA[:3]]
    ((name, pipe, bad, error),) = failed
    assert (name, pipe, [doc.text for doc in bad]) == ("padellm_ner", ours(nlp), [LONG])
    assert isinstance(error, ValueError)
    assert str(error).startswith("[P023]")


def test_one_bad_document_costs_little(trained: Callable[..., Language]):
    """The batch is halved until the document stands alone; every other one is decoded once."""
    nlp = trained(strict=True)
    nlp.set_error_handler(lambda *told: None)
    texts = [TEXTS[number % len(TEXTS)] for number in range(16)]
    docs = list(nlp.pipe([*texts[:5], LONG, *texts[5:]], batch_size=17))
    assert [doc.text for doc in docs] == texts
    assert ours(nlp).counters.documents == 16


def test_documents_before_the_bad_one_come_out(trained: Callable[..., Language]):
    found: list[str] = []
    with pytest.raises(ValueError, match=r"\[P023\]"):
        for doc in trained(strict=True).pipe([TEXTS[0], TEXTS[1], LONG, TEXTS[2]]):
            found.append(doc.text)
    assert found == TEXTS[:2]


def test_one_long_text_does_not_widen_the_short_ones(trained: Callable[..., Language]):
    def peak(texts: list[str]) -> int:
        nlp = trained()
        assert [doc.text for doc in nlp.pipe(texts, batch_size=100)] == texts
        return ours(nlp).counters.peak_kv_pieces

    long = "Jaws in " * 50
    assert peak([*TEXTS * 10, long]) < 2 * max(peak(TEXTS * 10), peak([long]))


def test_long_and_short_texts_together_get_the_same_spans(trained: Callable[..., Language]):
    nlp = trained()
    texts = [TEXTS[0], "Show me Jaws in Paris " * 6, *TEXTS * 3]
    together = [entities(doc) for doc in nlp.pipe(texts, batch_size=100)]
    assert together == [entities(nlp(text)) for text in texts]


def test_text_longer_than_the_model_p023(trained: Callable[..., Language]):
    with pytest.raises(ValueError, match=r"\[P023\].* 256\..*'Show me Jaws"):
        list(trained(strict=True).pipe([TEXTS[0], LONG]))


def test_training_text_longer_than_the_model_p023(trained: Callable[..., Language]):
    nlp = trained(strict=True)
    with pytest.raises(ValueError, match=r"\[P023\].*'Show me Jaws"):
        nlp.update(examples(nlp, [(LONG, [(8, 12, "movie")])]), sgd=False)


def test_handler_of_a_single_call(trained: Callable[..., Language]):
    nlp = trained(strict=True)
    failed: list[str] = []
    nlp.set_error_handler(lambda name, pipe, docs, error: failed.extend(doc.text for doc in docs))
    doc = nlp(LONG)
    assert failed == [LONG]
    assert "sc" not in doc.spans


def test_what_came_before_the_error_is_not_lost(trained: Callable[..., Language]):
    docs = trained(strict=True).pipe([TEXTS[0], TEXTS[1], LONG], batch_size=2)
    assert [entities(next(docs)), entities(next(docs))] == [DATA[0][1], DATA[1][1]]
    with pytest.raises(ValueError, match=r"\[P023\]"):
        next(docs)


# Processes

IN_TWO_PROCESSES = """
import json, sys
import spacy
if __name__ == "__main__":
    nlp = spacy.load(sys.argv[1])
    texts = json.loads(sys.argv[2])
    nlp(texts[0])
    docs = list(nlp.pipe(texts, n_process=2, batch_size=2))
    told = [[ent.start_char, ent.end_char, ent.label_] for doc in docs for ent in doc.ents]
    print(json.dumps([[doc.text for doc in docs], told, [len(doc.spans["sc"].attrs["scores"]) for doc in docs]]))
"""


@pytest.mark.slow
def test_two_processes(trained: Callable[..., Language], tmp_path: Path):
    """In a process of its own with a limit of time, so that a hang fails."""
    trained().to_disk(tmp_path / "saved")
    script = tmp_path / "two.py"
    script.write_text(IN_TWO_PROCESSES)
    command = [sys.executable, str(script), str(tmp_path / "saved"), json.dumps([*TEXTS, ""])]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180)
    assert done.returncode == 0, done.stderr
    texts, ents, counts = json.loads(done.stdout.splitlines()[-1])
    assert texts == [*TEXTS, ""]
    assert ents == [list(ent) for _, gold in DATA for ent in gold]
    assert counts == [2, 2, 3, 0, 0]


def test_a_pipe_that_is_not_ready_keeps_no_documents():
    nlp, met = blank(), []
    nlp.set_error_handler(lambda name, pipe, docs, error: met.append(len(traceback.extract_tb(error.__traceback__))))
    assert not list(nlp.pipe(TEXTS * 5))
    assert met == met[:1] * len(TEXTS) * 5
