"""A pipeline that several peers train: what is divided, what each holds whole, and whether all agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from typing import Any

import torch
from spacy.language import Language
from thinc.api import Model, Optimizer, PyTorchShim, xp2torch
from torch import Tensor

from spacy_padellm.errors import Errors
from spacy_padellm.training.peers import Divided, Peers

_BITS = {1: torch.uint8, 2: torch.int16, 4: torch.int32, 8: torch.int64}


class Team:
    """A pipeline and the peers that train it.

    nlp (Language): The pipeline with its first weights.
    peers (Peers): Who trains it.
    shard (bool): Whether each holds a part of the models that are trained.
    frozen (Sequence[str]): Pipes that are not trained.
    annotating (Sequence[str]): Pipes that annotate what is trained on.
    RAISES (ValueError): P056 to shard among one; P058 to shard what annotates.
    """

    def __init__(
        self,
        nlp: Language,
        peers: Peers,
        *,
        shard: bool = False,
        frozen: Sequence[str] = (),
        annotating: Sequence[str] = (),
    ) -> None:
        self.peers = peers
        self.sharded = shard
        self._nlp = nlp
        self._trained = [name for name in nlp.pipe_names if name not in frozen]
        check_shard(shard, peers)
        for name, _ in self._divided() if shard else ():
            if name in annotating:
                raise ValueError(Errors.P058.format(name=name))

    def begin(self, optimizer: Optimizer) -> None:
        """Divide the work. For a pipeline as it is before its first update of this run.

        optimizer (Optimizer): What updates it, with what a checkpoint told it.
        RAISES (ValueError): P053 if a model is on a GPU that is another's; P054 if weights are not the same for all;
            P057 if one cannot be divided.
        """
        if self.peers.alone:
            return
        for name, weights in _weights(self._nlp):
            if len(set(self.peers.told(_digest(weights)))) > 1:
                raise ValueError(Errors.P054.format(name=name))
        for _, shim in self._divided():
            shim.join(self.peers)
            if self.sharded:
                shim.shard(optimizer)

    @contextmanager
    def whole(self, optimizer: Optimizer | None = None) -> Iterator[None]:
        """Have whole models for a while, to annotate with or to save. All peers come here together.

        optimizer (Optimizer | None): The first peer's is to know all, too.
        """
        with ExitStack() as stack:
            for _, shim in self._divided() if self.sharded else ():
                stack.enter_context(shim.whole(optimizer))
            yield

    def check_batches(self, digest: str) -> None:
        """RAISES (ValueError): P055 if others have read other batches so far.

        digest (str): What the batches come to (`Place.digest`).
        """
        if not self.peers.alone and len(set(self.peers.told(digest))) > 1:
            raise ValueError(Errors.P055.format())

    def _divided(self) -> list[tuple[str, Divided]]:
        return [
            (name, shim)
            for name, model in _models(self._nlp)
            if name in self._trained
            for node in model.walk()
            for shim in node.shims
            if isinstance(shim, Divided)
        ]


def check_shard(shard: bool, peers: Peers) -> None:
    """RAISES (ValueError): P056 to shard among one."""
    if shard and peers.alone:
        raise ValueError(Errors.P056.format())


def _models(nlp: Language) -> Iterator[tuple[str, Model]]:
    for name, pipe in nlp.components:
        model = getattr(pipe, "model", None)
        if isinstance(model, Model):
            yield name, model


def _weights(nlp: Language) -> Iterator[tuple[str, list[Tensor]]]:
    """All weights of each pipe, trained or not."""
    for name, model in _models(nlp):
        found: list[Tensor] = []
        for node in model.walk():
            found += [xp2torch(node.get_param(one)) for one in node.param_names if node.has_param(one)]
            modules: list[Any] = [shim._model for shim in node.shims if isinstance(shim, PyTorchShim)]
            found += [weight.detach() for module in modules if module is not None for weight in module.parameters()]
        yield name, found


def _digest(weights: Iterable[Tensor]) -> tuple[int, ...]:
    """A number for each weight, which is another one as good as always if any bit of it is. It is a sum of whole
    numbers, so neither the device nor the order in which it adds matters."""
    bits = (weight.contiguous().view(_BITS[weight.element_size()]) for weight in weights)
    return tuple(int(one.sum(dtype=torch.int64)) for one in bits)
