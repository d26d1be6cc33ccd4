"""The page on which a person tries texts and labels. It needs no script: a form, and the page again with the answer."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from spacy_padellm.engine.pieces import without_surrogates
from spacy_padellm.service.bodies import AnnotateBody, ErrorBody, LabelBody
from spacy_padellm.service.drawing import Drawing

STYLES = "default-src 'none'; style-src 'unsafe-inline'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'"
"""The page runs nothing and loads nothing; its colours stand in it."""

_TEMPLATES = Environment(
    loader=FileSystemLoader(Path(__file__).parent), autoescape=True, undefined=StrictUndefined, trim_blocks=True
)


@dataclass(frozen=True)
class Form:
    """What a person filled in.

    text (str): The text.
    labels (str): A label a line, with what it means behind a colon.
    threshold (str): A number from 0 to 1.
    """

    text: str = ""
    labels: str = ""
    threshold: str = "0"

    @classmethod
    def read(cls, body: bytes) -> Form:
        """The form as a browser sends it."""
        fields = parse_qs(body.decode("utf8", "replace"), keep_blank_values=True, max_num_fields=10)
        known = {name: values[-1].replace("\r\n", "\n") for name, values in fields.items() if name in vars(cls())}
        return cls(**{name: without_surrogates(value) for name, value in known.items()})

    def body(self) -> AnnotateBody:
        """The same as a request of the API.

        RAISES (ValueError): If the threshold is no number from 0 to 1.
        """
        pairs = (line.partition(":") for line in self.labels.splitlines() if line.strip())
        labels: dict[str, LabelBody | str | None] = {
            name.strip(): LabelBody(description=told.strip()) if told.strip() else None for name, _, told in pairs
        }
        threshold = float(self.threshold or 0)
        # What the pipeline's own thresholds are is not to be lowered by a form that says nothing.
        return AnnotateBody(text=self.text, labels=labels or None, threshold=threshold or None)


def lines_of(labels: Mapping[str, Any]) -> str:
    """Labels as the form has them."""
    told = {name: kept.get("description") if isinstance(kept, dict) else None for name, kept in labels.items()}
    return "\n".join(f"{name}: {description}" if description else name for name, description in told.items())


def page(name: str, form: Form, *, drawing: Drawing | None = None, error: ErrorBody | None = None) -> str:
    """The page.

    name (str): Of the pipeline.
    form (Form): What it is filled in with.
    drawing (Drawing | None): What was found.
    error (ErrorBody | None): Why there is no answer.
    """
    return _TEMPLATES.get_template("page.html").render(name=name, **vars(form), drawing=drawing, error=error)
