"""A packed row, place by place, against the trees it was packed from."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.tree.packing import Stretch, pack
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT

BRANCHES = st.lists(
    st.tuples(st.integers(0, 50), st.lists(st.integers(0, 5), min_size=1, max_size=4)), min_size=1, max_size=6
)
# A tree, where its stretch starts and ends, and its slot.
STRETCHES = st.lists(st.tuples(BRANCHES, st.integers(0, 30), st.integers(0, 30)), min_size=1, max_size=4)


def stretches_of(drawn: list) -> list[Stretch]:
    stretches = []
    for slot, (branches, first, second) in enumerate(drawn):
        tree = Tree()
        for place, pieces in branches:
            tree.add(place % (len(tree) + 1) - 1, pieces)
        start = first % len(tree)
        stretches.append(Stretch(tree, start, start + 1 + second % (len(tree) - start), 9 - slot))
    return stretches


@given(STRETCHES)
def test_every_node_stands_where_the_row_says(drawn):
    stretches = stretches_of(drawn)
    row = pack(stretches)
    fed = [(doc, node) for doc, (_, start, stop, _) in enumerate(stretches) for node in range(start, stop)]
    assert len(row) == len(fed)
    assert row.slots.tolist() == [stretch.slot for stretch in stretches]
    for place, (doc, node) in enumerate(fed):
        tree, start, _, _ = stretches[doc]
        assert row.piece_ids[place] == tree.pieces[node]
        assert row.positions[place] == tree.depths[node]
        assert (row.documents[place], row.queries[place], row.keys[place]) == (doc, node - start, node)
        assert row.gather[doc, node - start] == place
        assert np.flatnonzero(row.mask[doc, 0, node - start]).tolist() == tree.path(node)
    for doc, (tree, _, stop, _) in enumerate(stretches):
        assert row.key_positions[doc, :stop].tolist() == tree.depths[:stop]


@given(STRETCHES)
def test_a_padded_query_sees_the_first_key_alone(drawn):
    stretches = stretches_of(drawn)
    row = pack(stretches)
    width = max(stretch.stop - stretch.start for stretch in stretches)
    assert row.mask.shape == (len(stretches), 1, width, max(stretch.stop for stretch in stretches))
    for doc, (_, start, stop, _) in enumerate(stretches):
        for query in range(stop - start, width):
            assert np.flatnonzero(row.mask[doc, 0, query]).tolist() == [0]
            assert row.gather[doc, query] == 0


def test_the_row_by_hand():
    first, second = Tree(), Tree()
    trunk = first.add(ROOT, [10, 11])
    first.add(trunk, [12, 13])
    first.add(trunk, [12, 14])
    second.add(ROOT, [20, 21])
    row = pack([Stretch(first, 2, 5, 1), Stretch(second, 0, 2, 0)])
    assert row.piece_ids.tolist() == [12, 13, 14, 20, 21]
    assert row.positions.tolist() == [2, 3, 3, 0, 1]
    assert row.keys.tolist() == [2, 3, 4, 0, 1]
    assert row.gather.tolist() == [[0, 1, 2], [3, 4, 0]]
    assert row.mask[0, 0].astype(int).tolist() == [[1, 1, 1, 0, 0], [1, 1, 1, 1, 0], [1, 1, 1, 0, 1]]
    assert row.mask[1, 0].astype(int).tolist() == [[1, 0, 0, 0, 0], [1, 1, 0, 0, 0], [1, 0, 0, 0, 0]]
    assert row.key_positions.tolist() == [[0, 1, 2, 3, 3], [0, 1, 0, 0, 0]]
