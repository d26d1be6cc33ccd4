"""What windows that overlap found, put together: each mention once, and said by the window that knows best."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from spacy_padellm.types import Placed


class Kept(NamedTuple):
    """A mention that stays.

    window (int): The window that it belongs to.
    found (Placed): As that window found it, with the window's ordinal and its place in the whole text. Its scores are
        the best that any window gave to the same place and label.
    """

    window: int
    found: Placed


def reconcile(windows: Sequence[tuple[int, int]], found: Sequence[Sequence[Placed]]) -> list[Kept]:
    """Decide which mentions stay where windows overlap.

    A place belongs to the window that has the most text around it: of those that hold it whole the one whose nearer
    edge is further away, the earlier one of equals. What that window found there stays, what only another one found
    there does not. So a mention that a window's edge cuts loses against its
    neighbour, which sees all of it; and whether something is found does not depend on how many windows looked at it, as
    it would if all that any of them found were kept.

    windows (Sequence[tuple[int, int]]): Start and end (exclusive) of each window in characters; both ascend.
    found (Sequence[Sequence[Placed]]): What was found in each, at places in the window.
    RETURNS (list[Kept]): In text order, the longer first at the same start; no place has a label twice.
    """
    starts, ends = [start for start, _ in windows], [end for _, end in windows]
    kept: dict[tuple[int, int, str], Kept] = {}
    best: dict[tuple[int, int, str], Placed] = {}
    for window, spans in enumerate(found):
        for span in spans:
            moved = replace(span, start=span.start + starts[window], end=span.end + starts[window])
            place = (moved.start, moved.end, moved.mention.label)
            if place not in best or moved.mention.score > best[place].mention.score:
                best[place] = moved
            if _owner(starts, ends, moved) == window:
                kept[place] = Kept(window, moved)
    scored = [_with_scores_of(one, best[place]) for place, one in kept.items()]
    return sorted(scored, key=lambda one: (one.found.start, -one.found.end))


def _owner(starts: Sequence[int], ends: Sequence[int], span: Placed) -> int:
    """The window that a place belongs to. The ends of the text need no rule of their own: a window that begins or ends
    with the text reaches further to that side than any other."""
    holding = range(bisect_left(ends, span.end), bisect_right(starts, span.start))
    return max(holding, key=lambda window: min(span.start - starts[window], ends[window] - span.end))


def _with_scores_of(one: Kept, other: Placed) -> Kept:
    mention, scores = one.found.mention, other.mention
    scored = replace(mention, score=scores.score, count_score=scores.count_score)
    return one if scored == mention else Kept(one.window, replace(one.found, mention=scored))
