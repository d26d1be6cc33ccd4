"""Colours for displaCy."""

from __future__ import annotations

import colorsys
from collections.abc import Mapping, Sequence
from typing import Any

from spacy_padellm.pipeline.label_spec import Kept, LabelSpec


def palette(labels: Sequence[str]) -> dict[str, str]:
    """A light colour for each label, on which black text can be read: evenly spaced around the wheel in the order
    given, so the same labels always have the same colours."""
    colours = {}
    for place, label in enumerate(labels):
        parts = colorsys.hls_to_rgb(place / len(labels), 0.82, 0.7)
        colours[label] = "#" + "".join(f"{round(part * 255):02x}" for part in parts)
    return colours


def displacy_options(labels: Mapping[str, Kept], *, spans_key: str) -> dict[str, Any]:
    """What `displacy.render(doc, options=...)` takes, for both of its styles that draw mentions.

    RETURNS (dict[str, Any]): `ents`, the labels; `colors`, for each its own or one of `palette`; `spans_key`.
    """
    specs = {label: LabelSpec.of(label, given) for label, given in labels.items()}
    chosen = {label: spec.colour for label, spec in specs.items() if spec.colour}
    return {"ents": list(labels), "colors": {**palette(list(labels)), **chosen}, "spans_key": spans_key}
