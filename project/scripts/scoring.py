"""Mentions of documents, and figures that compare predicted ones with gold. For any spaCy pipeline that finds spans."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple

from spacy.tokens import Doc


class Found(NamedTuple):
    """A mention: character offsets, label, and the score that the pipeline gave it, None where it gives none."""

    start: int
    end: int
    label: str
    score: float | None = None

    @property
    def key(self) -> tuple[int, int, str]:
        """What makes two mentions the same one."""
        return self.start, self.end, self.label


@dataclass(frozen=True)
class Pair:
    """The gold and the predicted mentions of one text, both by start, the longer first."""

    text: str
    gold: tuple[Found, ...]
    predicted: tuple[Found, ...]


def mentions_of(doc: Doc, spans_key: str) -> tuple[Found, ...]:
    """The mentions in `doc.spans[spans_key]`, or the entities of a document that has no such group."""
    if spans_key in doc.spans:
        group = doc.spans[spans_key]
        scores = group.attrs.get("scores")
        spans = list(group)
    else:
        scores, spans = None, list(doc.ents)
    found = [
        Found(span.start_char, span.end_char, span.label_, None if scores is None else float(scores[index]))
        for index, span in enumerate(spans)
    ]
    return tuple(sorted(found, key=lambda mention: (mention.start, -mention.end, mention.label)))


def pair_up(gold: Iterable[Doc], predicted: Iterable[Doc], spans_key: str) -> list[Pair]:
    """Gold and predicted documents, in the same order, as pairs."""
    return [
        Pair(right.text, mentions_of(right, spans_key), mentions_of(guess, spans_key))
        for right, guess in zip(gold, predicted, strict=True)
    ]


def prf(right: int, predicted: int, gold: int) -> dict[str, float | int]:
    """Precision, recall and F in percent; 0 where there is nothing to divide by."""
    p = 100 * right / predicted if predicted else 0.0
    r = 100 * right / gold if gold else 0.0
    f = 2 * p * r / (p + r) if p + r else 0.0
    figures: dict[str, float | int] = {"p": round(p, 2), "r": round(r, 2), "f": round(f, 2)}
    return {**figures, "right": right, "predicted": predicted, "gold": gold}


def span_scores(pairs: Sequence[Pair]) -> dict[str, Any]:
    """Micro P/R/F of spans: a mention is right if start, end and label are. Over all labels, and for each."""
    right: Counter[str] = Counter()
    predicted: Counter[str] = Counter()
    gold: Counter[str] = Counter()
    for pair in pairs:
        golds = {mention.key for mention in pair.gold}
        guesses = {mention.key for mention in pair.predicted}
        right.update(label for *_, label in golds & guesses)
        predicted.update(label for *_, label in guesses)
        gold.update(label for *_, label in golds)
    labels = sorted(gold.keys() | predicted.keys())
    per_label = {label: prf(right[label], predicted[label], gold[label]) for label in labels}
    return {**prf(right.total(), predicted.total(), gold.total()), "per_label": per_label}


def count_scores(pairs: Sequence[Pair], labels: Iterable[str]) -> dict[str, Any]:
    """How many (text, label) pairs have as many predicted mentions as gold ones, in percent.

    pairs (Sequence[Pair]): The texts.
    labels (Iterable[str]): The labels that were asked about.
    RETURNS (dict[str, Any]): `all` over all (text, label) pairs; `nonzero` over those with gold mentions.
    """
    asked = sorted({*labels, *(mention.label for pair in pairs for mention in (*pair.gold, *pair.predicted))})
    cells = []
    for pair in pairs:
        gold = Counter(mention.label for mention in pair.gold)
        guess = Counter(mention.label for mention in pair.predicted)
        cells += [(gold[label], guess[label]) for label in asked]
    present = [cell for cell in cells if cell[0]]
    return {
        "all": _share_equal(cells),
        "nonzero": _share_equal(present),
        "pairs": len(cells),
        "nonzero_pairs": len(present),
    }


def _share_equal(cells: Sequence[tuple[int, int]]) -> float | None:
    return round(100 * sum(gold == guess for gold, guess in cells) / len(cells), 2) if cells else None
