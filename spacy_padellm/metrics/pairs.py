"""Gold beside prediction: the values that every figure is computed from."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from functools import cached_property
from typing import NamedTuple

from spacy_padellm.types import Mention

Key = tuple[int, int, str]


class Found(NamedTuple):
    """A mention with its place: character offsets, `end` exclusive.

    score (float | None): What the pipeline gave it, None where it gives none.
    ordinal (int | None): Which mention of its label was asked for, from 1; 0 for an occurrence that was filled in and
        that nobody asked for; None where the pipeline does not tell.
    confidence (float | None): How sure the pipeline was of it in all; None where it gives no more than a score.
    """

    start: int
    end: int
    label: str
    score: float | None = None
    ordinal: int | None = None
    confidence: float | None = None

    @property
    def key(self) -> Key:
        """What makes two mentions the same one."""
        return self.start, self.end, self.label


@dataclass(frozen=True)
class Said:
    """What a model answered beside the spans that came of it.

    counts (dict[str, int]): The count of each label; a label without one counts 0.
    unplaced (tuple[Mention, ...]): Mentions that do not stand in the text.
    surplus (tuple[Mention, ...]): Repeats of a string beyond its occurrences.
    below (tuple[Found, ...]): What was answered and placed, and not sure enough to be kept.
    """

    counts: dict[str, int] = field(default_factory=dict)
    unplaced: tuple[Mention, ...] = ()
    surplus: tuple[Mention, ...] = ()
    below: tuple[Found, ...] = ()


@dataclass(frozen=True)
class Pair:
    """One text with its distinct gold and predicted mentions, both by start, the longer first.

    said (Said | None): What the model answered; None for a pipeline that does not tell. Counts and strings are then
        those of the predicted mentions.
    """

    text: str
    gold: tuple[Found, ...]
    predicted: tuple[Found, ...]
    said: Said | None = None

    @cached_property
    def gold_keys(self) -> frozenset[Key]:
        return frozenset(mention.key for mention in self.gold)

    @cached_property
    def predicted_keys(self) -> frozenset[Key]:
        return frozenset(mention.key for mention in self.predicted)

    @cached_property
    def gold_counts(self) -> Counter[str]:
        """Gold mentions by label."""
        return Counter(label for *_, label in self.gold_keys)

    @cached_property
    def predicted_counts(self) -> Counter[str]:
        """The counts that the model answered, or the predicted mentions by label."""
        if self.said is not None:
            return Counter(self.said.counts)
        return Counter(label for *_, label in self.predicted_keys)

    @cached_property
    def gold_strings(self) -> Counter[tuple[str, str]]:
        """How often gold has each (label, string)."""
        return Counter((label, self.text[start:end]) for start, end, label in self.gold_keys)

    @cached_property
    def predicted_strings(self) -> Counter[tuple[str, str]]:
        """How often the model answered each (label, string), placed or not. Occurrences filled in were not answered."""
        strings = Counter((found.label, self.string(found)) for found in self.predicted if found.ordinal != 0)
        if self.said is not None:
            lost = (*self.said.unplaced, *self.said.surplus)
            strings.update((mention.label, mention.string.strip()) for mention in lost)
        return strings

    def string(self, found: Found) -> str:
        """The text of a mention."""
        return self.text[found.start : found.end]


def labels_in(pairs: Iterable[Pair]) -> set[str]:
    """The labels that gold or prediction has."""
    return {mention.label for pair in pairs for mention in (*pair.gold, *pair.predicted)}
