"""The trie and the visibility rule, against `Tree.path`, their slow and obvious form."""

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT, Visibility

# Each action: share or not, which node to stand under (modulo the tree's size), and the pieces.
ACTIONS = st.lists(
    st.tuples(st.booleans(), st.integers(0, 200), st.lists(st.integers(0, 3), max_size=5)), min_size=1, max_size=30
)


def grown(actions: list[tuple[bool, int, list[int]]]) -> Tree:
    tree = Tree()
    grow(tree, actions)
    return tree


def grow(tree: Tree, actions: list[tuple[bool, int, list[int]]]) -> None:
    for share, place, pieces in actions:
        parent = place % (len(tree) + 1) - 1
        (tree.add if share else tree.chain)(parent, pieces)


def spelled(tree: Tree, node: int) -> list[int]:
    return [tree.pieces[at] for at in tree.path(node)]


@given(ACTIONS)
def test_a_piece_sees_its_path_and_nothing_else(actions):
    tree = grown(actions)
    expected = np.zeros((len(tree), len(tree)), dtype=bool)
    for node in range(len(tree)):
        expected[node, tree.path(node)] = True
    assert len(tree.visibility) == len(tree)
    assert np.array_equal(tree.visibility.rows(0, len(tree)), expected)


@given(ACTIONS, st.integers(0, 100), st.integers(0, 100))
def test_rows_of_a_stretch_are_those_of_the_whole(actions, first, second):
    tree = grown(actions)
    start, stop = sorted((first % (len(tree) + 1), second % (len(tree) + 1)))
    assert np.array_equal(tree.visibility.rows(start, stop), tree.visibility.rows(0, len(tree))[start:stop, :stop])


@given(ACTIONS)
def test_the_position_of_a_piece_is_its_depth(actions):
    tree = grown(actions)
    assert tree.depths == [len(tree.path(node)) - 1 for node in range(len(tree))]
    assert all(parent < node for node, parent in enumerate(tree.parents))


@given(st.lists(st.lists(st.integers(0, 3), min_size=1, max_size=6), min_size=1, max_size=20))
def test_segments_under_one_node_share_what_they_begin_with(segments):
    tree = Tree()
    trunk = tree.add(ROOT, [7, 8])
    ends = [tree.add(trunk, segment) for segment in segments]
    assert [spelled(tree, end) for end in ends] == [[7, 8, *segment] for segment in segments]
    prefixes = {tuple(segment[: place + 1]) for segment in segments for place in range(len(segment))}
    assert len(tree) == 2 + len(prefixes)


def test_an_empty_segment_ends_where_it_starts():
    tree = Tree()
    assert tree.add(ROOT, []) == ROOT
    node = tree.add(ROOT, [1, 2])
    assert tree.add(node, []) == node
    assert len(tree) == 2


def test_a_chain_shares_nothing_and_is_shared_from_then_on():
    tree = Tree()
    first = tree.add(ROOT, [1, 2])
    second = tree.chain(ROOT, [1, 2])
    assert (first, second) == (1, 3)
    assert tree.add(ROOT, [1, 2, 3]) == 4
    assert tree.path(4) == [2, 3, 4]


@given(ACTIONS, ACTIONS, ACTIONS)
def test_what_is_cut_was_never_there(before, taken_back, after):
    """The tree goes on as one that never had the nodes: shared nodes, paths, depths and who sees whom."""
    tree, plain = grown(before), grown(before)
    size = len(tree)
    grow(tree, taken_back)
    tree.cut(size)
    for other in (tree, plain):
        grow(other, after)
    assert (tree.pieces, tree.parents, tree.depths) == (plain.pieces, plain.parents, plain.depths)
    assert np.array_equal(tree.visibility.rows(0, len(tree)), plain.visibility.rows(0, len(plain)))


def test_visibility_grows_beyond_its_first_capacity():
    visibility = Visibility()
    visibility.extend(ROOT, 60)
    visibility.extend(59, 10)
    visibility.extend(9, 300)
    rows = visibility.rows(0, 370)
    assert rows[69].nonzero()[0].tolist() == list(range(70))
    assert rows[70].nonzero()[0].tolist() == [*range(10), 70]
    assert rows[369].nonzero()[0].tolist() == [*range(10), *range(70, 370)]
    assert np.array_equal(rows[:60, :60], np.tri(60, dtype=bool))
