"""Training on the CPU does not keep the memory that it freed."""

import sys
from pathlib import Path

import pytest
import torch

from spacy_padellm.model import memory, shim
from tests.model.test_architectures import built
from tests.pipeline.makers import examples


def resident() -> int:
    """Bytes of memory this process holds."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(memory._malloc_trim() is None, reason="the C library has no malloc_trim")
@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="memory is read from /proc")
def test_freed_memory_goes_back():
    # Blocks below the size that is mapped apart, with a small one behind each that stays: nothing is freed at the top.
    blocks = [(torch.ones(25_000), torch.ones(10)) for _ in range(2_000)]
    full = resident()
    kept = [small for _, small in blocks]
    del blocks
    memory.give_back_freed_memory()
    assert full - resident() > 100_000_000
    assert len(kept) == 2_000


def test_training_gives_memory_back_now_and_then(monkeypatch: pytest.MonkeyPatch):
    calls: list[None] = []
    monkeypatch.setattr(shim, "give_back_freed_memory", lambda: calls.append(None))
    nlp = built()
    pipe = nlp.get_pipe("padellm_ner")
    pieces = sum(len(tree.tree) for tree in pipe._trees(examples(nlp)))  # type: ignore[attr-defined]
    monkeypatch.setattr(shim, "_TIDY_EVERY", 2 * pieces)
    for expected in (0, 1, 1, 2):
        nlp.update(examples(nlp), sgd=False)
        assert len(calls) == expected


def test_no_such_call_no_harm(monkeypatch: pytest.MonkeyPatch):
    memory._malloc_trim.cache_clear()
    monkeypatch.setattr(memory.ctypes, "CDLL", lambda name: object())
    memory.give_back_freed_memory()
    assert memory._malloc_trim() is None
    memory._malloc_trim.cache_clear()
