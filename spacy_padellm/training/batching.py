"""Trees into rows of bounded size."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.training.targets import TargetTree


def rows_of(trees: Sequence[TargetTree], max_row: int) -> list[list[TargetTree]]:
    """Trees in rows of at most `max_row` pieces, padding counted, since attention pads each tree to the longest of
    its row. A tree larger than that has a row of its own.

    trees (Sequence[TargetTree]): In any order.
    max_row (int): The most pieces in a row.
    RETURNS (list[list[TargetTree]]): The rows, trees of like size together.
    """
    rows: list[list[TargetTree]] = []
    for tree in sorted(trees, key=lambda target: -len(target.tree)):
        if rows and len(rows[-1][0].tree) * (len(rows[-1]) + 1) <= max_row:
            rows[-1].append(tree)
        else:
            rows.append([tree])
    return rows
