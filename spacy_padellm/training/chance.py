"""The random states of a process: everything that training draws from, as plain values."""

from __future__ import annotations

import random
from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from thinc.compat import cupy, has_cupy_gpu

Draws = tuple[Any, ...]
"""What `random.getstate` gives: a version, 624 words with the place among them, and a second normal draw or None."""


def random_states() -> dict[str, Any]:
    """The states of `random`, numpy and torch, on all devices, as JSON can hold them."""
    version, words, second = random.getstate()
    state: Any = np.random.get_state(legacy=True)
    kind, keys, place, has_second, kept = state
    cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_initialized() else []
    return {
        "random": [version, list(words), second],
        "numpy": [kind, keys.tolist(), int(place), int(has_second), float(kept)],
        "torch": _hex(torch.get_rng_state()),
        "cuda": [_hex(state) for state in cuda],
    }


def set_random_states(states: Mapping[str, Any]) -> None:
    """Draw on from some states. cupy cannot tell its own, so it is seeded anew, from a state that differs each time."""
    version, words, second = states["random"]
    random.setstate((version, tuple(words), second))
    kind, keys, place, has_second, kept = states["numpy"]
    np.random.set_state((kind, np.array(keys, dtype=np.uint32), place, has_second, kept))
    torch.set_rng_state(_tensor(states["torch"]))
    # A run may go on on a machine with fewer devices.
    for device, state in enumerate(states["cuda"][: torch.cuda.device_count()]):
        torch.cuda.set_rng_state(_tensor(state), device)
    if has_cupy_gpu:
        cupy.random.seed(keys[place % len(keys)])


def packed(draws: Draws) -> tuple[np.ndarray, float]:
    """A state of `random` in 2.5 KB: its words and place as uint32 [625], and its second normal draw or NaN."""
    _, words, second = draws
    return np.array(words, dtype=np.uint32), float("nan") if second is None else second


def unpacked(words: np.ndarray, second: float) -> Draws:
    version = random.getstate()[0]
    return version, tuple(words.tolist()), None if second != second else second


def _hex(state: torch.Tensor) -> str:
    return bytes(state.tolist()).hex()


def _tensor(state: str) -> torch.Tensor:
    return torch.tensor(list(bytes.fromhex(state)), dtype=torch.uint8)
