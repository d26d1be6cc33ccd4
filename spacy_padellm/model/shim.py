"""Between thinc and the causal LM: gradients, averages, and weights to and from folders."""

from __future__ import annotations

import functools
import logging
import math
import os
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Any

import srsly
import torch
from thinc.api import Optimizer, PyTorchShim, xp2torch
from thinc.compat import has_cupy_gpu

from spacy_padellm.backends.served import ServedModel
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors
from spacy_padellm.model.checkpointing import set_checkpointing
from spacy_padellm.model.memory import give_back_freed_memory
from spacy_padellm.model.sources import Source
from spacy_padellm.training.batching import rows_of
from spacy_padellm.training.gradients import add_up_gradients
from spacy_padellm.training.loss import row_loss
from spacy_padellm.training.peers import ALONE, Peers
from spacy_padellm.training.shares import shares_of
from spacy_padellm.training.targets import TargetTree

if TYPE_CHECKING:
    from spacy_padellm.model.sharding import Shards

LOGGER = logging.getLogger(__name__)

_MOST_BYTES = 2**32 - 1
"""The longest binary value msgpack can write."""

_TIDY_EVERY = 100_000
"""Pieces trained on after which freed memory is given back: some thirty updates of a small decoder, for about 0.1 s."""


class CausalLMShim(PyTorchShim):
    """Holds the causal LM of a pipe, from when it is created or loaded.

    thinc's own shim writes the whole model as one blob, reads with autocast for CUDA only, and never applies averaged
    weights; those parts are replaced here. Decoding does not go through the shim.

    source (Source): Makes, saves and loads the model.
    gradient_checkpointing (bool): Keep only the input of each layer for the backward pass and compute the rest again.
    """

    def __init__(self, source: Source, *, gradient_checkpointing: bool = False) -> None:
        super().__init__(None)
        self.source = source
        self._gradient_checkpointing = gradient_checkpointing
        self._lm: LanguageModel | None = None
        self._weight_since_update = 0.0
        self._pieces_since_tidied = 0
        self._peers = ALONE
        self._shards: Shards | None = None

    @property
    def loaded(self) -> bool:
        return self._lm is not None

    @property
    def lm(self) -> LanguageModel:
        """RAISES (ValueError): P010 before the model was initialised or loaded."""
        if self._lm is None:
            raise ValueError(Errors.P010.format())
        return self._lm

    @property
    def backend(self) -> LanguageModel | ServedModel:
        """Who is asked. RAISES (ValueError): P010 before the model was initialised or loaded."""
        return self.lm

    @property
    def trained(self) -> LanguageModel:
        """What updates run: the model, or this process's part of it.

        RAISES (ValueError): P010 before the model was initialised or loaded.
        """
        return self.lm if self._shards is None else self._shards.lm

    def create(self, texts: Sequence[str], questions: Sequence[str]) -> None:
        """Make the model as it is at the start of training. `questions` are the segments of the prompt."""
        begun = time.perf_counter()
        self._hold(self.source.create(texts, questions))
        _tell("Made", self.lm, begun)

    def _hold(self, lm: LanguageModel) -> None:
        _calm_forks()
        if self._gradient_checkpointing:
            set_checkpointing(lm, True)
        self._lm = lm
        self._model = lm.model
        self._shards = None
        self._weight_since_update = 0.0

    def join(self, peers: Peers) -> None:
        """Compute with others from now on, each a share of the trees.

        RAISES (ValueError): P053 if the model is on a GPU that is another's.
        """
        device = self.lm.device
        if device.type == "cuda" and device.index not in (None, peers.device) and not peers.alone:
            raise ValueError(Errors.P053.format(device=device, own=peers.device))
        self._peers = peers

    def shard(self, optimizer: Optimizer) -> None:
        """Leave a part of the weights to each of those it joined.

        RAISES (ValueError): P057 if the model, or this torch, cannot be trained in parts.
        """
        try:
            # Torch is also built without it, and what it is built on takes a second to import.
            from spacy_padellm.model.sharding import Shards
        except ImportError as error:
            raise ValueError(Errors.P057.format(reason=f"this torch has no sharding ({error})")) from error
        self._shards = Shards(self.lm, self._peers, number=self.id)
        self._shards.take_moments(optimizer)

    @contextmanager
    def whole(self, optimizer: Optimizer | None) -> Iterator[None]:
        """Have all weights for a while, where they are in parts."""
        with nullcontext() if self._shards is None else self._shards.whole(optimizer):
            yield

    def accumulate(self, trees: Sequence[TargetTree], *, max_row: int, dropout: float) -> float:
        """Add the gradients of the loss over all targets of some trees: of its sum. `finish_update` divides them by the
        targets of all calls since the last update, so several small batches make the update of one large batch.

        Rows are run forward and backward one after the other, so no more than one row's activations are alive. Of
        several peers each runs the rows of its share; all get the loss over all trees.

        trees (Sequence[TargetTree]): At least one target in all. The same for all peers.
        max_row (int): The most pieces in a row.
        dropout (float): Dropout rate.
        RETURNS (float): The mean loss in nats per target.
        RAISES (ValueError): P028 if the loss is no finite number; the weights are as they were. P031 if the model is
            frozen.
        """
        lm = self.trained
        if not any(parameter.requires_grad for parameter in lm.model.parameters()):
            raise ValueError(Errors.P031.format())
        shares = shares_of(trees, self._peers.count)
        # Captured steps would hold memory, and the update moves the weights they read.
        lm.steps.forget()
        lm.model.train()
        self.source.set_dropout(lm, dropout)
        try:
            with self._peers.apart(lm.device):
                own = self._run(lm, [rows_of(share, max_row) for share in shares], trees)
        finally:
            lm.model.eval()
        total = self._peers.total(own)
        if not math.isfinite(total):
            raise ValueError(Errors.P028.format(loss=total))
        weight = sum(tree.weight for tree in trees)
        self._weight_since_update += weight
        self._tidy(shares[self._peers.number])
        return total / weight

    def _run(
        self, lm: LanguageModel, rows: Sequence[Sequence[Sequence[TargetTree]]], trees: Sequence[TargetTree]
    ) -> float:
        """Add the gradients of this peer's rows. Returns their loss, and stops at one that is no finite number."""
        own, total = rows[self._peers.number], 0.0
        for row in own:
            loss = row_loss(lm, row)
            total += loss.item()
            if self._shards is not None:
                self._shards.backward(loss)
            elif math.isfinite(total):
                loss.backward()
            else:
                break
        if self._shards is not None:
            # Each row puts weights together for all peers, so all run as many: the smallest tree, for nothing.
            for _ in range(max(map(len, rows)) - len(own)):
                self._shards.backward(0.0 * row_loss(lm, [min(trees, key=lambda tree: len(tree.tree))]))
        return total

    def _tidy(self, trees: Sequence[TargetTree]) -> None:
        self._pieces_since_tidied += sum(len(tree.tree) for tree in trees)
        if self.lm.device.type == "cpu" and self._pieces_since_tidied >= _TIDY_EVERY:
            self._pieces_since_tidied = 0
            give_back_freed_memory()

    @torch.no_grad()
    def loss(self, trees: Sequence[TargetTree], *, max_row: int) -> float:
        """The mean loss over all targets of some trees, in evaluation mode, without gradients."""
        weight = sum(tree.weight for tree in trees)
        return sum(row_loss(self.lm, row).item() for row in rows_of(trees, max_row)) / weight

    def finish_update(self, optimizer: Optimizer) -> None:
        if self._lm is not None and self._lm.device.type == "cuda" and not has_cupy_gpu:
            raise ValueError(Errors.P012.format())
        weight, self._weight_since_update = self._weight_since_update, 0.0
        if self._shards is not None:
            self._shards.finish_update(optimizer, weight)
        elif self._lm is not None:
            self._average_gradients(self._lm, weight)
            super().finish_update(optimizer)

    def _average_gradients(self, lm: LanguageModel, weight: float) -> None:
        """From gradients of the sum, over the shares of all peers, to gradients of the mean over all targets since the
        last update."""
        add_up_gradients([one for one in lm.model.parameters() if one.requires_grad], self._peers)
        for parameter in lm.model.parameters():
            if weight and parameter.grad is not None:
                parameter.grad /= weight

    @contextmanager
    def use_params(self, params: dict[Any, Any]) -> Iterator[None]:
        """Work with averaged weights for a while: `params` is an optimizer's `averages`."""
        averaged = {key[1]: value for key, value in params.items() if isinstance(key, tuple) and key[0] == self.id}
        if self._lm is None or not averaged:
            yield
            return
        if self._shards is not None:
            with self._shards.use_params(averaged):
                yield
            return
        weights = {name: weight for name, weight in self.lm.model.named_parameters() if name in averaged}
        backup = {name: weight.data for name, weight in weights.items()}
        for name, weight in weights.items():
            weight.data = xp2torch(averaged[name], device=weight.device).clone()
        try:
            yield
        finally:
            for name, weight in weights.items():
                weight.data = backup[name]

    def to_device(self, device_type: str, device_id: int) -> None:
        """The model stays on the device that its own settings name."""

    def to_disk(self, path: str | Path) -> None:
        """Write the model to a folder.

        RAISES (ValueError): P010 before the model was initialised or loaded.
        """
        self.source.save(self.lm, Path(path))

    def from_disk(self, path: str | Path) -> CausalLMShim:
        """Read the model from a folder.

        RAISES (ValueError): P027 if a part of it is missing or broken; P025 if its family cannot be used.
        """
        begun = time.perf_counter()
        # A part that is missing must not be taken for a hub id, as a relative path might be.
        self._hold(self.source.load(Path(path).absolute()))
        _tell("Loaded", self.lm, begun)
        return self

    def to_bytes(self) -> bytes:
        """The folder's files as one message.

        RAISES (ValueError): P014 if a file is larger than a message can hold.
        """
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary)
            self.to_disk(folder)
            files = {path.relative_to(folder).as_posix(): path for path in folder.rglob("*") if path.is_file()}
            for name, path in files.items():
                if path.stat().st_size > _MOST_BYTES:
                    raise ValueError(Errors.P014.format(name=name, size=path.stat().st_size))
            message: bytes = srsly.msgpack_dumps({name: path.read_bytes() for name, path in sorted(files.items())})
            return message

    def from_bytes(self, data: bytes) -> CausalLMShim:
        with tempfile.TemporaryDirectory() as temporary:
            folder = Path(temporary).resolve()
            for name, content in srsly.msgpack_loads(data).items():
                path = (folder / name).resolve()
                if not path.is_relative_to(folder):
                    raise ValueError(Errors.P027.format(what="file", name=name, reason="it lies outside the model"))
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
            return self.from_disk(folder)


@functools.cache
def _calm_forks() -> None:
    """A process forked after torch has used its threads (`nlp.pipe(n_process=2)`) hangs unless it uses one only."""
    os.register_at_fork(after_in_child=lambda: torch.set_num_threads(1))


def _tell(what: str, lm: LanguageModel, begun: float) -> None:
    """Log a model that is there. It has passed its check, or it would have been refused (P025)."""
    if LOGGER.isEnabledFor(logging.INFO):
        family = getattr(lm.model.config, "model_type", "unknown")
        seconds = time.perf_counter() - begun
        weights = sum(weight.numel() for weight in lm.model.parameters())
        told = "%s a model: family %s, %d weights, device %s, dtype %s, check passed, %.2f s"
        LOGGER.info(told, what, family, weights, lm.device, lm.model.dtype, seconds)
