"""A document with its gold mentions as a tree that says which piece must come next where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spacy_padellm.engine.growth import check_length, spell_answer
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.training.copying import CopyTask
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from spacy_padellm.types import Branch, Mention, Scheme, Words

Weighting = Literal["tree", "sequence"]


@dataclass(frozen=True)
class TargetTree:
    """A tree grown with gold answers, and its targets.

    tree (Tree): Text, questions and answers; end pieces are targets only.
    nodes (int64 [T]): The node behind which a target stands.
    pieces (int64 [T]): The piece that must come next there.
    weights (float32 [T]): How much it counts.
    """

    tree: Tree
    nodes: NDArray[np.int64]
    pieces: NDArray[np.int64]
    weights: NDArray[np.float32]

    @property
    def weight(self) -> float:
        return float(self.weights.sum())


def grow_gold(
    scheme: Scheme,
    labels: Mapping[str, Words],
    text: str,
    gold: Sequence[Mention],
    pieces: Pieces,
    *,
    weighting: Weighting = "tree",
    text_weight: float = 0.0,
    count_weight: float = 1.0,
    copy_task: CopyTask | None = None,
    max_positions: int | None = None,
) -> TargetTree:
    """Grow the tree that prediction would grow if the model were perfect.

    The targets are every answer, its end, and every question an answer opens (the mention markers): the loss of
    PaDeLLM-NER (Lu et al., NeurIPS 2024), which found that leaving the markers out costs 4 F on GENIA.

    scheme (Scheme): Asks, follows and answers.
    labels (Mapping[str, Words]): Name to words in the prompt.
    text (str): The text.
    gold (Sequence[Mention]): Its mentions in text order.
    pieces (Pieces): The tokenizer.
    weighting (str): "tree" counts each target of the tree once. "sequence" counts it once for every last question
        under it, as the paper does, which trains on one sequence per mention: the count of a label with m mentions
        then weighs m.
    text_weight (float): What each piece of the trunk behind its first counts as a target: 0 for PaDeLLM's own loss,
        more to learn the language of the texts beside it.
    count_weight (float): What each piece of a count weighs beside a piece of a marker or a mention. What ends a count,
        the end piece behind a 0 or the marker behind any other, is all but certain and keeps its weight.
    copy_task (CopyTask | None): One more question, whose answer repeats some of the text.
    max_positions (int | None): The most positions the model has; None not to look.
    RETURNS (TargetTree): The tree.
    RAISES (ValueError): P023 if the text with its questions and answers does not fit the model.
    """
    cut = sum(pieces.encode(scheme.trunk(text)), start=pieces.start)
    check_length(len(cut), max_positions or len(cut), text)
    growth = _GoldGrowth(scheme, gold, pieces, weighting, count_weight)
    trunk = growth.tree.add(ROOT, cut)
    if text_weight:
        growth.targets |= dict.fromkeys(enumerate(cut[1:]), text_weight)
    for branch in scheme.ask(labels, text):
        growth.ask(branch, trunk, opened=False)
    if copy_task is not None:
        question, answer = pieces.encode(copy_task)
        growth.expect(growth.tree.add(trunk, question + pieces.closing), answer, 1.0)
    if max_positions is not None:
        check_length(max(growth.tree.depths) + 1, max_positions, text)
    keys = np.array(list(growth.targets), dtype=np.int64).reshape(-1, 2)
    weights = np.array(list(growth.targets.values()), dtype=np.float32)
    return TargetTree(growth.tree, keys[:, 0], keys[:, 1], weights)


class _GoldGrowth:
    """A tree while it grows, with the weight of each (node, next piece). A class and not nested functions, since
    functions that refer to themselves keep every tree alive until the garbage collector comes by."""

    def __init__(
        self, scheme: Scheme, gold: Sequence[Mention], pieces: Pieces, weighting: Weighting, count_weight: float
    ) -> None:
        self.tree = Tree()
        self.targets: dict[tuple[int, int], float] = {}
        self._scheme = scheme
        self._gold = gold
        self._pieces = pieces
        self._weighting = weighting
        self._count_weight = count_weight

    def ask(self, branch: Branch, parent: int, *, opened: bool) -> float:
        """Grow a question with all under it. Returns the number of last questions."""
        question = self._pieces.ask(branch)
        text = self._scheme.answer(branch, self._gold)
        answer = spell_answer(branch, text, self._pieces)
        asked = self.tree.add(parent, question)
        answered = self.tree.add(asked, answer)
        follows = self._scheme.follow(branch, text)
        weight = sum(self.ask(follow, answered, opened=True) for follow in follows) if follows else 1.0
        if opened:
            self.expect(parent, question, weight)
        # A count is the answer that a question follows unless it is 0.
        self.expect(asked, answer, weight, self._count_weight if branch.closer else 1.0)
        if not follows:
            self.expect(answered, (self._pieces.end,), weight)
        return weight

    def expect(self, node: int, segment: Sequence[int], weight: float, factor: float = 1.0) -> None:
        """Make each piece of a segment under a node a target; the last one may be an end, which is in no tree.

        weight (float): How many last questions stand under it.
        factor (float): What it weighs beside other targets.
        """
        for place, piece in enumerate(segment):
            before = self.targets.get((node, piece), 0.0)
            self.targets[node, piece] = before + factor * weight if self._weighting == "sequence" else factor
            if place + 1 < len(segment):
                node = self.tree.add(node, (piece,))
