"""What a figure was measured on."""

from __future__ import annotations

import sys
from pathlib import Path

import torch

from spacy_padellm.metrics.surroundings import surroundings as measured_on


def surroundings() -> dict[str, object]:
    """Command, commit, hardware and versions of a running benchmark."""
    command = " ".join(["python", "-m", f"benchmarks.{Path(sys.argv[0]).stem}", *sys.argv[1:]])
    return {**measured_on(command), "torch_threads": torch.get_num_threads()}
