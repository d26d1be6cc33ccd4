"""Precision, recall and F in percent: of spans, of distinct strings (as the PaDeLLM paper counts), of all strings."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from spacy_padellm.metrics.pairs import Pair

Sums = np.ndarray
"""Float64 [..., parts]: what the parts of a figure come to over some documents."""


def ratio(part: np.ndarray, whole: np.ndarray, *, empty: float = 0.0) -> np.ndarray:
    """`part` in percent of `whole`, and `empty` where there is nothing to divide by."""
    shares = np.full(np.shape(whole), empty, dtype="float64")
    np.divide(100 * part, whole, out=shares, where=np.asarray(whole) != 0)
    return shares


def precision(sums: Sums) -> np.ndarray:
    """Of sums [..., (right, predicted, gold)]."""
    return ratio(sums[..., 0], sums[..., 1])


def recall(sums: Sums) -> np.ndarray:
    """Of sums [..., (right, predicted, gold)]."""
    return ratio(sums[..., 0], sums[..., 2])


def f_score(sums: Sums) -> np.ndarray:
    """Of sums [..., (right, predicted, gold)]."""
    return ratio(2 * sums[..., 0], sums[..., 1] + sums[..., 2])


PRF: dict[str, Callable[[Sums], np.ndarray]] = {"p": precision, "r": recall, "f": f_score}


def macro(figure: Callable[[Sums], np.ndarray]) -> Callable[[Sums], np.ndarray]:
    """The mean of a figure over the labels that gold has, each label counting alike.

    A false mention of a label that gold lacks costs in the micro average only: what pipelines with other labels get
    is then a mean over the same labels.

    RETURNS (Callable): Takes sums [..., 3 * labels], three for each label; NaN where gold has no label at all.
    """

    def mean(sums: Sums) -> np.ndarray:
        by_label = sums.reshape(*sums.shape[:-1], -1, 3)
        present = by_label[..., 2] > 0
        total = (figure(by_label) * present).sum(axis=-1)
        return ratio(total / 100, present.sum(axis=-1), empty=np.nan)

    return mean


@dataclass(frozen=True)
class Tally:
    """How many of the predicted things are right, of one text or of many. Things that may repeat are counted as often
    as they stand on both sides."""

    right: int = 0
    predicted: int = 0
    gold: int = 0

    @classmethod
    def of(cls, predicted: Iterable[Hashable], gold: Iterable[Hashable]) -> Tally:
        """Compare two sets, or two Counters."""
        guesses, golds = Counter(predicted), Counter(gold)
        return cls((guesses & golds).total(), guesses.total(), golds.total())

    def __add__(self, other: Tally) -> Tally:
        return Tally(self.right + other.right, self.predicted + other.predicted, self.gold + other.gold)

    @property
    def row(self) -> tuple[int, int, int]:
        return self.right, self.predicted, self.gold

    def figures(self, digits: int = 2) -> dict[str, float | int]:
        """Precision, recall and F, 0 where there is nothing to divide by, and what they were computed from."""
        sums = np.array(self.row, dtype="float64")
        shares: dict[str, float | int] = {name: round(float(of(sums)), digits) for name, of in PRF.items()}
        return {**shares, "right": self.right, "predicted": self.predicted, "gold": self.gold}


def span_tally(pair: Pair) -> Tally:
    """A mention is right if start, end and label are."""
    return Tally.of(pair.predicted_keys, pair.gold_keys)


def label_rows(pairs: Sequence[Pair], labels: Sequence[str]) -> np.ndarray:
    """As `span_tally`, of each text and label.

    RETURNS (np.ndarray): Float64 [texts, labels, (right, predicted, gold)].
    """
    places = {label: place for place, label in enumerate(labels)}
    rows = np.zeros((len(pairs), len(labels), 3))
    for row, pair in zip(rows, pairs, strict=True):
        sides = (pair.predicted_keys & pair.gold_keys, pair.predicted_keys, pair.gold_keys)
        for column, keys in enumerate(sides):
            for *_, label in keys:
                row[places[label], column] += 1
    return rows


def string_set_tally(pair: Pair) -> Tally:
    """The paper's: distinct strings of each (text, label), wherever they stand and however often."""
    return Tally.of(set(pair.predicted_strings), set(pair.gold_strings))


def multiset_tally(pair: Pair) -> Tally:
    """Strings of each (text, label), every repeat counted."""
    return Tally.of(pair.predicted_strings, pair.gold_strings)


def total(tallies: Iterable[Tally]) -> Tally:
    """The sum of some tallies."""
    return sum(tallies, Tally())


def span_scores(pairs: Sequence[Pair], labels: Sequence[str]) -> dict[str, Any]:
    """Micro P/R/F of spans, the macro average over the labels that gold has, and P/R/F of each label.

    pairs (Sequence[Pair]): The texts.
    labels (Sequence[str]): All labels that gold or prediction has; others may be among them, and get no figures.
    RETURNS (dict[str, Any]): `p`, `r`, `f`, `right`, `predicted`, `gold`; `macro` and `per_label`.
    """
    sums = label_rows(pairs, labels).sum(axis=0)
    averages = {name: float(macro(of)(sums.reshape(-1))) for name, of in PRF.items()}
    by_label = {label: Tally(*map(int, row)) for label, row in zip(labels, sums, strict=True)}
    return {
        **total(map(span_tally, pairs)).figures(),
        "macro": {name: None if np.isnan(mean) else round(mean, 2) for name, mean in averages.items()},
        "per_label": {label: tally.figures() for label, tally in by_label.items() if any(tally.row)},
    }
