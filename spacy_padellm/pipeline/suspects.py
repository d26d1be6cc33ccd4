"""What in gold documents is suspect to this component: strings, labels and mentions that it will have trouble with."""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Any, NamedTuple

from spacy.tokens import Doc, Span

from spacy_padellm.schemes.augmented import nest
from spacy_padellm.spans.occurrences import Borders, occurrences
from spacy_padellm.types import Mention

MAX_NESTING = 8
"""`max_nesting` of AutoRegAug by default."""

_KEPT = 5
"""Examples of each kind that are kept."""


class Repeated(NamedTuple):
    """A string that stands in texts more often than it is annotated there.

    annotated, occurs (int): How often, in the texts where it is annotated with the label at all.
    """

    label: str
    string: str
    annotated: int
    occurs: int


@dataclass
class Suspects:
    """What was seen in one corpus. Filled while documents go through `looking`.

    gaps (dict[tuple[str, str], list[int]]): Label and string to how often it is annotated and how often it occurs, on
        the borders of tokens, in the texts that have it more often than annotated.
    two_labels (int): (text, string) pairs with several labels.
    crossing (int): Mentions that reach over the end of another one.
    unmarkable (int): Mentions that AutoRegAug cannot mark.
    whole_texts (int): Mentions that are the whole text.
    labels (Counter[str]): Mentions by label.
    examples (dict[str, list[str]]): Some of each, by the name of the count.
    """

    gaps: dict[tuple[str, str], list[int]] = field(default_factory=dict)
    two_labels: int = 0
    crossing: int = 0
    unmarkable: int = 0
    whole_texts: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    examples: dict[str, list[str]] = field(default_factory=dict)

    def looking(self, docs: Iterable[Doc], *, spans_key: str = "sc") -> Iterator[Doc]:
        """The same documents, each looked at.

        spans_key (str): The span group with all mentions; `doc.ents` where a document has none.
        """
        for doc in docs:
            self._look(doc, list(doc.spans[spans_key]) if spans_key in doc.spans else list(doc.ents))
            yield doc

    def repeated(self) -> list[Repeated]:
        """The strings with gaps, those with most of them first."""
        found = [Repeated(label, string, *numbers) for (label, string), numbers in self.gaps.items()]
        return sorted(found, key=lambda one: (one.annotated - one.occurs, one.label, one.string))

    def gaps_by_label(self) -> dict[str, int]:
        """How many occurrences of annotated strings are not annotated, by label."""
        gaps = Counter[str]()
        for (label, _), (annotated, occurs) in self.gaps.items():
            gaps[label] += occurs - annotated
        return dict(gaps)

    def rare(self, least: int) -> dict[str, int]:
        """The labels that have fewer mentions than so many."""
        return {label: count for label, count in sorted(self.labels.items()) if count < least}

    def alike(self) -> list[list[str]]:
        """The labels that differ in case, white space, "_" or "-" only."""
        groups: dict[str, list[str]] = {}
        for label in sorted(self.labels):
            groups.setdefault(re.sub(r"[\s_-]+", "", label).casefold(), []).append(label)
        return [group for group in groups.values() if len(group) > 1]

    def figures(self, least: int) -> dict[str, Any]:
        """All of it, ready for JSON. `least` as in `rare`."""
        return {
            "gaps": self.gaps_by_label(),
            "repeated": [one._asdict() for one in self.repeated()],
            "two_labels": self.two_labels,
            "crossing": self.crossing,
            "unmarkable": self.unmarkable,
            "whole_texts": self.whole_texts,
            "rare_labels": self.rare(least),
            "alike_labels": self.alike(),
            "examples": self.examples,
        }

    def _look(self, doc: Doc, golds: Sequence[Span]) -> None:
        self.labels.update(gold.label_ for gold in golds)
        self._look_at_strings(doc, golds)
        for gold in golds:
            if gold.text.strip() == doc.text.strip():
                self.whole_texts += 1
                self._keep("whole_texts", f"{gold.label_}: {gold.text!r}")
        self._look_at_overlaps(golds)

    def _look_at_strings(self, doc: Doc, golds: Sequence[Span]) -> None:
        borders = Borders.from_tokens(doc.text, [(token.idx, token.idx + len(token)) for token in doc])
        annotated = Counter((gold.label_, gold.text.strip()) for gold in golds)
        for (label, string), count in annotated.items():
            occurs = len(occurrences(doc.text, borders, string))
            if occurs > count:
                numbers = self.gaps.setdefault((label, string), [0, 0])
                numbers[0] += count
                numbers[1] += occurs
        labels: dict[str, list[str]] = {}
        for label, string in annotated:
            labels.setdefault(string, []).append(label)
        for string, names in labels.items():
            if len(names) > 1:
                self.two_labels += 1
                self._keep("two_labels", f"{string!r}: {', '.join(sorted(names))}")

    def _look_at_overlaps(self, golds: Sequence[Span]) -> None:
        ordered = sorted(golds, key=lambda gold: (gold.start, -gold.end))
        if all(one.end <= two.start for one, two in pairwise(ordered)):
            return
        for place, gold in enumerate(ordered):
            if any(one.start < gold.start < one.end < gold.end for one in ordered[:place]):
                self.crossing += 1
                self._keep("crossing", f"{gold.label_}: {gold.text!r}")
        mentions = [Mention(gold.label_, gold.text, start=gold.start_char) for gold in ordered]
        for mention in nest(mentions, MAX_NESTING)[1]:
            self.unmarkable += 1
            self._keep("unmarkable", f"{mention.label}: {mention.string!r}")

    def _keep(self, kind: str, example: str) -> None:
        kept = self.examples.setdefault(kind, [])
        if len(kept) < _KEPT:
            kept.append(example if len(example) <= 80 else f"{example[:79]}…")
