"""A trace as one page: it needs no script and nothing from outside."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from html import escape

from spacy_padellm.pipeline.shown import (
    NOTHING,
    absence,
    cut,
    folded,
    part,
    places,
    remarks,
    steps,
    totals,
    trunk,
    visible,
)
from spacy_padellm.pipeline.trace import Found, Grown, Limb, Trace
from spacy_padellm.pipeline.tree_svg import tree_svg

_STYLE = """
:root{color-scheme:light dark;--soft:#5d6470;--line:#c9ced6;--good:#0b6b3a;--bad:#9a3412}
@media (prefers-color-scheme:dark){:root{--soft:#a8b0bc;--line:#4b5563;--good:#6ee7a8;--bad:#fdba74}}
body{font:15px/1.5 system-ui,sans-serif;max-width:75rem;margin:1.5rem auto;padding:0 1rem}
bdi,code{font-family:ui-monospace,Menlo,Consolas,monospace;overflow-wrap:anywhere}
details,.leaf{border-left:2px solid var(--line);margin:.25rem 0 .25rem .5rem;padding-left:.75rem}
summary{cursor:pointer} summary:focus-visible{outline:2px solid}
.soft{color:var(--soft)} .good{color:var(--good)} .bad{color:var(--bad)}
.drawing{overflow-x:auto} .text{white-space:pre-wrap}
"""


def tree_html(trace: Trace, *, everything: bool = False) -> str:
    """A page that shows a trace: the text, the drawing, and every question to be opened.

    Whatever stands in texts, labels and answers is written as text, with what cannot be seen spelled out.

    trace (Trace): The trace.
    everything (bool): Show each absent label by itself.
    RETURNS (str): A whole page in HTML.
    """
    title = escape(cut(visible(trace.text), 60) or "no text")
    return (
        '<!doctype html>\n<html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{title}</title><style>{_STYLE}</style></head><body><main>\n{tree_part(trace, everything=everything)}"
        "</main></body></html>\n"
    )


def tree_part(trace: Trace, *, everything: bool = False, level: int = 1) -> str:
    """What stands in the page, to be put into another one.

    level (int): Of its highest heading, from 1.
    """
    trees = "".join(
        _tree(tree, number, len(trace.trees), everything, level + 1) for number, tree in enumerate(trace.trees, 1)
    )
    return (
        f"<h{level}>{_string(trace.text) if trace.text else 'No text'}</h{level}>\n"
        f'<p class="soft">{escape(totals(trace))}</p>\n'
        f'<div class="drawing" tabindex="0" aria-label="Drawing of the tree" role="group">'
        f"{tree_svg(trace, everything=everything)}</div>\n"
        f"{trees or f'<p>{NOTHING}</p>'}"
    )


def _tree(tree: Grown, number: int, of: int, everything: bool, level: int) -> str:
    heading = f"Window {number}: {_string(tree.text)}" if of > 1 else "Questions and answers"
    limbs, absent = folded(tree.limbs, everything=everything)
    rest = f'<div class="leaf soft">{escape(absence(absent))}</div>' if absent else ""
    return (
        f'<section><h{level}>{heading}</h{level}><p class="soft">{trunk(tree)}</p>\n{_limbs(limbs)}{rest}</section>\n'
    )


def _limbs(limbs: Iterable[Limb]) -> str:
    return "".join(map(_limb, limbs))


def _limb(limb: Limb) -> str:
    head = f"{_string(limb.question, 'soft')} <b>{_string(limb.answer or '(nothing)')}</b> {_figures(limb)}"
    below = "".join([*_remarks(limb), *map(_found, limb.found), _limbs(limb.opened)])
    return f"<details open><summary>{head}</summary>{_pieces(limb)}{below}</details>\n"


def _figures(limb: Limb) -> str:
    return f'<span class="soft">{part(limb.probability)}, {steps(limb)}</span>'


def _pieces(limb: Limb) -> str:
    told = f"{limb.question_pieces} pieces asked, {limb.shared_pieces} of them shared, {limb.answer_pieces} answered"
    return f'<div class="soft">{told}</div>'


def _remarks(limb: Limb) -> Iterator[str]:
    for told in remarks(limb):
        yield f'<div class="bad">{escape(told)}</div>'


def _found(found: Found) -> str:
    kind = "good" if found.fate in ("entity", "overlapped") else "bad"
    return (
        f'<div class="leaf">{_string(found.label, "soft")} {_string(found.string)} '
        f'<span class="soft">confidence {part(found.confidence)}</span> '
        f'<span class="{kind}">{escape(places(found))}</span></div>'
    )


def _string(string: str, kind: str = "ink") -> str:
    """A string of somebody else's. `bdi` keeps its direction from what stands beside it."""
    return f'<bdi class="{kind}">{escape(visible(string))}</bdi>'
