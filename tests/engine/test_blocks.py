"""Blocks of queries: which keys they look at. That attention is the same with them, `test_attention.py` shows."""

from __future__ import annotations

from functools import partial

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.engine import attention, blocks
from spacy_padellm.engine.attention import ForestRow
from spacy_padellm.engine.blocks import WHOLE, blocks_of
from spacy_padellm.tree.packing import Stretch, pack
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT

MASKS = st.tuples(st.integers(1, 3), st.integers(1, 30), st.integers(1, 30), st.randoms(use_true_random=False))


@given(MASKS, st.integers(1, 8))
def test_blocks_are_all_queries_over_all_they_see(drawn, size):
    n_documents, n_queries, n_keys, random = drawn
    bits = [random.random() < 0.1 for _ in range(n_documents * n_queries * n_keys)]
    mask = np.array(bits).reshape(n_documents, 1, n_queries, n_keys)
    states = torch.arange(n_keys).expand(n_documents, 2, n_keys)[..., None]
    found = np.zeros_like(mask)
    places: list[int] = []
    for block in blocks_of(mask, size=size):
        places += range(n_queries)[block.queries]
        keys = block.seen(states)[0, 0, :, 0].numpy()
        part = block.part(torch.from_numpy(mask)).numpy()
        assert part.shape == (n_documents, 1, len(range(n_queries)[block.queries]), len(keys))
        # A key that nobody of the block sees is left out, unless the row is one block.
        assert block == WHOLE[0] or part.any(axis=(0, 2)).all()
        found[:, :, block.queries, keys] = part
    assert places == list(range(n_queries))
    assert np.array_equal(found, mask)


def test_what_is_computed_grows_with_the_questions_and_not_with_their_square():
    def looked_at(n_questions: int) -> int:
        tree = Tree()
        text = tree.add(ROOT, range(30))
        for number in range(n_questions):
            tree.add(text, [100 + number, 1, 2, 3])
        mask = pack([Stretch(tree, 0, len(tree), 0)]).mask
        parts = [block.part(torch.from_numpy(mask)) for block in blocks_of(mask)]
        assert len(parts) > 2
        return sum(part.numel() for part in parts)

    assert looked_at(1000) < 2.2 * looked_at(500)
    assert looked_at(1000) < 4030**2 / 12


@pytest.mark.parametrize("sent", [False, True])
def test_a_captured_step_is_one_block(monkeypatch, sent):
    """Its shapes must not depend on who sees whom."""
    monkeypatch.setattr(attention, "blocks_of", partial(blocks.blocks_of, size=2))
    tree = Tree()
    tree.add(ROOT, range(9))
    row = pack([Stretch(tree, 0, 9, 0)])
    there = (torch.from_numpy(row.numbers), torch.from_numpy(row.mask)) if sent else None
    forest = ForestRow(row, device=torch.device("cpu"), sent=there)
    assert len(list(forest.blocks_within(None, torch.float32))) == (1 if sent else 5)
