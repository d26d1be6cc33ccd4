"""Parts of a data set: a dev part out of train where none was published, and doubles."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

from spacy_padellm.data.records import Record
from spacy_padellm.errors import Errors


class Doubles(NamedTuple):
    """How many training texts are not new, case and white space aside.

    within (int): Training texts that stand earlier in train.
    dev, test (int): Held-out texts that stand in train too.
    """

    within: int
    dev: int
    test: int


def take_dev(records: Sequence[Record], size: int, *, name: str) -> tuple[list[Record], list[Record]]:
    """Take a dev part evenly spaced out of train: the last of each stretch of `len(records) // size`.

    records (Sequence[Record]): The published training part.
    size (int): How many go to dev.
    name (str): The data set, for the message.
    RETURNS (tuple[list[Record], list[Record]]): What remains of train, and dev; both in the order of the file.
    RAISES (ValueError): P111 if no training record would remain.
    """
    if size < 1:
        return list(records), []
    if len(records) <= size:
        raise ValueError(Errors.P111.format(name=name, got=len(records), size=size))
    stretch = len(records) // size
    taken = {(number + 1) * stretch - 1 for number in range(size)}
    train = [record for index, record in enumerate(records) if index not in taken]
    return train, [records[index] for index in sorted(taken)]


def sameness(text: str) -> str:
    """What two texts have in common when they are the same, case and white space aside."""
    return " ".join(text.lower().split())


def count_doubles(train: Iterable[Record], dev: Iterable[Record], test: Iterable[Record]) -> Doubles:
    """Count the training texts that are not new."""
    texts = [sameness(record.text) for record in train]
    seen = set(texts)
    held_out = [sum(sameness(record.text) in seen for record in part) for part in (dev, test)]
    return Doubles(len(texts) - len(seen), *held_out)


def without_doubles(train: Iterable[Record], *held_out: Iterable[Record]) -> list[Record]:
    """Train without the texts that stand earlier in it or in a held-out part."""
    seen = {sameness(record.text) for part in held_out for record in part}
    kept: list[Record] = []
    for record in train:
        key = sameness(record.text)
        if key not in seen:
            seen.add(key)
            kept.append(record)
    return kept
