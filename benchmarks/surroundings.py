"""What a figure was measured on."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from spacy_padellm.metrics.surroundings import surroundings as measured_on


def surroundings() -> dict[str, object]:
    """Command, commit, hardware and versions of a running benchmark."""
    arguments = map(without_folders, sys.argv[1:])
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *arguments])
    return {**measured_on(command), "torch_threads": torch.get_num_threads()}


def without_folders(argument: str) -> str:
    """An absolute path's last two parts: where a file lies on one machine says nothing to another. Anything else as it
    is."""
    path = Path(argument)
    return "/".join(path.parts[1:][-2:]) if path.is_absolute() else argument
