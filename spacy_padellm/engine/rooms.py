"""K/V tensors that stay where they are, lent to one forest after the other: captured steps know their addresses."""

from __future__ import annotations

import threading
from collections import Counter
from collections.abc import Callable
from weakref import WeakSet

import torch
from torch import Tensor

from spacy_padellm.engine.kv import KVStore
from spacy_padellm.tree.packing import RowShape

Kind = tuple[RowShape, bool]
"""What a captured step is of: the shape of its row, and whether the model's layers ran compiled."""

FEW_SLOTS = 8
LEAST_PLACES = 256
"""A room of few slots has this many places at least, so that one room does for texts of any usual length."""

ROUNDING = 2
"""How many times what is asked for a room may hold: a quarter more for growth, and both sizes rounded up."""


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
    steps (dict[Kind, Callable]): What was captured for these tensors, the step used last at the end.
    seen (Counter[Kind]): How often a kind came that was not captured.
    n_touched (int): Slots that anything may have been written to since they were empty, the first ones.
    """

    def __init__(self, n_slots: int, n_places: int, epoch: int) -> None:
        self.n_slots = n_slots
        self.n_places = n_places
        self.epoch = epoch
        self.layers: dict[int, tuple[Tensor, Tensor]] = {}
        self.steps: dict[Kind, Callable[..., Tensor]] = {}
        self.seen: Counter[Kind] = Counter()
        self.n_touched = 0

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

    def clear(self) -> None:
        """Forget what all slots held. What is masked counts nothing, unless it is no number."""
        tensors = [tensor[: self.n_touched] for pair in self.layers.values() for tensor in pair]
        if tensors:
            torch._foreach_zero_(tensors)
        self.n_touched = 0

    def copy(self, other: Room, n_slots: int) -> None:
        """Take over what another, smaller room holds in its first slots."""
        for layer, (keys, values) in other.layers.items():
            mine = self.layer(layer, keys[:, :, 0], values[:, :, 0])
            for to, part in zip(mine, (keys, values), strict=True):
                to[:n_slots, :, : other.n_places] = part[:n_slots, :, : other.n_places]


class Shelf:
    """The rooms nobody uses. No more are kept than were ever out at the same time: those that another one can stand in
    for go first, then those that came back first.

    most_bytes (int): What they may hold together; beyond that those that came back first are dropped.
    """

    def __init__(self, most_bytes: int) -> None:
        self.most_bytes = most_bytes
        self.epoch = 0
        self._rooms: list[Room] = []
        self._out: WeakSet[Room] = WeakSet()
        self._most_out = 0
        self._lock = threading.RLock()

    def take(self, n_slots: int, n_places: int) -> Room:
        """The smallest room that is large enough, or a new one. It is empty."""
        with self._lock:
            fitting = [room for room in self._rooms if room.holds(n_slots, n_places)]
            if fitting:
                room = min(fitting, key=lambda room: room.size)
                self._rooms.remove(room)
            else:
                least = LEAST_PLACES if n_slots <= FEW_SLOTS else 1
                room = Room(round_up(n_slots), round_up(n_places, least=least), self.epoch)
            self._out.add(room)
            self._most_out = max(len(self._out), self._most_out)
        room.clear()
        return room

    def put(self, room: Room) -> None:
        with self._lock:
            self._out.discard(room)
            if room.epoch != self.epoch:
                return
            self._rooms.append(room)
            if len(self._rooms) > self._most_out:
                self._rooms.remove(next(filter(self._is_spare, self._rooms), self._rooms[0]))
            while self.n_bytes > self.most_bytes:
                self._rooms.pop(0)

    @property
    def n_bytes(self) -> int:
        """Bytes of the rooms nobody uses."""
        with self._lock:
            return sum(room.n_bytes for room in self._rooms)

    def _is_spare(self, room: Room) -> bool:
        return any(other is not room and other.holds(room.n_slots, room.n_places) for other in self._rooms)

    def keeps(self, room: Room) -> bool:
        """Whether a room will be kept when it comes back: it is small enough, and nothing was dropped since it left."""
        return room.epoch == self.epoch and room.n_bytes <= self.most_bytes

    def clear(self) -> None:
        """Drop all rooms and what was captured for them, also of those that are out."""
        with self._lock:
            self._rooms.clear()
            for room in self._out:
                room.steps.clear()
            self.epoch += 1


class FixedStore(KVStore):
    """A K/V store in a room, which it takes when keys and values are first stored and gives back when it is closed.

    shelf (Shelf): Where rooms come from.
    room (Room | None): The room to begin with, if it has one.
    n_slots (int): Slots in use.
    """

    def __init__(self, shelf: Shelf, *, room: Room | None = None, n_slots: int = 0) -> None:
        super().__init__(n_slots)
        self._shelf = shelf
        self._room = room
        if room is not None:
            self._layers = room.layers

    @property
    def room(self) -> Room:
        assert self._room is not None, "nothing is reserved"
        return self._room

    @property
    def n_viewed(self) -> int:
        """All of these are documents of a captured step."""
        return self.room.view(self.n_slots)

    def reserve(self, length: int) -> None:
        """Take a room for all slots in use and `length` places, or move to a larger one if that is needed."""
        room = self._room
        if room is None or not room.holds(self.n_slots, length):
            n_slots, n_places = self._size(self.n_slots, length)
            larger = self._shelf.take(n_slots, n_places)
            if room is not None:
                larger.copy(room, min(self.n_slots, room.n_slots))
                self._shelf.put(room)
            self._room, self._layers = larger, larger.layers
        self.room.n_touched = max(self.room.n_touched, self.n_viewed)

    def _size(self, n_slots: int, length: int) -> tuple[int, int]:
        """Slots and places to ask for: a tree that is stored will grow."""
        length += length // 4
        room = self._room
        return (n_slots, length) if room is None else (max(n_slots, room.n_slots), max(length, room.n_places))

    def _with_room(self, layer: int, key: Tensor, value: Tensor, length: int) -> tuple[Tensor, Tensor]:
        self.reserve(length)
        return self.room.layer(layer, key, value)

    def fit(self, length: int, *, slack: int = 1) -> None:
        """Nothing is given back before the store is closed: captured steps know where the tensors are."""

    def places_for(self, n_slots: int, length: int) -> int:
        """As many as a room for them may come to hold, whatever the room there is now: that does not shrink when
        documents leave, so it must not be what decides whether they have to."""
        return ROUNDING * n_slots * length

    def close(self) -> None:
        if self._room is not None:
            self._shelf.put(self._room)
        self._room, self._layers = None, {}

    @property
    def n_pieces(self) -> int:
        return self.room.size if self._layers else 0
