"""What can be told about gold documents before a model is trained on them."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from spacy.language import Language
from spacy.tokens import Doc, Span

from spacy_padellm.data.docs import trim
from spacy_padellm.data.splits import sameness


class LongText(NamedTuple):
    """A text that is among the longest: characters, tokens, and how it begins."""

    characters: int
    tokens: int
    begins: str


@dataclass
class Findings:
    """What one corpus holds.

    labels (Counter[str]): Mentions by label.
    docs_with (Counter[str]): Documents that have the label at all.
    most (dict[str, int]): The most mentions of the label in one document.
    blank_edges (int): Mentions with white space at an edge: it would have to be answered.
    cross_sentence (int): Mentions that reach over a sentence's end, where documents have sentences.
    unaligned (int): Mentions off the borders of the tokens that prediction starts from: they cannot be found.
    over_limit (int): (document, label) pairs with more mentions than can be asked for.
    nested (int): Mentions in the span group that doc.ents lacks.
    doubles (int): Documents whose text stood before, case and white space aside.
    """

    docs: int = 0
    tokens: int = 0
    blank_texts: int = 0
    without_mentions: int = 0
    unannotated: int = 0
    mentions: int = 0
    labels: Counter[str] = field(default_factory=Counter)
    docs_with: Counter[str] = field(default_factory=Counter)
    most: dict[str, int] = field(default_factory=dict)
    blank_edges: int = 0
    cross_sentence: int = 0
    unaligned: int = 0
    over_limit: int = 0
    nested: int = 0
    doubles: int = 0
    longest: list[LongText] = field(default_factory=list)
    texts: set[str] = field(default_factory=set, repr=False)

    def figures(self) -> dict[str, Any]:
        """Everything but the texts, ready for JSON."""
        found = {name: value for name, value in vars(self).items() if name != "texts"}
        return {**found, "longest": [text._asdict() for text in self.longest]}


def examine(docs: Iterable[Doc], nlp: Language, *, spans_key: str = "sc", limit: int = 99, keep: int = 5) -> Findings:
    """Look at gold documents one after the other.

    docs (Iterable[Doc]): Gold documents. Mentions are those of `doc.spans[spans_key]`, or of `doc.ents` where the
        document has no such group.
    nlp (Language): Its tokenizer says where prediction could place a mention.
    spans_key (str): The span group with all mentions.
    limit (int): The most mentions of one label that can be asked for.
    keep (int): How many of the longest texts to name.
    RETURNS (Findings): The counts.
    """
    found = Findings()
    for doc in docs:
        _count_doc(doc, found, keep)
        golds = list(doc.spans[spans_key]) if spans_key in doc.spans else list(doc.ents)
        if spans_key not in doc.spans and not doc.has_annotation("ENT_IOB"):
            found.unannotated += 1
        _count_mentions(doc, golds, found, limit)
        if not golds:
            found.without_mentions += 1
            continue
        ents = {(ent.start, ent.end, ent.label) for ent in doc.ents}
        found.nested += sum((gold.start, gold.end, gold.label) not in ents for gold in golds)
        predicted = nlp.make_doc(doc.text)
        found.unaligned += sum(predicted.char_span(gold.start_char, gold.end_char) is None for gold in golds)
    return found


def _count_doc(doc: Doc, found: Findings, keep: int) -> None:
    found.docs += 1
    found.tokens += len(doc)
    found.blank_texts += not doc.text.strip()
    key = sameness(doc.text)
    found.doubles += key in found.texts
    found.texts.add(key)
    found.longest.append(LongText(len(doc.text), len(doc), doc.text[:60]))
    # Sorting is stable: of equally long texts the first ones stay.
    found.longest.sort(key=lambda text: -text.characters)
    del found.longest[keep:]


def _count_mentions(doc: Doc, golds: list[Span], found: Findings, limit: int) -> None:
    counts = Counter(gold.label_ for gold in golds)
    found.mentions += len(golds)
    found.labels.update(counts)
    found.docs_with.update(counts.keys())
    found.over_limit += sum(count > limit for count in counts.values())
    for label, count in counts.items():
        found.most[label] = max(count, found.most.get(label, 0))
    for gold in golds:
        start, end = gold.start_char, gold.end_char
        found.blank_edges += trim(doc.text, start, end) != (start, end)
    if doc.has_annotation("SENT_START"):
        found.cross_sentence += sum(any(token.is_sent_start for token in gold[1:]) for gold in golds)
