"""A trace as a drawing: SVG that stands alone or within a page."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from html import escape
from itertools import accumulate

from spacy_padellm.pipeline.shown import (
    NOTHING,
    absence,
    cut,
    fit,
    folded,
    part,
    places,
    remarks,
    steps,
    totals,
    trunk,
    visible,
)
from spacy_padellm.pipeline.trace import Grown, Limb, Trace

_ROW = 22
_PAD = 10
_TRUNK, _FIRST, _SECOND, _WIDTH = 10, 300, 660, 1180
"""Where the columns begin and the drawing ends, in pixels: text, first questions, what they opened."""

_PIXELS = 6.7
"""Of a letter of 11 pixels in most monospaced fonts, a little more to be sure."""

_STYLE = """
.padellm{--ink:#1c1c1c;--soft:#5d6470;--line:#9aa3af;--good:#0b6b3a;--bad:#9a3412;--paper:#ffffff}
@media (prefers-color-scheme:dark){.padellm{--ink:#ececec;--soft:#a8b0bc;--line:#6b7280;--good:#6ee7a8;--bad:#fdba74;
--paper:#16181c}}
.padellm text{font:11px ui-monospace,Menlo,Consolas,monospace;fill:var(--ink);white-space:pre}
.padellm .ink{fill:var(--ink)} .padellm .soft{fill:var(--soft)} .padellm .good{fill:var(--good)}
.padellm .bad{fill:var(--bad)}
.padellm path{fill:none;stroke:var(--line)} .padellm .paper{fill:var(--paper)}
"""


@dataclass(frozen=True)
class _Text:
    """One line of text.

    x, end (int): Where it begins and where it must end.
    parts (tuple[tuple[str, str], ...]): Its strings with their classes.
    """

    x: int
    end: int
    parts: tuple[tuple[str, str], ...]


@dataclass(frozen=True)
class _Row:
    """A first question with what stands beside it.

    first (_Text): The question.
    rest (tuple[_Text, ...]): What it opened or what was read from it, one below the other.
    """

    first: _Text
    rest: tuple[_Text, ...] = ()

    @property
    def height(self) -> int:
        return _ROW * max(1, len(self.rest))


def tree_svg(trace: Trace, *, everything: bool = False) -> str:
    """Draw a trace.

    trace (Trace): The trace.
    everything (bool): Show each absent label in a row of its own.
    RETURNS (str): An SVG element, which is also a whole SVG file. It needs nothing from outside.
    """
    drawn: list[str] = []
    top = _PAD
    for tree in trace.trees:
        rows = list(_rows(tree, everything=everything))
        drawn += _tree(tree, rows, top)
        top += max(2 * _ROW, sum(row.height for row in rows)) + _ROW
    if not trace.trees:
        drawn.append(_drawn(_Text(_TRUNK, _WIDTH, ((NOTHING, "soft"),)), top + _ROW // 2))
        top += _ROW
    drawn.append(_drawn(_Text(_TRUNK, _WIDTH, ((totals(trace), "soft"),)), top + _ROW // 2))
    height = top + _ROW + _PAD
    title = escape(cut(visible(trace.text), 80) or "no text")
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" class="padellm" role="img" viewBox="0 0 {_WIDTH} {height}" '
        f'width="{_WIDTH}" height="{height}"><title>Questions and answers about: {title}</title>'
        f'<style>{_STYLE}</style><rect class="paper" width="{_WIDTH}" height="{height}"/>{"".join(drawn)}</svg>\n'
    )


def _rows(tree: Grown, *, everything: bool) -> Iterator[_Row]:
    limbs, absent = folded(tree.limbs, everything=everything)
    for limb in limbs:
        parts = ((visible(limb.question) + " ", "soft"), (visible(limb.answer), "ink"), _figures(limb))
        yield _Row(_Text(_FIRST + 20, _SECOND - 14, parts), tuple(_rest(limb)))
    if absent:
        yield _Row(_Text(_FIRST + 20, _WIDTH, ((absence(absent), "soft"),)))


def _rest(limb: Limb) -> Iterator[_Text]:
    x = _SECOND + 20
    if limb.kind != "mention":
        for found in limb.found:
            mention = f"{visible(found.label)} {found.ordinal} "
            yield _Text(
                x, _WIDTH, ((mention, "soft"), (visible(found.string), "ink"), _fate(found.places != (), places(found)))
            )
    for told in remarks(limb):
        yield _Text(x, _WIDTH, ((told, "bad"),))
    for under in limb.opened:
        parts = [(visible(under.question) + " ", "soft"), (visible(under.answer), "ink"), _figures(under)]
        parts += [_fate(found.places != (), places(found)) for found in under.found]
        yield _Text(x, _WIDTH, (*parts, *((f"  {told}", "bad") for told in remarks(under))))


def _figures(limb: Limb) -> tuple[str, str]:
    return f"  {part(limb.probability)} {steps(limb)}", "soft"


def _fate(is_placed: bool, told: str) -> tuple[str, str]:
    return f"  {told}", "good" if is_placed else "bad"


def _tree(tree: Grown, rows: Sequence[_Row], top: int) -> Iterator[str]:
    height = max(2 * _ROW, sum(row.height for row in rows))
    middle = top + height // 2
    beside = _FIRST - 14
    yield _drawn(_Text(_TRUNK, beside, ((visible(tree.text), "ink"),)), middle - 8)
    yield _drawn(_Text(_TRUNK, beside, ((trunk(tree), "soft"),)), middle + 8)
    tops = accumulate((row.height for row in rows[:-1]), initial=top) if rows else ()
    for row, begins in zip(rows, tops, strict=True):
        at = begins + row.height // 2
        yield _joint(_FIRST - 10, middle, _FIRST + 14, at)
        yield _drawn(row.first, at)
        for number, text in enumerate(row.rest):
            beside = begins + _ROW * number + _ROW // 2
            yield _joint(_SECOND - 10, at, _SECOND + 14, beside)
            yield _drawn(text, beside)


def _joint(x: int, y: int, to_x: int, to_y: int) -> str:
    half = (x + to_x) // 2
    return f'<path d="M{x} {y}C{half} {y} {half} {to_y} {to_x} {to_y}"/>'


def _drawn(text: _Text, y: int) -> str:
    """A line of text: what does not fit is cut, and stands whole in the title."""
    strings = [string for string, _ in text.parts]
    shown = fit(strings, int((text.end - text.x) / _PIXELS))
    spans = (
        f'<tspan class="{kind}">{escape(string)}</tspan>' for string, (_, kind) in zip(shown, text.parts, strict=True)
    )
    title = "" if shown == strings else f"<title>{escape(''.join(strings))}</title>"
    return f'<text x="{text.x}" y="{y + 4}">{title}{"".join(spans)}</text>'
