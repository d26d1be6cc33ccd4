"""The page of registered functions, the component's settings and its methods."""

from __future__ import annotations

import inspect
from importlib.metadata import EntryPoint, distribution
from pathlib import Path

import srsly

from docs.tools.markdown import code, page, table
from docs.tools.signatures import describe
from spacy_padellm.pipeline.asking import ATTRIBUTE
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.factory import DEFAULT_CONFIG, make_padellm_ner

GROUPS = {
    "architectures": "Architectures",
    "misc": "Schemes, prompts and other blocks",
    "batchers": "Batchers",
    "augmenters": "Augmenters",
    "readers": "Readers",
    "scorers": "Scorers",
}
"""Registries of spaCy, and what their part of the page is called."""

_SPECIAL = ("__call__",)


def api_page(attributes: Path) -> str:
    """The page about everything that is called from code or named in a config.

    attributes (Path): YAML with what is said about each attribute of the span group.
    RETURNS (str): Markdown.
    """
    return page(
        "# API",
        "Made from the code: types and defaults are those of the signatures, texts those of the docstrings.",
        "## Settings of `padellm_ner`",
        describe(make_padellm_ner, defaults=DEFAULT_CONFIG),
        *_registered(),
        "## The component",
        *_methods(PaDeLLMNER),
        *_annotations(srsly.read_yaml(attributes)),
    )


def registered_functions() -> dict[str, list[EntryPoint]]:
    """The entry points of the package for each of `GROUPS`, by name."""
    points = distribution("spacy-padellm").entry_points
    return {group: sorted(point for point in points if point.group == f"spacy_{group}") for group in GROUPS}


def _registered() -> list[str]:
    parts = ["## Registered functions"]
    for group, points in registered_functions().items():
        parts.append(f"### {GROUPS[group]}")
        for point in points:
            line = f'@{group} = "{point.name}"'
            parts += [f"#### {point.name}", f"In a config: {code(line)}.", describe(point.load(), defaults={})]
    return parts


def _methods(owner: type) -> list[str]:
    parts = [describe(owner)]
    for name, member in vars(owner).items():
        if name.startswith("_") and name not in _SPECIAL:
            continue
        if isinstance(member, property):
            parts += [f"### {owner.__name__}.{name}", "A property. " + (inspect.getdoc(member) or "")]
        elif inspect.isfunction(member):
            parts += [f"### {owner.__name__}.{name}", describe(member)]
    return parts


def _annotations(attributes: dict[str, str]) -> list[str]:
    return [
        "## What a document gets",
        "All mentions stand in `doc.spans[spans_key]`, those that do not overlap in `doc.ents`. The attributes of the "
        "span group are plain values, which travel with the document into a file:",
        table(("`attrs`", ""), [[code(name), text] for name, text in attributes.items()]),
        f"The extension {code(f'doc._.{ATTRIBUTE}')} holds a document's own labels, as `set_labels` takes them; none, "
        "as by default, asks about those of the pipe.",
    ]
