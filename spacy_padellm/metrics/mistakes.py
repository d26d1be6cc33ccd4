"""Why mentions are missed or false: each falls into exactly one category.

A mention is **missed** if gold has it and prediction does not, **false** the other way round. Each has a form, the
first that holds:

    overlap    missed only: it was predicted, and left out because it overlaps another (doc.ents holds no overlaps)
    filled     false only: its string got more places than it was answered times (the placing policy filled them in)
    threshold  missed only: it was predicted, and left out because it was not sure enough
    unplaced   missed only: the string answered for its index does not stand in the text
    label      the other side has a wrong mention at the same place, with another label
    boundary   the other side has a wrong mention of its label that overlaps it
    place      the other side has a wrong mention of its label with the same string, elsewhere
    mention    none of these: a wrong mention for the index, or one too many or too few

Its index is its place among the gold mentions of its label, in text order. Where the count of its label is wrong in
this text, the category is the count, `count_over` or `count_under`, because indices then say little and most mistakes
follow from it; the form only says how it looks. Where the count is right, or the form is `overlap`, `filled` or
`threshold`, which rules made after the model had answered, the category is the form.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Literal, NamedTuple

from spacy_padellm.metrics.pairs import Found, Pair

Side = Literal["missed", "false"]

BY_RULE = ("overlap", "filled", "threshold")
"""Forms that rules made after the model had answered."""

FORMS = (*BY_RULE, "unplaced", "label", "boundary", "place", "mention")
CATEGORIES = ("count_over", "count_under", "mention", "boundary", "label", "place", "unplaced", *BY_RULE)


class Mistake(NamedTuple):
    """A mention that one side lacks.

    excess (int): How many mentions of its label were counted beyond those of gold; below 0 if too few were.
    form (str): One of `FORMS`.
    """

    side: Side
    found: Found
    excess: int
    form: str

    @property
    def category(self) -> str:
        """One of `CATEGORIES`."""
        if self.excess and self.form not in BY_RULE:
            return "count_over" if self.excess > 0 else "count_under"
        return self.form


def mistakes(pair: Pair, whole: Pair) -> Iterator[Mistake]:
    """Everything that is wrong in one text: all missed mentions, then all false ones.

    pair (Pair): What is compared: all mentions, or those that do not overlap.
    whole (Pair): All mentions of the text: what was counted, and what was predicted before overlaps were left out.
    """
    missed = [mention for mention in pair.gold if mention.key not in pair.predicted_keys]
    false = [mention for mention in pair.predicted if mention.key not in pair.gold_keys]
    unplaced = _unplaced(whole)
    below = {found.key for found in whole.said.below} if whole.said else set()
    filled = {(found.label, whole.string(found)) for found in whole.predicted if found.ordinal == 0}
    for mention in missed:
        if mention.key in whole.predicted_keys and any(_overlaps(mention, other) for other in pair.predicted):
            form = "overlap"
        elif mention.key in below:
            form = "threshold"
        else:
            form = "unplaced" if mention.key in unplaced else _likeness(mention, false, pair)
        yield Mistake("missed", mention, _excess(whole, mention.label), form)
    for mention in false:
        by_rule = (mention.label, pair.string(mention)) in filled
        form = "filled" if by_rule else _likeness(mention, missed, pair)
        yield Mistake("false", mention, _excess(whole, mention.label), form)


def _excess(whole: Pair, label: str) -> int:
    return whole.predicted_counts[label] - whole.gold_counts[label]


def _unplaced(whole: Pair) -> set[tuple[int, int, str]]:
    """The gold mentions for whose index a string was answered that does not stand in the text."""
    if whole.said is None or not whole.said.unplaced:
        return set()
    answered = {(mention.label, mention.ordinal) for mention in whole.said.unplaced}
    seen: Counter[str] = Counter()
    found = set()
    for mention in whole.gold:
        seen[mention.label] += 1
        if (mention.label, seen[mention.label]) in answered:
            found.add(mention.key)
    return found


def _overlaps(one: Found, other: Found) -> bool:
    return one.start < other.end and other.start < one.end


def _likeness(mention: Found, others: Sequence[Found], pair: Pair) -> str:
    """What a wrong mention has in common with the wrong ones of the other side."""
    alike = [other for other in others if other.label == mention.label]
    if any((other.start, other.end) == (mention.start, mention.end) for other in others):
        return "label"
    if any(_overlaps(mention, other) for other in alike):
        return "boundary"
    if any(pair.string(other) == pair.string(mention) for other in alike):
        return "place"
    return "mention"


def mistake_counts(found: Iterable[Mistake]) -> dict[str, Any]:
    """Mistakes by side and category, and by side and form whatever the count.

    RETURNS (dict[str, Any]): `missed` and `false`, each with its `total`, its `categories` and its `forms`: both add
        up to the total.
    """
    mistaken = list(found)
    figures = {}
    for side in ("missed", "false"):
        mine = [mistake for mistake in mistaken if mistake.side == side]
        categories = Counter(mistake.category for mistake in mine)
        forms = Counter(mistake.form for mistake in mine)
        figures[side] = {
            "total": len(mine),
            "categories": {name: categories[name] for name in CATEGORIES},
            "forms": {name: forms[name] for name in FORMS},
        }
    return figures
