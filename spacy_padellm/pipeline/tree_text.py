"""A trace as text for a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

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
    width,
)
from spacy_padellm.pipeline.trace import Found, Grown, Limb, Trace

COLUMNS = 100
"""How wide a line may be."""


def tree_text(trace: Trace, *, everything: bool = False, columns: int = COLUMNS) -> str:
    """Draw a trace with box characters.

    trace (Trace): The trace.
    everything (bool): Show each absent label in a line of its own.
    columns (int): The most columns of a line.
    RETURNS (str): Lines, the last one with its end.
    """
    lines = [visible(trace.text) or "(no text)"]
    if not trace.trees:
        lines.append(NOTHING)
    for number, tree in enumerate(trace.trees, 1):
        lines += _tree(tree, number if len(trace.trees) > 1 else 0, everything=everything, columns=columns)
    lines.append(totals(trace))
    return "".join(f"{cut(line, columns)}\n" for line in lines)


def _tree(tree: Grown, window: int, *, everything: bool, columns: int) -> Iterator[str]:
    if window:
        yield ""
        yield f"window {window}: {visible(tree.text)}"
    yield trunk(tree)
    limbs, absent = folded(tree.limbs, everything=everything)
    yield from _limbs(limbs, "", columns, more=bool(absent))
    if absent:
        yield f"└─ {absence(absent)}"


def _limbs(limbs: Sequence[Limb], indent: str, columns: int, *, more: bool = False) -> Iterator[str]:
    for place, limb in enumerate(limbs):
        is_last = place == len(limbs) - 1 and not more
        yield _line(indent + ("└─ " if is_last else "├─ "), limb, columns)
        below = indent + ("   " if is_last else "│  ")
        for told in _below(limb):
            yield below + ("│    " if limb.opened else "     ") + told
        yield from _limbs(limb.opened, below, columns)


def _line(lead: str, limb: Limb, columns: int) -> str:
    """A question with its answer, and its figures."""
    figures = f"{part(limb.probability)}  {steps(limb)}"
    told = [visible(limb.question), visible(limb.answer) or "(nothing)"]
    if limb.kind == "mention" and len(limb.found) == 1:
        figures += f"  confidence {part(limb.found[0].confidence)}"
        told.append(places(limb.found[0]))
    question, answer, *rest = fit(told, columns - width(lead) - width(figures) - 3 - 2 * (len(told) - 2))
    return lead + "  ".join([f"{question} {answer}", figures, *rest])


def _below(limb: Limb) -> Iterator[str]:
    """What was read from an answer that holds several mentions, and what else is to be said."""
    if limb.kind != "mention":
        yield from map(_mention, limb.found)
    yield from remarks(limb)


def _mention(found: Found) -> str:
    figures = f"{part(found.score)}  confidence {part(found.confidence)}  {places(found)}"
    return f"{visible(found.label)} {found.ordinal}: {visible(found.string)}  {figures}"
