"""Training that can be interrupted: the updates of `spacy train`, from wherever a checkpoint left them.

spaCy's own loop (`train_while_improving`) counts its steps from 0, and keeps its results and losses to itself. They can
neither be read for a checkpoint nor set from one, so the loop around an update is written here once more. All parts of
it that are functions of spaCy's are called: `tests/training/test_loop.py` holds it to the same weights, bit by bit.
"""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from timeit import default_timer
from typing import IO, Any, cast

from spacy.language import Language
from spacy.schemas import ConfigSchemaTraining
from spacy.training.loop import (
    DIR_MODEL_LAST,
    clean_output_dir,
    create_before_to_disk_callback,
    create_evaluation_callback,
    create_train_batches,
    subdivide_batch,
    update_meta,
)
from spacy.util import registry, resolve_dot_names
from thinc.api import constant, fix_random_seed, set_gpu_allocator
from wasabi import Printer

from spacy_padellm.training.checkpoint import Checkpoint, Checkpoints
from spacy_padellm.training.fingerprint import Fingerprint, fingerprint
from spacy_padellm.training.gradients import average_gradients
from spacy_padellm.training.interruption import Interruption
from spacy_padellm.training.order import Batch, Order
from spacy_padellm.training.peers import ALONE, Peers
from spacy_padellm.training.progress import Progress
from spacy_padellm.training.saving import best_score, save_last
from spacy_padellm.training.start import Origin, Start
from spacy_padellm.training.team import Team

Told = dict[str, Any]
"""What loggers are told of an update, by spaCy's names."""

Log = Callable[[Told | None], Any]


@dataclass(frozen=True)
class Outcome:
    """How a training ended.

    last (Path): The pipeline with the last weights.
    step (int): The last update.
    signal (int | None): The signal that interrupted it.
    """

    last: Path
    step: int
    signal: int | None = None


class Training:
    """A pipeline, its corpora and its optimizer, set up as `spacy train` sets them up.

    nlp (Language): The initialised pipeline, with the config.
    use_gpu (int): The GPU, or -1.
    peers (Peers): Who trains it together.
    shard (bool): Whether each of them holds a part of the models that are trained.
    """

    def __init__(self, nlp: Language, *, use_gpu: int = -1, peers: Peers = ALONE, shard: bool = False) -> None:
        config = nlp.config.interpolate()
        if config["training"]["seed"] is not None:
            fix_random_seed(config["training"]["seed"])
        if use_gpu >= 0 and config["training"]["gpu_allocator"]:
            set_gpu_allocator(config["training"]["gpu_allocator"])
        self.nlp = nlp
        self.peers = peers
        self.settings: dict[str, Any] = registry.resolve(config["training"], schema=ConfigSchemaTraining)
        train_corpus, dev_corpus = resolve_dot_names(
            config, [self.settings["train_corpus"], self.settings["dev_corpus"]]
        )
        self.optimizer = self.settings["optimizer"]
        self.order = Order(
            create_train_batches(nlp, train_corpus, self.settings["batcher"], self.settings["max_epochs"])
        )
        self.progress = Progress()
        self.frozen: list[str] = self.settings["frozen_components"]
        annotating = self.settings["annotating_components"]
        self.team = Team(nlp, peers, shard=shard, frozen=self.frozen, annotating=annotating)
        dropout = self.settings["dropout"]
        self._dropouts = iter(constant(dropout) if isinstance(dropout, float) else dropout)
        self._evaluate = create_evaluation_callback(nlp, dev_corpus, self.settings["score_weights"])
        self._before_to_disk = create_before_to_disk_callback(self.settings["before_to_disk"])

    def go_on_from(self, checkpoint: Checkpoint) -> None:
        """RAISES (ValueError): P196 if the batches are others than then; P197 if the weights are."""
        self.progress = replace(checkpoint.progress, done=False)
        for _ in range(self.progress.step + 1):
            next(self._dropouts)
        checkpoint.restore(self.nlp, self.optimizer, self.order)

    def keep_best(self, output: Path) -> None:
        """Leave `model-best` there until a score is as good as its own."""
        score = best_score(output, self.settings["score_weights"])
        self.progress.results += [] if score is None else [(score, self.progress.step)]

    def updates(self) -> Iterator[tuple[Batch, Told, bool | None]]:
        """Train on, until the settings or the corpus let it end.

        YIELDS (tuple[Batch, Told, bool | None]): The batch of an update, what is told of it, and whether its evaluation
            was the best so far; None if there was none.
        """
        settings, progress, began = self.settings, self.progress, default_timer() - self.progress.seconds
        while not progress.is_over(settings):
            epoch_and_batch = next(self.order, None)
            if epoch_and_batch is None:
                progress.exhausted = settings["max_epochs"]
                return
            progress.epoch, batch = epoch_and_batch
            progress.step += 1
            self.team.check_batches(self.order.place.digest)
            self._update(batch)
            score, scores, is_best = None, None, None
            if progress.step % settings["eval_frequency"] == 0:
                with self.nlp.use_params(self.optimizer.averages), self.team.whole():
                    score, scores = self.peers.of_first(self._evaluate())
                progress.results.append((score, progress.step))
                is_best = score == max(progress.results)[0]
            progress.words += sum(len(example) for example in batch)
            progress.seconds = default_timer() - began
            told = {
                "epoch": progress.epoch,
                "step": progress.step,
                "score": score,
                "other_scores": scores,
                "losses": progress.losses,
                "checkpoints": progress.results,
                "seconds": int(progress.seconds),
                "words": progress.words,
            }
            if is_best is not None:
                progress.losses = {}
            yield batch, told, is_best

    def _update(self, batch: Batch) -> None:
        settings, progress = self.settings, self.progress
        if settings["before_update"]:
            settings["before_update"](self.nlp, {"step": progress.step, "epoch": progress.epoch})
        dropout = next(self._dropouts)
        for part in subdivide_batch(batch, settings["accumulate_gradient"]):
            self.nlp.update(
                part,
                drop=dropout,
                losses=progress.losses,
                sgd=cast(Any, False),
                exclude=self.frozen,
                annotates=settings["annotating_components"],
            )
        pipes: Sequence[tuple[str, Any]] = self.nlp.pipeline
        for name, pipe in pipes:
            trained = name not in self.frozen and getattr(pipe, "is_trainable", False)
            if trained and pipe.model not in (True, False, None):
                average_gradients(pipe.model, self.peers)
                pipe.finish_update(self.optimizer)
        self.optimizer.step_schedules()

    def evaluated(self, told: Told, is_best: bool, output: Path) -> None:
        """Save the pipeline after an evaluation, with its scores."""
        with self.nlp.select_pipes(disable=self.frozen):
            update_meta(self.settings, self.nlp, told)
        told["output_path"] = str(self.save(output, best=is_best))

    def checkpoint(self, checkpoints: Checkpoints, depends_on: Fingerprint) -> None:
        with self.team.whole(self.optimizer):
            if self.peers.first:
                checkpoints.write(
                    self.nlp, self.optimizer, order=self.order, progress=self.progress, fingerprint=depends_on
                )

    def save(self, output: Path, *, best: bool) -> Path:
        """Save `model-last`, and `model-best` if it is. RETURNS (Path): `model-last`."""
        with self.nlp.use_params(self.optimizer.averages), self.team.whole():
            if self.peers.first:
                save_last(self.nlp, self._before_to_disk, output, best=best)
        return output / DIR_MODEL_LAST


def train(
    begun: Start,
    output: Path,
    *,
    every: int = 0,
    use_gpu: int = -1,
    peers: Peers = ALONE,
    shard: bool = False,
    stdout: IO[str] = sys.stdout,
    stderr: IO[str] = sys.stderr,
) -> Outcome:
    """Train a pipeline as `spacy train` does, with checkpoints.

    begun (Start): The initialised pipeline, with the config; where checkpoints go, and what to go on from.
    output (Path): Where `model-last` and `model-best` go.
    every (int): Updates after which there is a checkpoint, beside one at each evaluation; 0 for none.
    use_gpu (int): The GPU, or -1.
    peers (Peers): Who trains it together; the first one of them writes and logs.
    shard (bool): Whether each of them holds a part of the models that are trained.
    stdout, stderr (IO): Where messages go.
    RETURNS (Outcome): How it ended. SIGTERM and Ctrl-C, at any of the peers, let the update under way be finished and a
        checkpoint written.
    RAISES (ValueError): P196 if the batches are others than the checkpoint's; P197 if the weights are; P053 to P055 if
        peers do not fit together; P056 to P058 if a model cannot be divided.
    """
    training = Training(begun.nlp, use_gpu=use_gpu, peers=peers, shard=shard)
    _prepare(training, begun, output)
    checkpoints, depends_on = begun.checkpoints, fingerprint(begun.nlp.config)
    log, end_log = _logger(training, stdout, stderr) if peers.first else (_silent, _silent)
    if begun.origin is not Origin.CHECKPOINT:
        # Or else a first `model-last` without one would be taken for what another command left.
        training.checkpoint(checkpoints, depends_on)
    received: int | None = None
    with Interruption() as interruption:
        try:
            for _, told, is_best in training.updates():
                if is_best is not None:
                    training.evaluated(told, is_best, output)
                log(told if is_best is not None else None)
                due = every and (training.progress.step + 1) % every == 0
                received = peers.most(interruption.received or 0) or None
                if is_best is not None or due or received is not None:
                    training.checkpoint(checkpoints, depends_on)
                if received is not None:
                    break
        except BaseException as error:
            end_log()
            # A model in parts cannot be put together by one process alone.
            saving = " and saving the pipeline as it is" if peers.first and not training.team.sharded else ""
            if isinstance(error, Exception):
                stdout.write(Printer(no_print=True).warn(f"Aborting{saving}. Met: {error!r}") + "\n")
            if saving:
                training.save(output, best=False)
            raise
        end_log()
        last = training.save(output, best=False)
        if received is None:
            # The last thing to be written: whoever finds it knows that all else is there.
            training.progress.done = True
            training.checkpoint(checkpoints, depends_on)
    return Outcome(last, training.progress.step, received)


def _prepare(training: Training, begun: Start, output: Path) -> None:
    """Put a training where it starts, and its folder into order."""
    peers = training.peers
    # What is in the folder may be removed when all have read it.
    peers.wait()
    output.mkdir(parents=True, exist_ok=True)
    if begun.origin is Origin.CHECKPOINT and begun.checkpoint is not None:
        training.go_on_from(begun.checkpoint)
    elif begun.origin is Origin.LAST:
        training.keep_best(output)
    elif peers.first:
        begun.checkpoints.clear()
        clean_output_dir(output)
    training.team.begin(training.optimizer)


def _logger(training: Training, stdout: IO[str], stderr: IO[str]) -> tuple[Log, Callable[[], Any]]:
    _introduce(training, stdout)
    with training.nlp.select_pipes(disable=training.frozen):
        made: tuple[Log, Callable[[], Any]] = training.settings["logger"](training.nlp, stdout, stderr)
        return made


def _silent(*told: Told | None) -> None:
    """The log of all but the first."""


def _introduce(training: Training, stdout: IO[str]) -> None:
    told = {
        "Pipeline": training.nlp.pipe_names,
        "Frozen components": training.frozen,
        "Set annotations on update for": training.settings["annotating_components"],
        "Learn rate": training.optimizer.learn_rate,
    }
    for name, value in told.items():
        if value != []:
            stdout.write(Printer(no_print=True).info(f"{name}: {value}") + "\n")
