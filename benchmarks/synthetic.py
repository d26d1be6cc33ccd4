"""Documents made to measure: so many words, labels and mentions, the same for the same seed."""

from __future__ import annotations

import random
from collections.abc import Sequence
from itertools import accumulate
from typing import NamedTuple

from benchmarks.documents import Document
from spacy_padellm.backends.local import Text
from spacy_padellm.errors import Errors
from spacy_padellm.types import Mention

MOST_OF_A_LABEL = 99
"""Mentions of one label that PaDeLLM asks for at the most."""

LONGEST_MENTION = 3
"""Words of a mention, at the most."""

_SYLLABLES = [onset + vowel for onset in "bdfgklmnprstvz" for vowel in "aeiou"]
_VOCABULARY, _TAPE = 3000, 30_000


class Measure(NamedTuple):
    """What a document is made to.

    words (int): Words of its text.
    labels (int): Labels it is asked about.
    mentions (int): Mentions it has, spread evenly over text and labels.
    """

    words: int
    labels: int
    mentions: int


def invent_words(count: int, seed: int, *, syllables: tuple[int, int] = (1, 4)) -> list[str]:
    """Distinct words that no language has.

    syllables (tuple[int, int]): The fewest and the most of a word.
    """
    draw = random.Random(f"words {seed}")
    words: dict[str, None] = {}
    while len(words) < count:
        words["".join(draw.choices(_SYLLABLES, k=draw.randint(*syllables)))] = None
    return list(words)


def invent_labels(count: int, seed: int) -> dict[str, str]:
    """Labels, each with a word of its own; the first ones are the same whatever the count."""
    return {f"L{number}": word for number, word in enumerate(invent_words(count, seed, syllables=(2, 3)))}


def invent_tape(seed: int) -> list[str]:
    """A long run of words, few of them frequent and most of them rare, as in a language."""
    words = invent_words(_VOCABULARY, seed + 1)
    weights = list(accumulate(1 / rank for rank in range(1, len(words) + 1)))
    return random.Random(f"tape {seed}").choices(words, cum_weights=weights, k=_TAPE)


def tape_of(documents: Sequence[Document]) -> list[str]:
    """The words of some documents, one behind the other."""
    return [one.text.string[start:end] for one in documents for start, end in one.text.borders]


def make_document(measure: Measure, tape: Sequence[str], seed: str) -> Document:
    """Cut a text out of a tape of words and put mentions into it.

    measure (Measure): Its size.
    tape (Sequence[str]): Where the words are taken from, in order; behind the last one comes the first again.
    seed (str): Decides where on the tape it begins, and where mentions stand and how long they are.
    RAISES (ValueError): P170 if there is no room for the mentions.
    """
    words, labels, mentions = measure
    if words < 1 or mentions > words or mentions > MOST_OF_A_LABEL * labels:
        raise ValueError(Errors.P170.format(**measure._asdict(), most=MOST_OF_A_LABEL))
    draw = random.Random(seed)
    first = draw.randrange(len(tape))
    chosen = [tape[(first + place) % len(tape)] for place in range(words)]
    stops = list(accumulate(len(word) + 1 for word in chosen))
    borders = [(stop - 1 - len(word), stop - 1) for word, stop in zip(chosen, stops, strict=True)]
    text = " ".join(chosen)
    gold = []
    for number in range(mentions):
        low, high = number * words // mentions, (number + 1) * words // mentions
        length = draw.randint(1, min(LONGEST_MENTION, high - low))
        begin = draw.randint(low, high - length)
        start, end = borders[begin][0], borders[begin + length - 1][1]
        gold.append(Mention(f"L{number % labels}", text[start:end], start=start))
    return Document(Text(text, borders), tuple(gold))
