"""What the pipe reads from documents and examples."""

from __future__ import annotations

from collections.abc import Sequence

from spacy.tokens import Doc, Span
from spacy.training import Example

from spacy_padellm.backends.local import Text
from spacy_padellm.types import Mention


def text_of(doc: Doc) -> Text:
    """A document as a text with the borders of its tokens, blank ones left out."""
    return Text(doc.text, [(token.idx, token.idx + len(token)) for token in doc if not token.is_space])


def sentence_starts(doc: Doc) -> list[int]:
    """The characters at which sentences begin, blank tokens left aside; none where nobody set sentences."""
    starts: list[int] = []
    if not doc.has_annotation("SENT_START"):
        return starts
    begins = False
    for token in doc:
        begins = begins or bool(token.is_sent_start)
        if begins and not token.is_space:
            starts.append(token.idx)
            begins = False
    return starts


def is_blank(doc: Doc) -> bool:
    return all(token.is_space for token in doc)


def gold_spans(example: Example, spans_key: str) -> Sequence[Span] | None:
    """The gold mentions: the span group where the document has it, else its entities; None for no annotation."""
    reference = example.reference
    if spans_key in reference.spans:
        return list(reference.spans[spans_key])
    if reference.has_annotation("ENT_IOB"):
        return list(reference.ents)
    return None


def gold_mentions(example: Example, spans_key: str) -> list[Mention]:
    """Gold mentions in text order, the longer first at the same start; empty where there is no annotation."""
    spans = sorted(gold_spans(example, spans_key) or (), key=lambda span: (span.start_char, -span.end_char))
    return [Mention(span.label_, span.text, start=span.start_char) for span in spans]
