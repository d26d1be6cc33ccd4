"""Drafts: pieces that are fed before it is known whether they are wanted. The logits of the same step say so."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import torch

from spacy_padellm.engine.growing import Growing
from spacy_padellm.tree.tree import Tree
from spacy_padellm.types import Form

FREE_PIECES = {"cuda": 256}
"""Pieces of a row that take a device no longer than one: those for which it computes while it waits for the weights."""

SHARED = 8
"""Mentions of a document that each get all drafts of copies there are; more of them share what these would get, since
then a step costs what its pieces cost."""

FEWEST = 2
"""Drafts of a copy, however many share them."""

COPIES = 16
"""Pieces of a copied string that are drafted with a known one."""

MENTION_COPIES = {"cpu": 4}
"""The same of a mention, which is short, on devices that compute for every piece."""


@dataclass(frozen=True)
class Drafting:
    """What is drafted. Answers are the same with and without: a draft that is refuted costs its pieces.

    questions (bool): With the pieces of an answer, the questions it opens if it ends there.
    copies (int | None): Behind a known piece of a copied string, so many pieces that may come next; half as many where
        several documents share a step, and fewer where a document has more than `SHARED` mentions on their way. None
        for 16, less for a mention where that pays.
    counts (bool | None): With a question for a count, the likeliest counts with the questions they open. None where
        that costs nothing: as long as a step takes the time of the weights' way to the processor.
    mention_copies (int): What `copies` is for mentions where it is None. `on` sets it.
    """

    questions: bool = True
    copies: int | None = None
    counts: bool | None = None
    mention_copies: int = COPIES

    def on(self, device: torch.device) -> Drafting:
        """The same on a device, which may leave less to be drafted."""
        return replace(self, mention_copies=MENTION_COPIES.get(device.type, COPIES))

    def copies_for(self, form: Form | None, n_copying: int, *, alone: bool) -> int:
        """How many pieces that may come next are drafted behind a copied string.

        form (Form | None): The answer's form; None for a mention.
        n_copying (int): Mentions of its document that are not finished.
        alone (bool): Whether no other document shares the step.
        """
        usual = self.mention_copies if form is None else COPIES
        copies = usual if self.copies is None else self.copies
        copies = copies if alone else (copies + 1) // 2
        return copies if n_copying <= SHARED else max(min(copies, FEWEST), copies * SHARED // n_copying)

    def spare(self, device: torch.device) -> float:
        """The pieces a row may have with drafted counts."""
        if self.counts is None:
            return FREE_PIECES.get(device.type, 0)
        return math.inf if self.counts else 0


class Choice(NamedTuple):
    """What the model puts behind a node.

    piece (int): The piece.
    log_probability (float): Its log-probability.
    others (Sequence[tuple[int, float]]): The likeliest pieces with theirs, where further answers may be followed.
    """

    piece: int
    log_probability: float
    others: Sequence[tuple[int, float]] = ()


class Drafts:
    """The drafts of one document."""

    def __init__(self) -> None:
        self._offered = 0
        self._settled = (0, 0)
        self._unconfirmed: set[int] = set()
        self._known: dict[int, list[tuple[Growing, Choice]]] = {}

    def offer(self, nodes: range) -> None:
        """These nodes of the tree are drafts."""
        self._offered += len(nodes)
        self._unconfirmed.update(nodes)

    def confirm(self, tree: Tree, node: int) -> None:
        """A node is wanted, and so is all it stands under."""
        while node in self._unconfirmed:
            self._unconfirmed.remove(node)
            node = tree.parents[node]

    def counted(self, fed: int) -> tuple[int, int]:
        """How many drafts were fed, and how many of these were wanted.

        fed (int): Nodes of the tree that were fed, those that were taken back left aside.
        """
        refuted = sum(node < fed for node in self._unconfirmed)
        accepted = self._offered - len(self._unconfirmed)
        drafts_before, accepted_before = self._settled
        return drafts_before + accepted + refuted, accepted_before + accepted

    def settle(self, fed: int) -> None:
        """All drafts are taken back from the tree, of which so many nodes were fed. They stay counted."""
        self._settled = self.counted(fed)
        self._offered = 0
        self._unconfirmed.clear()
        self._known.clear()

    def learn(self, draft: Growing, choice: Choice) -> None:
        """What the model puts behind a draft."""
        self._known.setdefault(draft.node, []).append((draft, choice))

    def recall(self, growing: Growing) -> Choice | None:
        """What the model puts behind the node that an answer has come to; None if that was no draft of the answer."""
        known = self._known.get(growing.node, ())
        return next((choice for draft, choice in known if draft.is_at(growing)), None)
