"""All figures of a pipeline on some documents, ready for JSON, and how two pipelines differ."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from math import isnan
from typing import Any

import numpy as np

from spacy_padellm.metrics.bootstrap import CONFIDENCE, Measure, compare, interval, resample
from spacy_padellm.metrics.counts import accuracy, count_row, count_scores
from spacy_padellm.metrics.mistakes import mistake_counts, mistakes
from spacy_padellm.metrics.pairs import Found, Pair
from spacy_padellm.metrics.prf import (
    PRF,
    Tally,
    label_rows,
    macro,
    multiset_tally,
    span_scores,
    span_tally,
    string_set_tally,
    total,
)
from spacy_padellm.metrics.reliability import judged, reliability

Path = tuple[str, ...]
"""Where a figure stands in a report."""

SAID: dict[str, Callable[[Found], float | None]] = {
    "confidence": lambda found: found.confidence,
    "score": lambda found: found.score,
}
"""What a pipeline may say about how sure it is of a mention."""

STRINGS: dict[str, Callable[[Pair], Tally]] = {"set": string_set_tally, "multiset": multiset_tally}


@dataclass(frozen=True)
class Outcome:
    """What a pipeline found in some documents, beside gold.

    spans (tuple[Pair, ...]): All mentions of each document.
    ents (tuple[Pair, ...]): Of the same documents the mentions of doc.ents, which do not overlap.
    """

    spans: tuple[Pair, ...]
    ents: tuple[Pair, ...]


def report(outcome: Outcome, labels: Sequence[str], *, samples: int = 0, seed: int = 0) -> dict[str, Any]:
    """Figures in percent, and numbers.

    outcome (Outcome): Gold and prediction.
    labels (Sequence[str]): The labels that were asked about, with those that gold or prediction has.
    samples (int): How many resamples the intervals come from; 0 for no intervals. Without documents there are none.
    seed (int): Of the resamples.
    RETURNS (dict[str, Any]): `docs`; `spans` and `ents`, each with P/R/F, `macro`, `per_label` and `mistakes`;
        `strings` with P/R/F of `set` and `multiset`; `counts`; `lost`; `reliability` of the `confidence` and of the
        `score` of mentions, None for a pipeline that gives none. Wherever there are intervals they stand beside
        the figures, under `interval`.
    RAISES (ValueError): P001 for a number of samples or a seed below 0.
    """
    found: dict[str, Any] = {"docs": len(outcome.spans)}
    for view, pairs in (("spans", outcome.spans), ("ents", outcome.ents)):
        both = zip(pairs, outcome.spans, strict=True)
        wrong = mistake_counts(mistake for pair, whole in both for mistake in mistakes(pair, whole))
        found[view] = {**span_scores(pairs, labels), "mistakes": wrong}
    found["strings"] = {name: total(map(tally, outcome.spans)).figures() for name, tally in STRINGS.items()}
    found["counts"] = count_scores(outcome.spans, labels)
    found["lost"] = lost(outcome.spans)
    found["reliability"] = {name: reliability(*judged(outcome.spans, say)) for name, say in SAID.items()}
    if samples and outcome.spans:
        for path, values in resample(measures(outcome, labels), samples=samples, seed=seed).items():
            block = _walk(found, path[:-1])
            block.setdefault("interval", {})[path[-1]] = [_rounded(edge) for edge in interval(values)]
        found["bootstrap"] = {"samples": samples, "seed": seed, "confidence": CONFIDENCE}
    return found


def lost(pairs: Iterable[Pair]) -> dict[str, int]:
    """Strings that were answered and have no place, strings answered more often than they stand in the text, and
    occurrences that were filled in, and mentions that were not sure enough to be kept."""
    said = [pair.said for pair in pairs if pair.said is not None]
    return {
        "unplaced": sum(len(one.unplaced) for one in said),
        "surplus": sum(len(one.surplus) for one in said),
        "below_threshold": sum(len(one.below) for one in said),
        "filled": sum(found.ordinal == 0 for pair in pairs for found in pair.predicted),
    }


def measures(outcome: Outcome, labels: Sequence[str]) -> dict[Path, Measure]:
    """Every figure that a bootstrap can resample, by where it stands in a report."""
    found: dict[Path, Measure] = {}
    for view, pairs in (("spans", outcome.spans), ("ents", outcome.ents)):
        found.update(_figures(_rows(pairs, span_tally), (view,)))
        rows = label_rows(pairs, labels)
        present = [place for place in range(len(labels)) if rows[:, place].any()]
        for place in present:
            found.update(_figures(rows[:, place], (view, "per_label", labels[place])))
        if present:
            together = rows[:, present].reshape(len(pairs), -1)
            found.update({(view, "macro", name): Measure(together, macro(of)) for name, of in PRF.items()})
    for name, tally in STRINGS.items():
        found.update(_figures(_rows(outcome.spans, tally), ("strings", name)))
    counts = np.array([count_row(pair, labels) for pair in outcome.spans], dtype="float64")
    found.update({("counts", which): Measure(counts, accuracy(which)) for which in ("all", "nonzero")})
    return found


def difference(one: Outcome, other: Outcome, labels: Sequence[str], *, samples: int, seed: int) -> dict[str, Any]:
    """How much better `one` is, by paired bootstrap. Every figure stands where it stands in a report.

    one (Outcome), other (Outcome): What two pipelines found in the same documents.
    labels (Sequence[str]): The labels that either was asked about, with those that gold or prediction has.
    RETURNS (dict[str, Any]): `difference`, its `interval`, and `p`, for each figure that both have.
    RAISES (ValueError): P001 if `samples` is below 1 or `seed` below 0.
    """
    found: dict[str, Any] = {}
    both = compare(measures(one, labels), measures(other, labels), samples=samples, seed=seed)
    for path, value in both.items():
        edges = [_rounded(value.low), _rounded(value.high)]
        figures = {"difference": _rounded(value.value), "interval": edges, "p": round(value.p, 4)}
        _walk(found, path[:-1])[path[-1]] = figures
    return found


def _figures(rows: np.ndarray, where: Path) -> dict[Path, Measure]:
    """P/R/F from [documents, (right, predicted, gold)]."""
    return {(*where, name): Measure(rows, of) for name, of in PRF.items()}


def _rows(pairs: Sequence[Pair], tally: Callable[[Pair], Tally]) -> np.ndarray:
    return np.array([tally(pair).row for pair in pairs], dtype="float64")


def _walk(block: Mapping[str, Any], path: Path) -> dict[str, Any]:
    """The block at a path, made where it is missing."""
    for name in path:
        block = block.setdefault(name, {})  # type: ignore[attr-defined]
    return block  # type: ignore[return-value]


def _rounded(value: float) -> float | None:
    return None if isnan(value) else round(value, 2)
