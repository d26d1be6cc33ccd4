"""Attention over a forest: one packed row of pieces in, one packed row out.

The function is registered with transformers' public `AttentionInterface`, without a mask function, so a model that
was loaded with `attn_implementation=FOREST` builds no mask of its own and hands the keyword `forest` of
`model(..., forest=...)` down to it. Nothing in a model is patched.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from torch import Tensor, nn
from transformers import AttentionInterface

from spacy_padellm.engine.kv import KVStore
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Row, Stretch, pack

FOREST = "spacy_padellm_forest"


class ForestRow:
    """A packed row on a device, with the K/V store it continues. It is the value of the keyword `forest`.

    row (Row): The packed row.
    store (KVStore | None): Keys and values of the nodes fed before; None where the row holds whole trees.
    device (torch.device): Where the model is.
    calls (int): How many attention layers have used it, for the load-time proof.
    """

    def __init__(self, row: Row, *, store: KVStore | None = None, device: torch.device) -> None:
        self.row = row
        self.store = store
        self.calls = 0
        self.documents = torch.from_numpy(row.documents).to(device)
        self.queries = torch.from_numpy(row.queries).to(device)
        self.keys = torch.from_numpy(row.keys).to(device)
        self.slots = torch.from_numpy(row.slots).to(device)
        self.gather = torch.from_numpy(row.gather).to(device)
        self.mask = torch.from_numpy(row.mask).to(device)
        self.key_positions = torch.from_numpy(row.key_positions).to(device)
        self.piece_ids = torch.from_numpy(row.piece_ids).to(device)[None]
        self.positions = torch.from_numpy(row.positions).to(device)[None]
        self._whole_store = store is not None and row.slots.tolist() == list(range(store.n_slots))
        self._windowed: dict[int, Tensor] = {}

    def mask_within(self, window: int | None) -> Tensor:
        """The visibility mask, narrowed to the `window` nearest tree positions where the model has a window."""
        if window is None:
            return self.mask
        if window not in self._windowed:
            positions = self.positions[0][self.gather]
            near = positions[:, :, None] - self.key_positions[:, None, :] < window
            # A padded query still sees key 0, whatever its position.
            padded = torch.ones_like(self.gather, dtype=torch.bool)
            padded[self.documents, self.queries] = False
            self._windowed[window] = self.mask & (near | padded[:, :, None])[:, None]
        return self._windowed[window]

    def pad_queries(self, states: Tensor) -> Tensor:
        """[N, H, d] to [D, H, q, d]. Padded places repeat the row's first node; nobody reads them."""
        return states[self.gather].transpose(1, 2)

    def keys_and_values(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """[N, Hkv, d] to [D, Hkv, L, d]: this row's, and those of the nodes fed before."""
        if self.store is None:
            return self.pad_queries(key), self.pad_queries(value)
        slots = self.slots[self.documents]
        keys, values = self.store.write(layer, slots, self.keys, key, value, self.mask.shape[-1])
        return (keys, values) if self._whole_store else (keys[self.slots], values[self.slots])


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
    out = nn.functional.scaled_dot_product_attention(
        queries, keys, values, attn_mask=forest.mask_within(sliding_window), dropout_p=dropout, scale=scaling
    )
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
    output = model(
        input_ids=forest.piece_ids,
        position_ids=forest.positions,
        use_cache=False,
        logits_to_keep=logits_at.to(forest.piece_ids.device),
        forest=forest,
    )
    logits: Tensor = output.logits
    return logits[0]


AttentionInterface.register(FOREST, forest_attention)
