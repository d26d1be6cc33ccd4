"""What a request says, and what it is answered. The service's OpenAPI description is made of these."""

from typing import Any

from pydantic import BaseModel, ConfigDict, Field, model_validator
from spacy.tokens import Doc

from spacy_padellm.pipeline.component import PaDeLLMNER


class _Body(BaseModel):
    model_config = ConfigDict(extra="forbid")


class LabelBody(_Body):
    """What is said about a label beside its name."""

    words: str | None = Field(default=None, description="Its words in the question; else the prompt's own choice")
    description: str | None = Field(default=None, description="What it means")
    examples: list[str] = Field(default_factory=list, description="Mentions of it")
    threshold: float | None = Field(default=None, ge=0, le=1, description="How sure a mention must be")


LabelsBody = list[str] | dict[str, LabelBody | str | None]


class AnnotateBody(_Body):
    """A text, or several, and what is asked about them."""

    text: str | None = Field(default=None, description="One text")
    texts: list[str] | None = Field(default=None, description="Several texts")
    labels: LabelsBody | None = Field(default=None, description="The labels to look for; else the pipeline's own")
    threshold: float | None = Field(
        None, ge=0, le=1, description="How sure a mention of a label without a threshold of its own must be"
    )

    @model_validator(mode="after")
    def _one_kind(self) -> "AnnotateBody":
        if (self.text is None) == (self.texts is None):
            raise ValueError("expected either 'text' or 'texts'")
        return self

    def asked(self, own: dict[str, Any]) -> dict[str, Any] | None:
        """The labels as a document takes them, None for the pipeline's own.

        own (dict[str, Any]): The pipeline's own, as `label_data` has them, for a threshold without labels.
        """
        if self.labels is None and self.threshold is None:
            return None
        given: dict[str, Any] = own
        if self.labels is not None:
            pairs = self.labels.items() if isinstance(self.labels, dict) else ((name, None) for name in self.labels)
            given = {
                name: kept.model_dump(exclude_none=True, exclude_defaults=True) or None
                if isinstance(kept, LabelBody)
                else kept
                for name, kept in pairs
            }
        if self.threshold is None:
            return given
        return {name: _with_threshold(kept, self.threshold) for name, kept in given.items()}


def _with_threshold(kept: Any, threshold: float) -> dict[str, Any]:
    spec = dict(kept) if isinstance(kept, dict) else {"words": kept} if kept else {}
    return {"threshold": threshold, **spec}


class MentionBody(BaseModel):
    """A mention."""

    start: int = Field(description="Its first character")
    end: int = Field(description="The character behind it")
    label: str
    text: str
    pipe: str = Field(description="The pipe that found it")
    score: float | None = Field(default=None, description="Probability of its pieces")
    count_score: float | None = Field(default=None, description="Probability of its label's count")
    confidence: float | None = Field(default=None, description="What thresholds act on")


class DocumentBody(BaseModel):
    """What was found in a text."""

    spans: list[MentionBody] = Field(description="All mentions, nested and overlapping ones too")
    ents: list[MentionBody] = Field(description="What does not overlap")
    counts: dict[str, dict[str, int]] = Field(description="By pipe, the count of each label")
    unplaced: dict[str, list[tuple[str, str]]] = Field(
        description="By pipe, label and string of the answered mentions that do not stand in the text"
    )
    unreadable: dict[str, list[tuple[str, str]]] = Field(
        description="By pipe, label and answer of what could not be read; such a label has no count"
    )
    windows: int = Field(1, description="Windows in which the text was read")


class ErrorBody(BaseModel):
    """Why there is no answer."""

    code: str
    message: str


class FailedBody(BaseModel):
    """A text that has no answer."""

    error: ErrorBody


class DocumentsBody(BaseModel):
    """What was found in several texts, in their order."""

    documents: list[DocumentBody | FailedBody]


def document_body(doc: Doc, pipes: list[PaDeLLMNER]) -> DocumentBody:
    """What is told of a document.

    pipes (list[PaDeLLMNER]): Those whose mentions are told beside `doc.ents`.
    """
    spans: list[MentionBody] = []
    counts: dict[str, dict[str, int]] = {}
    unplaced: dict[str, list[tuple[str, str]]] = {}
    unreadable: dict[str, list[tuple[str, str]]] = {}
    windows = 1
    for pipe in pipes:
        group = doc.spans.get(pipe.options.spans_key)
        if group is None:
            continue
        attrs = group.attrs
        if "scores" in attrs:
            rows = zip(group, attrs["scores"], attrs["count_scores"], attrs["confidences"], strict=True)
            spans += [_mention(span, pipe.name, *map(float, figures)) for span, *figures in rows]
        else:  # a model on a server that tells no probabilities
            spans += [_mention(span, pipe.name, None, None, None) for span in group]
        counts[pipe.name] = dict(attrs["counts"])
        unplaced[pipe.name] = [(label, string) for label, string, _ in attrs["unplaced"]]
        unreadable[pipe.name] = [(label, answer) for label, answer in attrs["unreadable"]]
        windows = max(windows, len(attrs.get("windows", ())))
    known = {(span.start, span.end, span.label): span for span in reversed(spans)}
    ents = [
        known.get((ent.start_char, ent.end_char, ent.label_)) or _mention(ent, "", None, None, None) for ent in doc.ents
    ]
    return DocumentBody(
        spans=spans, ents=ents, counts=counts, unplaced=unplaced, unreadable=unreadable, windows=windows
    )


def _mention(
    span: Any, pipe: str, score: float | None, count_score: float | None, confidence: float | None
) -> MentionBody:
    return MentionBody(
        start=span.start_char,
        end=span.end_char,
        label=span.label_,
        text=span.text,
        pipe=pipe,
        score=score,
        count_score=count_score,
        confidence=confidence,
    )
