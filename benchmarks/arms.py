"""What is timed against each other: each arm annotates the same documents in its own way."""

from __future__ import annotations

import time
from collections.abc import Callable, Hashable, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Protocol, TypeVar

import torch
from spacy.language import Language

from benchmarks.contenders.generation import BatchCounters
from benchmarks.contenders.pipelines import annotate
from benchmarks.contenders.staged import Asker, answer_staged, time_alone
from benchmarks.corpora import Corpus
from benchmarks.documents import Document
from benchmarks.models import make_model
from benchmarks.schemes import SCHEMES
from spacy_padellm.backends.local import answer_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.types import Scheme

Clock = Callable[[], float]
CLOCKS: dict[str, Clock] = {"wall": time.perf_counter, "cpu": time.process_time}
"""Seconds that pass, or seconds of processor time of this process: what else the machine does is left out of those."""

AS_USUAL = Decoding()

Name = TypeVar("Name", bound=Hashable)


class Arm(Protocol):
    """One way to annotate documents."""

    def run(self, documents: Sequence[Document], counters: BatchCounters) -> float:
        """Annotate some documents as one batch, add to the counters what it cost, and return the seconds it took."""
        ...


def corpus_model(
    name: str, corpus: Corpus, *, device: str = "auto", dtype: str = "float32", tokenizer: str | None = None
) -> LanguageModel:
    """A model as `make_model` makes it; a random one gets a tokenizer trained on the corpus and its questions, or the
    one that is named."""
    texts = [document.text.string for document in corpus.documents]
    schemes = [make(corpus.prompt) for make in SCHEMES.values()]
    questions = [branch.question for scheme in schemes for branch in scheme.ask(corpus.labels)]
    return make_model(name, texts, questions, device=device, dtype=dtype, tokenizer=tokenizer)


@dataclass(frozen=True)
class Forest:
    """The engine of this package: all documents of a batch as one forest.

    replay (bool): Give gold answers in place of the model's.
    decoding (Decoding): How answers are decoded.
    """

    lm: LanguageModel
    scheme: Scheme
    corpus: Corpus
    replay: bool = True
    decoding: Decoding = field(default_factory=Decoding)
    clock: Clock = time.perf_counter

    def run(self, documents: Sequence[Document], counters: Counters) -> float:
        start = self.clock()
        answer_texts(
            self.lm,
            self.scheme,
            self.corpus.labels,
            [document.text for document in documents],
            decoding=self.decoding,
            counters=counters,
            scripts=[partial(self.scheme.answer, gold=document.gold) for document in documents]
            if self.replay
            else None,
        )
        return _since(start, self.clock, self.lm)


@dataclass(frozen=True)
class Generated:
    """The same questions through `model.generate`, every prompt encoded in full (see `contenders.staged`).

    alone (bool): Every sequence is generated alone, and the slowest one counts: each has a device of its own.
    """

    lm: LanguageModel
    scheme: Scheme
    corpus: Corpus
    replay: bool = True
    alone: bool = False
    clock: Clock = time.perf_counter

    def run(self, documents: Sequence[Document], counters: BatchCounters) -> float:
        asker = Asker(self.lm, self.scheme, self.corpus.labels)
        texts = [document.text.string for document in documents]
        scripts = [partial(self.scheme.answer, gold=document.gold) if self.replay else None for document in documents]
        with own_attention(self.lm, "sdpa"):
            if self.alone:
                clock = partial(_synchronised, self.clock, self.lm)
                return sum(
                    time_alone(asker, text, counters, clock, script)
                    for text, script in zip(texts, scripts, strict=True)
                )
            start = self.clock()
            answer_staged(asker, texts, counters, scripts)
            return _since(start, self.clock, self.lm)


@dataclass(frozen=True)
class Pipeline:
    """A spaCy pipeline from text to annotated documents. It has no counters but that of documents."""

    nlp: Language
    clock: Clock = time.perf_counter

    def run(self, documents: Sequence[Document], counters: Counters) -> float:
        start = self.clock()
        annotate(self.nlp, documents)
        counters.documents += len(documents)
        return self.clock() - start


@dataclass(frozen=True)
class Batched:
    """An arm that cuts what it is given into batches of its own size.

    arm (Arm): Who annotates them.
    batch_size (int): Documents at once.
    """

    arm: Arm
    batch_size: int

    def run(self, documents: Sequence[Document], counters: BatchCounters) -> float:
        places = range(0, len(documents), self.batch_size)
        return sum(self.arm.run(documents[place : place + self.batch_size], counters) for place in places)


def _synchronised(clock: Clock, lm: LanguageModel) -> float:
    if lm.device.type == "cuda":
        torch.cuda.synchronize()
    return clock()


def _since(start: float, clock: Clock, lm: LanguageModel) -> float:
    return _synchronised(clock, lm) - start


def run_interleaved(
    arms: dict[Name, Arm], documents: Sequence[Document], *, batch_size: int, runs: int
) -> dict[Name, tuple[BatchCounters, list[float]]]:
    """Annotate all documents with all arms, several times. Each batch goes through every arm before the next one comes,
    in an order that turns, so that whatever slows the machine down slows all arms.

    RETURNS (dict[Name, tuple[BatchCounters, list[float]]]): For each arm what one run cost, and the seconds of
        each run.
    """
    names = list(arms)
    seconds = {name: [0.0] * runs for name in names}
    counters = {name: BatchCounters() for name in names}
    for run in range(runs):
        for number, place in enumerate(range(0, len(documents), batch_size)):
            turn = (run + number) % len(names)
            for name in names[turn:] + names[:turn]:
                spent = counters[name] if run == 0 else BatchCounters()
                seconds[name][run] += arms[name].run(documents[place : place + batch_size], spent)
    return {name: (counters[name], seconds[name]) for name in names}
