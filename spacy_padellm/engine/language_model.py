"""A causal LM with its tokenizer, ready for the forest."""

from __future__ import annotations

from dataclasses import dataclass

import torch
from transformers import PretrainedConfig, PreTrainedModel

from spacy_padellm.engine.pieces import Pieces

_UNKNOWN_LIMIT = 1 << 30
"""Positions of a model whose config names no limit."""


@dataclass
class LanguageModel:
    """What the engine runs.

    model (PreTrainedModel): A transformers causal LM, or a peft model around one, loaded with
        `attn_implementation=FOREST`.
    pieces (Pieces): Its tokenizer.
    device (torch.device): Where it is.
    name (str): What to call it in messages.
    """

    model: PreTrainedModel
    pieces: Pieces
    device: torch.device
    name: str

    @property
    def config(self) -> PretrainedConfig:
        return self.model.config

    @property
    def family(self) -> str:
        return str(self.config.model_type)

    @property
    def max_positions(self) -> int:
        return int(getattr(self.config, "max_position_embeddings", None) or _UNKNOWN_LIMIT)
