"""Copying as a task of its own: small models need more practice at it than their mentions give."""

from __future__ import annotations

import random
from collections.abc import Sequence
from typing import NamedTuple

MOST_WORDS = 8
"""Words of a copied stretch at most."""


class CopyTask(NamedTuple):
    """A question under the trunk, and its answer, whose end is not asked for."""

    question: str
    answer: str


def draw_copy_task(text: str, borders: Sequence[tuple[int, int]]) -> CopyTask | None:
    """Ask for the words that follow a word drawn from the text, with Python's global random state.

    text (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end of each token, blank ones left out.
    RETURNS (CopyTask | None): The task, or None for a text of a single word.
    """
    if len(borders) < 2:
        return None
    first = random.randrange(len(borders) - 1)
    last = min(first + MOST_WORDS, len(borders) - 1)
    start, end = borders[first]
    return CopyTask(f"repeat:\n{text[start:end]}", text[end : borders[last][1]].lstrip())
