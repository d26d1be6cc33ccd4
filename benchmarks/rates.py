"""What a device can do at most: bytes and operations a second; and what attention takes under several kernels."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, nullcontext
from typing import Any

import torch
from torch import Tensor
from torch.nn.attention import SDPBackend, sdpa_kernel
from torch.nn.functional import scaled_dot_product_attention

ATTENTION_SHAPES = ((1, 80, 120), (64, 40, 160))
"""Documents, queries and keys: the first step of one document, and a step of many."""

KERNELS: dict[str, list[SDPBackend]] = {
    "as torch chooses": [],
    "efficient": [SDPBackend.EFFICIENT_ATTENTION],
    "cudnn": [SDPBackend.CUDNN_ATTENTION],
    "math": [SDPBackend.MATH],
}


def seconds_of(work: Callable[[], object], device: torch.device, *, runs: int = 20, inner: int = 5) -> float:
    """Median seconds of some work on a device, after a warm-up; `inner` times between two looks at the clock. The CPU
    is there for rehearsals and does it a few times only."""
    if device.type == "cpu":
        runs, inner = 2, 1
    seconds = []
    for run in range(runs + 1):
        synchronise(device)
        start = time.perf_counter()
        for _ in range(inner):
            work()
        synchronise(device)
        if run >= 1:
            seconds.append((time.perf_counter() - start) / inner)
    return statistics.median(seconds)


def synchronise(device: torch.device) -> None:
    if device.type == "cuda":
        torch.cuda.synchronize(device)


def bandwidth(device: torch.device) -> float:
    """Bytes a second, read and written, of a large copy on the device."""
    size = (1 << 32) if device.type == "cuda" else (1 << 26)
    source = torch.zeros(size, dtype=torch.uint8, device=device)
    target = torch.empty_like(source)
    return 2 * size / seconds_of(lambda: target.copy_(source), device)


def matrix_rate(device: torch.device, dtype: torch.dtype) -> float:
    """Operations a second of a large product of matrices; a multiplication and an addition are two."""
    size = 8192 if device.type == "cuda" else 512
    left, right = (torch.randn(size, size, device=device, dtype=dtype) for _ in range(2))
    return 2 * size**3 / seconds_of(lambda: left @ right, device)


def attention_times(n_heads: int, head_size: int, device: torch.device, dtype: torch.dtype) -> dict[str, Any]:
    """Microseconds of one layer's attention by shape, kernel and kind of mask: boolean, or what is added to the scores.
    Keys and values are views of a longer store, as the engine has them. A kernel that refuses gives its reason."""
    found: dict[str, Any] = {}
    for n_docs, n_queries, n_keys in ATTENTION_SHAPES:
        queries = torch.randn(n_docs, n_queries, n_heads, head_size, device=device, dtype=dtype).transpose(1, 2)
        store = torch.randn(2, n_docs, n_heads, n_keys + 129, head_size, device=device, dtype=dtype)
        keys, values = store[0][:, :, :n_keys], store[1][:, :, :n_keys]
        seen = torch.rand(n_docs, 1, n_queries, n_keys, device=device) < 0.7
        seen[..., 0] = True
        bias = torch.zeros(seen.shape, device=device, dtype=dtype).masked_fill_(~seen, -torch.inf)
        for name, backends in KERNELS.items():
            for kind, mask in (("bool", seen), ("bias", bias)):
                key = f"D={n_docs} q={n_queries} L={n_keys} {name} {kind}"
                found[key] = _attention_time(queries, keys, values, mask, backends)
    return found


def _attention_time(
    queries: Tensor, keys: Tensor, values: Tensor, mask: Tensor, backends: list[SDPBackend]
) -> float | str:
    kernels: AbstractContextManager[None] = sdpa_kernel(backends) if backends else nullcontext()
    try:
        with kernels:
            work = lambda: scaled_dot_product_attention(queries, keys, values, attn_mask=mask)  # noqa: E731
            return 1e6 * seconds_of(work, queries.device, runs=5, inner=20)
    except RuntimeError as error:
        return str(error).splitlines()[0][:120]
