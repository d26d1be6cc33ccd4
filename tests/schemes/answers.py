"""Texts with entities of every kind, and answers to a scheme's questions."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from itertools import pairwise

from hypothesis import strategies as st

from spacy_padellm.types import Answer, Answered, Branch, Finish, Mention, Scheme

LABELS = {"PER": "person", "LOC": "place", "ORG": "club"}

PARTS = (
    "Japan",
    "Acme, Inc.",
    '"Ann"',
    "[x]",
    "(PER)",
    "NULL",
    "\\",
    " | ",
    "]",
    "[",
    "|",
    "): (",
    "北京",
    "İ",
    " ",
    "\n",
)
"""What texts are made of: names, and all that means something in one format or another."""


def answer_all(scheme: Scheme, labels: Mapping[str, str], text: str, gold: Sequence[Mention]) -> list[Answered]:
    """Every question about a text with a perfect answer."""
    return [given_answer(branch, scheme.answer(branch, gold), 0.5) for branch in scheme.ask(labels, text)]


def given_answer(branch: Branch, text: str, probability: float = 1.0) -> Answered:
    return Answered(branch, Answer(text, probability, Finish.END, 1))


@st.composite
def entities(draw: Callable, *, crossing: bool = True) -> tuple[str, list[Mention]]:
    """A text and mentions in it, in text order: repeated ones, nested ones and (unless it is excluded) crossing ones,
    several on one place. None has white space at its edges."""
    text = "".join(draw(st.lists(st.sampled_from(PARTS), min_size=1, max_size=10)))
    edges = draw(st.lists(st.tuples(st.integers(0, len(text)), st.integers(0, len(text))), max_size=6))
    spans = [(min(edge), max(edge), draw(st.sampled_from(list(LABELS)))) for edge in edges]
    spans = [span for span in spans if text[span[0] : span[1]].strip() == text[span[0] : span[1]] != ""]
    spans.sort(key=lambda span: (span[0], -span[1]))
    kept: list[tuple[int, int, str]] = []
    for span in spans:
        if crossing or not any(start < span[0] < end < span[1] for start, end, _ in kept):
            kept.append(span)
    counts = dict.fromkeys(LABELS, 0)
    gold = []
    for start, end, label in kept:
        counts[label] += 1
        gold.append(Mention(label, text[start:end], counts[label], start=start))
    assert all(one.start <= other.start for one, other in pairwise(gold))
    return text, gold
