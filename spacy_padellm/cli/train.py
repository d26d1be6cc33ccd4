"""`python -m spacy padellm train`: training that can be interrupted."""

from __future__ import annotations

import logging
import shlex
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer
from spacy import util
from spacy.cli._util import import_code, parse_config_overrides, setup_gpu, show_validation_error
from spacy.training.loop import DIR_MODEL_LAST
from wasabi import Printer, msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.lock import Lock
from spacy_padellm.settings import check_whole

if TYPE_CHECKING:
    from spacy_padellm.training.loop import Outcome
    from spacy_padellm.training.peers import Peers
    from spacy_padellm.training.start import Start

_SIGNALLED = 128
"""What a shell adds to a signal's number, where that ended a command."""


@app.command("train", context_settings={"allow_extra_args": True, "ignore_unknown_options": True})
def train_cli(
    ctx: typer.Context,
    config_path: Path = typer.Argument(..., help="Config file", exists=True, allow_dash=True),
    output: Path = typer.Option(..., "--output", "--output-path", "-o", help="Folder to write pipelines to"),
    resume: bool = typer.Option(False, "--resume", "-R", help="Go on where a training in the folder was interrupted"),
    checkpoint_every: int = typer.Option(
        0, "--checkpoint-every", help="Updates after which there is a checkpoint, beside one at each evaluation"
    ),
    shard: bool = typer.Option(
        False,
        "--shard",
        help="Started by a launcher: leave a part of a model that is trained as a whole to each process",
    ),
    code_path: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the config needs"),
    verbose: bool = typer.Option(False, "--verbose", "-V", "-VV", help="Say more"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
) -> None:
    """Train a pipeline as `spacy train` does, with the same updates and settings, and write checkpoints from which
    --resume goes on as if nothing had happened. SIGTERM and Ctrl-C end it with a checkpoint. Several processes train
    together where torchrun or accelerate launch starts it; --gpu-id 0 gives each a GPU then.
    """
    # Every command of spaCy imports this module, and what is imported here takes seconds.
    from spacy_padellm.training.checkpoint import FOLDER
    from spacy_padellm.training.loop import train
    from spacy_padellm.training.peers import join
    from spacy_padellm.training.start import Origin
    from spacy_padellm.training.team import check_shard

    if verbose:
        util.logger.setLevel(logging.DEBUG)
    overrides = parse_config_overrides(ctx.args)
    import_code(code_path)
    folder = output / FOLDER
    with coded_errors():
        check_whole("checkpoint_every", checkpoint_every, least=0)
        peers = join()
        check_shard(shard, peers)
        gpu_id = peers.device if gpu_id >= 0 and not peers.alone else gpu_id
        lock = Lock(folder / "lock")
        if peers.first:
            folder.mkdir(parents=True, exist_ok=True)
            lock.take()
    try:
        setup_gpu(gpu_id, silent=not peers.first)
        begun = _start(config_path, output, overrides, resume=resume, use_gpu=gpu_id, peers=peers)
        if begun.origin is Origin.NOTHING_LEFT:
            _say(peers).good(f"This training is finished: nothing is changed. {output / DIR_MODEL_LAST}")
            peers.leave()
            return
        outcome = train(begun, output, every=checkpoint_every, use_gpu=gpu_id, peers=peers, shard=shard)
        _end(outcome, _say(peers))
        # A launcher ends the others when one of them has ended with a signal's code.
        peers.wait()
        peers.leave()
    finally:
        lock.release()
    if outcome.signal is not None:
        raise typer.Exit(_SIGNALLED + outcome.signal)


def _start(
    config_path: Path, output: Path, overrides: dict[str, Any], *, resume: bool, use_gpu: int, peers: Peers
) -> Start:
    from spacy_padellm.training.checkpoint import FOLDER, Checkpoints
    from spacy_padellm.training.start import Origin, start

    say = _say(peers)
    with show_validation_error(config_path):
        config = util.load_config(config_path, overrides=overrides, interpolate=False)
    say.divider("Initializing pipeline")
    with coded_errors(), show_validation_error(config_path, hint_fill=False):
        begun = start(config, output, Checkpoints(output / FOLDER), resume=resume, use_gpu=use_gpu, peers=peers)
    say.good("Initialized pipeline")
    say.divider("Training pipeline")
    if begun.origin is Origin.CHECKPOINT and begun.checkpoint is not None:
        say.info(f"Going on with {begun.checkpoint.progress.step + 1} updates done")
    elif resume and begun.origin is Origin.BEGINNING:
        say.info(f"There is nothing to go on from in {output}: training begins from the start")
    if not peers.alone:
        say.info(f"{peers.count} processes, each with a share of every batch")
    return begun


def _say(peers: Peers) -> Printer:
    """Where the first one speaks, and all others do not."""
    return msg if peers.first else Printer(no_print=True)


def _end(outcome: Outcome, say: Printer) -> None:
    if outcome.signal is None:
        say.good("Saved pipeline to output directory", outcome.last)
        return
    resume = [] if {"--resume", "-R"} & {*sys.argv} else ["--resume"]
    command = shlex.join(["python", "-m", "spacy", *sys.argv[1:], *resume])
    say.warn(f"Interrupted with {outcome.step + 1} updates done and a checkpoint written. To go on:", command)
