"""A scheme's questions through plain `generate`: stage by stage, every question with all that stands before it.

This is how PaDeLLM-NER's authors run it: first every label's count, then every mention, each prompt encoded in full and
padded on the left, greedy, with the keys and values of a stage kept for that stage alone. Where it differs from their
code it is right or faster, so that a comparison does not flatter us:

* Padding is under an attention mask, with the positions that it asks for; theirs has no mask.
* A prompt is fed once; theirs feeds the prompts of mentions a second time, onto their own cache.
* All questions of a stage are one batch, of several documents, too. A row ends as soon as its answer has: at the end
  piece, at the piece that begins the next question, or at its limit. `generate` stops when all rows have ended.
* A text is cut into pieces once, not once a prompt.
* Logits of a prompt are computed at its last place only, as today's `generate` does by itself.

What replaying answers adds is one mask over the vocabulary a step; the forest takes the sum of its exponentials there.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple

from benchmarks.contenders.generation import BatchCounters, Row, generate
from spacy_padellm.engine.growth import check_length, spell_answer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.types import Branch, Finish, Scheme

Script = Callable[[Branch], str]


class Given(NamedTuple):
    """An answer as `generate` gave it.

    branch (Branch): The question.
    text (str): The answer, without its end.
    finish (Finish): Why it stopped.
    n_pieces (int): Its pieces, the end excluded.
    """

    branch: Branch
    text: str
    finish: Finish
    n_pieces: int


@dataclass
class Asked:
    """A question about one document on its way through the stages.

    document (int): Which document of the batch.
    text (str): The text.
    branch (Branch): The question.
    prompt (tuple[int, ...]): All pieces up to its answer.
    given (Given | None): The answer, once it is there.
    opened (list[Asked]): The questions that it opened.
    seconds (float): What generating it took, where it was generated alone.
    """

    document: int
    text: str
    branch: Branch
    prompt: tuple[int, ...]
    given: Given | None = None
    opened: list[Asked] = field(default_factory=list)
    seconds: float = 0.0

    def answers(self) -> list[Given]:
        """This answer, and behind it those it opened."""
        assert self.given is not None
        return [self.given, *(given for asked in self.opened for given in asked.answers())]


@dataclass(frozen=True)
class Asker:
    """Puts a scheme's questions to a model.

    lm (LanguageModel): The model, with an attention of transformers' own.
    scheme (Scheme): What is asked.
    labels (Mapping[str, str]): Name to words in the prompt.
    max_answer (int): The most pieces of an answer for which the scheme sets no limit.
    """

    lm: LanguageModel
    scheme: Scheme
    labels: Mapping[str, str]
    max_answer: int = 128

    def ask(self, document: int, text: str) -> list[Asked]:
        """The first questions about a text."""
        pieces = self.lm.pieces
        trunk = sum(pieces.encode(self.scheme.trunk(text)), start=pieces.start)
        return [self._asked(document, text, branch, trunk) for branch in self.scheme.ask(self.labels, text)]

    def answer(self, stage: Sequence[Asked], scripts: Sequence[Script | None], counters: BatchCounters) -> None:
        """Generate the answers to some questions in one batch, and open what they open."""
        rows = [self._row(asked, scripts[asked.document]) for asked in stage]
        passes = counters.steps
        generated = generate(self.lm, rows, counters)
        counters.document_steps += (counters.steps - passes) * len({asked.document for asked in stage})
        for asked, row, (answer, finish) in zip(stage, rows, generated, strict=True):
            script = scripts[asked.document]
            spelled = script is not None and asked.branch.form is not None and finish is Finish.END
            text = script(asked.branch) if script and spelled else self.lm.pieces.decode(answer)
            asked.given = Given(asked.branch, text, finish, len(answer))
            counters.answers += 1
            counters.answer_pieces += len(answer)
            asked.opened = [
                self._asked(asked.document, asked.text, follow, row.prompt + answer)
                for follow in self.scheme.follow(asked.branch, text)
            ]

    def _asked(self, document: int, text: str, branch: Branch, before: tuple[int, ...]) -> Asked:
        prompt = before + self.lm.pieces.ask(branch)
        check_length(len(prompt), self.lm.max_positions, text)
        return Asked(document, text, branch, prompt)

    def _row(self, asked: Asked, script: Script | None) -> Row:
        branch, pieces = asked.branch, self.lm.pieces
        # An answer may reach one piece over the last position, since that piece is not fed.
        room = self.lm.max_positions - len(asked.prompt) + 1
        return Row(
            asked.prompt,
            limit=min(branch.limit or self.max_answer, room),
            closer=pieces.question(branch.closer)[0] if branch.closer else None,
            script=spell_answer(branch, script(branch), pieces) if script else None,
        )


def answer_staged(
    asker: Asker, texts: Sequence[str], counters: BatchCounters, scripts: Sequence[Script | None] | None = None
) -> list[list[Given]]:
    """Ask a scheme's questions about some texts: all first questions in one batch, then all that those open.

    asker (Asker): Model and scheme.
    texts (Sequence[str]): The texts.
    counters (BatchCounters): Added to. A document takes part in all forward passes of a stage that has one of its
        questions: `generate` goes on with all rows until the last one ends.
    scripts (Sequence | None): For each text the answers to give in place of the model's.
    RETURNS (list[list[Given]]): For each text its answers, in the order asked, each followed by those it opened.
    """
    scripts = scripts or [None] * len(texts)
    asked = [asker.ask(place, text) for place, text in enumerate(texts)]
    stage = [one for questions in asked for one in questions]
    while stage:
        asker.answer(stage, scripts, counters)
        stage = [follow for one in stage for follow in one.opened]
    counters.documents += len(texts)
    return [[given for one in questions for given in one.answers()] for questions in asked]


def time_alone(
    asker: Asker, text: str, counters: BatchCounters, clock: Callable[[], float], script: Script | None = None
) -> float:
    """What a text would take if every sequence had a device of its own: each is generated alone, one after another.

    A sequence takes as long as its questions take one after the other (a count, then a mention under it); the document
    takes as long as its slowest sequence. That is how the paper has it.

    clock (Callable[[], float]): Tells seconds.
    RETURNS (float): The slowest sequence's seconds.
    """
    start = clock()
    questions = asker.ask(0, text)
    cutting = clock() - start
    stage = list(questions)
    while stage:
        for one in stage:
            start = clock()
            asker.answer([one], [script], counters)
            one.seconds = clock() - start
        stage = [follow for one in stage for follow in one.opened]
    counters.documents += 1
    return cutting + max(map(_slowest, questions), default=0.0)


def _slowest(asked: Asked) -> float:
    return asked.seconds + max(map(_slowest, asked.opened), default=0.0)
