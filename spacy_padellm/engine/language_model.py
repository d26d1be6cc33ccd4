"""A causal LM with its tokenizer, ready for the forest."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

import torch
from torch import Tensor, nn
from transformers import PretrainedConfig, PreTrainedModel

from spacy_padellm.engine.compiled import CompiledLayers
from spacy_padellm.engine.graphs import CapturedSteps
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.tree.packing import Stretch

_UNKNOWN_LIMIT = 1 << 30
"""Positions of a model whose config names no limit."""


def positions_of(config: PretrainedConfig) -> int:
    """The positions that a model's config names; many where it names none."""
    return int(getattr(config, "max_position_embeddings", None) or _UNKNOWN_LIMIT)


@dataclass
class LanguageModel:
    """What the engine runs.

    model (PreTrainedModel): A transformers causal LM, or a peft model around one, loaded with
        `attn_implementation=FOREST`.
    pieces (Pieces): Its tokenizer.
    device (torch.device): Where it is.
    name (str): What to call it in messages.
    steps (CapturedSteps): Runs its steps, and captures them on a GPU. Whoever changes what the model computes other
        than by its weights (an adapter that is merged or switched off) calls `steps.forget()`.
    layers (CompiledLayers): Its layers as torch compiles them, for steps that ask for it.
    base (nn.Module | None): What the weights under an adapter belong to; other models share them while somebody holds
        it.
    """

    model: PreTrainedModel
    pieces: Pieces
    device: torch.device
    name: str
    steps: CapturedSteps = field(default_factory=CapturedSteps, repr=False, compare=False)
    layers: CompiledLayers = field(default_factory=CompiledLayers, repr=False, compare=False)
    base: nn.Module | None = field(default=None, repr=False, compare=False)

    def store(self, *, captured: bool) -> KVStore:
        """A K/V store for documents that step together, to be closed when they are done.

        captured (bool): Whether steps may be captured, where the device has a way to.
        """
        return self.steps.store(self.model, device=self.device) if captured else KVStore()

    def step(
        self, stretches: Sequence[Stretch], awaited: Sequence[int], *, store: KVStore, compiled: bool = False
    ) -> Tensor:
        """Feed stretches of trees: logits [R, V] at the awaited places of their row.

        compiled (bool): Whether the model's layers run compiled.
        RAISES (ValueError): P029 if torch cannot compile them.
        """
        with self.layers.within(self.model) if compiled else nullcontext():
            return self.steps.run(self.model, stretches, awaited, store=store, device=self.device, compiled=compiled)

    @property
    def config(self) -> PretrainedConfig:
        return self.model.config

    @property
    def family(self) -> str:
        return str(self.config.model_type)

    @property
    def max_positions(self) -> int:
        return positions_of(self.config)
