"""What several processes make of a training: how their work is divided, what they send each other and what each holds.

    python -m benchmarks.devices --config project/configs/base.cfg \\
        --paths train=TRAIN.spacy dev=DEV.spacy labels=LABELS.json
    torchrun --standalone --nproc-per-node 2 -m benchmarks.devices --config ... --shard

The config is trained for some updates without an evaluation, with an adapter over its model if `--lora` gives a rank.
Pieces, bytes sent and bytes held do not depend on the machine; times do, and on what else runs there. The last line
printed is one JSON object, with a list of what each process counted.
"""

from __future__ import annotations

import argparse
import json
import time
import warnings
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from spacy.training.initialize import init_nlp
from spacy.util import load_config
from thinc.api import Config, Optimizer
from torch.distributed.tensor import DTensor

from benchmarks.arguments import whole
from benchmarks.peaks import peak_bytes
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.shim import CausalLMShim
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.training.loop import Training
from spacy_padellm.training.peers import Peers, join
from spacy_padellm.training.shares import shares_of
from spacy_padellm.training.targets import TargetTree


class Watch:
    """Counts what a pipe does in its updates.

    pipe (PaDeLLMNER): The pipe; two of its methods are wrapped.
    peers (Peers): Who trains it.
    pieces (int): Pieces of the trees that this process ran.
    growing (float): Seconds in which trees were grown, which every process does for all texts.
    """

    def __init__(self, pipe: PaDeLLMNER, peers: Peers) -> None:
        self.pieces, self.growing = 0, 0.0
        shim = shim_of(pipe.model)
        self._peers = peers
        self._grow: Callable[..., list[TargetTree]] = pipe._trees
        self._accumulate: Callable[..., float] = shim.accumulate
        wrapped: list[Any] = [pipe, shim]
        wrapped[0]._trees, wrapped[1].accumulate = self._grown, self._accumulated

    def _grown(self, *arguments: Any) -> list[TargetTree]:
        began = time.perf_counter()
        trees = self._grow(*arguments)
        self.growing += time.perf_counter() - began
        return trees

    def _accumulated(self, trees: Sequence[TargetTree], **settings: Any) -> float:
        own = shares_of(trees, self._peers.count)[self._peers.number]
        self.pieces += sum(len(tree.tree) for tree in own)
        return self._accumulate(trees, **settings)


def configured(path: Path, overrides: dict[str, Any], rank: int) -> Config:
    """A config, with an adapter of a rank over its model if that is not 0."""
    adapter = {"components.padellm_ner.model.lora": {"@misc": "spacy-padellm.LoRA.v1", "rank": rank}} if rank else {}
    return load_config(path, overrides={**overrides, **adapter}, interpolate=False)


def measure(config: Config, peers: Peers, *, updates: int, shard: bool) -> dict[str, Any]:
    """RETURNS (dict[str, Any]): What this process counted, an update."""
    nlp = init_nlp(config)
    pipe = nlp.get_pipe("padellm_ner")
    assert isinstance(pipe, PaDeLLMNER)
    training = Training(nlp, peers=peers, shard=shard)
    training.team.begin(training.optimizer)
    steps = training.updates()
    next(steps)  # the evaluation that comes with the first update is not timed
    watch, sent, spans = Watch(pipe, peers), peers.added, [0.0, 0.0]

    def work() -> None:
        began = time.perf_counter(), time.process_time()
        for _ in range(updates):
            next(steps)
        spans[:] = time.perf_counter() - began[0], time.process_time() - began[1]

    peak = peak_bytes(work)
    return {
        "seconds": round(spans[0] / updates, 3),
        "processor_seconds": round(spans[1] / updates, 3),
        "seconds_growing_trees": round(watch.growing / updates, 3),
        "pieces": round(watch.pieces / updates),
        "gradient_bytes_added_up": round((peers.added - sent) / updates),
        "held_bytes": held(shim_of(pipe.model), training.optimizer),
        "peak_bytes": peak,
    }


def held(shim: CausalLMShim, optimizer: Optimizer) -> dict[str, int]:
    """Bytes that a process holds between two updates, of weights that are trained."""
    weights = [weight for weight in shim.trained.model.parameters() if weight.requires_grad]
    gradients = [weight.grad for weight in weights if weight.grad is not None]
    moments = [array for kept in (optimizer.mom1, optimizer.mom2, optimizer.averages or {}) for array in kept.values()]
    return {
        "weights": sum(map(_size, weights)),
        "gradients": sum(map(_size, gradients)),
        "moments_and_averages": sum(array.nbytes for array in moments),
    }


def _size(tensor: torch.Tensor) -> int:
    own = tensor.to_local() if isinstance(tensor, DTensor) else tensor
    return own.numel() * own.element_size()


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--config", type=Path, required=True)
    parser.add_argument("--paths", nargs="+", default=[], metavar="NAME=PATH", help="the config's [paths]")
    parser.add_argument("--lora", type=int, default=0, help="rank of an adapter over the config's model; 0 for none")
    parser.add_argument("--shard", action="store_true", help="leave a part of the model to each process")
    parser.add_argument("--updates", type=whole, default=10)
    arguments = parser.parse_args(argv)
    overrides = {f"paths.{name}": path for name, _, path in (pair.partition("=") for pair in arguments.paths)}
    warnings.simplefilter("ignore")  # what a model of some updates answers is mostly unreadable
    with coded_errors():
        peers = join()
        config = configured(arguments.config, overrides, arguments.lora)
        told = peers.told(measure(config, peers, updates=arguments.updates, shard=arguments.shard))
    if peers.first:
        on = {"processes": peers.count, **surroundings()}
        what = {"config": arguments.config.name, "lora": arguments.lora, "shard": arguments.shard}
        print(json.dumps({**what, "an_update": told, **on}))
    peers.leave()


if __name__ == "__main__":
    main()
