"""What was asked about one document, what was answered, and what became of it: plain values that a page can show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any, Literal

Kind = Literal["count", "mention", "answer"]
"""What a question asks for: how many mentions, one of them, or everything at once (OneStep and the other schemes)."""

Fate = Literal["entity", "overlapped", "below", "elsewhere", "surplus", "unplaced", "outvoted"]
"""What became of a mention."""

FATES: dict[Fate, str] = {
    "entity": "in doc.ents",
    "overlapped": "in doc.spans only (overlap)",
    "below": "below the threshold",
    "elsewhere": "another window knows the place better",
    "surplus": "more repeats than the text has",
    "unplaced": "does not stand in the text",
    "outvoted": "another label took the string",
}
"""Each fate in words, the better ones first."""


@dataclass(frozen=True)
class Place:
    """Where a mention stands: characters of the document, `end` exclusive, and what became of it there."""

    start: int
    end: int
    fate: Fate


@dataclass(frozen=True)
class Found:
    """A mention that was read from an answer.

    label (str): Name of the label.
    string (str): The mention.
    ordinal (int): Which mention of its label, from 1, in its window.
    score (float): Probability of its pieces.
    confidence (float): How sure the pipe is of it: its score times that of its count, calibrated.
    fate (str): What became of it, the best of its places.
    places (tuple[Place, ...]): Where it stands; several if occurrences were filled in, none if it has no place.
    """

    label: str
    string: str
    ordinal: int
    score: float
    confidence: float
    fate: Fate
    places: tuple[Place, ...] = ()


@dataclass(frozen=True)
class Limb:
    """A question with its answer, and the questions that the answer opened.

    kind (str): "count", "mention" or "answer".
    label (str): Name of the label asked about; empty where the question is about all.
    ordinal (int): Which mention is asked for, from 1; 0 for any other question.
    question (str): The segment that asks.
    answer (str): The answer.
    probability (float): Of the answer's pieces.
    finish (str): Why the answer ended: "end", "followed" or "limit".
    count (int | None): The number read from a count, after what the scheme made of it; None where none was.
    begun, ended (int): The steps that gave the answer's first piece and its end, from 1.
    question_pieces (int): Pieces of the question.
    shared_pieces (int): Those of them that an earlier question beside it begins with, too, so that they are computed
        once.
    answer_pieces (int): Pieces of the answer.
    passed_over (bool): Another answer to the same question was kept.
    unreadable (tuple[str, ...]): The answer, or parts of it, that could not be read.
    found (tuple[Found, ...]): The mentions read from it.
    opened (tuple[Limb, ...]): The questions that it opened.
    """

    kind: Kind
    label: str
    ordinal: int
    question: str
    answer: str
    probability: float
    finish: str
    count: int | None
    begun: int
    ended: int
    question_pieces: int
    shared_pieces: int
    answer_pieces: int
    passed_over: bool = False
    unreadable: tuple[str, ...] = ()
    found: tuple[Found, ...] = ()
    opened: tuple[Limb, ...] = ()

    def walk(self) -> Iterator[Limb]:
        """It and all that stands under it."""
        yield self
        for limb in self.opened:
            yield from limb.walk()

    @property
    def is_absent(self) -> bool:
        """Whether it says that a label has no mention: what a short view may fold away."""
        return self.kind == "count" and self.count == 0 and not self.passed_over


@dataclass(frozen=True)
class Grown:
    """One tree: a text, or a window of one, with the questions about it.

    start, end (int): Where it stands in the document, in characters.
    text (str): The text.
    trunk_pieces (int): Its pieces, with what the prompt puts around it.
    steps (int): Steps it took.
    limbs (tuple[Limb, ...]): The first questions, in the order asked.
    """

    start: int
    end: int
    text: str
    trunk_pieces: int
    steps: int
    limbs: tuple[Limb, ...]

    def walk(self) -> Iterator[Limb]:
        """All its questions."""
        for limb in self.limbs:
            yield from limb.walk()


@dataclass(frozen=True)
class Trace:
    """How one document was annotated.

    text (str): The document's text.
    scheme (str): Name of the scheme.
    trees (tuple[Grown, ...]): One, or one a window; none where nothing was asked (no word in the text, or no label).
    steps (int): Forward passes.
    pieces (int): Pieces computed, drafts included.
    shared_pieces (int): Pieces of questions that were not computed, because a question beside them begins alike.
    drafts, drafts_accepted (int): Pieces fed before they were known to be wanted, and those that were wanted.
    seconds (float): Time it took.
    """

    text: str
    scheme: str
    trees: tuple[Grown, ...]
    steps: int
    pieces: int
    shared_pieces: int
    drafts: int
    drafts_accepted: int
    seconds: float

    def walk(self) -> Iterator[Limb]:
        """All questions about it."""
        for tree in self.trees:
            yield from tree.walk()

    def as_dict(self) -> dict[str, Any]:
        """Numbers, strings, lists and dicts only."""
        return asdict(self, dict_factory=_plain)


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    return {name: list(value) if isinstance(value, tuple) else value for name, value in pairs}
