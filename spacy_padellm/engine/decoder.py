"""Greedy decoding of a forest. A step feeds whatever is ready: no barrier between questions or documents."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import islice

import torch
from torch import Tensor

from spacy_padellm.engine.growth import Growing, Growth, Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Stretch
from spacy_padellm.types import Answered

_PADDED = 2
"""K/V places of a forest for each place that is no padding, at the most."""

_PLACES = 8
"""K/V places of a forest at its start, in multiples of the most pieces in a row."""

_GROWS = 3
"""A tree has this many halves of its first nodes at its end, about: a captured store is laid out for so many."""


@dataclass
class Counters:
    """What decoding cost, in figures that do not depend on the machine.

    documents (int): Documents decoded.
    steps (int): Forward passes.
    document_steps (int): Steps each document took part in, summed over documents.
    pieces (int): Pieces fed to the model.
    answers (int): Answers given.
    answer_pieces (int): Pieces of those answers, ends excluded.
    peak_kv_pieces (int): The most K/V places held at once, all slots together.
    """

    documents: int = 0
    steps: int = 0
    document_steps: int = 0
    pieces: int = 0
    answers: int = 0
    answer_pieces: int = 0
    peak_kv_pieces: int = 0

    def as_dict(self) -> dict[str, int]:
        return asdict(self)


@dataclass(frozen=True)
class Decoding:
    """How a forest is decoded.

    constrain (bool): Hold copied answers to the text.
    max_answer (int): The most pieces a free answer may have.
    max_row (int): The most pieces in one step; a longer text is fed in several.
    cuda_graphs (bool): On a GPU, capture the steps that come again.
    """

    constrain: bool = True
    max_answer: int = 128
    max_row: int = 4096
    cuda_graphs: bool = True


@torch.inference_mode()
def decode(
    lm: LanguageModel, requests: Sequence[Request], options: Decoding, counters: Counters
) -> list[list[Answered]]:
    """Answer every branch of every document.

    lm (LanguageModel): The model, in evaluation mode.
    requests (Sequence[Request]): The documents.
    options (Decoding): How.
    counters (Counters): Added to.
    RETURNS (list[list[Answered]]): Each document's answered branches, in the order they were asked.
    RAISES (ValueError): P023 if a text does not fit the model; P024 if the model's output is not finite.
    """
    growths = [
        Growth(
            request,
            lm.pieces,
            slot=0,
            max_positions=lm.max_positions,
            max_answer=options.max_answer,
            constrain=options.constrain,
        )
        for request in requests
    ]
    for forest in _forests(growths, options.max_row):
        _grow_forest(lm, forest, options, counters)
    counters.documents += len(growths)
    answered = [growth.answered() for growth in growths]
    for growth, answers in zip(growths, answered, strict=True):
        counters.document_steps += growth.n_steps
        counters.answers += len(answers)
        counters.answer_pieces += sum(answer.n_pieces for _, answer in answers)
    return answered


def _forests(growths: Sequence[Growth], max_row: int) -> list[list[Growth]]:
    """Documents that are decoded together. Attention and the K/V store pad every document to the longest of its
    forest, so one long text among many short ones would cost as much as if all were long.

    max_row (int): A forest has at most 8 times as many K/V places at its start; a document that has more is alone.
    RETURNS (list[list[Growth]]): Of each forest's places at most half are padding.
    """
    forests: list[list[Growth]] = []
    longest = pieces = 0
    for growth in sorted(growths, key=lambda growth: -len(growth.tree)):
        if growth.done:
            continue
        size = len(growth.tree)
        places = longest * (len(forests[-1]) + 1) if forests else 0
        if not forests or places > _PADDED * (pieces + size) or places > _PLACES * max_row:
            forests.append([])
            longest, pieces = size, 0
        forests[-1].append(growth)
        pieces += size
    return forests


def _grow_forest(lm: LanguageModel, forest: Sequence[Growth], options: Decoding, counters: Counters) -> None:
    """Decode some documents together, step by step until every answer is given."""
    for slot, growth in enumerate(forest):
        growth.slot = slot
    live = list(forest)
    n_places = max(len(growth.tree) for growth in forest) * _GROWS // 2
    with lm.store(len(forest), n_places, captured=options.cuda_graphs) as store:
        while live:
            if len(live) <= store.n_slots // 2:
                _compact(store, live)
            stretches, fed = _fill_row(live, options.max_row)
            counters.steps += 1
            counters.pieces += sum(stretch.stop - stretch.start for stretch in stretches)
            _step(lm, store, stretches, fed)
            counters.peak_kv_pieces = max(counters.peak_kv_pieces, store.n_pieces)
            live = [growth for growth in live if not growth.done]


def _compact(store: KVStore, live: list[Growth]) -> None:
    """Give the slots of finished documents back."""
    store.keep([growth.slot for growth in live])
    for slot, growth in enumerate(live):
        growth.slot = slot


def _fill_row(live: Sequence[Growth], budget: int) -> tuple[list[Stretch], list[Growth]]:
    """Stretches of as many documents as the row holds; what does not fit waits for the next step."""
    stretches: list[Stretch] = []
    fed: list[Growth] = []
    # Documents that have waited longest (fed least often) come first, so a full row starves nobody.
    for growth in sorted(live, key=lambda growth: growth.n_steps):
        stretch = growth.stretch(budget)
        if stretch.stop > stretch.start:
            stretches.append(stretch)
            fed.append(growth)
            budget -= stretch.stop - stretch.start
    return stretches, fed


def _step(lm: LanguageModel, store: KVStore, stretches: Sequence[Stretch], fed: Sequence[Growth]) -> None:
    awaited: list[tuple[Growth, Growing]] = []
    places: list[int] = []
    offset = 0
    for stretch, growth in zip(stretches, fed, strict=True):
        for growing in growth.awaited(stretch):
            awaited.append((growth, growing))
            places.append(offset + growing.node - stretch.start)
        offset += stretch.stop - stretch.start
    logits = lm.step(stretches, places, store=store)
    if awaited:
        for (growth, growing), (best, *others) in zip(awaited, _choose(logits, awaited), strict=True):
            growth.take(growing, *best, others)


def _choose(logits: Tensor, awaited: Sequence[tuple[Growth, Growing]]) -> list[list[tuple[int, float]]]:
    """The next piece of every awaited answer and its log-probability among all pieces of the vocabulary; behind it,
    where further answers may be followed, the likeliest pieces, best first."""
    log_probabilities = torch.log_softmax(logits.float(), dim=-1)
    rows: list[int] = []
    columns: list[int] = []
    held: list[int] = []
    for row, (growth, growing) in enumerate(awaited):
        scripted = growth.scripted(growing)
        allowed = growth.allowed(growing) if scripted is None else [scripted]
        if allowed is not None:
            rows += [len(held)] * len(allowed)
            columns += allowed
            held.append(row)
    chosen = log_probabilities.argmax(dim=-1)
    possible = log_probabilities
    if held:
        at = torch.tensor(held, device=logits.device)
        index = torch.tensor([rows, columns], device=logits.device)
        among = torch.full((len(held), logits.shape[-1]), -torch.inf, device=logits.device)
        among[index[0], index[1]] = log_probabilities[at[index[0]], index[1]]
        chosen[at] = among.argmax(dim=-1)
        if any(awaited[row][1].further for row in held):
            possible = log_probabilities.index_copy(0, at, among)
    best = log_probabilities.gather(1, chosen[:, None])[:, 0]
    looks = [row for row, (_, growing) in enumerate(awaited) if growing.further]
    ranked = _rank(possible[looks], [awaited[row][1].further for row in looks]) if looks else ()
    # One read of the device per step: pieces and log-probabilities together (float64 holds every piece id exactly).
    parts = [part.double().flatten() for part in (chosen, best, *ranked)]
    read = iter(torch.cat(parts).tolist())
    pieces, scores, *rest = ([*islice(read, len(part))] for part in parts)
    if not all(score > -torch.inf for score in scores):
        raise ValueError(Errors.P024.format())
    choices = [[(int(piece), score)] for piece, score in zip(pieces, scores, strict=True)]
    for place, row in enumerate(looks):
        width = len(rest[0]) // len(looks)
        others, their_scores = (part[place * width : (place + 1) * width] for part in rest)
        choices[row] += zip(map(int, others), their_scores, strict=True)
    return choices


def _rank(log_probabilities: Tensor, further: Sequence[int]) -> tuple[Tensor, Tensor]:
    """The likeliest pieces of each row and their log-probabilities, best first: two more than may be followed at most,
    the chosen piece itself and one of the two pieces that may end an answer."""
    ranked = log_probabilities.topk(min(max(further) + 2, log_probabilities.shape[-1]))
    return ranked.indices, ranked.values
