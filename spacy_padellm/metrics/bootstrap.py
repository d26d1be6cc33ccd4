"""How sure a figure is: resampling the documents it was computed on."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping
from dataclasses import dataclass
from typing import NamedTuple, TypeVar

import numpy as np

from spacy_padellm.metrics.prf import Sums
from spacy_padellm.settings import check_whole

Name = TypeVar("Name", bound=Hashable)

CONFIDENCE = 95.0
"""Percent of the resampled figures that an interval holds."""

_AT_ONCE = 50
"""Resamples in one matrix product."""


@dataclass(frozen=True)
class Measure:
    """A figure that depends on sums over documents only, so that it can be computed on any resample of them.

    parts (np.ndarray): Float64 [documents, parts]: what each document adds.
    of (Callable): The figure from sums [..., parts]; NaN where it is not defined.
    """

    parts: np.ndarray
    of: Callable[[Sums], np.ndarray]

    @property
    def value(self) -> float:
        """The figure of the documents as they are."""
        return float(self.of(self.parts.sum(axis=0)))


class Difference(NamedTuple):
    """How much higher one pipeline's figure is than another's on the same documents.

    value (float): The difference. NaN where one of the figures is not defined.
    low, high (float): The interval that holds `CONFIDENCE` percent of the resampled differences.
    p (float): Two-sided: how often a resample does not favour the same pipeline, twice; 1 for equal figures.
    """

    value: float
    low: float
    high: float
    p: float


def resample(measures: Mapping[Name, Measure], *, samples: int, seed: int) -> dict[Name, np.ndarray]:
    """Compute figures on resamples: as many documents, drawn from all of them with replacement.

    All measures see the same draws, and so do other measures of as many documents under the same seed: this is what
    makes a comparison a paired one.

    measures (Mapping[Name, Measure]): Figures of the same documents, in the same order.
    samples (int): How many resamples.
    seed (int): Of the draws.
    RETURNS (dict[Name, np.ndarray]): Float64 [samples] for each measure.
    RAISES (ValueError): P001 if `samples` is below 1 or `seed` below 0.
    """
    check_whole("samples", samples)
    check_whole("seed", seed, least=0)
    # Measures may share their parts, as P, R and F do; each array is summed once, all of them side by side.
    arrays = {id(measure.parts): measure.parts for measure in measures.values()}
    table = np.concatenate(list(arrays.values()), axis=1)
    generator = np.random.default_rng(seed)
    sums = np.empty((samples, table.shape[1]))
    for first in range(0, samples, _AT_ONCE):
        chunk = sums[first : first + _AT_ONCE]
        draws = [generator.integers(len(table), size=len(table)) for _ in chunk]
        chunk[:] = np.stack([np.bincount(drawn, minlength=len(table)) for drawn in draws]) @ table
    ends = np.cumsum([parts.shape[1] for parts in arrays.values()])
    columns = dict(zip(arrays, np.split(sums, ends[:-1], axis=1), strict=True))
    return {name: measure.of(columns[id(measure.parts)]) for name, measure in measures.items()}


def interval(values: np.ndarray) -> tuple[float, float]:
    """The percentiles that hold `CONFIDENCE` percent of resampled figures; resamples without the figure are left out,
    and NaN stands where none has it."""
    defined = values[~np.isnan(values)]
    if not len(defined):
        return float("nan"), float("nan")
    edge = (100 - CONFIDENCE) / 2
    low, high = np.percentile(defined, [edge, 100 - edge])
    return float(low), float(high)


def compare(
    one: Mapping[Name, Measure], other: Mapping[Name, Measure], *, samples: int, seed: int
) -> dict[Name, Difference]:
    """Paired bootstrap: the figures of two pipelines on the same documents, for those that both have.

    RETURNS (dict[Name, Difference]): `one` minus `other`.
    RAISES (ValueError): P001 if `samples` is below 1 or `seed` below 0.
    """
    first = resample(one, samples=samples, seed=seed)
    second = resample(other, samples=samples, seed=seed)
    found = {}
    for name in (name for name in one if name in other):
        deltas = first[name] - second[name]
        low, high = interval(deltas)
        found[name] = Difference(one[name].value - other[name].value, low, high, _p_value(deltas))
    return found


def _p_value(deltas: np.ndarray) -> float:
    """The observed data count as one resample more, so that no p is 0."""
    defined = deltas[~np.isnan(deltas)]
    beyond = min((defined <= 0).sum(), (defined >= 0).sum())
    return min(1.0, 2 * float(beyond + 1) / (len(defined) + 1))
