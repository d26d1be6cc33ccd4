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
class Wording:
    """How a label stands in a prompt, where that is more than some words.

    words (str): What stands for the label in questions and, in schemes that name labels there, in answers.
    description (str): What the label means, in questions only; empty for none.
    examples (tuple[str, ...]): Mentions of it, in questions only.
    """

    words: str
    description: str = ""
    examples: tuple[str, ...] = ()


Words = str | Wording
"""What stands for a label in a prompt."""


def plain_words(words: Words) -> str:
    """The words alone, as answers have them."""
    return words.words if isinstance(words, Wording) else words


class Segment(NamedTuple):
    """A part of an answer that is tokenised on its own.

    text (str): The part.
    copied (bool): It stands in the text, with the form's escapes; else it belongs to the form.
    """

    text: str
    copied: bool = False


State = tuple[int, ...]
"""How far an answer has come in its form."""


class Move(NamedTuple):
    """One way an answer may go on.

    state (tuple[int, ...]): How far it has come then.
    literal (str | None): The segment that comes next; None for a string of the text.
    token (int): The token that string must begin with; it may then be of any length, and the index of the token behind
        it is added to `state`. -1 for a mention that may stand anywhere.
    """

    state: State
    literal: str | None = None
    token: int = -1


class Form(Protocol):
    """The form of an answer that holds strings of the text among other things. It must be hashable.

    A form is what lets an answer be cut into segments, so that a string is spelled within an answer as it is spelled
    alone, and what lets the answer be held to the text.
    """

    def escape(self, string: str) -> str:
        """A string as the form writes it. Every character is written by itself."""
        ...

    def reserved(self) -> Mapping[str, str]:
        """How those mentions are written that would mean something else if they were only escaped."""
        ...

    def cut(self, answer: str) -> list[Segment]:
        """The segments of a perfect answer; put together they are the answer."""
        ...

    def start(self) -> State:
        """Before the first segment."""
        ...

    def moves(self, state: State, gaps: Sequence[str]) -> list[Move]:
        """How an answer may go on; none where it ends. `gaps` is what stands in front of each token of the text,
        which has one at least, and behind the last."""
        ...


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
    form (Form | None): The form of an answer that is neither free nor, as `copies` has it, a mention as a whole.
    labels (tuple[tuple[str, str], ...]): Name and words of each label, where the question is about all of them.
    text (str): The text, where reading the answer needs it.
    further (int): How many answers may be followed beside the model's own. Those of a copied mention begin otherwise;
        answers with a form have none.
    floor (float): How probable such an answer must be where it leaves the model's own, relative to what is there.
    under (str): The answer of `parent` this question stands under, where that may have several.
    guesses (tuple[str, ...]): Answers that are likely before anything is known.
    """

    question: str
    label: str = ""
    ordinal: int = 0
    parent: Branch | None = None
    copies: bool = False
    closer: str = ""
    limit: int = 0
    form: Form | None = None
    labels: tuple[tuple[str, str], ...] = ()
    text: str = ""
    further: int = 0
    floor: float = 0.0
    under: str = ""
    guesses: tuple[str, ...] = ()


class Course(NamedTuple):
    """When an answer grew, in steps of its document, from 1.

    begun (int): The step that gave its first piece, or its end where it has none.
    ended (int): The step that gave its end.
    """

    begun: int
    ended: int


class Answer(NamedTuple):
    """What a model answered to one branch.

    text (str): The answer, without its end.
    probability (float): Product of the probabilities of the answer's pieces, the end piece excluded, as in
        the PaDeLLM paper; 1.0 for an empty answer.
    finish (Finish): Why the answer stopped.
    n_pieces (int): Number of pieces in the answer, the end piece excluded.
    course (Course | None): When it grew; None where nobody asked for it.
    """

    text: str
    probability: float
    finish: Finish
    n_pieces: int
    course: Course | None = None


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
    count_score (float): Probability of the count under which the mention was asked for; 1.0 where none was.
    start (int | None): Where it begins in the text, in characters; None where only its string is known.
    """

    label: str
    string: str
    ordinal: int = 1
    score: float = 1.0
    count_score: float = 1.0
    start: int | None = None

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
    unreadable (tuple[tuple[str, str], ...]): (label, answer) of each answer, or part of one, that could not be read;
        the label is empty where the question was about all labels.
    over_limit (tuple[tuple[str, int], ...]): (label, count) of each count above the scheme's limit.
    passed_over (tuple[Answered, ...]): Answers beside which another one to the same question was kept, with all that
        they opened.
    """

    mentions: tuple[Mention, ...]
    counts: dict[str, int] = field(default_factory=dict)
    unreadable: tuple[tuple[str, str], ...] = ()
    over_limit: tuple[tuple[str, int], ...] = ()
    passed_over: tuple[Answered, ...] = ()


@runtime_checkable
class Scheme(Protocol):
    """How entities become questions and answers: four pure functions over text, the trunk they ask about, and what
    their answers cannot hold."""

    def trunk(self, text: str) -> tuple[str, ...]:
        """The segments every question about `text` stands under."""
        ...

    def words(self, label: str) -> str:
        """The words in the prompt for a label's name."""
        ...

    def ask(self, labels: Mapping[str, Words], text: str = "") -> list[Branch]:
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

    def left_out(self, gold: Sequence[Mention]) -> list[Mention]:
        """The gold mentions that no answer can hold: `answer` leaves them out."""
        ...
