"""`model-last` and `model-best`: pipelines with averaged weights, as `spacy train` leaves them."""

from __future__ import annotations

import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import srsly
from spacy.language import Language
from spacy.training.loop import DIR_MODEL_BEST, DIR_MODEL_LAST

from spacy_padellm.data.durable import DRAFT, place_folder


def save_last(nlp: Language, before_to_disk: Callable[[Language], Language], output: Path, *, best: bool) -> None:
    """Save the pipeline, in a context that gives it its averaged weights. Each folder is replaced as a whole.

    best (bool): Save it as `model-best`, too.
    """
    last = output / DIR_MODEL_LAST
    draft = _draft(last)
    before_to_disk(nlp).to_disk(draft)
    place_folder(draft, last)
    if best:
        draft = _draft(output / DIR_MODEL_BEST)
        shutil.copytree(last, draft)
        place_folder(draft, output / DIR_MODEL_BEST)


def best_score(output: Path, score_weights: Mapping[str, Any]) -> float | None:
    """The score of `model-best`, from what is written in it.

    RETURNS (float | None): None where there is no such pipeline or it lacks one of the scores.
    """
    path = output / DIR_MODEL_BEST / "meta.json"
    performance = srsly.read_json(path).get("performance", {}) if path.is_file() else {}
    weights = {name: weight for name, weight in score_weights.items() if weight}
    if not weights or not all(isinstance(performance.get(name), (int, float)) for name in weights):
        return None
    return float(sum(performance[name] * weight for name, weight in weights.items()))


def _draft(path: Path) -> Path:
    draft = path.with_name(path.name + DRAFT)
    shutil.rmtree(draft, ignore_errors=True)
    return draft
