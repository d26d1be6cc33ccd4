"""The values that pass between the floors of the package. Plain data: no torch, no spaCy."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import Enum
from typing import NamedTuple, Protocol, runtime_checkable


class Finish(Enum):
    """Why an answer stopped growing. One reason per answer."""

    END = "end"
    """The model gave its end-of-sequence piece."""
    FOLLOWED = "followed"
    """The model began the question that this answer opens (a count above zero)."""
    LIMIT = "limit"
    """The answer reached the most pieces an answer may have."""


@dataclass(frozen=True)
class Branch:
    """One question about a text. Branches form the tree: `parent` is the question whose answer this one
    stands under, None for a question that stands directly under the trunk.

    question (str): The segment that asks.
    label (str): Name of the label asked about; empty where the question is about all labels.
    ordinal (int): Which mention of its label is asked for, from 1; 0 for any other question.
    parent (Branch | None): The question whose answer this one follows.
    copies (bool): The answer must stand in the text, from a token's start to a token's end.
    closer (str): The segment that follows a non-final answer: its first piece ends the answer just as the
        end-of-sequence piece does. Empty where only the end-of-sequence piece ends the answer.
    limit (int): The most pieces the answer may have; 0 for the decoder's own limit.
    """

    question: str
    label: str = ""
    ordinal: int = 0
    parent: Branch | None = None
    copies: bool = False
    closer: str = ""
    limit: int = 0


class Answer(NamedTuple):
    """What a model answered to one branch.

    text (str): The answer, without its end.
    probability (float): Product of the probabilities of the answer's pieces, the end piece excluded, as in
        the PaDeLLM paper; 1.0 for an empty answer.
    finish (Finish): Why the answer stopped.
    n_pieces (int): Number of pieces in the answer, the end piece excluded.
    """

    text: str
    probability: float
    finish: Finish
    n_pieces: int


class Answered(NamedTuple):
    """A branch with its answer."""

    branch: Branch
    answer: Answer


@dataclass(frozen=True)
class Mention:
    """One occurrence of an entity, not yet placed.

    label (str): Name of the label.
    string (str): The mention as it stands (or should stand) in the text.
    ordinal (int): Which mention of its label, from 1, in text order.
    score (float): Probability of the mention's pieces.
    count_score (float): Probability of the count under which the mention was asked for.
    """

    label: str
    string: str
    ordinal: int = 1
    score: float = 1.0
    count_score: float = 1.0

    @property
    def joint_score(self) -> float:
        """Probability of the mention and of the count that asked for it."""
        return self.score * self.count_score


@dataclass(frozen=True)
class Placed:
    """A mention with its place: character offsets into the text, `end` exclusive."""

    mention: Mention
    start: int
    end: int


@dataclass(frozen=True)
class Reading:
    """What a scheme read out of the answers about one text.

    mentions (tuple[Mention, ...]): In the order label asked, then ordinal.
    counts (dict[str, int]): The readable count of each label that has one.
    unreadable (tuple[tuple[str, str], ...]): (label, answer) of each answer that could not be read.
    over_limit (tuple[tuple[str, int], ...]): (label, count) of each count above the scheme's limit.
    """

    mentions: tuple[Mention, ...]
    counts: dict[str, int] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    over_limit: tuple[tuple[str, int], ...] = ()


@runtime_checkable
class Scheme(Protocol):
    """How entities become questions and answers: four pure functions over text and the trunk they ask about."""

    def trunk(self, text: str) -> tuple[str, ...]:
        """The segments every question about `text` stands under."""
        ...

    def words(self, label: str) -> str:
        """The words in the prompt for a label's name."""
        ...

    def ask(self, labels: Mapping[str, str]) -> list[Branch]:
        """The first questions about a text. `labels` maps each label's name to its words in the prompt."""
        ...

    def follow(self, branch: Branch, answer: str) -> list[Branch]:
        """The questions that an answer opens."""
        ...

    def answer(self, branch: Branch, gold: Sequence[Mention]) -> str:
        """What a perfect model answers. `gold` is in text order."""
        ...

    def read(self, answered: Sequence[Answered]) -> Reading:
        """Answered branches of one text back to mentions."""
        ...
