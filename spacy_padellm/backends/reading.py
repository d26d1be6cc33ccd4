"""One text while a server is asked about it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from spacy_padellm.backends.answers import read_answer
from spacy_padellm.backends.dialects import Completion
from spacy_padellm.backends.grammar import spelled, strings_grammar
from spacy_padellm.backends.local import Text
from spacy_padellm.backends.served import ServedModel
from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.engine.growth import check_length
from spacy_padellm.errors import Errors
from spacy_padellm.types import Answered, Branch, Course, Scheme, Words

_BLANKS = "Ġ▁ "
"""How vocabularies write a blank at the start of a piece."""


@dataclass
class Question:
    """A question on its way.

    branch (Branch): What is asked.
    prompt (tuple[int, ...]): All its pieces, from the text's first one on.
    round (int): How many answers it rests on, and one.
    answered (Answered | None): Once it is answered.
    opened (list[Question]): What its answer opened.
    """

    branch: Branch
    prompt: tuple[int, ...]
    round: int = 1
    answered: Answered | None = None
    opened: list[Question] = field(default_factory=list)

    def all(self) -> Iterator[Answered]:
        """The answer, followed by those it opened."""
        assert self.answered is not None, "a text is done when all its questions are answered"
        yield self.answered
        for question in self.opened:
            yield from question.all()


class Reading:
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
        self.n_running = self.n_rounds = 0
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

    def next(self) -> tuple[Question, dict[str, object]]:
        """The next question with its request."""
        question = self._pending.popleft()
        self.n_running += 1
        branch, pieces = question.branch, self._model.pieces
        stop = pieces.question(branch.closer)[0] if branch.closer else None
        room = self._terms.max_positions - len(question.prompt)
        guide = self._guide_for(branch)
        most = branch.limit or (room if guide else self._decoding.max_answer)
        body = self._model.body(self._terms, question.prompt, most=min(most, room), stop=stop)
        return question, body | guide

    def take(self, question: Question, completion: Completion) -> None:
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

    def _question(self, branch: Branch, before: tuple[int, ...], number: int) -> Question:
        if branch.further:
            what = "further answers ('second_look', 'mention_choices')"
            raise ValueError(Errors.P077.format(url=self._model.access.base_url, what=what, instead="set both to 0"))
        prompt = (*before, *self._model.pieces.ask(branch))
        # The answer has a piece, too.
        check_length(len(prompt) + 1, self._terms.max_positions, self._text.string)
        self.n_rounds = max(self.n_rounds, number)
        return Question(branch, prompt, number)

    def _guide_for(self, branch: Branch) -> dict[str, object]:
        """What holds the answer to the text, nothing where nothing does."""
        guide = self._terms.dialect.guide
        if guide is None or not (branch.copies and self._decoding.constrain and self._borders):
            return {}
        return dict(guide(self._strings()))

    def _strings(self) -> str:
        if self._grammar is None:
            string, borders = self._text.string, self._borders
            start, end = borders[0]
            first, *_ = self._model.pieces.question(string[start:end])
            name = self._model.pieces.tokenizer.convert_ids_to_tokens(first)
            self._grammar = strings_grammar(string, borders, blank=name[:1] in _BLANKS)
        return self._grammar
