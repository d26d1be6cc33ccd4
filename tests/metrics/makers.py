"""Pairs written down in one line each."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.metrics.pairs import Found, Pair, Said
from spacy_padellm.types import Mention

TEXT = "Ann met Bo in Rome or Bo"
"""Where mentions stand: Ann 0-3, met 4-7, Bo 8-10, Rome 14-18, Bo 22-24."""


def found(*given: tuple) -> tuple[Found, ...]:
    """(start, end, label, ordinal) to mentions, in text order."""
    mentions = [Found(one[0], one[1], one[2], None, *one[3:]) for one in given]
    return tuple(sorted(mentions, key=lambda mention: (mention.start, -mention.end, mention.label)))


def pair(gold: list[tuple], predicted: list[tuple], said: Said | None = None, text: str = TEXT) -> Pair:
    return Pair(text, found(*gold), found(*predicted), said)


def said(counts: dict[str, int], unplaced: Sequence[tuple] = (), surplus: Sequence[tuple] = ()) -> Said:
    """Lost mentions are (label, string, ordinal)."""
    return Said(counts, tuple(Mention(*one) for one in unplaced), tuple(Mention(*one) for one in surplus))
