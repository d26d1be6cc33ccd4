"""One document as a trie of pieces: the text is the trunk, every question about it a branch."""

from __future__ import annotations

from collections.abc import Sequence

from spacy_padellm.tree.visibility import ROOT, Visibility


class Tree:
    """Pieces with parents. Children of one node that are the same piece are the same node, so segments that begin
    with the same pieces share them. Nodes are numbered as they are added: a parent's number is below its children's.

        trunk 0 1 2 ─┬─ 3 4 ─┬─ 5      "entity type:\\n" shared, then one label
                     │       └─ 6      and the other
                     └─ 7              a node that shares nothing

    pieces (list[int]): The vocabulary id of each node.
    parents (list[int]): The parent of each node, ROOT for a first piece.
    depths (list[int]): Number of ancestors of each node, which is its position id.
    visibility (Visibility): Who sees whom.
    """

    __slots__ = ("_children", "depths", "parents", "pieces", "visibility")

    def __init__(self) -> None:
        self.pieces: list[int] = []
        self.parents: list[int] = []
        self.depths: list[int] = []
        self.visibility = Visibility()
        self._children: dict[tuple[int, int], int] = {}

    def __len__(self) -> int:
        return len(self.pieces)

    def add(self, parent: int, pieces: Sequence[int]) -> int:
        """Put a segment under a node and share what already stands there.

        parent (int): A node, or ROOT.
        pieces (Sequence[int]): The segment.
        RETURNS (int): The segment's last node; `parent` for an empty segment.
        """
        node = parent
        for place, piece in enumerate(pieces):
            child = self._children.get((node, piece))
            if child is None:
                return self.chain(node, pieces[place:])
            node = child
        return node

    def chain(self, parent: int, pieces: Sequence[int]) -> int:
        """Put a segment under a node without sharing. Later segments may share with it.

        RETURNS (int): The segment's last node.
        """
        node, depth = parent, self.depths[parent] + 1 if parent != ROOT else 0
        first = len(self.pieces)
        for offset, piece in enumerate(pieces):
            self._children[node, piece] = first + offset
            self.parents.append(node)
            self.depths.append(depth + offset)
            node = first + offset
        self.pieces.extend(pieces)
        self.visibility.extend(parent, len(pieces))
        return node

    def cut(self, size: int) -> None:
        """Take back all nodes but the first `size`: the tree is as it was when it had no more."""
        del self.pieces[size:], self.parents[size:], self.depths[size:]
        self.visibility.cut(size)
        # Of equal children the later one is found, so what a cut node stood in for is found again.
        self._children = {pair: node for node, pair in enumerate(zip(self.parents, self.pieces, strict=True))}

    def path(self, node: int) -> list[int]:
        """The nodes from the first piece down to `node`: the slow, obvious form of the visibility rule."""
        nodes = []
        while node != ROOT:
            nodes.append(node)
            node = self.parents[node]
        return nodes[::-1]
