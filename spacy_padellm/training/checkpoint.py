"""Checkpoints: what a training that was interrupted goes on from."""

from __future__ import annotations

import json
import shutil
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from safetensors import SafetensorError
from safetensors.numpy import load_file, save_file
from spacy.language import Language
from thinc.api import Optimizer

from spacy_padellm.data.durable import DRAFT, place_folder
from spacy_padellm.errors import Errors
from spacy_padellm.training.chance import random_states, set_random_states
from spacy_padellm.training.fingerprint import Fingerprint
from spacy_padellm.training.moments import Moments, moments_of, set_moments
from spacy_padellm.training.order import Order, Place
from spacy_padellm.training.progress import Progress

FOLDER = "checkpoint"
"""Its name beside `model-last`."""

_PIPELINE, _RUN, _MOMENTS, _DRAWS = "pipeline", "run.json", "optimizer.safetensors", "draws.safetensors"
_PACKAGES = ("spacy", "thinc", "torch", "numpy", "spacy-padellm")


@dataclass(frozen=True)
class Checkpoint:
    """A training between two updates, as it was written.

    pipeline (Path): The whole pipeline with its raw weights, as `nlp.to_disk` writes it.
    progress (Progress): How far it was.
    moments (Moments): The optimizer.
    place (Place): The place in the batches.
    random (dict[str, Any]): The random states.
    fingerprint (Fingerprint): What it depended on.
    versions (dict[str, str]): Of the packages that compute it.
    """

    pipeline: Path
    progress: Progress
    moments: Moments
    place: Place
    random: dict[str, Any]
    fingerprint: Fingerprint
    versions: dict[str, str]

    def restore(self, nlp: Language, optimizer: Optimizer, order: Order) -> None:
        """Put a training that was just set up where this one was.

        RAISES (ValueError): P196 if the batches are others; P197 if the weights are.
        """
        # The config is the one that goes on, whose free settings may differ.
        nlp.from_disk(self.pipeline, exclude=["config"])
        set_moments(optimizer, nlp, self.moments, steps=self.progress.step + 1)
        order.go_to(self.place)
        set_random_states(self.random)


class Checkpoints:
    """A folder of checkpoints. The newest one that is whole counts; older ones go when it is there.

    A checkpoint is a folder whose name is a number. It is written under another name, brought to the disk and then
    renamed, so a folder with such a name is whole, whenever the process that wrote it was killed.

    folder (Path): The folder, made with the first checkpoint.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def latest(self) -> Checkpoint | None:
        """RAISES (ValueError): P198 if the newest checkpoint cannot be read."""
        numbers = self._numbers()
        return _read(self.folder / str(numbers[-1])) if numbers else None

    def write(
        self, nlp: Language, optimizer: Optimizer, *, order: Order, progress: Progress, fingerprint: Fingerprint
    ) -> Path:
        """Write a checkpoint. RETURNS (Path): Its folder."""
        path = self.folder / str(max(self._numbers(), default=0) + 1)
        draft = path.with_name(path.name + DRAFT)
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir(parents=True)
        nlp.to_disk(draft / _PIPELINE)
        arrays, updates, rates = moments_of(optimizer, nlp)
        save_file(arrays, draft / _MOMENTS)
        place = order.place
        save_file({"drew": place.drew, "words": place.words, "seconds": place.seconds}, draft / _DRAWS)
        run = {
            "progress": progress.values(),
            "updates": updates,
            "rates": rates,
            "batches": {"read": place.read, "digest": place.digest},
            "random": random_states(),
            "fingerprint": fingerprint,
            "versions": versions(),
        }
        (draft / _RUN).write_text(json.dumps(run), encoding="utf-8")
        place_folder(draft, path)
        self._clear(but=path)
        return path

    def clear(self) -> None:
        """Remove all checkpoints."""
        self._clear(but=None)

    def _clear(self, but: Path | None) -> None:
        if not self.folder.exists():
            return
        for path in [path for path in self.folder.iterdir() if path.is_dir() and path != but]:
            # A folder whose name is a number is whole, also while it is removed.
            leaving = path.with_name(f"{path.name}{DRAFT}") if path.name.isdecimal() else path
            path.rename(leaving)
            shutil.rmtree(leaving)

    def _numbers(self) -> list[int]:
        if not self.folder.exists():
            return []
        return sorted(int(path.name) for path in self.folder.iterdir() if path.name.isdecimal())


def versions() -> dict[str, str]:
    """The packages that what is computed depends on."""
    return {name: version(name) for name in _PACKAGES}


def _read(path: Path) -> Checkpoint:
    try:
        run = json.loads((path / _RUN).read_text(encoding="utf-8"))
        arrays: dict[str, np.ndarray] = load_file(path / _MOMENTS)
        draws = load_file(path / _DRAWS)
        return Checkpoint(
            path / _PIPELINE,
            Progress.of(run["progress"]),
            Moments(arrays, run["updates"], run["rates"]),
            Place(run["batches"]["read"], run["batches"]["digest"], draws["drew"], draws["words"], draws["seconds"]),
            run["random"],
            run["fingerprint"],
            run["versions"],
        )
    except (OSError, ValueError, KeyError, TypeError, SafetensorError) as error:
        raise ValueError(Errors.P198.format(path=path, problem=error)) from error
