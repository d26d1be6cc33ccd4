"""The sequences that a scheme has a model generate for a document, and their lengths in pieces."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from types import MappingProxyType
from typing import Literal, NamedTuple

from benchmarks.documents import Document
from spacy_padellm.engine.growth import spell_answer
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.types import Branch, Scheme

Cut = Literal["segments", "whole"]
"""How an answer is cut into pieces: "segments" as this package does, every question and every string of the text as a
segment of its own; "whole" as what follows its question in one running text."""


class Path(NamedTuple):
    """What is generated under one label for one mention, or for none.

    count (int): Pieces of the count.
    marker (int): Pieces of the question about the mention; 0 where there is none.
    mention (int | None): Pieces of the mention; None where the label has none.
    """

    count: int  # type: ignore[assignment]  # a tuple's method has this name; nobody asks how often something is in it
    marker: int = 0
    mention: int | None = None


class Ruler:
    """Measures answers in pieces, ends left out.

    pieces (Pieces): The tokenizer.
    cut (Cut): How it is used.
    """

    def __init__(self, pieces: Pieces, cut: Cut) -> None:
        self._pieces = pieces
        self._cut = cut

    def question(self, before: str, question: str) -> int:
        """Pieces of a question that stands behind a text which ends in `before`."""
        return len(self._pieces.question(question)) if self._cut == "segments" else self._more(before, question)

    def answer(self, before: str, branch: Branch, answer: str) -> int:
        """Pieces of a perfect answer."""
        if self._cut == "segments":
            return len(spell_answer(branch, answer, self._pieces))
        return self._more(before + branch.question, answer)

    def _more(self, before: str, text: str) -> int:
        # Questions and counts come back often, and `Pieces` remembers them.
        return len(self._pieces.question(before + text)) - len(self._pieces.question(before))


def answer_lengths(scheme: Scheme, labels: Mapping[str, str], document: Document, ruler: Ruler) -> list[int]:
    """Pieces of each gold answer about a document, in the order asked; an answer's own questions come behind it."""
    lengths: list[int] = []
    waiting = [("", branch) for branch in scheme.ask(labels, document.text.string)][::-1]
    while waiting:
        before, branch = waiting.pop()
        answer = scheme.answer(branch, document.gold)
        lengths.append(ruler.answer(before, branch, answer))
        asked = before + branch.question + answer
        waiting += [(asked, follow) for follow in scheme.follow(branch, answer)][::-1]
    return lengths


def padellm_paths(scheme: Scheme, labels: Mapping[str, str], document: Document, ruler: Ruler) -> list[list[Path]]:
    """The paths of PaDeLLM through a document, label by label: one for each mention, or one that ends at the count."""
    paths: list[list[Path]] = []
    for branch in scheme.ask(labels, document.text.string):
        answer = scheme.answer(branch, document.gold)
        count = ruler.answer("", branch, answer)
        asked = branch.question + answer
        mentions = [
            Path(
                count,
                ruler.question(asked, follow.question),
                ruler.answer(asked, follow, scheme.answer(follow, document.gold)),
            )
            for follow in scheme.follow(branch, answer)
        ]
        paths.append(mentions or [Path(count)])
    return paths


Counted = Callable[[Sequence[Sequence[Path]], int], list[int]]
"""The lengths that a document adds under one definition, where each end of an answer counts so many pieces."""


def _counts(document: Sequence[Sequence[Path]], end: int) -> list[int]:
    return [paths[0].count + end for paths in document]


def _counts_above_zero(document: Sequence[Sequence[Path]], end: int) -> list[int]:
    return _counts([paths for paths in document if paths[0].mention is not None], end)


def _mentions(document: Sequence[Sequence[Path]], end: int) -> list[int]:
    return [path.mention + end for paths in document for path in paths if path.mention is not None]


def _trained(document: Sequence[Sequence[Path]], end: int) -> list[int]:
    return [path.count + path.marker + (path.mention or 0) + end for paths in document for path in paths]


def _asked(document: Sequence[Sequence[Path]], end: int) -> list[int]:
    # Count and mention are two answers, and so two ends.
    return [
        path.count + end + (0 if path.mention is None else path.mention + end) for paths in document for path in paths
    ]


def _found(document: Sequence[Sequence[Path]]) -> list[list[Path]]:
    return [[path for path in paths if path.mention is not None] for paths in document]


DEFINITIONS: Mapping[str, Counted] = MappingProxyType(
    {
        "count": _counts,
        "count above 0": _counts_above_zero,
        "mention": _mentions,
        "count, and mention": lambda document, end: [*_counts(document, end), *_mentions(document, end)],
        "count + marker + mention": _trained,
        "count + marker + mention, absent labels left out": lambda document, end: _trained(_found(document), end),
        "count + mention": _asked,
        "count + mention, absent labels left out": lambda document, end: _asked(_found(document), end),
        "count + mention, longest of the document": lambda document, end: [max(_asked(document, end))],
    }
)
"""What may be meant by a generated sequence of PaDeLLM. In the first four, count and mention are sequences of their
own. With the marker they are one, as the paper trains them; without it they are what prediction generates, which puts
the marker in. An absent label has a count only."""
