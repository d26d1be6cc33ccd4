"""Records to gold documents, by stated rules, with everything that was changed or lost counted.

**Tokens.** A gold document has the tokens of `nlp.make_doc(text)` (or the file's own, if asked for). Prediction starts
from the same tokens, so scores stay honest.

**Blank edges.** White space at a mention's edges goes. A mention of nothing but white space is dropped.

**Mentions off token borders.** "split": the token is cut at the mention's edge, in the gold document only. The mention
keeps its place in the gold count, and since the predicted document is not cut, a pipeline that cannot find it is
charged a miss: no mention is lost, none is given away. "expand": the mention grows to whole tokens. "skip": it is
dropped.

**Overlaps.** All mentions stand in `doc.spans[spans_key]`, by start, the longer first. `doc.ents` has the part that
does not overlap: longest first, then the one that starts first. The same mention given twice counts once.
"""

from __future__ import annotations

import bisect
import warnings
from collections import Counter
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise
from typing import Literal, get_args

from spacy.language import Language
from spacy.tokens import Doc, DocBin, Span
from spacy.util import filter_spans, get_words_and_spaces

from spacy_padellm.data.records import Gold, Record
from spacy_padellm.errors import Errors, Warnings

OnUnaligned = Literal["split", "expand", "skip"]
POLICIES: tuple[OnUnaligned, ...] = get_args(OnUnaligned)


@dataclass
class Summary:
    """What a conversion did, to be printed at its end. Filled while the documents are drawn.

    mentions (int): As the files have them. `kept` of them stand in the documents.
    trimmed (int): Mentions that had white space at an edge.
    blank, repeated, skipped (int): Mentions left out: nothing but white space, given before, off token borders.
    unplaced (int): Mentions left out because the file names only their strings and the text has no such string.
    unaligned (int): Mentions off token borders, whatever became of them.
    nested (int): Mentions that stand in `doc.spans` only, because they overlap another.
    blank_texts (int): Documents without any text. They are kept.
    labels (Counter[str]): Kept mentions by label.
    """

    docs: int = 0
    blank_texts: int = 0
    mentions: int = 0
    kept: int = 0
    trimmed: int = 0
    blank: int = 0
    repeated: int = 0
    unplaced: int = 0
    unaligned: int = 0
    skipped: int = 0
    nested: int = 0
    labels: Counter[str] = field(default_factory=Counter)

    def figures(self) -> dict[str, int]:
        """The counts by name, without the labels'."""
        return {name: value for name, value in vars(self).items() if name != "labels"}


def to_docs(
    records: Iterable[Record],
    nlp: Language,
    *,
    on_unaligned: OnUnaligned = "split",
    spans_key: str = "sc",
    use_tokens: bool = False,
    summary: Summary | None = None,
) -> Iterator[Doc]:
    """Turn records into gold documents, one at a time, by the rules of this module.

    records (Iterable[Record]): What a reader yields.
    nlp (Language): Gives tokenizer and vocabulary; its pipes are not run.
    on_unaligned (str): What becomes of mentions off token borders: "split", "expand" or "skip".
    spans_key (str): The span group that takes all mentions.
    use_tokens (bool): Take a record's own tokens where it has them, as for text without spaces.
    summary (Summary | None): Is filled with the counts.
    YIELDS (Doc): A document for each record, in order.
    RAISES (ValueError): P107 for a policy that does not exist.
    """
    if on_unaligned not in POLICIES:
        raise ValueError(Errors.P107.format(policy=on_unaligned, policies=", ".join(POLICIES)))
    summary = Summary() if summary is None else summary
    for record in records:
        golds = _trimmed(record, summary)
        doc = _tokenised(record, nlp, use_tokens)
        if on_unaligned == "split":
            doc = _cut(doc, {edge for gold in golds for edge in (gold.start, gold.end)}, golds, summary)
        spans = _spans(doc, golds, on_unaligned, summary)
        doc.spans[spans_key] = spans
        ents = filter_spans(spans)
        doc.set_ents(ents, default="outside")
        summary.docs += 1
        summary.mentions += record.unplaced
        summary.unplaced += record.unplaced
        summary.blank_texts += not record.text.strip()
        summary.kept += len(spans)
        summary.nested += len(spans) - len(ents)
        summary.labels.update(span.label_ for span in spans)
        yield doc


def to_doc_bin(
    records: Iterable[Record],
    nlp: Language,
    *,
    on_unaligned: OnUnaligned = "split",
    spans_key: str = "sc",
    use_tokens: bool = False,
) -> tuple[DocBin, Summary]:
    """All records as one `DocBin`, and what was done. Warns (W041) once if mentions were left out."""
    summary = Summary()
    docs = to_docs(records, nlp, on_unaligned=on_unaligned, spans_key=spans_key, use_tokens=use_tokens, summary=summary)
    doc_bin = DocBin(attrs=["ORTH", "SPACY", "ENT_IOB", "ENT_TYPE"], docs=docs)
    lost = {
        "blank": summary.blank,
        "given twice": summary.repeated,
        "not in the text": summary.unplaced,
        "off token borders": summary.skipped,
    }
    if any(lost.values()):
        reasons = ", ".join(f"{count} {reason}" for reason, count in lost.items() if count)
        message = Warnings.W041.format(count=sum(lost.values()), mentions=summary.mentions, reasons=reasons)
        warnings.warn(message, stacklevel=2)
    return doc_bin, summary


def trim(text: str, start: int, end: int) -> tuple[int, int]:
    """The offsets without the white space at their edges; start equals end where nothing else is there."""
    while start < end and text[start].isspace():
        start += 1
    while end > start and text[end - 1].isspace():
        end -= 1
    return start, end


def _trimmed(record: Record, summary: Summary) -> list[Gold]:
    """The distinct mentions without blank edges, by start, the longer first."""
    golds: dict[Gold, None] = {}
    for given in record.spans:
        gold = Gold(*trim(record.text, given.start, given.end), given.label)
        summary.mentions += 1
        if gold.start == gold.end:
            summary.blank += 1
            continue
        summary.trimmed += gold != given
        summary.repeated += gold in golds
        golds[gold] = None
    return sorted(golds, key=lambda gold: (gold.start, -gold.end, gold.label))


def _tokenised(record: Record, nlp: Language, use_tokens: bool) -> Doc:
    if not use_tokens or record.tokens is None:
        return nlp.make_doc(record.text)
    words, spaces = get_words_and_spaces(record.tokens, record.text)
    return Doc(nlp.vocab, words=words, spaces=spaces)


def _cut(doc: Doc, edges: set[int], golds: list[Gold], summary: Summary) -> Doc:
    """The document with every token cut at the edges that lie inside it."""
    ordered = sorted(edges)
    words: list[str] = []
    spaces: list[bool] = []
    cuts: set[int] = set()
    for token in doc:
        first, last = token.idx, token.idx + len(token)
        inside = ordered[bisect.bisect_right(ordered, first) : bisect.bisect_left(ordered, last)]
        cuts.update(inside)
        borders = [first, *inside, last]
        words += [doc.text[start:end] for start, end in pairwise(borders)]
        spaces += [False] * len(inside) + [bool(token.whitespace_)]
    summary.unaligned += sum(not cuts.isdisjoint((gold.start, gold.end)) for gold in golds)
    return Doc(doc.vocab, words=words, spaces=spaces) if cuts else doc


def _spans(doc: Doc, golds: list[Gold], on_unaligned: OnUnaligned, summary: Summary) -> list[Span]:
    spans: dict[tuple[int, int, str], Span] = {}
    for gold in golds:
        span = doc.char_span(gold.start, gold.end, label=gold.label)
        if span is None:
            summary.unaligned += 1
            if on_unaligned == "skip":
                summary.skipped += 1
                continue
            span = doc.char_span(gold.start, gold.end, label=gold.label, alignment_mode="expand")
        assert span is not None, "the token was cut there, or the mention grown to whole tokens"
        key = (span.start, span.end, gold.label)
        summary.repeated += key in spans
        spans.setdefault(key, span)
    return list(spans.values())
