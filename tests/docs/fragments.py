"""Fragments of configs, filled into a config of the project and resolved."""

from __future__ import annotations

import re

from spacy.schemas import ConfigSchemaTraining
from spacy.util import load_config, load_model_from_config, registry
from thinc.api import Config

from spacy_padellm.pipeline.labels import check_labels
from tests.docs.pages import ROOT

_BASE = ROOT / "project" / "configs" / "base.cfg"

_PATHS = {"paths.train": "train.spacy", "paths.dev": "dev.spacy"}
"""What a reader gives at the command line; nothing is read there."""


def check_config(text: str) -> None:
    """A fragment parses, and the config it belongs to makes a pipeline, its training settings and its labels.

    RAISES (Exception): What thinc, spaCy or this package raises, otherwise.
    """
    fragment = Config().from_str(_parents(text) + text, interpolate=False)
    assert fragment, "the fragment is empty"
    config = load_config(_BASE, overrides=_PATHS, interpolate=False)
    # Labels that stand in the config take the place of the reader, whose settings they would be otherwise.
    for name in _labels(fragment):
        config["initialize"]["components"]["padellm_ner"].pop(name, None)
    merged = config.merge(fragment)
    nlp = load_model_from_config(merged, auto_fill=True, validate=True)
    whole = nlp.config.merge(merged).interpolate()
    registry.resolve(whole["training"], schema=ConfigSchemaTraining)
    registry.resolve({"corpora": whole["corpora"]})
    for name in _labels(fragment):
        given = registry.resolve({"labels": whole["initialize"]["components"]["padellm_ner"][name]})["labels"]
        if given is not None:
            check_labels(given)


def _parents(text: str) -> str:
    """The sections above those of a fragment, which the config has that it is put into."""
    names = re.findall(r"^\[([\w.-]+)\]", text, re.M)
    above = {name.rsplit(".", depth)[0] for name in names for depth in range(1, name.count(".") + 1)}
    return "".join(f"[{name}]\n\n" for name in sorted(above - set(names)))


def _labels(fragment: Config) -> list[str]:
    pipe = fragment.get("initialize", {}).get("components", {}).get("padellm_ner", {})
    return [name for name in ("labels", "train_labels") if name in pipe]
