"""One annotation of a document from those of its windows."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import replace

from spacy_padellm.pipeline.annotate import Annotation
from spacy_padellm.spans.reconcile import reconcile
from spacy_padellm.spans.resolve import flat
from spacy_padellm.types import Mention

Named = tuple[int, str, int]
"""A mention of a window: the window, its label, its ordinal there."""


def join(windows: Sequence[tuple[int, int]], parts: Sequence[Annotation]) -> Annotation:
    """Put together what was found in the windows of a document.

    Mentions in overlaps are reconciled (`spans.reconcile`). Ordinals run on through the document. A label's count is
    the sum of the windows' counts, less the mentions that another window has or knows better.

    windows (Sequence[tuple[int, int]]): Start and end (exclusive) of each window, in characters.
    parts (Sequence[Annotation]): What was found in each.
    RETURNS (Annotation): Of the document.
    """
    kept = reconcile(windows, [part.spans for part in parts])
    stay = {(one.window, one.found.mention.label, one.found.mention.ordinal) for one in kept}
    placed = {
        (window, span.mention.label, span.mention.ordinal) for window, part in enumerate(parts) for span in part.spans
    }
    lost = [
        (window, mention.label, mention.ordinal)
        for window, part in enumerate(parts)
        for mention in (*part.unplaced, *part.surplus)
    ]
    ordinals = _running(stay.union(lost))
    counts = Counter[str]()
    for part in parts:
        counts.update(part.counts)
    counts.subtract(label for _, label, _ in placed - stay)
    spans = tuple(replace(one.found, mention=_renumbered(one.found.mention, one.window, ordinals)) for one in kept)
    return Annotation(
        spans,
        flat(spans),
        tuple(one for part in parts for one in part.answered),
        tuple(one for part in parts for one in part.passed_over),
        dict(counts),
        tuple(_renumbered(mention, window, ordinals) for window, part in enumerate(parts) for mention in part.unplaced),
        tuple(_renumbered(mention, window, ordinals) for window, part in enumerate(parts) for mention in part.surplus),
        tuple(windows),
        unreadable=tuple(one for part in parts for one in part.unreadable),
        asked_in=tuple(number for number, part in enumerate(parts) for _ in part.answered),
    )


def _running(mentions: set[Named]) -> dict[Named, int]:
    """Ordinals in the document: those of one label run from 1, window by window."""
    seen = Counter[str]()
    ordinals: dict[Named, int] = {}
    for window, label, ordinal in sorted(mentions):
        seen[label] += 1
        ordinals[window, label, ordinal] = seen[label]
    return ordinals


def _renumbered(mention: Mention, window: int, ordinals: dict[Named, int]) -> Mention:
    return replace(mention, ordinal=ordinals[window, mention.label, mention.ordinal])
