"""Figures of a comparison as plots: bars by data set and pipeline. matplotlib draws them."""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import matplotlib
from matplotlib import pyplot

matplotlib.use("svg")

COLORS = ("#2a6f97", "#8ab17d", "#e9c46a", "#e76f51", "#8d99ae", "#6d597a", "#b5838d", "#355070")


@dataclass(frozen=True)
class Bar:
    """One figure.

    value (float): Its height.
    low, high (float | None): Its interval, None where it has none.
    """

    value: float
    low: float | None = None
    high: float | None = None


Bars = Mapping[str, Mapping[str, Bar]]
"""Data set to pipeline to figure."""


def draw_bars(bars: Bars, *, title: str, unit: str, logarithmic: bool = False) -> str:
    """A group of bars for each data set, a colour for each pipeline.

    bars (Bars): The figures. A pipeline that a data set lacks leaves a gap.
    title (str): What they are.
    unit (str): Of the axis.
    logarithmic (bool): Of the axis: equal ratios are equal distances.
    RETURNS (str): An SVG element. The same figures give the same one.
    """
    names = pipeline_names(bars)
    width = 0.8 / max(len(names), 1)
    settings = {"svg.hashsalt": title, "font.size": 9, "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(settings):
        figure, axes = pyplot.subplots(figsize=(max(5.0, 2.2 * len(bars)), 3.2), layout="constrained")
        keys = []
        for place, name in enumerate(names):
            for group, of_set in enumerate(bars.values()):
                if name in of_set:
                    _draw_bar(axes, group + (place - (len(names) - 1) / 2) * width, width, of_set[name], place)
            keys.append(axes.bar([0], [0], width=0, color=COLORS[place % len(COLORS)]))
        axes.set_xticks(range(len(bars)), list(bars))
        axes.set_ylabel(unit)
        axes.set_title(title, loc="left", fontsize=10)
        if logarithmic:
            axes.set_yscale("log")
        axes.spines[["top", "right"]].set_visible(False)
        # Named here and not on the bars: a label that begins with "_" would be left out.
        figure.legend(keys, names, loc="outside right center", frameon=False, fontsize=8)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    svg = written.getvalue()
    return svg[svg.index("<svg") :]


def _draw_bar(axes: pyplot.Axes, x: float, width: float, bar: Bar, place: int) -> None:
    edges = None
    if bar.low is not None and bar.high is not None:
        edges = [[max(bar.value - bar.low, 0)], [max(bar.high - bar.value, 0)]]
    color = COLORS[place % len(COLORS)]
    axes.bar([x], [bar.value], width=0.92 * width, color=color, yerr=edges, error_kw={"lw": 0.8, "capsize": 2})


def pipeline_names(bars: Bars) -> Sequence[str]:
    """All pipelines, in the order in which they first come."""
    return list(dict.fromkeys(name for of_set in bars.values() for name in of_set))
