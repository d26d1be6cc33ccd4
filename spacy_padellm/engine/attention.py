"""Attention over a forest: one packed row of pieces in, one packed row out.

The function is registered with transformers' public `AttentionInterface`, without a mask function, so a model that
was loaded with `attn_implementation=FOREST` builds no mask of its own and hands the keyword `forest` of
`model(..., forest=...)` down to it. Nothing in a model is patched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn.attention import SDPBackend, sdpa_kernel
from transformers import AttentionInterface

from spacy_padellm.engine.kv import KVStore
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Row, Stretch, pack

FOREST = "spacy_padellm_forest"

BLOCKS = {"cpu": 256}
"""Queries of a document that attend together, at the most, by device; on any other all do. A node's number is above
its ancestors', so the queries of a block look no further than its last one, and half of what a long text would look at
is left out. On a GPU, where attention is a small part of a step, it was not measured."""


class ForestRow:
    """A packed row on a device, with the K/V store it continues. It is the value of the keyword `forest`.

    row (Row): The packed row.
    store (KVStore | None): Keys and values of the nodes fed before; None where the row holds whole trees.
    device (torch.device): Where the model is.
    sent (tuple[Tensor, Tensor] | None): The row's numbers and mask, where they are on the device already.
    calls (int): How many attention layers have used it, for the load-time proof.
    """

    def __init__(
        self,
        row: Row,
        *,
        store: KVStore | None = None,
        device: torch.device,
        sent: tuple[Tensor, Tensor] | None = None,
    ) -> None:
        self.row = row
        self.store = store
        self.calls = 0
        numbers, self.mask = sent or (send(row.numbers, device), send(row.mask, device))
        sizes = [math.prod(size) for size in row.shape.parts.values()]
        cut = zip(numbers.split(sizes), row.shape.parts.items(), strict=True)
        parts = {name: part.view(size) for part, (name, size) in cut}
        self.documents, self.queries, self.keys = parts["documents"], parts["queries"], parts["keys"]
        self.slots, self.gather, self.awaited = parts["slots"], parts["gather"], parts["awaited"]
        self.query_positions, self.key_positions = parts["query_positions"], parts["key_positions"]
        self.piece_ids, self.positions = parts["piece_ids"][None], parts["positions"][None]
        first, last = int(row.slots[0]), int(row.slots[-1])
        in_order = bool((row.slots == np.arange(first, first + len(row.slots))).all())
        self._run = slice(first, last + 1) if in_order else None
        self._node_slots = self.slots[self.documents] if store is not None else self.slots
        # The most nodes of any document that were fed before. A padded node's place is behind all others'.
        self._n_before = int((row.keys - row.queries).max())
        self._biases: dict[tuple[int | None, torch.dtype], list[tuple[slice, Tensor]]] = {}

    def blocks(self, window: int | None, dtype: torch.dtype) -> list[tuple[slice, Tensor]]:
        """The queries in blocks, each with who sees whom as what is added to the scores: [D, 1, b, k], 0 or -inf, for
        the first k keys; nobody in the block sees any behind them. Visibility is narrowed to the `window` nearest tree
        positions where the model has a window. Made once a step: a boolean mask is turned into this in every layer. Its
        rows are 16 bytes apart or a multiple, which the fused kernels ask for."""
        if (window, dtype) not in self._biases:
            n_queries, n_keys = self.mask.shape[2:]
            size = BLOCKS.get(self.mask.device.type, n_queries)
            if self._n_before + size >= n_keys:
                size = n_queries
            self._biases[window, dtype] = [
                (
                    slice(start, start + size),
                    self._bias(slice(start, start + size), min(n_keys, self._n_before + start + size), window, dtype),
                )
                for start in range(0, n_queries, size)
            ]
        return self._biases[window, dtype]

    def _bias(self, queries: slice, n_keys: int, window: int | None, dtype: torch.dtype) -> Tensor:
        mask = self.mask[:, :, queries, :n_keys]
        if window is not None:
            distance = self.query_positions[:, queries, None] - self.key_positions[:, None, :n_keys]
            mask = mask & (distance < window)[:, None]
        bias = torch.full((*mask.shape[:3], -(-n_keys // 8) * 8), -torch.inf, dtype=dtype, device=mask.device)
        return bias[..., :n_keys].masked_fill_(mask, 0.0)

    def pad_queries(self, states: Tensor) -> Tensor:
        """[N, H, d] to [D, H, q, d]. Padded places repeat the row's first node; nobody reads them."""
        return states[self.gather].transpose(1, 2)

    def keys_and_values(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """[N, Hkv, d] to [D, Hkv, L, d]: this row's, and those of the nodes fed before."""
        if self.store is None:
            return self.pad_queries(key), self.pad_queries(value)
        keys, values = self.store.write(layer, self._node_slots, self.keys, key, value, self.mask.shape[-1])
        if self._run is not None:
            return keys[self._run], values[self._run]
        return keys[self.slots], values[self.slots]


def forest_attention(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    dropout: float = 0.0,
    sliding_window: int | None = None,
    softcap: float | None = None,
    s_aux: Tensor | None = None,
    forest: ForestRow | None = None,
    **_: Any,
) -> tuple[Tensor, None]:
    """Attention in which a piece sees its ancestors and itself.

    query, key, value (Tensor): [1, H or Hkv, N, d] for a packed row of N pieces, positions already applied.
    RETURNS (tuple[Tensor, None]): [1, N, H, d].
    RAISES (ValueError): P021 if the model was called without `forest`; P022 if it asks for a kind of attention that
        is not supported.
    """
    if forest is None:
        raise ValueError(Errors.P021.format())
    if softcap is not None or s_aux is not None:
        raise ValueError(Errors.P022.format(kind="soft-capping" if softcap is not None else "attention sinks"))
    forest.calls += 1
    queries = forest.pad_queries(query[0].transpose(0, 1))
    keys, values = forest.keys_and_values(_layer_of(module), key[0].transpose(0, 1), value[0].transpose(0, 1))
    groups = queries.shape[1] // keys.shape[1]
    if groups > 1:
        # `enable_gqa` with a mask falls to the slow math kernel on CUDA.
        keys, values = keys.repeat_interleave(groups, dim=1), values.repeat_interleave(groups, dim=1)
    parts = [
        nn.functional.scaled_dot_product_attention(
            queries[:, :, block],
            keys[:, :, : bias.shape[-1]],
            values[:, :, : bias.shape[-1]],
            attn_mask=bias,
            dropout_p=dropout,
            scale=scaling,
        )
        for block, bias in forest.blocks(sliding_window, queries.dtype)
    ]
    out = parts[0] if len(parts) == 1 else torch.cat(parts, dim=2)
    return out[forest.documents, :, forest.queries][None], None


def _layer_of(module: nn.Module) -> int:
    layer = getattr(module, "layer_idx", None)
    if layer is None:
        raise ValueError(Errors.P022.format(kind=f"an attention layer without an index ({type(module).__name__})"))
    return int(layer)


def run_row(
    model: nn.Module, stretches: Sequence[Stretch], *, store: KVStore | None, device: torch.device, logits_at: Tensor
) -> Tensor:
    """One step: feed stretches of trees to a model.

    model (nn.Module): A transformers causal LM that was loaded with `attn_implementation=FOREST`.
    stretches (Sequence[Stretch]): The nodes to feed, at most one stretch a document.
    store (KVStore | None): Where earlier nodes' keys and values are; None if the stretches are whole trees.
    logits_at (Tensor): int64 [R], places in the packed row whose next piece is wanted.
    RETURNS (Tensor): Logits [R, V], in the model's dtype.
    """
    forest = ForestRow(pack(stretches), store=store, device=device)
    return forward(model, forest, logits_at)


def forward(model: nn.Module, forest: ForestRow, logits_at: Tensor) -> Tensor:
    """One forward pass over a packed row: logits [R, V] at the places asked for."""
    with _kernels(forest.mask.device):
        output = model(
            input_ids=forest.piece_ids,
            position_ids=forest.positions,
            use_cache=False,
            logits_to_keep=logits_at.to(forest.piece_ids.device),
            forest=forest,
        )
    logits: Tensor = output.logits
    return logits[0]


def _kernels(device: torch.device) -> AbstractContextManager[None]:
    """The kinds of attention kernel that a step may use on a GPU. cuDNN's, which newer versions of torch prefer on some
    cards, builds a plan for every shape it has not seen, and here every step has another shape."""
    if device.type != "cuda":
        return nullcontext()
    kernels: AbstractContextManager[None] = sdpa_kernel([SDPBackend.EFFICIENT_ATTENTION, SDPBackend.MATH])
    return kernels


def send(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on a device."""
    return ready_to_send(array, device).to(device, non_blocking=True)


def ready_to_send(array: NDArray[Any], device: torch.device) -> Tensor:
    """An array as a tensor on the CPU; for a GPU in pinned memory, so that nobody waits for the copy. Torch keeps that
    memory until the copy is done."""
    tensor = torch.from_numpy(array)
    return tensor.pin_memory() if device.type == "cuda" else tensor


AttentionInterface.register(FOREST, forest_attention)
