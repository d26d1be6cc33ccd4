"""A model with a clock in it: how much of the time is the model's, and how much is spent on getting to it."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor

from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.tree.packing import Stretch


@dataclass
class WatchedModel(LanguageModel):
    """A language model that adds up the seconds of its forward passes: what is left is packing, trees, tokenising,
    constraint and choice of pieces. On a GPU, where a captured step has no forward pass, whole steps are added up, with
    the wait for the device.

    clock (Callable[[], float]): Seconds.
    seconds (float): Those of all forward passes so far.
    """

    clock: Callable[[], float] = time.perf_counter
    seconds: float = 0.0

    def step(
        self, stretches: Sequence[Stretch], awaited: Sequence[int], *, store: KVStore, compiled: bool = False
    ) -> Tensor:
        if self.device.type == "cuda":
            start = self._now()
            logits = super().step(stretches, awaited, store=store, compiled=compiled)
            self.seconds += self._now() - start
            return logits
        hooks = [
            self.model.register_forward_pre_hook(self._begin),
            self.model.register_forward_hook(self._end),
        ]
        try:
            return super().step(stretches, awaited, store=store, compiled=compiled)
        finally:
            for hook in hooks:
                hook.remove()

    def _begin(self, *_: Any) -> None:
        self.seconds -= self.clock()

    def _end(self, *_: Any) -> None:
        self.seconds += self.clock()

    def _now(self) -> float:
        torch.cuda.synchronize(self.device)
        return self.clock()


def watch(lm: LanguageModel, clock: Callable[[], float]) -> WatchedModel:
    """The same model, tokenizer, captured steps and compiled layers, with a clock."""
    return WatchedModel(lm.model, lm.pieces, lm.device, lm.name, lm.steps, lm.layers, clock=clock)
