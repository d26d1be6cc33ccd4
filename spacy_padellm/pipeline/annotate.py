"""From answers to a document's annotations."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from spacy.tokens import Doc, Span, SpanGroup
from spacy.util import filter_spans

from spacy_padellm.backends.local import Text
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.pipeline.confidence import Bar, Judged
from spacy_padellm.spans.occurrences import Borders
from spacy_padellm.spans.resolve import Policy, flat, one_label_per_string, place
from spacy_padellm.types import Answered, Mention, Placed, Scheme


@dataclass(frozen=True)
class Annotation:
    """What a document gets.

    spans (tuple[Placed, ...]): All mentions in text order, nested and overlapping ones too.
    flat (tuple[Placed, ...]): The part of them that does not overlap.
    answered (tuple[Answered, ...]): The questions and their answers.
    passed_over (tuple[Answered, ...]): Those of them beside which another answer to the same question was kept.
    counts (dict[str, int]): The count of each label that was kept.
    unplaced (tuple[Mention, ...]): Mentions that do not stand in the text.
    surplus (tuple[Mention, ...]): Repeats of a string beyond its occurrences.
    unreadable (tuple[tuple[str, str], ...]): Label and answer of what could not be read, or was a count over the limit.
    windows (tuple[tuple[int, int], ...]): Start and end (exclusive) of the windows it was read in, in characters; none
        if it was read as a whole.
    confidences (tuple[float, ...]): One a span.
    below (tuple[Judged, ...]): What had its place and was not sure enough to become a span.
    asked_in (tuple[int, ...]): The window of each of `answered`, by its number from 0; none if there are no windows.
    """

    spans: tuple[Placed, ...] = ()
    flat: tuple[Placed, ...] = ()
    answered: tuple[Answered, ...] = ()
    passed_over: tuple[Answered, ...] = ()
    counts: dict[str, int] = field(default_factory=dict)
    unplaced: tuple[Mention, ...] = ()
    surplus: tuple[Mention, ...] = ()
    unreadable: tuple[tuple[str, str], ...] = field(default=(), kw_only=True)
    windows: tuple[tuple[int, int], ...] = ()
    confidences: tuple[float, ...] = ()
    below: tuple[Judged, ...] = ()
    asked_in: tuple[int, ...] = ()

    @property
    def is_scored(self) -> bool:
        """Whether the model told the probabilities of its answers. A server may not."""
        return are_scored(self.answered)

    def said(self) -> list[dict[str, Any]]:
        """Questions and answers as plain values, as `docs/debugging.md` lists them."""
        passed_over = set(self.passed_over)
        lines: list[dict[str, Any]] = []
        for number, one in enumerate(self.answered):
            line = said_of(one)
            if self.windows:
                line["window"] = [*self.windows[self.asked_in[number]]]
            if one in passed_over:
                line["passed_over"] = True
            lines.append(line)
        return lines


def are_scored(answered: Sequence[Answered]) -> bool:
    """Whether the model told the probability of every answer."""
    return not any(math.isnan(one.answer.probability) for one in answered)


def said_of(answered: Answered) -> dict[str, Any]:
    """A question and its answer as plain values. Steps stand there where they were recorded."""
    branch, answer = answered
    line: dict[str, Any] = {
        "prompt": branch.question,
        "response": answer.text,
        "label": branch.label,
        "ordinal": branch.ordinal,
        "probability": None if math.isnan(answer.probability) else answer.probability,
        "finish": answer.finish.value,
        "pieces": answer.n_pieces,
    }
    return line if answer.course is None else {**line, "steps": [*answer.course]}


@dataclass
class Lost:
    """What was answered and did not become a span, counted until it is reported.

    unreadable (int): Answers, or parts of them, that are not of the scheme's form: counts that are no number, lists
        that do not end, marks without a label.
    over_limit (int): Counts above `max_mentions`.
    unplaced (int): Mentions that do not stand in the text.
    surplus (int): Repeats of a string beyond its occurrences.
    """

    unreadable: int = 0
    over_limit: int = 0
    unplaced: int = 0
    surplus: int = 0
    examples: list[str] = field(default_factory=list)

    def report(self) -> str | None:
        """The warning that says what was lost since the last report, None if nothing was; counting starts anew."""
        counts = {
            "unreadable answers": self.unreadable,
            "counts over the limit": self.over_limit,
            "mentions that do not stand in the text": self.unplaced,
            "repeats beyond the text's": self.surplus,
        }
        lost = ", ".join(f"{count} {name}" for name, count in counts.items() if count)
        example = self.examples[0] if self.examples else ""
        self.__init__()  # type: ignore[misc]
        return Warnings.W001.format(lost=lost, example=example) if lost else None


def read_annotation(
    scheme: Scheme,
    text: Text,
    answered: Sequence[Answered],
    *,
    placing: Policy,
    one_label: bool,
    lost: Lost,
) -> Annotation:
    """Read the answers about one text and give the mentions their places.

    RAISES (ValueError): P080 if only the best-scored label is wanted and there are no probabilities.
    """
    if are_scored(answered):
        reading = scheme.read(answered)
    elif one_label:
        raise ValueError(Errors.P080.format(what="'one_label_per_string'"))
    else:  # all answers count as equally sure, and none is told
        reading = scheme.read([one._replace(answer=one.answer._replace(probability=1.0)) for one in answered])
    mentions = one_label_per_string(reading.mentions)[0] if one_label else reading.mentions
    placement = place(mentions, text.string, Borders.from_tokens(text.string, text.borders), placing)
    lost.unreadable += len(reading.unreadable)
    lost.over_limit += len(reading.over_limit)
    lost.unplaced += len(placement.unplaced)
    lost.surplus += len(placement.surplus)
    if not lost.examples:
        answers = (*reading.unreadable, *reading.over_limit)
        lost.examples += [f"{label}: {_shown(answer)}" if label else _shown(answer) for label, answer in answers][:1]
        lost.examples += [f"{m.label}: {m.string!r}" for m in (*placement.unplaced, *placement.surplus)][:1]
    # A scheme without counts tells them by its mentions.
    counts = {**Counter(mention.label for mention in reading.mentions), **reading.counts}
    return Annotation(
        placement.spans,
        flat(placement.spans),
        tuple(answered),
        reading.passed_over,
        counts,
        placement.unplaced,
        placement.surplus,
        unreadable=(*reading.unreadable, *((label, str(count)) for label, count in reading.over_limit)),
    )


def judged(annotation: Annotation, bar: Bar) -> Annotation:
    """Leave out the mentions that are not sure enough.

    They are left out of the places and not before, and of a whole document: the second of two equal mentions stays the
    second, and of two windows the one that knows a place best decides about it.

    RAISES (ValueError): P080 for a threshold or a calibration where the model tells no probabilities.
    """
    if not annotation.is_scored and bar.is_set:
        raise ValueError(Errors.P080.format(what="a threshold or a calibration"))
    kept, below = bar.judge(annotation.spans)
    spans = tuple(placed for placed, _ in kept)
    return replace(
        annotation,
        spans=spans,
        flat=flat(spans),
        confidences=tuple(confidence for _, confidence in kept),
        below=tuple(below),
    )


def _shown(answer: object) -> str:
    """An answer as a warning shows it: lists and marked texts can be long."""
    written = repr(answer)
    return written if len(written) <= 80 else f"{written[:77]}..."


def write_annotation(doc: Doc, annotation: Annotation, *, spans_key: str, overwrite_ents: bool) -> None:
    """Write spans with their scores, what was answered beside them, and entities.

    Entities that are there already stay unless they are to be overwritten. A span that no longer lies on token borders
    cannot occur: the mentions were placed on this document's tokens.
    """
    starts = {token.idx: token.i for token in doc}
    ends = {token.idx + len(token): token.i + 1 for token in doc}
    spans = [_span(doc, placed, starts, ends) for placed in annotation.spans]
    group = SpanGroup(doc, name=spans_key, spans=spans)
    if annotation.is_scored:
        placed_mentions = [placed.mention for placed in annotation.spans]
        group.attrs["scores"] = np.array([mention.score for mention in placed_mentions], dtype="float32")
        group.attrs["count_scores"] = np.array([mention.count_score for mention in placed_mentions], dtype="float32")
        group.attrs["confidences"] = np.array(annotation.confidences, dtype="float32")
    group.attrs["ordinals"] = np.array(_ordinals(annotation.spans), dtype="int32")
    group.attrs["counts"] = annotation.counts
    for name, mentions in (("unplaced", annotation.unplaced), ("surplus", annotation.surplus)):
        group.attrs[name] = [[mention.label, mention.string, mention.ordinal] for mention in mentions]
    group.attrs["unreadable"] = [list(one) for one in annotation.unreadable]
    if annotation.windows:
        group.attrs["windows"] = [list(window) for window in annotation.windows]
    group.attrs["below_threshold"] = [_row(placed, confidence) for placed, confidence in annotation.below]
    doc.spans[spans_key] = group
    ents = [_span(doc, placed, starts, ends) for placed in annotation.flat]
    if overwrite_ents:
        doc.set_ents(ents, default="outside")
    else:
        taken = {token.i for ent in doc.ents for token in ent}
        added = [ent for ent in ents if not taken.intersection(range(ent.start, ent.end))]
        doc.set_ents(filter_spans([*doc.ents, *added]), default="outside")


def _row(placed: Placed, confidence: float) -> list[Any]:
    """A mention that became no span, as plain values: where it stands in characters, and how sure it was."""
    mention = placed.mention
    return [placed.start, placed.end, mention.label, confidence, mention.score, mention.count_score]


def _ordinals(spans: Sequence[Placed]) -> list[int]:
    """The ordinal of each span's mention, 0 for an occurrence that was filled in: its mention's own place is before."""
    seen: set[tuple[str, int]] = set()
    ordinals = []
    for label, ordinal in ((placed.mention.label, placed.mention.ordinal) for placed in spans):
        ordinals.append(0 if (label, ordinal) in seen else ordinal)
        seen.add((label, ordinal))
    return ordinals


def _span(doc: Doc, placed: Placed, starts: dict[int, int], ends: dict[int, int]) -> Span:
    return Span(doc, starts[placed.start], ends[placed.end], label=placed.mention.label)
