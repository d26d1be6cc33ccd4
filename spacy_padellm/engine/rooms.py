"""K/V tensors that stay where they are, lent to one forest after the other: captured steps know their addresses."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable

import torch
from torch import Tensor

from spacy_padellm.engine.kv import KVStore
from spacy_padellm.tree.packing import RowShape

FEW_SLOTS = 8
LEAST_PLACES = 256
"""A room of few slots has this many places at least, so that one room does for texts of any usual length."""


def round_up(number: int, *, least: int = 1) -> int:
    """The next number on a ladder with four rungs from one power of two to the next, `least` at least: never more than
    a quarter above what was asked for, beyond 4."""
    number = max(number, least)
    rung = max(1, 1 << max(0, (number - 1).bit_length() - 3))
    return -(-number // rung) * rung


class Room:
    """K/V tensors of fixed size, per layer two [S, Hkv, C + 1, d]. Place C is scratch: padding is written there, and
    nobody looks at it.

    n_slots, n_places (int): S and C.
    layers (dict[int, tuple[Tensor, Tensor]]): Made by the first row that is written.
    steps (dict[RowShape, Callable]): What was captured for these tensors, the step used last at the end.
    seen (Counter[RowShape]): How often a shape came that was not captured.
    """

    def __init__(self, n_slots: int, n_places: int, epoch: int) -> None:
        self.n_slots = n_slots
        self.n_places = n_places
        self.epoch = epoch
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.steps: dict[RowShape, Callable[..., Tensor]] = {}
        self.seen: Counter[RowShape] = Counter()

    @property
    def size(self) -> int:
        return self.n_slots * self.n_places

    @property
    def n_bytes(self) -> int:
        return sum(tensor.numel() * tensor.element_size() for pair in self.layers.values() for tensor in pair)

    def holds(self, n_slots: int, n_places: int) -> bool:
        return n_slots <= self.n_slots and n_places <= self.n_places

    def view(self, n_slots: int) -> int:
        """How many of the slots are looked at where `n_slots` are needed: a power of two, so that steps come again."""
        return min(self.n_slots, 1 << (n_slots - 1).bit_length())

    def layer(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """The tensors of a layer whose keys and values are [N, Hkv, d]."""
        if layer not in self.layers:
            keys, values = (
                part.new_zeros((self.n_slots, part.shape[1], self.n_places + 1, part.shape[2])) for part in (key, value)
            )
            self.layers[layer] = keys, values
        return self.layers[layer]

    def clear(self, n_slots: int) -> None:
        """Forget what the first slots held. What is masked counts nothing, unless it is no number."""
        tensors = [tensor[:n_slots] for pair in self.layers.values() for tensor in pair]
        if tensors:
            torch._foreach_zero_(tensors)

    def copy(self, other: Room, n_slots: int) -> None:
        """Take over what another, smaller room holds in its first slots."""
        for layer, (keys, values) in other.layers.items():
            mine = self.layer(layer, keys[:, :, 0], values[:, :, 0])
            for to, part in zip(mine, (keys, values), strict=True):
                to[:n_slots, :, : other.n_places] = part[:n_slots, :, : other.n_places]


class Shelf:
    """The rooms nobody uses. A room that comes back takes the place of those it can stand in for.

    most_bytes (int): What they may hold together; beyond that those that came back first are dropped.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.epoch = 0
        self._rooms: list[Room] = []

    def take(self, n_slots: int, n_places: int) -> Room:
        """The smallest room that is large enough, or a new one. Its first `n_slots` slots are empty."""
        fitting = [room for room in self._rooms if room.holds(n_slots, n_places)]
        if not fitting:
            least = LEAST_PLACES if n_slots <= FEW_SLOTS else 1
            return Room(round_up(n_slots), round_up(n_places, least=least), self.epoch)
        room = min(fitting, key=lambda room: room.size)
        self._rooms.remove(room)
        room.clear(room.view(n_slots))
        return room

    def put(self, room: Room) -> None:
        if room.epoch != self.epoch:
            return
        self._rooms = [one for one in self._rooms if not room.holds(one.n_slots, one.n_places)]
        self._rooms.append(room)
        while sum(one.n_bytes for one in self._rooms) > self.most_bytes:
            self._rooms.pop(0)

    def keeps(self, room: Room) -> bool:
        """Whether a room is small enough to be kept."""
        return room.n_bytes <= self.most_bytes

    def clear(self) -> None:
        """Drop all rooms and what was captured for them, also of those that are out."""
        self._rooms.clear()
        self.epoch += 1


class FixedStore(KVStore):
    """A K/V store in a room. It has as many slots as are looked at: all of them are documents of a captured step.

    room (Room): Its first slots are empty.
    shelf (Shelf): Where a larger room comes from.
    """

    def __init__(self, n_slots: int, room: Room, shelf: Shelf) -> None:
        super().__init__(room.view(n_slots))
        self.room = room
        self._shelf = shelf
        self._layers = room.layers

    def reserve(self, length: int) -> None:
        """Move to a larger room if this one has fewer than `length` places."""
        if length > self.room.n_places:
            larger = self._shelf.take(self.room.n_slots, length + length // 4)
            larger.copy(self.room, self.n_slots)
            self._shelf.put(self.room)
            self.room, self._layers = larger, larger.layers

    def write(
        self, layer: int, slots: Tensor, places: Tensor, key: Tensor, value: Tensor, length: int
    ) -> tuple[Tensor, Tensor]:
        self.reserve(length)
        keys, values = self.room.layer(layer, key, value)
        keys[slots, :, places] = key
        values[slots, :, places] = value
        return keys[: self.n_slots, :, :length], values[: self.n_slots, :, :length]

    def keep(self, slots: list[int]) -> None:
        index = None
        for part in (part for pair in self._layers.values() for part in pair):
            index = torch.tensor(slots, device=part.device) if index is None else index
            part[: len(slots)] = part[index]
        self.n_slots = self.room.view(len(slots))

    @property
    def n_pieces(self) -> int:
        return self.n_slots * self.room.n_places if self._layers else 0
