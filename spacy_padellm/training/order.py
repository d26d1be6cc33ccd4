"""The order of examples: batches that a second process can find again."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Iterable, Iterator, Mapping
from typing import NamedTuple

import numpy as np
from spacy.tokens import Doc
from spacy.training import Example

from spacy_padellm.errors import Errors
from spacy_padellm.training.chance import packed, unpacked

Batch = list[Example]


class Place(NamedTuple):
    """How far the batches were read.

    A corpus, its augmenter and a batcher have states that nobody can look into, and may draw from `random` in between
    what components draw from it. So the batches are not kept but read again from the first one, each time under the
    state of `random` that it was read under. That is kept only for batches whose reading drew from it: for a corpus
    that is held, the first one of each epoch.

    read (int): Batches that were read.
    digest (str): What the texts and entities of all of them come to.
    drew (np.ndarray): Which batches were read with draws, by number. Shape (n,), int64.
    words (np.ndarray): The state of `random` in front of each of these. Shape (n, 625), uint32.
    seconds (np.ndarray): The second normal draw of each state, NaN if it has none. Shape (n,), float64.
    """

    read: int
    digest: str
    drew: np.ndarray
    words: np.ndarray
    seconds: np.ndarray


class Order:
    """The batches of a training, with their place.

    batches (Iterable[tuple[int, Iterable[Example]]]): Epoch and batch, one after the other, as spaCy makes them.
    """

    def __init__(self, batches: Iterable[tuple[int, Iterable[Example]]]) -> None:
        self._batches = iter(batches)
        self._count = 0
        self._digest = ""
        self._drew: list[tuple[int, np.ndarray, float]] = []

    def __iter__(self) -> Iterator[tuple[int, Batch]]:
        return self

    def __next__(self) -> tuple[int, Batch]:
        before = random.getstate()
        epoch, examples = next(self._batches)
        batch = list(examples)
        if random.getstate() != before:
            self._drew.append((self._count, *packed(before)))
        self._count += 1
        self._digest = _chained(self._digest, batch)
        return epoch, batch

    @property
    def place(self) -> Place:
        numbers, words, seconds = zip(*self._drew, strict=True) if self._drew else ((), (), ())
        return Place(
            self._count,
            self._digest,
            np.array(numbers, dtype=np.int64),
            np.array(words, dtype=np.uint32).reshape(-1, 625),
            np.array(seconds, dtype=np.float64),
        )

    def go_to(self, place: Place) -> None:
        """Read on to a place, from the first batch. The state of `random` is left as the reading leaves it.

        RAISES (ValueError): P196 if the batches are not those that were read then.
        """
        states: Mapping[int, tuple[np.ndarray, float]] = {
            int(number): (words, float(second))
            for number, words, second in zip(place.drew, place.words, place.seconds, strict=True)
        }
        while self._count < place.read:
            if self._count in states:
                random.setstate(unpacked(*states[self._count]))
            if next(self, None) is None:
                raise ValueError(Errors.P196.format(count=place.read))
        if self._digest != place.digest:
            raise ValueError(Errors.P196.format(count=place.read))


def _chained(digest: str, batch: Batch) -> str:
    total = hashlib.blake2b(digest.encode(), digest_size=16)
    for example in batch:
        doc: Doc = example.reference
        ents = [(ent.start_char, ent.end_char, ent.label_) for ent in doc.ents]
        total.update(repr((doc.text, ents, sorted(doc.cats.items()))).encode("utf-8", "backslashreplace"))
    return total.hexdigest()
