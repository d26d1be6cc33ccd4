"""Attention in blocks of queries, each over the keys that it sees.

Of hundreds of questions under one text each sees the text and itself: as one matrix of queries and keys nearly all of
that is masked, and it grows with the square of the questions. A block of neighbouring queries sees the text and a few
questions, so blocks together grow with the questions.

             text   questions ------------------>
    block 1 | * * * | * *                        |
    block 2 | * * * |     * *                    |   what is left blank is not computed
    block 3 | * * * |         * *                |
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

SIZE = 256
"""Queries in a block."""


class Block(NamedTuple):
    """Neighbouring queries of all documents of a row.

    queries (slice): Their places.
    keys (slice | Tensor): The K keys that any of them sees, in order: the first ones, or int64 [K].
    """

    queries: slice
    keys: slice | Tensor

    def seen(self, states: Tensor) -> Tensor:
        """Of keys or values [D, H, L, d] those of the block."""
        return states[:, :, self.keys] if isinstance(self.keys, slice) else states.index_select(2, self.keys)

    def part(self, mask: Tensor) -> Tensor:
        """Of a mask [D, 1, q, L] the block's."""
        rows = mask[:, :, self.queries]
        return rows[..., self.keys] if isinstance(self.keys, slice) else rows.index_select(3, self.keys)


WHOLE = (Block(slice(None), slice(None)),)
"""All queries and all keys."""


def blocks_of(mask: NDArray[np.bool_], *, size: int = SIZE) -> tuple[Block, ...]:
    """The blocks of a row.

    mask (bool [D, 1, q, L]): Who sees whom.
    size (int): Queries in a block; of no more than two such blocks the row is one.
    RETURNS (tuple[Block, ...]): Together they are all queries, in order.
    """
    n_queries = mask.shape[2]
    if n_queries <= 2 * size:
        return WHOLE
    blocks = []
    for start in range(0, n_queries, size):
        queries = slice(start, min(start + size, n_queries))
        keys = np.flatnonzero(mask[:, 0, queries].any(axis=(0, 1)))
        first_ones = not len(keys) or len(keys) == keys[-1] + 1
        blocks.append(Block(queries, slice(len(keys)) if first_ones else torch.from_numpy(keys)))
    return tuple(blocks)
