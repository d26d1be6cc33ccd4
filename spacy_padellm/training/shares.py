"""A batch of trees divided among peers."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.training.targets import TargetTree


def shares_of(trees: Sequence[TargetTree], count: int) -> list[list[TargetTree]]:
    """Divide trees so that each share has about as many pieces: the largest first, each to the share that has least.

    All peers hold all trees of a batch and call this alike, so nothing has to be sent.

    trees (Sequence[TargetTree]): In any order.
    count (int): How many shares.
    RETURNS (list[list[TargetTree]]): The shares. Some are empty if there are fewer trees.
    """
    if count == 1:
        return [list(trees)]
    shares: list[list[TargetTree]] = [[] for _ in range(count)]
    pieces = [0] * count
    for tree in sorted(trees, key=lambda target: -len(target.tree)):
        least = pieces.index(min(pieces))
        shares[least].append(tree)
        pieces[least] += len(tree.tree)
    return shares
