"""A model proves itself before it is used: a tiny packed tree must equal its paths run alone."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor

from spacy_padellm.engine.attention import FOREST, ForestRow, forward
from spacy_padellm.engine.checkpoint import is_quantized
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Stretch, pack
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT

TOLERANCE = {torch.float32: 1e-3, torch.bfloat16: 6e-2, torch.float16: 2e-2}
"""Largest difference of logits, as a share of the largest logit. A wrong mask or position is off by tens of per cent,
rounding in float32 by about 1e-5."""

QUANTIZED = 0.15
"""The same for quantised weights: in 8 bits activations are rounded by what else is in the row, and a small model with
random weights was off by 0.08."""


@torch.inference_mode()
def prove(lm: LanguageModel) -> None:
    """Compare two packed trees, fed in two steps, with each of their paths through the model's own attention.

    lm (LanguageModel): The model, in evaluation mode.
    RAISES (ValueError): P025 naming the model family if they differ, if the model leaves out the forest's attention
        in some layer, or if it cannot run the row at all.
    """
    trees = _probe_trees(lm)
    try:
        packed, calls = _packed_logits(lm, trees)
        with own_attention(lm):
            alone = torch.cat([_alone_logits(lm, tree) for tree in trees])
    except (TypeError, ValueError, RuntimeError, AttributeError, IndexError, KeyError, NotImplementedError) as error:
        raise ValueError(Errors.P025.format(family=lm.family, name=lm.name, reason=error)) from error
    n_layers = lm.config.get_text_config().num_hidden_layers
    if calls != 2 * n_layers:
        reason = f"{calls // 2} of {n_layers} layers use the forest's attention"
        raise ValueError(Errors.P025.format(family=lm.family, name=lm.name, reason=reason))
    off = ((packed - alone).abs().max() / alone.abs().max()).item()
    tolerance = TOLERANCE.get(next(lm.model.parameters()).dtype, max(TOLERANCE.values()))
    if is_quantized(lm.model):
        tolerance = QUANTIZED
    if not off <= tolerance:
        reason = f"packed and plain logits differ by {off:.2g} of the largest logit (at most {tolerance:.2g})"
        raise ValueError(Errors.P025.format(family=lm.family, name=lm.name, reason=reason))


def _probe_trees(lm: LanguageModel) -> list[Tree]:
    """Two small trees of different shape over pieces spread over the vocabulary."""
    size = lm.config.get_text_config().vocab_size
    draw = torch.Generator().manual_seed(0)
    ids = torch.randint(0, size, (24,), generator=draw).tolist()
    trees = []
    for trunk_length, offset in ((5, 0), (3, 7)):
        tree = Tree()
        trunk = tree.add(ROOT, ids[offset : offset + trunk_length])
        for start in (8, 12, 16):
            label = tree.add(trunk, ids[start : start + 3])
            tree.add(label, ids[start + 3 : start + 5])
            tree.add(label, ids[start + 5 : start + 7])
        trees.append(tree)
    return trees


def _packed_logits(lm: LanguageModel, trees: list[Tree]) -> tuple[Tensor, int]:
    """Logits of all nodes, tree after tree, fed in two steps; and how often the forest's attention was called."""
    store = KVStore(len(trees))
    parts: list[list[Tensor]] = [[] for _ in trees]
    calls = 0
    for first in (True, False):
        stretches = [
            Stretch(tree, 0 if first else len(tree) // 2, len(tree) // 2 if first else len(tree), slot)
            for slot, tree in enumerate(trees)
        ]
        forest = ForestRow(pack(stretches), store=store, device=lm.device)
        logits = forward(lm.model, forest, torch.arange(len(forest.row))).float()
        calls += forest.calls
        for part, piece in zip(parts, logits.split([stop - start for _, start, stop, _ in stretches]), strict=True):
            part.append(piece)
    return torch.cat([torch.cat(part) for part in parts]), calls


def _alone_logits(lm: LanguageModel, tree: Tree) -> Tensor:
    """Logits of each node, from a path through it as a sequence of its own. Nodes that several paths share are read
    off the first of them."""
    logits: dict[int, Tensor] = {}
    for leaf in sorted(set(range(len(tree))).difference(tree.parents)):
        path = tree.path(leaf)
        pieces = torch.tensor([[tree.pieces[node] for node in path]], device=lm.device)
        alone = lm.model(input_ids=pieces, use_cache=False).logits[0].float()
        for node, row in zip(path, alone, strict=True):
            logits.setdefault(node, row)
    return torch.stack([logits[node] for node in range(len(tree))])


@contextmanager
def own_attention(lm: LanguageModel, name: str = "eager") -> Iterator[None]:
    """The model with one of transformers' own kinds of attention, not the forest's."""
    configs = {id(part.config): part.config for part in lm.model.modules() if hasattr(part, "config")}
    forest = [config for config in configs.values() if getattr(config, "_attn_implementation", None) == FOREST]
    for config in forest:
        config._attn_implementation = name
    try:
        yield
    finally:
        for config in forest:
            config._attn_implementation = FOREST
