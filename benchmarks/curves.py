"""How a cost grows along an axis: from point to point, and where it outgrows the work."""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any, NamedTuple

STEEPER = 1.15
"""How many times as long a unit of work must take as at the point before for the curve to be marked there."""


class Curve(NamedTuple):
    """What was measured along one axis.

    name (str): What it is of, e.g. "labels, 30 words".
    unit (str): What its values count.
    points (list[dict[str, Any]]): Figures by value, in rising order; `growth` has added to them.
    """

    name: str
    unit: str
    points: list[dict[str, Any]]


def exponent(before: float, after: float, low: float, high: float) -> float | None:
    """The power of the value that a cost grows with between two values: 1 where it grows as they do, 2 where as their
    squares. None where a cost or a value is 0, or the values are the same."""
    if min(before, after, low, high) <= 0 or low == high:
        return None
    return math.log(after / before) / math.log(high / low)


def add_growth(points: Sequence[dict[str, Any]]) -> None:
    """Add to each point how time and pieces have grown since the point before (`ms_exponent`, `pieces_exponent`, None
    at the first) and `bends`: whether a unit of work, a piece through a weight, takes clearly longer there than before.

    points (Sequence[dict[str, Any]]): With `at`, `ms_per_doc`, `pieces_per_doc` and `parameters`. Changed in place.
    """
    for place, point in enumerate(points):
        before = points[place - 1] if place else None
        for name, cost in (("ms_exponent", "ms_per_doc"), ("pieces_exponent", "pieces_per_doc")):
            point[name] = exponent(before[cost], point[cost], before["at"], point["at"]) if before else None
        point["bends"] = before is not None and _unit(point) > STEEPER * _unit(before)


def _unit(point: dict[str, Any]) -> float:
    return float(point["ms_per_doc"] / (point["pieces_per_doc"] * point["parameters"]))
