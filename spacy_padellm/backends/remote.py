"""Answers from a model that a completions server holds."""

from __future__ import annotations

import threading
import warnings
from collections import deque
from collections.abc import Iterable, Iterator, Mapping
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field

from spacy_padellm.backends.answers import read_answer
from spacy_padellm.backends.dialects import Completion
from spacy_padellm.backends.grammar import spelled, strings_grammar
from spacy_padellm.backends.local import Text
from spacy_padellm.backends.served import ServedModel
from spacy_padellm.engine.counters import Counters, StreamLog
from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.engine.growth import check_length
from spacy_padellm.engine.stream import AHEAD, Pause
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.types import Answered, Branch, Course, Scheme, Words

Asked = Text | Exception | Pause | None
"""What a stream is given, as `local.stream_texts` has it."""

Outcome = tuple[int, list[Answered] | Exception]
"""A text's number, and its answers or what it raised."""

_POLL = 0.02
"""Seconds after which a source that had nothing yet is asked again while requests are on their way."""

_BLANKS = "Ġ▁ "
"""How vocabularies write a blank at the start of a piece."""


@dataclass
class _Question:
    """A question on its way.

    branch (Branch): What is asked.
    prompt (tuple[int, ...]): All its pieces, from the text's first one on.
    round (int): How many answers it rests on, and one.
    answered (Answered | None): Once it is answered.
    opened (list[_Question]): What its answer opened.
    """

    branch: Branch
    prompt: tuple[int, ...]
    round: int = 1
    answered: Answered | None = None
    opened: list[_Question] = field(default_factory=list)

    def all(self) -> Iterator[Answered]:
        """The answer, followed by those it opened."""
        assert self.answered is not None, "a text is done when all its questions are answered"
        yield self.answered
        for question in self.opened:
            yield from question.all()


class _Reading:
    """A text while it is asked about.

    number (int): The text's number in the stream.
    model (ServedModel): Who is asked.
    scheme (Scheme): What is asked.
    labels (Mapping[str, Words]): What is asked about.
    text (Text): The text.
    decoding (Decoding): How answers are decoded.
    RAISES (ValueError): P023 if the text and a question need more positions than the model has; P077 for a setting
        that needs the model here.
    """

    def __init__(
        self,
        number: int,
        model: ServedModel,
        scheme: Scheme,
        labels: Mapping[str, Words],
        text: Text,
        decoding: Decoding,
    ) -> None:
        self.number = number
        self.n_running = 0
        self._model, self._terms = model, model.terms
        self._scheme, self._text, self._decoding = scheme, text, decoding
        self._borders = spelled(text.string, text.borders)
        self._grammar: str | None = None
        self._first_is_answered = False
        trunk = sum(model.pieces.encode(scheme.trunk(text.string)), start=model.pieces.start)
        branches = scheme.ask(labels if text.labels is None else text.labels, text.string)
        self._questions = [self._question(branch, trunk, 1) for branch in branches]
        self._pending = deque(self._questions)

    @property
    def is_done(self) -> bool:
        return not self._pending and not self.n_running

    @property
    def may_ask(self) -> bool:
        """Whether a further question may be asked now. Where prefixes are kept, the first question goes alone: what it
        computes of the text, those behind it need not compute again."""
        dialect = self._terms.dialect
        at_once = dialect.at_once if self._first_is_answered or not dialect.keeps_prefixes else 1
        return bool(self._pending) and (at_once is None or self.n_running < at_once)

    def next(self) -> tuple[_Question, dict[str, object]]:
        """The next question with its request."""
        question = self._pending.popleft()
        self.n_running += 1
        branch, pieces = question.branch, self._model.pieces
        stop = pieces.question(branch.closer)[0] if branch.closer else None
        room = self._terms.max_positions - len(question.prompt)
        most = branch.limit or (room if self._is_guided(branch) else self._decoding.max_answer)
        body = self._model.body(self._terms, question.prompt, most=min(most, room), stop=stop)
        if self._is_guided(branch):
            guide = self._terms.dialect.guide
            assert guide is not None, "what is guided has a guide"
            body |= guide(self._strings())
        return question, body

    def take(self, question: _Question, completion: Completion) -> None:
        """Take an answer, and ask what it opens.

        RAISES (ValueError): P023 if what it opens needs more positions than the model has; P075 if another model
            answered.
        """
        self.n_running -= 1
        self._first_is_answered = True
        if completion.model != self._terms.answers_as:
            problem = f"the model '{self._terms.answers_as}' was asked and '{completion.model}' answered"
            raise ValueError(Errors.P075.format(url=self._model.access.base_url, problem=problem))
        answer, pieces = read_answer(completion, question.branch, self._model.pieces)
        if self._decoding.record:
            answer = answer._replace(course=Course(question.round, question.round))
        question.answered = Answered(question.branch, answer)
        follows = self._scheme.follow(question.branch, answer.text)
        before = (*question.prompt, *pieces)
        question.opened = [self._question(branch, before, question.round + 1) for branch in follows]
        # What stands under an answer comes before the next question: its prefix was computed last.
        self._pending.extendleft(reversed(question.opened))

    def answered(self) -> list[Answered]:
        return [answered for question in self._questions for answered in question.all()]

    @property
    def n_rounds(self) -> int:
        waiting, rounds = [*self._questions], 0
        while waiting:
            question = waiting.pop()
            rounds = max(rounds, question.round)
            waiting += question.opened
        return rounds

    def _question(self, branch: Branch, before: tuple[int, ...], number: int) -> _Question:
        if branch.further:
            what = "further answers ('second_look', 'mention_choices')"
            raise ValueError(Errors.P077.format(url=self._model.access.base_url, what=what, instead="set both to 0"))
        prompt = (*before, *self._model.pieces.ask(branch))
        # The answer has a piece, too.
        check_length(len(prompt) + 1, self._terms.max_positions, self._text.string)
        return _Question(branch, prompt, number)

    def _is_guided(self, branch: Branch) -> bool:
        able = self._decoding.constrain and self._terms.dialect.guide is not None
        return branch.copies and able and bool(self._borders)

    def _strings(self) -> str:
        if self._grammar is None:
            string, borders = self._text.string, self._borders
            start, end = borders[0]
            first, *_ = self._model.pieces.question(string[start:end])
            name = self._model.pieces.tokenizer.convert_ids_to_tokens(first)
            self._grammar = strings_grammar(string, borders, blank=name[:1] in _BLANKS)
        return self._grammar


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
        self._readings: dict[int, _Reading] = {}
        self._running: dict[Future[Completion], tuple[_Reading, _Question, int]] = {}
        self._taken = 0
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
        self._pool.shutdown(cancel_futures=True)
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
            reading = _Reading(number, self._model, self._scheme, self._labels, text, self._decoding)
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
                future = self._pool.submit(self._server.complete, body, self._left)
                self._running[future] = (reading, question, len(question.prompt))

    def _take(self, future: Future[Completion]) -> Iterator[Outcome]:
        reading, question, n_prompt = self._running.pop(future)
        if reading.number not in self._readings:
            return  # it failed, and this was still under way
        try:
            completion = future.result()
            self._count(completion, n_prompt)
            reading.take(question, completion)
        except Exception as error:
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
