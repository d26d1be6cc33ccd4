"""Answers from a model that a completions server holds."""

from __future__ import annotations

import threading
import warnings
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait

from spacy_padellm.backends.dialects import Completion
from spacy_padellm.backends.local import Text
from spacy_padellm.backends.reading import Question, Reading
from spacy_padellm.backends.served import ServedModel
from spacy_padellm.backends.server import NoAnswer
from spacy_padellm.engine.counters import Counters, StreamLog
from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.engine.stream import AHEAD, Pause
from spacy_padellm.errors import Warnings
from spacy_padellm.types import Answered, Scheme, Words

Asked = Text | Exception | Pause | None
"""What a stream is given, as `local.stream_texts` has it."""

Outcome = tuple[int, list[Answered] | Exception]
"""A text's number, and its answers or what it raised."""

_AWAY = 3
"""Texts in a row without an answer after which a server counts as away, so that further requests are made once only,
until one is answered."""

_POLL = 0.02
"""Seconds after which a source that had nothing yet is asked again while requests are on their way."""


def stream_remote(
    model: ServedModel,
    scheme: Scheme,
    labels: Mapping[str, Words],
    texts: Iterable[Asked],
    *,
    decoding: Decoding,
    counters: Counters,
    in_flight: int,
) -> Iterator[Outcome]:
    """Ask a scheme's questions about texts that come one by one, as `local.stream_texts` does, of a server.

    A request is a step in `counters`; `pieces` are those that the server had to compute, where it tells.
    """
    stream = _Stream(model, scheme, labels, decoding, counters, in_flight)
    log = StreamLog(counters)
    try:
        yield from stream.run(iter(texts))
    finally:
        stream.close()
        log.end()


class _Stream:
    def __init__(
        self,
        model: ServedModel,
        scheme: Scheme,
        labels: Mapping[str, Words],
        decoding: Decoding,
        counters: Counters,
        in_flight: int,
    ) -> None:
        self._model, self._terms = model, model.terms
        self._scheme, self._labels, self._decoding = scheme, labels, decoding
        self._counters = counters
        self._in_flight = in_flight
        self._server = model.server
        # This stream's own: others may ask the same server at the same time.
        self._left = threading.Event()
        self._pool = ThreadPoolExecutor(model.access.concurrency, thread_name_prefix="padellm-server")
        self._readings: dict[int, Reading] = {}
        self._running: dict[Future[Completion], tuple[Reading, Question, int]] = {}
        self._taken = 0
        self._n_unanswered = 0
        self._n_asked = self._n_cut_otherwise = self._n_pieces = self._n_untold = 0

    def run(self, source: Iterator[Asked]) -> Iterator[Outcome]:
        ended = False
        while True:
            paused = False
            while not ended and not paused and self._may_read():
                text = next(source, ...)
                if text is ...:
                    ended = True
                elif isinstance(text, Pause):
                    paused = True
                else:
                    yield from self._begin(text)
            self._ask()
            if self._running:
                done, _ = wait(self._running, _POLL if paused else None, FIRST_COMPLETED)
                for future in done:
                    yield from self._take(future)
            elif ended:
                return

    def close(self) -> None:
        self._left.set()
        # What is under way may take as long as a timeout: nobody waits for it.
        self._pool.shutdown(wait=False, cancel_futures=True)
        if self._n_cut_otherwise:
            told = Warnings.W082.format(count=self._n_cut_otherwise, total=self._n_asked)
            warnings.warn(told, stacklevel=4)
        if self._n_untold:
            warnings.warn(Warnings.W083.format(count=self._n_untold, total=self._n_pieces), stacklevel=4)

    def _may_read(self) -> bool:
        oldest = min(self._readings, default=self._taken)
        return len(self._readings) < self._in_flight and self._taken - oldest < AHEAD * self._in_flight

    def _begin(self, text: Text | Exception | None) -> Iterator[Outcome]:
        number = self._taken
        self._taken += 1
        if not isinstance(text, Text):
            yield number, text or []
            return
        try:
            reading = Reading(number, self._model, self._scheme, self._labels, text, self._decoding)
        except Exception as error:
            yield number, error
            return
        if reading.is_done:
            yield number, []
        else:
            self._readings[number] = reading

    def _ask(self) -> None:
        """As many requests as may be made, the questions of the first texts first."""
        for reading in self._readings.values():
            while reading.may_ask and len(self._running) < self._model.access.concurrency:
                question, body = reading.next()
                # Of a server that is away, asking every text's questions over and over would take days.
                attempts = 1 if self._n_unanswered >= _AWAY else None
                future = self._pool.submit(self._server.complete, body, self._left, attempts)
                self._running[future] = (reading, question, len(question.prompt))

    def _take(self, future: Future[Completion]) -> Iterator[Outcome]:
        reading, question, n_prompt = self._running.pop(future)
        if reading.number not in self._readings:
            return  # it failed, and this was still under way
        try:
            completion = future.result()
            self._n_unanswered = 0
            self._count(completion, n_prompt)
            reading.take(question, completion)
        except Exception as error:
            self._n_unanswered += isinstance(error, NoAnswer)
            del self._readings[reading.number]
            yield reading.number, error
            return
        if reading.is_done:
            del self._readings[reading.number]
            answered = reading.answered()
            self._counters.documents += 1
            self._counters.document_steps += reading.n_rounds
            self._counters.answers += len(answered)
            self._counters.answer_pieces += sum(answer.n_pieces for _, answer in answered)
            yield reading.number, answered

    def _count(self, completion: Completion, n_prompt: int) -> None:
        there = n_prompt if completion.n_prompt is None else completion.n_prompt
        self._counters.steps += 1
        self._counters.pieces += there - completion.n_cached + completion.n_pieces
        self._n_asked += 1
        self._n_cut_otherwise += there != n_prompt
        self._n_pieces += completion.n_pieces
        self._n_untold += completion.n_untold
