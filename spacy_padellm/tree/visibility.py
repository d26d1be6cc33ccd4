"""Who sees whom. A piece sees its ancestors and itself, nothing else."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

ROOT = -1

_TRIANGLE = np.tri(256, dtype=bool)


def _triangle(size: int) -> NDArray[np.bool_]:
    """What the nodes of a chain see of the chain."""
    return _TRIANGLE[:size, :size] if size <= len(_TRIANGLE) else np.tri(size, dtype=bool)


class Visibility:
    """The one visibility rule, kept as rows that grow with the tree: row i is the row of i's parent, plus i.

    Training, the first step and every later step all read their attention masks here.
    """

    def __init__(self) -> None:
        self._seen: NDArray[np.bool_] = np.zeros((64, 64), dtype=bool)
        self._size = 0

    def __len__(self) -> int:
        return self._size

    def extend(self, parent: int, count: int) -> None:
        """Add a chain of `count` nodes under `parent` (ROOT for a chain that starts the tree)."""
        start, stop = self._size, self._size + count
        if stop > len(self._seen):
            grown = np.zeros((max(stop, 2 * len(self._seen)),) * 2, dtype=bool)
            grown[:start, :start] = self._seen[:start, :start]
            self._seen = grown
        if parent != ROOT:
            self._seen[start:stop, :start] = self._seen[parent, :start]
        self._seen[start:stop, start:stop] = _triangle(count)
        self._size = stop

    def cut(self, size: int) -> None:
        """Take back all nodes but the first `size`."""
        self._seen[size : self._size] = False
        self._size = min(size, self._size)

    def rows(self, start: int, stop: int) -> NDArray[np.bool_]:
        """What the nodes from `start` to `stop` (exclusive) see: bool [stop - start, stop]."""
        return self._seen[start:stop, :stop]
