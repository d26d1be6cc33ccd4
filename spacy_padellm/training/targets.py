"""A document with its gold mentions as a tree that says which piece must come next where."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from spacy_padellm.engine.growth import check_length
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.training.copying import CopyTask
from spacy_padellm.tree.tree import Tree
from spacy_padellm.tree.visibility import ROOT
from spacy_padellm.types import Branch, Mention, Scheme

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
    labels: Mapping[str, str],
    text: str,
    gold: Sequence[Mention],
    pieces: Pieces,
    *,
    weighting: Weighting = "tree",
    copy_task: CopyTask | None = None,
    max_positions: int | None = None,
) -> TargetTree:
    """Grow the tree that prediction would grow if the model were perfect.

    The targets are every answer, its end, and every question an answer opens (the mention markers): the loss of
    PaDeLLM-NER (Lu et al., NeurIPS 2024), which found that leaving the markers out costs 4 F on GENIA.

    scheme (Scheme): Asks, follows and answers.
    labels (Mapping[str, str]): Name to words in the prompt.
    text (str): The text.
    gold (Sequence[Mention]): Its mentions in text order.
    pieces (Pieces): The tokenizer.
    weighting (str): "tree" counts each target of the tree once. "sequence" counts it once for every last question
        under it, as the paper does, which trains on one sequence per mention: the count of a label with m mentions
        then weighs m.
    copy_task (CopyTask | None): One more question, whose answer repeats some of the text.
    max_positions (int | None): The most positions the model has; None not to look.
    RETURNS (TargetTree): The tree.
    RAISES (ValueError): P023 if the text with its questions and answers does not fit the model.
    """
    tree = Tree()
    cut = sum(pieces.encode(scheme.trunk(text)), start=pieces.start)
    check_length(len(cut), max_positions or len(cut), text)
    trunk = tree.add(ROOT, cut)
    targets: dict[tuple[int, int], float] = {}

    def expect(parent: int, segment: Sequence[int], weight: float) -> int:
        node = parent
        for piece in segment:
            if weighting == "sequence":
                targets[node, piece] = targets.get((node, piece), 0.0) + weight
            else:
                targets[node, piece] = 1.0
            node = tree.add(node, (piece,))
        return node

    def ask(branch: Branch, parent: int, opened: bool) -> float:
        """Grow a question with all under it. Returns the number of last questions."""
        question = pieces.question(branch.question)
        text_answer = scheme.answer(branch, gold)
        answer = pieces.encode([text_answer])[0]
        follows = scheme.follow(branch, text_answer)
        asked = tree.add(parent, question)
        answered = tree.add(asked, answer)
        weight = sum(ask(follow, answered, True) for follow in follows) if follows else 1.0
        if opened:
            expect(parent, question, weight)
        expect(asked, answer, weight)
        if not follows:
            _expect_end(targets, answered, pieces.end, weighting)
        return weight

    for branch in scheme.ask(labels):
        ask(branch, trunk, opened=False)
    if copy_task is not None:
        question, answer = pieces.encode(copy_task)
        expect(tree.add(trunk, question), answer, 1.0)
    if max_positions is not None:
        check_length(max(tree.depths) + 1, max_positions, text)
    keys = np.array(list(targets), dtype=np.int64).reshape(-1, 2)
    return TargetTree(tree, keys[:, 0], keys[:, 1], np.array(list(targets.values()), dtype=np.float32))


def _expect_end(targets: dict[tuple[int, int], float], node: int, end: int, weighting: Weighting) -> None:
    before = targets.get((node, end), 0.0) if weighting == "sequence" else 0.0
    targets[node, end] = before + 1.0
