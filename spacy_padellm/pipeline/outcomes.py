"""Documents to pairs of gold and prediction, for any spaCy pipeline that finds spans."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from typing import Any

from spacy.language import Language
from spacy.tokens import Doc, Span, SpanGroup

from spacy_padellm.errors import Errors
from spacy_padellm.metrics.pairs import Found, Pair, Said
from spacy_padellm.metrics.report import Outcome
from spacy_padellm.types import Mention


def is_annotated(doc: Doc, spans_key: str) -> bool:
    """Whether somebody said which mentions a gold document has, be it none."""
    return spans_key in doc.spans or doc.has_annotation("ENT_IOB")


def mentions_of(doc: Doc, spans_key: str) -> tuple[Found, ...]:
    """The distinct mentions in `doc.spans[spans_key]`, or the entities of a document that has no such group."""
    if spans_key not in doc.spans:
        return entities_of(doc)
    group = doc.spans[spans_key]
    scores, ordinals, confidences = (_per_span(group, name) for name in ("scores", "ordinals", "confidences"))
    return _distinct(
        _found(
            span,
            None if score is None else float(score),
            None if ordinal is None else int(ordinal),
            None if confidence is None else float(confidence),
        )
        for span, score, ordinal, confidence in zip(group, scores, ordinals, confidences, strict=True)
    )


def entities_of(doc: Doc) -> tuple[Found, ...]:
    """The mentions in `doc.ents`."""
    return _distinct(map(_found, doc.ents))


def said_in(doc: Doc, spans_key: str) -> Said | None:
    """What a padellm_ner pipe answered beside the spans; None in a document that none annotated."""
    attrs = doc.spans[spans_key].attrs if spans_key in doc.spans else {}
    if "counts" not in attrs:
        return None
    unplaced, surplus = (
        tuple(Mention(label, string, ordinal) for label, string, ordinal in attrs.get(name, ()))
        for name in ("unplaced", "surplus")
    )
    below = tuple(
        Found(start, end, label, score, confidence=confidence)
        for start, end, label, confidence, score, _ in _below(doc.spans[spans_key])
    )
    return Said(dict(attrs["counts"]), unplaced, surplus, below)


def answered_in(doc: Doc, spans_key: str) -> list[tuple[Found, float]]:
    """The mentions that a padellm_ner pipe answered and placed, be they sure enough or not, each with the probability
    of its count times that of its pieces.

    RAISES (ValueError): P080 if the model told no probabilities.
    """
    group = doc.spans[spans_key]
    if "scores" not in group.attrs:
        raise ValueError(Errors.P080.format(what="a calibration"))
    both = zip(group.attrs["scores"], group.attrs["count_scores"], strict=True)
    joint = [float(score) * float(count) for score, count in both]
    found = [(_found(span), probability) for span, probability in zip(group, joint, strict=True)]
    below = ((Found(start, end, label), score * count) for start, end, label, _, score, count in _below(group))
    return [*found, *below]


def _below(group: SpanGroup) -> list[Any]:
    return group.attrs.get("below_threshold", [])


def outcome_of(gold: Sequence[Doc], predicted: Iterable[Doc], spans_key: str = "sc") -> Outcome:
    """Gold and predicted documents, in the same order, as pairs.

    RAISES (ValueError): P153 if a predicted document has another text: offsets would mean other places.
    """
    spans, ents = [], []
    for right, guess in zip(gold, predicted, strict=True):
        if right.text != guess.text:
            raise ValueError(Errors.P153.format(gold=right.text[:60], predicted=guess.text[:60]))
        said = said_in(guess, spans_key)
        spans.append(Pair(right.text, mentions_of(right, spans_key), mentions_of(guess, spans_key), said))
        ents.append(Pair(right.text, entities_of(right), entities_of(guess)))
    return Outcome(tuple(spans), tuple(ents))


def labels_of(nlp: Language) -> set[str]:
    """The labels of the pipes that find mentions. Those of a tagger or a parser are none."""
    return {label for name in nlp.pipe_names if _finds(nlp, name) for label in nlp.pipe_labels.get(name, ())}


def _finds(nlp: Language, name: str) -> bool:
    return not {"doc.ents", "doc.spans"}.isdisjoint(nlp.get_pipe_meta(name).assigns)


def _found(
    span: Span, score: float | None = None, ordinal: int | None = None, confidence: float | None = None
) -> Found:
    return Found(span.start_char, span.end_char, span.label_, score, ordinal, confidence)


def _distinct(found: Iterable[Found]) -> tuple[Found, ...]:
    """Each mention once, by start, the longer first."""
    first: dict[tuple[int, int, str], Found] = {}
    for mention in found:
        first.setdefault(mention.key, mention)
    return tuple(sorted(first.values(), key=lambda mention: (mention.start, -mention.end, mention.label)))


def _per_span(group: SpanGroup, name: str) -> Iterator[Any]:
    """An attribute with one value for each span. One that a later pipe has left out of step tells nothing."""
    values = group.attrs.get(name)
    return iter(values if values is not None and len(values) == len(group) else [None] * len(group))
