"""Nodes of many trees as one row. There is no padding in the row; only attention pads, per document."""

from __future__ import annotations

import math
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


class RowShape(NamedTuple):
    """How large a row is.

    n_pieces (int): N, nodes in the row.
    n_documents (int): D.
    n_queries (int): q, the most nodes of one document.
    n_keys (int): L, the K/V places anyone looks at.
    n_awaited (int): R, nodes whose next piece is wanted.
    """

    n_pieces: int
    n_documents: int
    n_queries: int
    n_keys: int
    n_awaited: int

    @property
    def parts(self) -> dict[str, tuple[int, ...]]:
        """The arrays of integers of a row with their shapes, in the order in which they lie end to end."""
        n_pieces, n_documents, n_queries, n_keys, n_awaited = self
        by_node = dict.fromkeys(("piece_ids", "positions", "documents", "queries", "keys"), (n_pieces,))
        by_query = dict.fromkeys(("gather", "query_positions"), (n_documents, n_queries))
        return {
            **by_node,
            "slots": (n_documents,),
            **by_query,
            "key_positions": (n_documents, n_keys),
            "awaited": (n_awaited,),
        }

    @property
    def n_numbers(self) -> int:
        """Integers of a row."""
        return sum(math.prod(size) for size in self.parts.values())

    @property
    def mask(self) -> tuple[int, int, int, int]:
        return self.n_documents, 1, self.n_queries, self.n_keys


@dataclass(frozen=True)
class Row:
    """N nodes of D documents, ready for one forward pass.

        row      | a a a a a | b b | c c c |        N pieces, no padding
        queries  | a a a a a |                      [D, q]: each document's nodes, padded on the right
                 | b b . . . |
                 | c c c . . |

    All integers lie in one array, so that one copy brings them to a device.

    shape (RowShape): N, D, q, L and R.
    numbers (int64 [shape.n_numbers]): All that follow but the mask, end to end.
    piece_ids (int64 [N]): Vocabulary ids.
    positions (int64 [N]): Depths in the trees.
    documents (int64 [N]): Which of the D documents a node belongs to.
    queries (int64 [N]): Its place among its document's q queries.
    keys (int64 [N]): Its K/V place within its document: its number in the tree.
    slots (int64 [D]): The K/V slot of each document.
    gather (int64 [D, q]): For each query place the node's place in the row; 0 where padded.
    query_positions (int64 [D, q]): Depths of the queries; 0 where padded, so that no window hides key 0 from those.
    key_positions (int64 [D, L]): Depths of the keys.
    awaited (int64 [R]): Places in the row whose next piece is wanted.
    mask (bool [D, 1, q, L]): Who sees whom; a padded query sees key 0, so that no softmax is over nothing.
    """

    shape: RowShape
    numbers: NDArray[np.int64]
    piece_ids: NDArray[np.int64]
    positions: NDArray[np.int64]
    documents: NDArray[np.int64]
    queries: NDArray[np.int64]
    keys: NDArray[np.int64]
    slots: NDArray[np.int64]
    gather: NDArray[np.int64]
    query_positions: NDArray[np.int64]
    key_positions: NDArray[np.int64]
    awaited: NDArray[np.int64]
    mask: NDArray[np.bool_]

    def __len__(self) -> int:
        return len(self.piece_ids)


def shape_of(stretches: Sequence[Stretch], n_awaited: int = 0) -> RowShape:
    """The shape of a row without padding."""
    lengths = [stretch.stop - stretch.start for stretch in stretches]
    return RowShape(sum(lengths), len(lengths), max(lengths), max(stretch.stop for stretch in stretches), n_awaited)


def pack(stretches: Sequence[Stretch], awaited: Sequence[int] = ()) -> Row:
    """Lay stretches of trees side by side. Everything a stretch's nodes see must be in the stretch or fed before.

    stretches (Sequence[Stretch]): At least one, each with at least one node.
    awaited (Sequence[int]): Places in the row whose next piece is wanted.
    RETURNS (Row): One row, documents in the order given.
    """
    row = _empty(shape_of(stretches, len(awaited)))
    row.slots[:] = [stretch.slot for stretch in stretches]
    _fill(row, stretches, np.arange(len(stretches)), awaited)
    return row


def pack_padded(stretches: Sequence[Stretch], awaited: Sequence[int], shape: RowShape, *, scratch: int) -> Row:
    """The same row in a larger shape, in which every slot is a document: document d stands in slot d.

    Padding is a node that is nobody's: its key goes to a place that nobody looks at, and it takes what attention gave
    to some other query. Padded awaited places are the row's first.

    shape (RowShape): Nowhere smaller than the row, and with more documents than any slot's number.
    scratch (int): The K/V place of padding, L or above.
    RETURNS (Row): The row. Its nodes come first, in the order of `pack`.
    """
    row = padding(shape, scratch=scratch)
    _fill(row, stretches, np.array([stretch.slot for stretch in stretches]), awaited)
    return row


def padding(shape: RowShape, *, scratch: int) -> Row:
    """A row without any nodes, in which every slot is a document."""
    assert scratch >= shape.n_keys
    row = _empty(shape)
    row.keys[:] = scratch
    row.slots[:] = np.arange(shape.n_documents)
    return row


def _empty(shape: RowShape) -> Row:
    numbers = np.zeros(shape.n_numbers, dtype=np.int64)
    mask = np.zeros(shape.mask, dtype=bool)
    mask[..., 0] = True
    ends = np.cumsum([math.prod(size) for size in shape.parts.values()])
    cut = np.split(numbers, ends[:-1])
    parts = {name: part.reshape(size) for part, (name, size) in zip(cut, shape.parts.items(), strict=True)}
    return Row(shape, numbers, **parts, mask=mask)


def _fill(row: Row, stretches: Sequence[Stretch], places: NDArray[np.int64], awaited: Sequence[int]) -> None:
    """Write stretches into a row that is all padding, each as the document with the number at its place."""
    lengths = np.array([stretch.stop - stretch.start for stretch in stretches])
    offsets = np.concatenate(([0], np.cumsum(lengths)))
    size = int(offsets[-1])
    order = np.repeat(np.arange(len(stretches)), lengths)
    documents, queries = places[order], np.arange(size) - offsets[order]
    keys = queries + np.array([stretch.start for stretch in stretches])[order]
    for place, (tree, start, stop, _) in zip(places.tolist(), stretches, strict=True):
        row.mask[place, 0, : stop - start, :stop] = tree.visibility.rows(start, stop)
        row.key_positions[place, :stop] = tree.depths[:stop]
    row.piece_ids[:size] = [piece for tree, start, stop, _ in stretches for piece in tree.pieces[start:stop]]
    row.positions[:size] = row.key_positions[documents, keys]
    row.documents[:size], row.queries[:size], row.keys[:size] = documents, queries, keys
    row.gather[documents, queries] = np.arange(size)
    row.query_positions[documents, queries] = row.positions[:size]
    row.awaited[: len(awaited)] = awaited
