"""A pipeline that several peers train: what is divided, what each holds whole, and whether all agree."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
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
    """

    def __init__(self, nlp: Language, peers: Peers) -> None:
        self.peers = peers
        self._nlp = nlp

    def begin(self) -> None:
        """Divide the work. For a pipeline as it is before its first update of this run.

        RAISES (ValueError): P053 if a model is on a GPU that is another's; P054 if weights are not the same for all.
        """
        if self.peers.alone:
            return
        for name, weights in _weights(self._nlp):
            if len(set(self.peers.told(_digest(weights)))) > 1:
                raise ValueError(Errors.P054.format(name=name))
        for shim in self._divided():
            shim.join(self.peers)

    def check_batches(self, digest: str) -> None:
        """RAISES (ValueError): P055 if others have read other batches so far.

        digest (str): What the batches come to (`Place.digest`).
        """
        if not self.peers.alone and len(set(self.peers.told(digest))) > 1:
            raise ValueError(Errors.P055.format())

    def _divided(self) -> list[Divided]:
        models = [model for _, model in _models(self._nlp)]
        return [shim for model in models for node in model.walk() for shim in node.shims if isinstance(shim, Divided)]


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
    """A number for each weight, which is another one as good as always if any bit of it is. It is a sum of whole numbers,
    so neither the device nor the order in which it adds matters."""
    bits = (weight.contiguous().view(_BITS[weight.element_size()]) for weight in weights)
    return tuple(int(one.sum(dtype=torch.int64)) for one in bits)
