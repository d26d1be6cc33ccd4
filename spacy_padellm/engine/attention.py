"""Attention over a forest: one packed row of pieces in, one packed row out.

The function is registered with transformers' public `AttentionInterface`, without a mask function, so a model that
was loaded with `attn_implementation=FOREST` builds no mask of its own and hands the keyword `forest` of
`model(..., forest=...)` down to it. Nothing in a model is patched.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import Any, NamedTuple

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


class LoneDocument(NamedTuple):
    """Where the only document of a row stands in the K/V store: its slot, and the places of its nodes."""

    slot: int
    places: slice


def _lone_document(row: Row) -> LoneDocument | None:
    """The only document of a row without padding. Its nodes lie as attention wants them, so views take the place of
    gathering and scattering, a twentieth of a small model's time on a CPU."""
    if row.shape.n_documents != 1 or row.shape.n_queries != len(row):
        return None
    first = int(row.keys[0])
    places = np.arange(first, first + len(row))
    if not (np.array_equal(row.keys, places) and np.array_equal(row.gather[0], places - first)):
        return None
    return LoneDocument(int(row.slots[0]), slice(first, first + len(row)))


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
        self._in_order = row.slots.tolist() == list(range(len(row.slots)))
        # A captured step sees other rows than this one.
        self._lone = _lone_document(row) if sent is None else None
        self._node_slots = self.slots[self.documents] if store is not None else self.slots
        self._biases: dict[tuple[int | None, torch.dtype], Tensor] = {}

    def bias_within(self, window: int | None, dtype: torch.dtype) -> Tensor:
        """The visibility mask, narrowed to the `window` nearest tree positions where the model has a window, as what
        is added to the scores: [D, 1, q, L], 0 or -inf. Made once a step: a boolean mask is turned into this in every
        layer. Its rows are 16 bytes apart or a multiple, which the fused kernels ask for."""
        if (window, dtype) not in self._biases:
            mask = self.mask
            if window is not None:
                distance = self.query_positions[:, :, None] - self.key_positions[:, None, :]
                mask = mask & (distance < window)[:, None]
            *rows, length = mask.shape
            bias = torch.full((*rows, -(-length // 8) * 8), -torch.inf, dtype=dtype, device=mask.device)
            self._biases[window, dtype] = bias[..., :length].masked_fill_(mask, 0.0)
        return self._biases[window, dtype]

    def pad_queries(self, states: Tensor) -> Tensor:
        """[N, H, d] to [D, H, q, d]. Padded places repeat the row's first node; nobody reads them."""
        padded = states[self.gather] if self._lone is None else states[None]
        return padded.transpose(1, 2)

    def unpad_queries(self, states: Tensor) -> Tensor:
        """[D, H, q, d] to [N, H, d]."""
        return states[self.documents, :, self.queries] if self._lone is None else states[0].transpose(0, 1)

    def keys_and_values(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """[N, Hkv, d] to [D, Hkv, L, d]: this row's, and those of the nodes fed before."""
        if self.store is None:
            return self.pad_queries(key), self.pad_queries(value)
        slots, places = self._lone or (self._node_slots, self.keys)
        keys, values = self.store.write(layer, slots, places, key, value, self.mask.shape[-1])
        if self._lone is not None:
            slot = self._lone.slot
            return keys[slot : slot + 1], values[slot : slot + 1]
        if self._in_order:
            return keys[: len(self.slots)], values[: len(self.slots)]
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
    bias = forest.bias_within(sliding_window, queries.dtype)
    out = nn.functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=bias, dropout_p=dropout, scale=scaling
    )
    return forest.unpad_queries(out)[None], None


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
