"""How much memory keys and values take, how much there is, and what running out of it looks like."""

from __future__ import annotations

import os
from pathlib import Path

import torch

from spacy_padellm.engine.language_model import LanguageModel

CUDA_SHARE = 0.5
"""Share of a GPU's free memory that keys and values get; the rest is for the steps themselves."""

CPU_SHARE = 0.25
"""Share of the machine's available memory that keys and values get."""

CPU_MOST = 4 << 30
"""Bytes they get there at the most: more documents at once make a CPU no faster."""

_LIMIT, _USED = Path("/sys/fs/cgroup/memory.max"), Path("/sys/fs/cgroup/memory.current")
_STAT = Path("/sys/fs/cgroup/memory.stat")
_MEMORY = Path("/proc/meminfo")


def bytes_per_place(lm: LanguageModel) -> int:
    """Bytes that the keys and values of one node take, all layers together."""
    config = lm.config.get_text_config()
    n_heads = config.num_attention_heads
    size = getattr(config, "head_dim", None) or config.hidden_size // n_heads
    groups = getattr(config, "num_key_value_heads", None) or n_heads
    return int(2 * config.num_hidden_layers * groups * size * lm.model.dtype.itemsize)


def kv_budget(device: torch.device, *, kept: int = 0) -> int:
    """Bytes for keys and values, derived from what is free now: a share of it, on a CPU at most `CPU_MOST`.

    kept (int): Bytes that are kept for keys and values and not in use.
    """
    if device.type == "cuda":
        free, _ = torch.cuda.mem_get_info(device)
        cached = torch.cuda.memory_reserved(device) - torch.cuda.memory_allocated(device)
        return int((free + cached + kept) * CUDA_SHARE)
    return min(int((available_bytes() + kept) * CPU_SHARE), CPU_MOST)


def available_bytes() -> int:
    """Bytes of main memory that can be had without swapping, within the limit of a container if there is one."""
    found = [_system_bytes()]
    try:
        found.append(int(_LIMIT.read_text()) - int(_USED.read_text()) + _unused_files())
    except (OSError, ValueError):  # no container, another version of cgroups, or "max"
        pass
    return max(0, min(found))


def _unused_files() -> int:
    """Bytes of files that a container keeps in memory, counted as used, as long as nobody needs them."""
    try:
        lines = dict(line.split() for line in _STAT.read_text().splitlines())
        return int(lines["inactive_file"])
    except (OSError, ValueError, KeyError):
        return 0


def _system_bytes() -> int:
    try:
        lines = dict(line.split(":", 1) for line in _MEMORY.read_text().splitlines())
        return int(lines["MemAvailable"].split()[0]) * 1024
    except (OSError, ValueError, KeyError):  # not Linux
        pass
    try:
        return os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE") // 2
    except (AttributeError, ValueError, OSError):  # Windows
        return CPU_MOST


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an allocator failed: torch's on a GPU, torch's on a CPU (which has no exception of its own), or numpy's
    and Python's."""
    if isinstance(error, (torch.OutOfMemoryError, MemoryError)):
        return True
    return isinstance(error, RuntimeError) and "can't allocate memory" in str(error)


def forget_cached(device: torch.device) -> None:
    """Give a GPU's freed memory back to it, so that pieces of it can become one."""
    if device.type == "cuda":
        torch.cuda.empty_cache()
