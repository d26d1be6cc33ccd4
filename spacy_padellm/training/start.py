"""From where a training starts: the beginning, a checkpoint, or a pipeline that an interrupted `spacy train` left."""

from __future__ import annotations

import random
import warnings
from enum import Enum
from pathlib import Path
from typing import NamedTuple

from spacy.language import Language
from spacy.training.initialize import init_nlp
from spacy.training.loop import DIR_MODEL_LAST
from thinc.api import Config

from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.training.checkpoint import Checkpoint, Checkpoints, versions
from spacy_padellm.training.fingerprint import Fingerprint, differences, fingerprint
from spacy_padellm.training.peers import ALONE, Peers

_SEED = "training.seed"


class Origin(Enum):
    """What a training starts from."""

    BEGINNING = "the beginning"
    CHECKPOINT = "a checkpoint"
    LAST = "model-last, without a checkpoint"
    NOTHING_LEFT = "a training that is finished"


class Start(NamedTuple):
    """A training that is about to start.

    checkpoints (Checkpoints): Where it leaves its checkpoints.
    nlp (Language): The initialised pipeline; from `model-last` it has the weights of that.
    origin (Origin): What it starts from.
    checkpoint (Checkpoint | None): What it goes on from; of a finished training, its last one.
    """

    checkpoints: Checkpoints
    nlp: Language
    origin: Origin
    checkpoint: Checkpoint | None = None


def start(
    config: Config,
    output: Path,
    checkpoints: Checkpoints,
    *,
    resume: bool,
    use_gpu: int = -1,
    peers: Peers = ALONE,
) -> Start:
    """Initialise the pipeline of a config as `spacy train` does, and find out what to go on from. Nothing is written.

    config (Config): The config, its variables not put in. Without a seed it is given one.
    output (Path): Where the training leaves its pipelines.
    checkpoints (Checkpoints): Where it leaves its checkpoints.
    resume (bool): Go on from what is there, if anything.
    use_gpu (int): The GPU, or -1.
    peers (Peers): Who trains it together: all start alike.
    RETURNS (Start): The start. W070 if it is `model-last`; W071 for a checkpoint of other versions.
    RAISES (ValueError): P195 if what is there is of another config or corpus; P198 if the checkpoint is damaged; P199
        if there is an unfinished training and it is not resumed.
    """
    checkpoint = checkpoints.latest()
    if checkpoint is not None and not resume:
        if not checkpoint.progress.done:
            raise ValueError(Errors.P199.format(path=output, updates=checkpoint.progress.step + 1))
        checkpoint = None
    _give_seed(config, checkpoint, peers)
    nlp = init_nlp(config, use_gpu=use_gpu)
    if checkpoint is not None:
        _check_same(checkpoint.fingerprint, fingerprint(nlp.config), output)
        if checkpoint.progress.done and checkpoint.progress.is_over(nlp.config.interpolate()["training"]):
            return Start(checkpoints, nlp, Origin.NOTHING_LEFT, checkpoint)
        _warn_of_versions(checkpoint)
        return Start(checkpoints, nlp, Origin.CHECKPOINT, checkpoint)
    last = output / DIR_MODEL_LAST
    if not resume or not (last / "config.cfg").exists():
        return Start(checkpoints, nlp, Origin.BEGINNING)
    then, now = fingerprint(Config().from_disk(last / "config.cfg", interpolate=False)), fingerprint(nlp.config)
    if then.get(_SEED) is None:
        then[_SEED] = now[_SEED]
    _check_same(then, now, last)
    nlp.from_disk(last, exclude=["config"])
    warnings.warn(Warnings.W070.format(path=last), stacklevel=2)
    return Start(checkpoints, nlp, Origin.LAST)


def _give_seed(config: Config, checkpoint: Checkpoint | None, peers: Peers) -> None:
    """A training without a seed starts from random states that no second process can have: it is given one, which is
    drawn as they are."""
    training = config.interpolate().get("training", {})
    if "seed" in training and training["seed"] is None:
        drawn = peers.of_first(random.SystemRandom().randrange(2**32))
        config["training"]["seed"] = drawn if checkpoint is None else checkpoint.fingerprint[_SEED]


def _check_same(then: Fingerprint, now: Fingerprint, path: Path) -> None:
    found = differences(then, now)
    if found:
        raise ValueError(Errors.P195.format(path=path, differences="; ".join(found)))


def _warn_of_versions(checkpoint: Checkpoint) -> None:
    now = versions()
    told = [f"{name} {then}, now {now[name]}" for name, then in checkpoint.versions.items() if now.get(name) != then]
    if told:
        warnings.warn(Warnings.W071.format(differences="; ".join(told)), stacklevel=3)
