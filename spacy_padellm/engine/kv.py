"""Keys and values of a forest, one slot a document."""

from __future__ import annotations

import torch
from torch import Tensor


class KVStore:
    """What the fed nodes of every document left behind in every layer.

    Per layer two tensors [S, Hkv, C, d]: S slots, one a document; C places, one a node, grown as the trees grow.

    n_slots (int): Number of documents.
    """

    def __init__(self, n_slots: int) -> None:
        self.n_slots = n_slots
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def write(
        self, layer: int, slots: Tensor, places: Tensor, key: Tensor, value: Tensor, length: int
    ) -> tuple[Tensor, Tensor]:
        """Store the keys and values of a row's nodes.

        layer (int): Index of the attention layer.
        slots, places (Tensor): int64 [N], the slot and the place of each node.
        key, value (Tensor): [N, Hkv, d].
        length (int): Number of places anyone will look at.
        RETURNS (tuple[Tensor, Tensor]): Keys and values of all slots, [S, Hkv, length, d], views.
        """
        if layer not in self._layers:
            shape = (self.n_slots, key.shape[1], length, key.shape[2])
            self._layers[layer] = (key.new_zeros(shape), value.new_zeros((*shape[:3], value.shape[2])))
        keys, values = self._layers[layer]
        if length > keys.shape[2]:
            capacity = max(length, keys.shape[2] * 3 // 2)
            keys, values = (_widen(keys, capacity), _widen(values, capacity))
            self._layers[layer] = (keys, values)
        keys[slots, :, places] = key
        values[slots, :, places] = value
        return keys[:, :, :length], values[:, :, :length]

    def keep(self, slots: list[int]) -> None:
        """Forget every slot but these, which move up: slots[i] becomes slot i."""
        for layer, (keys, values) in self._layers.items():
            index = torch.tensor(slots, device=keys.device)
            self._layers[layer] = (keys.index_select(0, index), values.index_select(0, index))
        self.n_slots = len(slots)

    @property
    def n_pieces(self) -> int:
        """Places held, all slots together."""
        return sum(keys.shape[0] * keys.shape[2] for keys, _ in list(self._layers.values())[:1])

    @property
    def n_bytes(self) -> int:
        """Bytes held, all layers together."""
        return sum(t.numel() * t.element_size() for pair in self._layers.values() for t in pair)


def _widen(tensor: Tensor, capacity: int) -> Tensor:
    wide = tensor.new_zeros((*tensor.shape[:2], capacity, tensor.shape[3]))
    wide[:, :, : tensor.shape[2]] = tensor
    return wide
