"""A repository as a folder: a form of a pipeline with its card."""

from __future__ import annotations

import json
from pathlib import Path

from spacy.language import Language

from spacy_padellm.pipeline.export import CARD
from spacy_padellm.pipeline.outcomes import labels_of
from spacy_padellm.sharing.card import Said, hub_card
from spacy_padellm.sharing.facts import facts_of
from spacy_padellm.sharing.figures import read_figures
from spacy_padellm.sharing.forms import MERGED, Shape, pipes_of, write_form


def write_repository(
    nlp: Language, folder: Path, shape: Shape, said: Said, *, metrics: Path | None = None
) -> list[str]:
    """Write what a push commits.

    nlp (Language): The pipeline. It stays as it is.
    shape (Shape): What it holds.
    said (Said): For the card.
    metrics (Path | None): Figures of an evaluation, as a file.
    RETURNS (list[str]): The files in which folders of this machine were named, and are not any more.
    RAISES (ValueError): P066 or P067 for figures that cannot be used; those of `forms.write_form`.
    """
    pipes = pipes_of(nlp, shape)
    labels = labels_of(nlp) if shape.is_pipeline else set(pipes[0].labels)
    figures = None if metrics is None else read_figures(metrics, labels)
    changed = write_form(nlp, folder, shape)
    card = folder / CARD
    asking = None if shape.is_pipeline else card.read_text(encoding="utf8")
    card.unlink(missing_ok=True)
    text = hub_card(
        facts_of(nlp, pipes, base=shape.base),
        said,
        shape.form,
        figures=figures,
        size=sum(path.stat().st_size for path in folder.rglob("*") if path.is_file()),
        dtype=_dtype(folder) if shape.form == MERGED else None,
        asking=asking,
    )
    card.write_text(text, encoding="utf8")
    return changed


def _dtype(folder: Path) -> str:
    """Of the weights of a model of transformers, which names it otherwise from release to release."""
    config = json.loads((folder / "config.json").read_text(encoding="utf8"))
    return str(config.get("dtype") or config.get("torch_dtype") or "float32").removeprefix("torch.")
