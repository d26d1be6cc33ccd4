"""How often the count of a label is right: over all (text, label) pairs and by gold count."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from spacy_padellm.metrics.pairs import Pair
from spacy_padellm.metrics.prf import Sums, ratio

BUCKETS = ("0", "1", "2", "3", "4", "5+")
"""Gold counts that get a figure of their own."""

_FIRST = {"all": 0, "nonzero": 1}
"""Where the buckets begin that each average is over."""


def count_row(pair: Pair, labels: Iterable[str]) -> list[int]:
    """What one text adds: right and all (text, label) pairs of each bucket, in the order of `BUCKETS`.

    labels (Iterable[str]): The labels that were asked about. A label that was not has no count to be right or wrong.
    """
    row = [0] * (2 * len(BUCKETS))
    for label in labels:
        bucket = min(pair.gold_counts[label], len(BUCKETS) - 1)
        row[2 * bucket] += pair.gold_counts[label] == pair.predicted_counts[label]
        row[2 * bucket + 1] += 1
    return row


def accuracy(which: str) -> Callable[[Sums], np.ndarray]:
    """The share of right counts, `all` of them or the `nonzero` ones.

    RETURNS (Callable): Takes sums [..., 12] as `count_row` gives them; NaN where there is no pair.
    """

    def share(sums: Sums) -> np.ndarray:
        chosen = sums[..., 2 * _FIRST[which] :]
        return ratio(chosen[..., 0::2].sum(axis=-1), chosen[..., 1::2].sum(axis=-1), empty=np.nan)

    return share


def count_scores(pairs: Sequence[Pair], labels: Sequence[str]) -> dict[str, Any]:
    """How many (text, label) pairs have the gold count, in percent.

    pairs (Sequence[Pair]): The texts.
    labels (Sequence[str]): The labels that were asked about, with those that gold or prediction has.
    RETURNS (dict[str, Any]): `all` over all (text, label) pairs; `nonzero` over those with gold mentions; `by_gold`
        for each gold count. None where there is no pair.
    """
    rows = np.array([count_row(pair, labels) for pair in pairs], dtype="float64").reshape(-1, 2 * len(BUCKETS))
    sums = rows.sum(axis=0)
    right, asked = sums[0::2].astype(int).tolist(), sums[1::2].astype(int).tolist()
    buckets = {
        name: {"accuracy": round(100 * hits / among, 2) if among else None, "right": hits, "pairs": among}
        for name, hits, among in zip(BUCKETS, right, asked, strict=True)
    }
    shares = {name: float(accuracy(name)(sums)) for name in _FIRST}
    return {
        **{name: None if np.isnan(share) else round(share, 2) for name, share in shares.items()},
        "pairs": sum(asked),
        "nonzero_pairs": sum(asked[1:]),
        "by_gold": buckets,
    }
