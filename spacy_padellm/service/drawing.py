"""A document as the service's page shows it. All that comes from texts and labels is escaped."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import NamedTuple

from spacy.displacy.render import EntityRenderer, SpanRenderer
from spacy.tokens import Doc

from spacy_padellm.pipeline.colours import displacy_options
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.label_spec import Kept
from spacy_padellm.pipeline.tree_html import tree_part
from spacy_padellm.service.bodies import DocumentBody, MentionBody, document_body

_ENTITY = (
    '<mark title="{title}" style="background: {bg}; color: #000; padding: 0.15em 0.4em; border-radius: 0.35em">'
    '{text} <small style="font-weight: bold">{label}{kb_link}</small></mark>'
)
"""displaCy's mark, with what the mouse shows over it."""


class Drawing(NamedTuple):
    """A document in HTML.

    entities (str): The text with its entities marked.
    nested (str): The same with all mentions, where some are nested or overlap; empty where none do.
    found (DocumentBody): All of it in numbers.
    trees (list[str]): How each padellm_ner pipe came to it.
    """

    entities: str
    nested: str
    found: DocumentBody
    trees: list[str]


def draw(doc: Doc, pipes: Sequence[PaDeLLMNER], labels: dict[str, Kept] | None) -> Drawing:
    """Draw a document.

    pipes (Sequence[PaDeLLMNER]): The pipes that annotated it; each annotates it once more, to be watched.
    labels (dict[str, Kept] | None): What was asked about, None for the pipes' own labels.
    """
    found = document_body(doc, [*pipes])
    trees = [tree_part(pipe.trace(doc), level=3) for pipe in pipes]
    every: dict[str, Kept] = labels or {label: kept for pipe in pipes for label, kept in pipe.cfg["labels"].items()}
    colours = {escape(name): colour for name, colour in displacy_options(every, spans_key="")["colors"].items()}
    flat = {(ent.start, ent.end, ent.label) for ent in found.ents}
    nested = any((span.start, span.end, span.label) not in flat for span in found.spans)
    return Drawing(
        _entities(doc, found.ents, colours), _nested(doc, found.spans, colours) if nested else "", found, trees
    )


def said(mention: MentionBody) -> str:
    """How sure the model was, in words."""
    if mention.score is None or mention.confidence is None or mention.count_score is None:
        return "no score"
    figures = f"score {mention.score:.3f}, count {mention.count_score:.3f}"
    return f"confidence {mention.confidence:.3f} ({figures})"


def _entities(doc: Doc, ents: Sequence[MentionBody], colours: dict[str, str]) -> str:
    marks = [
        {"start": one.start, "end": one.end, "label": escape(one.label), "params": {"title": escape(said(one))}}
        for one in ents
    ]
    renderer = EntityRenderer({"colors": colours, "template": _ENTITY})
    return renderer.render_ents(doc.text, marks, None)


def _nested(doc: Doc, spans: Sequence[MentionBody], colours: dict[str, str]) -> str:
    starts = {token.idx: token.i for token in doc}
    ends = {token.idx + len(token): token.i + 1 for token in doc}
    marks = [
        {"start_token": starts[one.start], "end_token": ends[one.end], "label": escape(one.label)} for one in spans
    ]
    return SpanRenderer({"colors": colours}).render_spans([token.text for token in doc], marks, None)
