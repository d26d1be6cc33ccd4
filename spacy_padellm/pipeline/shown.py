"""How the strings and numbers of a trace are shown, whatever the form."""

from __future__ import annotations

import math
import unicodedata
from collections.abc import Sequence

from spacy_padellm.pipeline.trace import FATES, Found, Grown, Limb, Trace

NOTHING = "Nothing was asked: the text has no word, or there is no label to ask about."

FEWEST = 8
"""Columns that a string keeps however little room there is."""

NEWLINE = "⏎"
"""Stands for a line break."""


def visible(string: str) -> str:
    """A string on one line. What cannot be seen, or would change how the rest is seen (control characters, marks of
    direction, lone surrogates), is written as Python writes it."""
    return "".join(map(_visible, string))


def _visible(character: str) -> str:
    if character == "\n":
        return NEWLINE
    # Cc, Cf, Cs, Co, Cn: no letters, no signs. Zl and Zp break lines.
    if unicodedata.category(character) in ("Zl", "Zp") or unicodedata.category(character).startswith("C"):
        return ascii(character)[1:-1]
    return character


def width(string: str) -> int:
    """Columns that a string takes on a terminal: wide letters take two, combining marks none."""
    return sum(
        0 if unicodedata.combining(one) else 2 if unicodedata.east_asian_width(one) in "WF" else 1 for one in string
    )


def cut(string: str, columns: int) -> str:
    """A string that takes no more than so many columns, one at least."""
    if width(string) <= columns:
        return string
    taken, kept = 1, ""
    for character in string:
        taken += width(character)
        if taken > columns:
            break
        kept += character
    return f"{kept}…"


def fit(strings: Sequence[str], columns: int) -> list[str]:
    """Strings that together take no more than so many columns: the longest ones are cut, down to a few letters."""
    fitted = [*strings]
    while (excess := sum(map(width, fitted)) - columns) > 0:
        place = max(range(len(fitted)), key=lambda place: width(fitted[place]))
        widths = sorted(map(width, fitted))
        # No shorter than the next longest one, so that none loses all while another keeps all.
        least = max(FEWEST, widths[-2] - 1 if len(widths) > 1 else 0)
        wanted = max(least, widths[-1] - excess)
        if wanted >= widths[-1]:
            break
        fitted[place] = cut(fitted[place], wanted)
    return fitted


def part(number: float) -> str:
    """A probability, or that there is none."""
    return "no score" if math.isnan(number) else f"{number:.2f}"


def steps(limb: Limb) -> str:
    """In which steps an answer grew."""
    return f"step {limb.ended}" if limb.begun == limb.ended else f"steps {limb.begun}-{limb.ended}"


def places(found: Found) -> str:
    """Where a mention stands and what became of it, or why it has no place."""
    if not found.places:
        return FATES[found.fate]
    return "; ".join(f"{place.start}-{place.end} {FATES[place.fate]}" for place in found.places)


def remarks(limb: Limb) -> list[str]:
    """What is to be said about an answer beside its mentions."""
    told = [f"unreadable: {visible(written)}" for written in limb.unreadable]
    if limb.finish == "limit":
        told.append("cut off at its limit")
    if limb.passed_over:
        told.append("another answer was kept")
    if limb.count is not None and limb.answer != str(limb.count):
        told.append(f"taken as {limb.count}")
    if limb.count and not limb.passed_over and not limb.opened:
        told.append("over the limit: no mention was asked for")
    return told


def folded(limbs: Sequence[Limb], *, everything: bool) -> tuple[list[Limb], list[Limb]]:
    """The questions to show one by one, and those about absent labels that one line is enough for."""
    absent = [] if everything else [limb for limb in limbs if limb.is_absent and not remarks(limb)]
    left = {id(limb) for limb in absent}
    return [limb for limb in limbs if id(limb) not in left], absent


def absence(limbs: Sequence[Limb]) -> str:
    """One line for absent labels: their names, and how probable their counts of 0 were."""
    least, most = min(limb.probability for limb in limbs), max(limb.probability for limb in limbs)
    names = ", ".join(visible(limb.label) for limb in limbs)
    span = part(least) if part(least) == part(most) else f"{part(least)} to {part(most)}"
    return f"{len(limbs)} labels 0 ({span}): {names}" if len(limbs) > 1 else f"1 label 0 ({span}): {names}"


def trunk(tree: Grown) -> str:
    """What is to be said about a tree's trunk."""
    return f"{tree.start}-{tree.end}: {tree.trunk_pieces} pieces, read once, {_many(tree.steps, 'step')}"


def totals(trace: Trace) -> str:
    """What a document cost."""
    answers = sum(1 for _ in trace.walk())
    return ", ".join(
        [
            trace.scheme,
            *([_many(len(trace.trees), "window")] if len(trace.trees) > 1 else []),
            _many(answers, "answer"),
            _many(trace.steps, "step"),
            f"{trace.pieces} pieces computed",
            f"{trace.shared_pieces} shared",
            f"{trace.drafts_accepted} of {_many(trace.drafts, 'draft')} wanted",
            f"{trace.seconds * 1000:.0f} ms",
        ]
    )


def _many(number: int, noun: str) -> str:
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"
