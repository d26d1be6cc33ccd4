"""Greedy decoding of a forest. A step feeds whatever is ready: no barrier between questions or documents."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from itertools import islice

import torch
from torch import Tensor

from spacy_padellm.engine.counters import Counters, StreamLog
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.engine.growing import Growing
from spacy_padellm.engine.growth import Growth, Request
from spacy_padellm.engine.kv import KVStore
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.memory import bytes_per_place, forget_cached, kv_budget
from spacy_padellm.engine.rows import Rows
from spacy_padellm.engine.stream import Asked, Bounds, Stream
from spacy_padellm.errors import Errors
from spacy_padellm.tree.packing import Stretch
from spacy_padellm.types import Answered


@dataclass(frozen=True)
class Decoding:
    """How a forest is decoded.

    constrain (bool): Hold copied answers to the text.
    max_answer (int): The most pieces a free answer may have.
    max_row (int): The most pieces in one step; a longer text is fed in several.
    drafting (Drafting): What is fed before it is known to be wanted.
    kv_bytes (int | None): The most bytes of keys and values; None for a share of what is free (see `memory.kv_budget`).
        A document that needs more is decoded alone.
    cuda_graphs (bool): On a GPU, capture the steps that come again.
    compile_layers (bool): Compile the model's layers.
    labels_at_once (int | None): How many of a document's first questions are asked at once: memory is needed for these
        and what they open. None for all of them, in the fewest steps.
    record (bool): Have each answer say in which steps it grew (`Answer.course`). Nothing else changes.
    """

    constrain: bool = True
    max_answer: int = 128
    max_row: int = 4096
    drafting: Drafting = field(default_factory=Drafting)
    kv_bytes: int | None = None
    cuda_graphs: bool = True
    compile_layers: bool = False
    labels_at_once: int | None = None
    record: bool = False


def decode(
    lm: LanguageModel, requests: Sequence[Request], options: Decoding, counters: Counters
) -> list[list[Answered]]:
    """Answer every branch of every document, all of them in flight at once if there is memory for it.

    lm (LanguageModel): The model, in evaluation mode.
    requests (Sequence[Request]): The documents.
    options (Decoding): How.
    counters (Counters): Added to.
    RETURNS (list[list[Answered]]): Each document's answered branches, in the order they were asked.
    RAISES (ValueError): P023 if a text does not fit the model; P024 if the model's output is not finite.
    """
    answered: list[list[Answered]] = [[] for _ in requests]
    for number, outcome in decode_stream(lm, requests, options, counters, in_flight=max(1, len(requests))):
        if isinstance(outcome, Exception):
            raise outcome
        answered[number] = outcome
    return answered


def decode_stream(
    lm: LanguageModel, documents: Iterable[Asked], options: Decoding, counters: Counters, *, in_flight: int
) -> Iterator[tuple[int, list[Answered] | Exception]]:
    """Answer every branch of documents that come one by one. The model must stay as it is until the stream ends.

    documents (Iterable[Asked]): The documents, read no further ahead than `stream.AHEAD` says.
    in_flight (int): The most documents at once; the rest as in `decode`.
    YIELDS (tuple[int, list[Answered] | Exception]): As soon as a document is done its number, and its answered branches
        in the order they were asked or the exception that it alone raised.
    """

    drafting = options.drafting.on(lm.device)
    log = StreamLog(counters)

    def grow(request: Request) -> Growth:
        return Growth(
            request,
            lm.pieces,
            slot=0,
            max_positions=lm.max_positions,
            max_answer=options.max_answer,
            constrain=options.constrain,
            drafting=drafting,
            at_once=options.labels_at_once,
            record=options.record,
        )

    @torch.inference_mode()
    def step(store: KVStore, stretches: list[Stretch], fed: list[Growth]) -> None:
        begun = log.now()
        _step(lm, store, stretches, fed, compiled=options.compile_layers)
        pieces, places = sum(stretch.stop - stretch.start for stretch in stretches), stream.n_places
        counters.steps += 1
        counters.pieces += pieces
        counters.peak_kv_pieces = max(counters.peak_kv_pieces, places)
        log.step(pieces, len(fed), places, begun)

    def forget() -> None:
        lm.steps.forget()
        forget_cached(lm.device)

    def places() -> int:
        budget = options.kv_bytes
        if budget is None:
            budget = kv_budget(lm.device, kept=lm.steps.idle_bytes)
        return budget // bytes_per_place(lm)

    stream = Stream(
        grow,
        step,
        make_store=partial(lm.store, captured=options.cuda_graphs),
        forget=forget,
        bounds=Bounds(in_flight, options.max_row, places, spare=drafting.spare(lm.device)),
    )
    try:
        for number, ended in stream.run(documents):
            if not isinstance(ended, Growth):
                yield number, ended or []
                continue
            answers = ended.answered()
            counters.documents += 1
            counters.document_steps += ended.n_steps
            drafts, accepted = ended.drafts.counted(ended.fed)
            counters.drafts += drafts
            counters.drafts_accepted += accepted
            counters.answers += len(answers)
            counters.answer_pieces += sum(answer.n_pieces for _, answer in answers)
            yield number, answers
    finally:
        log.end()


def _step(
    lm: LanguageModel, store: KVStore, stretches: Sequence[Stretch], fed: Sequence[Growth], *, compiled: bool
) -> None:
    awaited: list[tuple[Growth, Growing]] = []
    places: list[int] = []
    offset = 0
    for stretch, growth in zip(stretches, fed, strict=True):
        for growing in growth.awaited(stretch):
            awaited.append((growth, growing))
            places.append(offset + growing.node - stretch.start)
        offset += stretch.stop - stretch.start
    logits = lm.step(stretches, places, store=store, compiled=compiled)
    if lm.device.type != "cpu":
        # The device is busy; what its answers will be held to can be made meanwhile.
        for growth in fed:
            growth.prepare()
    if awaited:
        for (growth, growing), (best, *others) in zip(awaited, _choose(logits, awaited), strict=True):
            growth.take(growing, *best, others)
        for growth in fed:
            growth.go_on()


def _choose(logits: Tensor, awaited: Sequence[tuple[Growth, Growing]]) -> list[list[tuple[int, float]]]:
    """The next piece of every awaited answer and its log-probability among all pieces of the vocabulary; behind it,
    where further answers may be followed, the likeliest pieces, best first."""
    held: dict[int, list[int]] = {}
    for row, (growth, growing) in enumerate(awaited):
        scripted = growth.scripted(growing)
        allowed = growth.allowed(growing) if scripted is None else [scripted]
        if allowed is not None:
            held[row] = allowed
    looks = [row for row, (_, growing) in enumerate(awaited) if growing.further]
    further = max((awaited[row][1].further for row in looks), default=0)
    rows = Rows(held, looks, n_rows=len(awaited), device=logits.device)
    logits = logits.float()
    totals = logits.logsumexp(dim=-1)
    best, chosen = rows.best_of(logits)
    ranked = rows.rank(logits, totals, further) if looks else ()
    # One read of the device per step: pieces and log-probabilities together (float64 holds every piece id exactly).
    parts = [part.double().flatten() for part in (chosen, best - totals, *ranked)]
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
