"""What a checkpoint of a training costs: its bytes, and the seconds to write it and to go on from it.

    python -m benchmarks.checkpoints --config project/configs/base.cfg --lora 16 \\
        --paths train=TRAIN.spacy dev=DEV.spacy labels=LABELS.json

The config is trained for some updates without an evaluation, so that the optimizer remembers all weights. Then a
checkpoint is written several times, and read once into a pipeline that was just set up. The last line printed is one
JSON object. The disk's part of the time is what the machine makes it: other work on it shows.
"""

from __future__ import annotations

import argparse
import json
import statistics
import tempfile
import time
import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Config

from benchmarks.arguments import whole
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.training.checkpoint import Checkpoints
from spacy_padellm.training.fingerprint import fingerprint
from spacy_padellm.training.loop import Training


def configured(path: Path, overrides: dict[str, Any], rank: int) -> Config:
    """A config, with an adapter of a rank over its model if that is not 0."""
    adapter = {"components.padellm_ner.model.lora": {"@misc": "spacy-padellm.LoRA.v1", "rank": rank}} if rank else {}
    return load_config(path, overrides={**overrides, **adapter}, interpolate=False)


def measure(config: Config, *, updates: int, times: int, folder: Path) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): Trained weights, bytes of a checkpoint by part, and seconds by what was done."""
    training = Training(init_nlp(config.copy()))
    steps = training.updates()
    next(steps)  # the evaluation that comes with the first update is not timed
    began = time.perf_counter()
    for _ in range(updates):
        next(steps)
    seconds_an_update = (time.perf_counter() - began) / updates
    checkpoints, depends_on, seconds = Checkpoints(folder), fingerprint(training.nlp.config), []
    for _ in range(times):
        began = time.perf_counter()
        training.checkpoint(checkpoints, depends_on)
        seconds.append(time.perf_counter() - began)
    fresh = Training(init_nlp(config.copy()))
    began = time.perf_counter()
    checkpoint = checkpoints.latest()
    assert checkpoint is not None
    fresh.go_on_from(checkpoint)
    going_on = time.perf_counter() - began
    files = [path for path in checkpoint.pipeline.parent.rglob("*") if path.is_file()]
    sizes = {path.relative_to(checkpoint.pipeline.parent).parts[0]: 0 for path in files}
    for path in files:
        sizes[path.relative_to(checkpoint.pipeline.parent).parts[0]] += path.stat().st_size
    return {
        "trained_weights": sum(array.size for array in training.optimizer.mom1.values()),
        "bytes": sizes,
        "seconds_an_update": round(seconds_an_update, 3),
        "seconds_to_write": {"median": round(statistics.median(seconds), 3), "most": round(max(seconds), 3)},
        "seconds_to_go_on": round(going_on, 3),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--paths", nargs="+", default=[], metavar="NAME=PATH", help="the config's [paths]")
    parser.add_argument("--lora", type=int, default=0, help="rank of an adapter over the config's model; 0 for none")
    parser.add_argument("--updates", type=whole, default=10)
    parser.add_argument("--times", type=whole, default=7, help="checkpoints that are written")
    arguments = parser.parse_args(argv)
    overrides = {f"paths.{name}": path for name, _, path in (pair.partition("=") for pair in arguments.paths)}
    warnings.simplefilter("ignore")  # what a model of some updates answers is mostly unreadable
    with coded_errors(), tempfile.TemporaryDirectory() as folder:
        config = configured(arguments.config, overrides, arguments.lora)
        found = measure(config, updates=arguments.updates, times=arguments.times, folder=Path(folder) / "checkpoint")
    print(json.dumps({"config": arguments.config.name, "lora": arguments.lora, **found, **surroundings()}))


if __name__ == "__main__":
    main()
