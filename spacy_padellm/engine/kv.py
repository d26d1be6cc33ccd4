"""Keys and values of a forest, one slot a document. Documents come and go, their slots are used again."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple

import torch
from torch import Tensor


class Run(NamedTuple):
    """Consecutive places `start` to `stop` (exclusive) of one slot."""

    slot: int
    start: int
    stop: int


class KVStore:
    """What the fed nodes of every document left behind in every layer.

    Per layer two tensors [S, Hkv, C, d]: S slots, of which the first `n_slots` are in use; C places, one a node, grown
    as the trees grow. Slots in use have no gaps, so a step of all documents reads them as they lie, without a copy.

    n_slots (int): Number of documents.
    """

    def __init__(self, n_slots: int = 0) -> None:
        self.n_slots = n_slots
        self._layers: dict[int, tuple[Tensor, Tensor]] = {}

    def write(
        self,
        layer: int,
        slots: Tensor,
        places: Tensor,
        key: Tensor,
        value: Tensor,
        length: int,
        *,
        run: Run | None = None,
    ) -> tuple[Tensor, Tensor]:
        """Store the keys and values of a row's nodes.

        layer (int): Index of the attention layer.
        slots, places (Tensor): int64 [N], the slot and the place of each node.
        key, value (Tensor): [N, Hkv, d].
        length (int): Number of places anyone will look at.
        run (Run | None): The same places, where they are one run of one slot: that needs no index.
        RETURNS (tuple[Tensor, Tensor]): Keys and values of all slots that are looked at, [n_viewed, Hkv, length, d],
            views.
        """
        keys, values = self._with_room(layer, key, value, length)
        put(keys, key, slots, places, run)
        put(values, value, slots, places, run)
        return keys[: self.n_viewed, :, :length], values[: self.n_viewed, :, :length]

    @property
    def n_viewed(self) -> int:
        """Slots that are looked at."""
        return self.n_slots

    def _with_room(self, layer: int, key: Tensor, value: Tensor, length: int) -> tuple[Tensor, Tensor]:
        """A layer's tensors, with room for `length` places of every slot in use."""
        if layer not in self._layers:
            shape = (self.n_slots, key.shape[1], length, key.shape[2])
            self._layers[layer] = (key.new_zeros(shape), value.new_zeros((*shape[:3], value.shape[2])))
        keys, values = self._layers[layer]
        size = _grown(keys, self.n_slots, length)
        if size != (keys.shape[0], keys.shape[2]):
            self._layers[layer] = (_sized(keys, *size), _sized(values, *size))
        return self._layers[layer]

    def join(self) -> int:
        """RETURNS (int): The slot of one more document. What an earlier one left in it stays until it is written over;
        no mask shows it to anyone."""
        self.n_slots += 1
        return self.n_slots - 1

    @torch.inference_mode()
    def leave(self, slots: Sequence[int]) -> list[int]:
        """Free some slots. The last ones move into the gaps.

        RETURNS (list[int]): For each slot in use its number before.
        """
        left, n_slots = set(slots), self.n_slots - len(slots)
        gaps = [slot for slot in sorted(left) if slot < n_slots]
        movers = [slot for slot in range(n_slots, self.n_slots) if slot not in left]
        if gaps:
            for tensor in (tensor for pair in self._layers.values() for tensor in pair):
                tensor[gaps] = tensor[movers]
        before = list(range(n_slots))
        for gap, mover in zip(gaps, movers, strict=True):
            before[gap] = mover
        self.n_slots = n_slots
        return before

    @torch.inference_mode()
    def fit(self, length: int, *, slack: int = 1) -> None:
        """Give memory back: slots that are not in use, and places beyond `length`.

        slack (int): Only if there are at least so many times as many as are needed.
        """
        for layer, (keys, values) in self._layers.items():
            slots, places = keys.shape[0], keys.shape[2]
            size = (
                self.n_slots if slots >= slack * self.n_slots else slots,
                length if places >= slack * length else places,
            )
            if size != (slots, places):
                self._layers[layer] = (_sized(keys, *size), _sized(values, *size))

    def close(self) -> None:
        """Give all memory back."""
        self._layers = {}

    def places_for(self, n_slots: int, length: int) -> int:
        """Places that would be held, all slots together, once so many documents have stored so many nodes."""
        for keys, _ in self._layers.values():
            slots, places = _grown(keys, n_slots, length)
            return slots * places
        return n_slots * length

    @property
    def n_pieces(self) -> int:
        """Places held, all slots together."""
        return sum(keys.shape[0] * keys.shape[2] for keys, _ in list(self._layers.values())[:1])

    @property
    def n_bytes(self) -> int:
        """Bytes held, all layers together."""
        return sum(t.numel() * t.element_size() for pair in self._layers.values() for t in pair)


def put(to: Tensor, rows: Tensor, slots: Tensor, places: Tensor, run: Run | None) -> None:
    """Write [N, Hkv, d] to N places of [S, Hkv, C, d]."""
    if run is None:
        to[slots, :, places] = rows
    else:
        to[run.slot, :, run.start : run.stop] = rows.transpose(0, 1)


def _grown(tensor: Tensor, n_slots: int, length: int) -> tuple[int, int]:
    """Slots and places of a tensor that has room for so many of both. Places grow ahead of need, because trees grow by
    a few nodes each step; slots do not, because whoever decodes knows how many documents there will be."""
    slots, places = tensor.shape[0], tensor.shape[2]
    return max(slots, n_slots), places if length <= places else max(length, places * 3 // 2)


def _sized(tensor: Tensor, n_slots: int, places: int) -> Tensor:
    """A copy with so many slots and places, zero where there was nothing."""
    sized = tensor.new_zeros((n_slots, tensor.shape[1], places, tensor.shape[3]))
    kept = tensor[:n_slots, :, :places]
    sized[: kept.shape[0], :, : kept.shape[2]] = kept
    return sized
