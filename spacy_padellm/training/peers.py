"""The processes that train one pipeline together: who they are, and what they tell each other."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager
from datetime import timedelta
from typing import Protocol, TypeVar, runtime_checkable

import torch
from thinc.api import Optimizer, set_active_gpu
from thinc.compat import has_cupy_gpu
from torch import Tensor, distributed

from spacy_padellm.errors import Errors

_PATIENCE = timedelta(hours=2)
"""How long one waits for another. The first one writes pipelines and checkpoints while the others wait."""

_ON_GPUS = "cuda:nccl,cpu:gloo"
"""Gradients are added up where they are; what is told beside them is on the CPU."""

_MEETING = ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT")
"""What launchers set beside WORLD_SIZE."""

T = TypeVar("T")


class Peers:
    """The processes of a training. All read the same batches and make the same updates; the trees of a batch are
    divided among them.

    number (int): Which one this is. The first one, 0, alone writes and speaks.
    count (int): How many there are.
    device (int): The GPU of this one, -1 for the CPU.
    added (int): Bytes of gradients that were added up so far.
    """

    def __init__(self, number: int = 0, count: int = 1, *, device: int = -1) -> None:
        self.number = number
        self.count = count
        self.device = device
        self.added = 0

    @property
    def alone(self) -> bool:
        return self.count == 1

    @property
    def first(self) -> bool:
        return self.number == 0

    def add_up(self, tensor: Tensor) -> None:
        """Put the sum over all peers into a tensor, which has the same shape for each. All get the same bits."""
        if not self.alone:
            distributed.all_reduce(tensor)

    def total(self, number: float) -> float:
        """The sum over all peers of a number."""
        if self.alone:
            return number
        summed = torch.tensor(number, dtype=torch.float64)
        self.add_up(summed)
        return float(summed)

    def most(self, number: int) -> int:
        """The largest of all peers' numbers."""
        if self.alone:
            return number
        largest = torch.tensor(number)
        distributed.all_reduce(largest, distributed.ReduceOp.MAX)
        return int(largest)

    def told(self, value: T) -> list[T]:
        """What each of them has to say, by number."""
        found: list[T] = [value] * self.count
        if not self.alone:
            distributed.all_gather_object(found, value)
        return found

    def of_first(self, value: T) -> T:
        """What the first one has to say."""
        found = [value]
        if not self.alone:
            distributed.broadcast_object_list(found, src=0)
        return found[0]

    def wait(self) -> None:
        """Wait until all have come here."""
        self.total(0.0)

    @contextmanager
    def apart(self, device: torch.device) -> Iterator[None]:
        """Draw numbers that are this one's own, for dropout on its share, from a seed that all draw alike. Behind it
        all are in the same random state again."""
        if self.alone:
            yield
            return
        seed = int(torch.randint(2**31, ()))
        with torch.random.fork_rng([device] if device.type == "cuda" else []):
            torch.manual_seed(seed + self.number)
            yield

    def leave(self) -> None:
        if not self.alone:
            distributed.destroy_process_group()


ALONE = Peers()
"""A training of one process."""


@runtime_checkable
class Divided(Protocol):
    """What divides its work among peers by itself, such as the shim of our model. All others do the whole of it, each
    for itself."""

    def join(self, peers: Peers) -> None:
        """Work with these from now on."""
        ...

    def shard(self, optimizer: Optimizer) -> None:
        """Leave a part of the weights, and of what the optimizer knows of them, to each peer."""
        ...

    def whole(self, optimizer: Optimizer | None) -> AbstractContextManager[None]:
        """Have all weights for a while, and let the first peer's optimizer know all, if there is one."""
        ...


def join() -> Peers:
    """Meet those that a launcher started (`torchrun`, `accelerate launch`).

    RETURNS (Peers): `ALONE` where none did, or only one process.
    RAISES (ValueError): P050 without accelerate; P051 where nothing says how to meet; P052 if there are fewer GPUs
        than processes on this machine.
    """
    expected = int(os.environ.get("WORLD_SIZE") or 1)
    if expected == 1:
        return ALONE
    missing = [name for name in _MEETING if name not in os.environ]
    if missing:
        raise ValueError(Errors.P051.format(expected=expected, missing=", ".join(missing)))
    try:
        from accelerate import PartialState
    except ImportError as error:
        raise ValueError(Errors.P050.format(problem=error)) from error
    on_gpus, place = torch.cuda.is_available(), int(os.environ.get("LOCAL_RANK") or 0)
    if on_gpus and place >= torch.cuda.device_count():
        raise ValueError(Errors.P052.format(place=place + 1, gpus=torch.cuda.device_count()))
    state = PartialState(cpu=not on_gpus, backend=_ON_GPUS if on_gpus else "gloo", timeout=_PATIENCE)
    if on_gpus and has_cupy_gpu:
        # Torch is told by accelerate; thinc's optimizer computes with cupy.
        set_active_gpu(place)
    return Peers(state.process_index, state.num_processes, device=place if on_gpus else -1)
