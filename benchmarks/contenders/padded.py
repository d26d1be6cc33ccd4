"""Training as PaDeLLM-NER's authors train: one sequence for each mention, padded to the longest of its batch."""

from __future__ import annotations

import random
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import torch
from torch import Tensor

from benchmarks.documents import Document
from spacy_padellm.engine.growth import spell_answer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.types import Branch, Scheme


class MentionSequence(NamedTuple):
    """Text, label, count, marker, mention and end; or text, label, "0" and end.

    pieces (tuple[int, ...]): All pieces.
    first (int): The place of the first target: the count. All behind it are targets, too.
    """

    pieces: tuple[int, ...]
    first: int


def sequences_of(
    scheme: Scheme, labels: Mapping[str, str], document: Document, lm: LanguageModel
) -> list[MentionSequence]:
    """One sequence for each last question about a document."""
    text = document.text.string
    trunk = sum(lm.pieces.encode(scheme.trunk(text)), start=lm.pieces.start)
    found: list[MentionSequence] = []
    waiting: list[tuple[tuple[int, ...], int | None, Branch]] = [
        (trunk, None, branch) for branch in scheme.ask(labels, text)
    ]
    while waiting:
        before, first, branch = waiting.pop()
        asked = before + lm.pieces.ask(branch)
        answer = scheme.answer(branch, document.gold)
        answered = asked + spell_answer(branch, answer, lm.pieces)
        start = len(asked) if first is None else first
        follows = scheme.follow(branch, answer)
        waiting += [(answered, start, follow) for follow in follows]
        if not follows:
            found.append(MentionSequence((*answered, lm.pieces.end), start))
    return found


def batches_of(
    sequences: Sequence[MentionSequence], most: int, *, by_length: bool, seed: int = 0
) -> list[list[MentionSequence]]:
    """Batches of at most `most` pieces, padding counted; a longer sequence has one of its own.

    by_length (bool): Sequences of like length together, so that little is padded; else in random order.
    """
    ordered = sorted(sequences, key=lambda one: -len(one.pieces))
    if not by_length:
        random.Random(seed).shuffle(ordered)
    batches: list[list[MentionSequence]] = []
    width = 0
    for one in ordered:
        width = max(width, len(one.pieces))
        if not batches or width * (len(batches[-1]) + 1) > most:
            batches.append([])
            width = len(one.pieces)
        batches[-1].append(one)
    return batches


def padded_pieces(batch: Sequence[MentionSequence]) -> int:
    return len(batch) * max(len(one.pieces) for one in batch)


def padded_loss(lm: LanguageModel, batch: Sequence[MentionSequence], *, all_logits: bool) -> Tensor:
    """The sum of the cross-entropies of a batch, padded on the right. The model has an attention of transformers' own.

    A piece sees those before it, so padding on the right is seen by no target and needs no mask.

    all_logits (bool): Compute the logits of every place, padding too, as a model does that is given `labels`; else
        those in front of a target.
    """
    width = max(len(one.pieces) for one in batch)
    ids = torch.tensor([[*one.pieces, *[lm.pieces.end] * (width - len(one.pieces))] for one in batch])
    targets = torch.zeros_like(ids, dtype=torch.bool)
    for row, one in enumerate(batch):
        targets[row, one.first : len(one.pieces)] = True
    ids, targets = ids.to(lm.device), targets.to(lm.device)
    # The last place comes before nothing.
    ahead, wanted = targets[:, 1:], ids[:, 1:][targets[:, 1:]]
    if all_logits:
        logits = lm.model(input_ids=ids, use_cache=False).logits[:, :-1][ahead]
    else:
        states = lm.model.get_decoder()(input_ids=ids, use_cache=False).last_hidden_state[:, :-1][ahead]
        logits = lm.model.get_output_embeddings()(states)
    return torch.nn.functional.cross_entropy(logits.float(), wanted, reduction="sum")
