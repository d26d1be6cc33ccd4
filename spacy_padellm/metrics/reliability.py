"""Whether what a pipeline says about its mentions is true: of those it is 80 % sure of, 80 % should be right."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any

import numpy as np

from spacy_padellm.metrics.pairs import Found, Pair

BINS = 10
"""Stretches of equal width between 0 and 1."""


def judged(pairs: Iterable[Pair], say: Callable[[Found], float | None]) -> tuple[list[float], list[bool]]:
    """What was said of each predicted mention, and whether gold has it. Mentions of which nothing was said are left
    out."""
    both = [(say(found), found.key in pair.gold_keys) for pair in pairs for found in pair.predicted]
    return [said for said, _ in both if said is not None], [right for said, right in both if said is not None]


def reliability(probabilities: Sequence[float], right: Sequence[bool], *, bins: int = BINS) -> dict[str, Any] | None:
    """The reliability curve, and how far it is from the diagonal.

    probabilities (Sequence[float]): Of the mentions, between 0 and 1.
    right (Sequence[bool]): Whether gold has each.
    bins (int): Stretches of equal width; a probability on a border belongs to the upper one.
    RETURNS (dict[str, Any] | None): `mentions`; `error`, the expected calibration error in percent: how far what was
        said is from what is right, the mean of the stretches weighed by their mentions; `brier`, the mean squared
        distance of each probability from 1 if the mention is right and from 0 if it is wrong; `curve`, for each
        stretch that has mentions `from` and `to`, `mentions`, and in percent what was `said` on average and how many
        are `right`. None without mentions.
    """
    if not probabilities:
        return None
    said, true = np.array(probabilities, dtype="float64"), np.array(right, dtype="float64")
    places = np.clip((said * bins).astype(int), 0, bins - 1)
    curve = []
    apart = 0.0
    for place in range(bins):
        mine = places == place
        if mine.any():
            mean, share = float(said[mine].mean()), float(true[mine].mean())
            apart += int(mine.sum()) * abs(mean - share)
            edges = {"from": round(place / bins, 4), "to": round((place + 1) / bins, 4), "mentions": int(mine.sum())}
            curve.append({**edges, "said": round(100 * mean, 2), "right": round(100 * share, 2)})
    return {
        "mentions": len(said),
        "error": round(100 * apart / len(said), 2),
        "brier": round(float(((said - true) ** 2).mean()), 4),
        "curve": curve,
    }
