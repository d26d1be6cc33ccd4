"""spaCy pipelines as they are: a package, a folder, or one factory with its settings."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from spacy.util import filter_spans, is_package

from benchmarks.corpora import Corpus
from benchmarks.documents import Document
from spacy_padellm.errors import Errors


def load_pipeline(named: str, corpus: Corpus) -> Language:
    """A pipeline by the name that a command takes.

    named (str): A package's name or a folder; or a factory, with its settings as a JSON object behind a "=". What a
        factory makes is initialised with the documents' mentions and not trained: it is there for its speed.
    corpus (Corpus): Language and documents.
    RAISES (ValueError): P133 if the settings are no JSON object; P134 if there is no such pipeline or factory.
    """
    if is_package(named) or (Path(named) / "meta.json").is_file():
        return spacy.load(named)
    factory, equals, written = named.partition("=")
    settings = _settings(named, written) if equals else {}
    nlp = spacy.blank(corpus.language)
    if not nlp.has_factory(factory):
        raise ValueError(Errors.P134.format(name=named))
    pipe = nlp.add_pipe(factory, config=settings)
    examples = [_example(nlp, document, getattr(pipe, "key", None)) for document in corpus.documents]
    nlp.initialize(lambda: examples)
    return nlp


def _settings(named: str, written: str) -> dict[str, Any]:
    try:
        settings = json.loads(written)
    except ValueError as error:
        raise ValueError(Errors.P133.format(got=named, problem=error)) from error
    if not isinstance(settings, dict):
        raise ValueError(Errors.P133.format(got=named, problem="no object"))
    return settings


def _example(nlp: Language, document: Document, spans_key: str | None) -> Example:
    """A document as an example: entities that do not overlap, and all mentions under the pipe's key if it has one."""
    doc = nlp.make_doc(document.text.string)
    spans = []
    for mention in document.gold:
        assert mention.start is not None
        end = mention.start + len(mention.string)
        span = doc.char_span(mention.start, end, mention.label, alignment_mode="expand")
        assert span is not None
        spans.append(span)
    doc.ents = filter_spans(spans)
    if spans_key:
        doc.spans[spans_key] = spans
    return Example(nlp.make_doc(doc.text), doc)


def annotate(nlp: Language, documents: Sequence[Document]) -> list[Doc]:
    """Annotate some documents as one batch."""
    return list(nlp.pipe([document.text.string for document in documents], batch_size=len(documents)))
