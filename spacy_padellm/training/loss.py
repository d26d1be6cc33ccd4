"""The loss of a row of trees: cross-entropy on answers only."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
from torch import Tensor

from spacy_padellm.engine.attention import ForestRow, forward
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.training.targets import TargetTree
from spacy_padellm.tree.packing import Stretch, pack


def row_loss(lm: LanguageModel, trees: Sequence[TargetTree]) -> Tensor:
    """Weighted sum of the cross-entropies of all targets of some trees, in one forward pass.

    lm (LanguageModel): The model.
    trees (Sequence[TargetTree]): At least one.
    RETURNS (Tensor): A scalar, float32 unless the model is float64: the sum, not the mean, in nats.
    """
    stretches = [Stretch(target.tree, 0, len(target.tree), slot) for slot, target in enumerate(trees)]
    offsets = np.cumsum([0, *(len(target.tree) for target in trees[:-1])])
    nodes = np.concatenate([target.nodes + offset for target, offset in zip(trees, offsets, strict=True)])
    kept, rows = np.unique(nodes, return_inverse=True)
    forest = ForestRow(pack(stretches), device=lm.device)
    logits = forward(lm.model, forest, torch.from_numpy(kept))
    # Half precision is too coarse for a sum over a vocabulary.
    exact = torch.promote_types(logits.dtype, torch.float32)
    log_probabilities = torch.log_softmax(logits, dim=-1, dtype=exact)
    pieces = torch.from_numpy(np.concatenate([target.pieces for target in trees])).to(lm.device)
    weights = torch.from_numpy(np.concatenate([target.weights for target in trees])).to(lm.device)
    return -(weights * log_probabilities[torch.from_numpy(rows).to(lm.device), pieces]).sum()
