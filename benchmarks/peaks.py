"""What a pass of training holds in memory: counted by autograd, and as the system sees it."""

from __future__ import annotations

import multiprocessing
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path
from typing import TypeVar

from torch import Tensor, nn
from torch.autograd.graph import saved_tensors_hooks

from spacy_padellm.model.memory import give_back_freed_memory

T = TypeVar("T")

_STATUS, _CLEAR = Path("/proc/self/status"), Path("/proc/self/clear_refs")


def saved_bytes(model: nn.Module, forward: Callable[[], Tensor]) -> int:
    """Bytes that a forward pass keeps for the way back, each storage once, weights left out.

    model (nn.Module): Whose weights are left out.
    forward (Callable[[], Tensor]): The pass; its gradients are not computed.
    """
    weights = {parameter.untyped_storage().data_ptr() for parameter in model.parameters()}
    # The graph keeps the tensors alive, so no address is given out twice.
    found: dict[int, int] = {}

    def note(tensor: Tensor) -> Tensor:
        storage = tensor.untyped_storage()
        if storage.data_ptr() not in weights:
            found[storage.data_ptr()] = storage.nbytes()
        return tensor

    with saved_tensors_hooks(note, lambda tensor: tensor):
        kept = forward()
    del kept
    return sum(found.values())


def peak_bytes(work: Callable[[], object]) -> int | None:
    """The most memory that some work takes beyond what the process holds before it; None where the system (other than
    Linux) does not tell."""
    if not _CLEAR.exists():
        return None
    # What was freed and kept would be used again unseen.
    give_back_freed_memory()
    _CLEAR.write_text("5")
    before = _status("VmRSS")
    work()
    return _status("VmHWM") - before


def _status(name: str) -> int:
    line = next(line for line in _STATUS.read_text().splitlines() if line.startswith(f"{name}:"))
    return 1024 * int(line.split()[1])


def in_child(work: Callable[..., T], *arguments: object) -> T:
    """Call a function of a module in a new process, which has none of this one's memory."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        return pool.submit(work, *arguments).result()
