"""Curves as plots: both axes logarithmic, so that a power is a straight line. matplotlib draws them."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any, NamedTuple

import matplotlib
from matplotlib import pyplot

matplotlib.use("svg")

COLORS = ("#2a6f97", "#e76f51", "#8ab17d", "#6d597a")


class Line(NamedTuple):
    """One line of a plot.

    name (str): What the legend calls it.
    xs, ys (Sequence[float]): Its points.
    color (int): Number of its colour: lines of one curve share it.
    style (str): "-" for what was measured, ":" for a part of it, "--" for what would be if cost grew as work does.
    """

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    color: int
    style: str = "-"


def draw_lines(lines: Sequence[Line], *, title: str, x: str, y: str) -> str:
    """Lines over one axis.

    title (str): What they are.
    x, y (str): What the axes are. Where a line has a point at 0 the first step of the x axis is not logarithmic.
    RETURNS (str): An SVG element. The same figures give the same one.
    """
    settings: dict[Any, Any] = {"svg.hashsalt": title, "font.size": 9, "svg.fonttype": "none", "text.parse_math": False}
    with matplotlib.rc_context(settings):
        figure, axes = pyplot.subplots(figsize=(6.4, 3.4), layout="constrained")
        drawn = []
        for line in lines:
            mark = "o" if line.style == "-" else None
            color = COLORS[line.color % len(COLORS)]
            drawn += axes.plot(line.xs, line.ys, line.style, color=color, marker=mark, ms=3.5, lw=1.3)
        values = sorted({value for line in lines for value in line.xs})
        if values[0] > 0:
            axes.set_xscale("log")
        else:
            axes.set_xscale("symlog", linthresh=1)
        axes.set_yscale("log")
        axes.set_xticks(values, [_short(value) for value in values], fontsize=7)
        axes.yaxis.set_major_formatter(lambda value, _: _short(value))
        axes.minorticks_off()
        axes.set_xlabel(x)
        axes.set_ylabel(y)
        axes.set_title(title, loc="left", fontsize=10)
        axes.spines[["top", "right"]].set_visible(False)
        axes.grid(alpha=0.25, lw=0.5)
        names = [line.name for line in lines]
        figure.legend(drawn, names, loc="outside right upper", frameon=False, fontsize=8)
        written = io.StringIO()
        figure.savefig(written, format="svg", metadata={"Date": None})
        pyplot.close(figure)
    svg = written.getvalue()
    return svg[svg.index("<svg") :]


def _short(value: float) -> str:
    for size, name in ((1e9, "b"), (1e6, "m"), (1e3, "k")):
        if value >= 10 * size or (size > 1e3 and value >= size):
            scaled = value / size
            return f"{scaled:.0f}{name}" if scaled >= 10 else f"{scaled:.2g}{name}"
    return f"{value:g}"
