"""Nodes of many trees as one row. There is no padding in the row; only attention pads, per document."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from spacy_padellm.tree.tree import Tree


class Stretch(NamedTuple):
    """The nodes `start` to `stop` (exclusive) of one tree, which stands in K/V slot `slot` of its forest."""

    tree: Tree
    start: int
    stop: int
    slot: int


@dataclass(frozen=True)
class Row:
    """N nodes of D documents, ready for one forward pass.

        row      | a a a a a | b b | c c c |        N pieces, no padding
        queries  | a a a a a |                      [D, q]: each document's nodes, padded on the right
                 | b b . . . |
                 | c c c . . |

    piece_ids (int64 [N]): Vocabulary ids.
    positions (int64 [N]): Depths in the trees.
    documents (int64 [N]): Which of the D documents a node belongs to.
    queries (int64 [N]): Its place among its document's q queries.
    keys (int64 [N]): Its K/V place within its document: its number in the tree.
    slots (int64 [D]): The K/V slot of each document.
    gather (int64 [D, q]): For each query place the node's place in the row; 0 where padded.
    mask (bool [D, 1, q, L]): Who sees whom; a padded query sees key 0, so that no softmax is over nothing.
    key_positions (int64 [D, L]): Depths of the keys.
    """

    piece_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    documents: NDArray[np.int64]
    queries: NDArray[np.int64]
    keys: NDArray[np.int64]
    slots: NDArray[np.int64]
    gather: NDArray[np.int64]
    mask: NDArray[np.bool_]
    key_positions: NDArray[np.int64]

    def __len__(self) -> int:
        return len(self.piece_ids)


def pack(stretches: Sequence[Stretch]) -> Row:
    """Lay stretches of trees side by side. Everything a stretch's nodes see must be in the stretch or fed before.

    stretches (Sequence[Stretch]): At least one, each with at least one node.
    RETURNS (Row): One row, documents in the order given.
    """
    lengths = np.array([stretch.stop - stretch.start for stretch in stretches])
    n_docs, width, depth = len(stretches), int(lengths.max()), max(stretch.stop for stretch in stretches)
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    documents = np.repeat(np.arange(n_docs), lengths)
    queries = np.arange(offsets[-1]) - offsets[documents]
    gather = np.zeros((n_docs, width), dtype=np.int64)
    gather[documents, queries] = np.arange(offsets[-1])
    mask = np.zeros((n_docs, 1, width, depth), dtype=bool)
    key_positions = np.zeros((n_docs, depth), dtype=np.int64)
    for place, (tree, start, stop, _) in enumerate(stretches):
        mask[place, 0, : stop - start, :stop] = tree.visibility.rows(start, stop)
        mask[place, 0, stop - start :, 0] = True
        key_positions[place, :stop] = tree.depths[:stop]
    firsts = np.array([stretch.start for stretch in stretches])
    keys = queries + firsts[documents]
    return Row(
        piece_ids=np.concatenate([np.array(tree.pieces[start:stop]) for tree, start, stop, _ in stretches]),
        positions=key_positions[documents, keys],
        documents=documents,
        queries=queries,
        keys=keys,
        slots=np.array([stretch.slot for stretch in stretches]),
        gather=gather,
        mask=mask,
        key_positions=key_positions,
    )
