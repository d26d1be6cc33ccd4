"""Greedy answers to a batch of prompts through Hugging Face's `generate`, and what they cost."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any

import torch
from peft import PeftModel
from torch import Tensor
from transformers import (
    GenerationConfig,
    LogitsProcessor,
    LogitsProcessorList,
    PreTrainedModel,
    StoppingCriteria,
    StoppingCriteriaList,
)

from spacy_padellm.engine.decoder import Counters
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.types import Finish

_NO_PIECE = -1


@dataclass(frozen=True)
class Row:
    """A sequence to be generated.

    prompt (tuple[int, ...]): The pieces in front of the answer, all of them: nothing is shared.
    limit (int): The most pieces the answer may have.
    closer (int | None): A piece that ends the answer as the end piece does, but not as its first piece.
    script (tuple[int, ...] | None): Pieces to give in place of the model's, which is then only paid for.
    """

    prompt: tuple[int, ...]
    limit: int
    closer: int | None = None
    script: tuple[int, ...] | None = None


@dataclass
class BatchCounters(Counters):
    """Beside what the forest counts: padding.

    A forward pass counts all that goes through the model, so `pieces` and `peak_kv_pieces` hold padding, too: the
    blanks in front of shorter prompts, and what is fed for rows that have ended while others go on.

    padding (int): How many of the pieces were padding.
    """

    padding: int = 0


@torch.inference_mode()
def generate(lm: LanguageModel, rows: Sequence[Row], counters: BatchCounters) -> list[tuple[tuple[int, ...], Finish]]:
    """Answer a batch of prompts, padded on the left under an attention mask.

    lm (LanguageModel): The model, with an attention of transformers' own (see `engine.proof.own_attention`).
    rows (Sequence[Row]): The prompts.
    counters (BatchCounters): Forward passes, pieces, padding and K/V places are added.
    RETURNS (list[tuple[tuple[int, ...], Finish]]): For each row the pieces of its answer, and why it ended.
    """
    model: PreTrainedModel = lm.model.get_base_model() if isinstance(lm.model, PeftModel) else lm.model
    end, width = lm.pieces.end, max(len(row.prompt) for row in rows)
    prompts = torch.tensor([[end] * (width - len(row.prompt)) + list(row.prompt) for row in rows], device=lm.device)
    mask = torch.tensor([[0] * (width - len(row.prompt)) + [1] * len(row.prompt) for row in rows], device=lm.device)
    config = GenerationConfig(
        do_sample=False,
        num_beams=1,
        max_new_tokens=max(row.limit for row in rows),
        eos_token_id=end,
        pad_token_id=end,
        use_cache=True,
    )
    scripted = any(row.script is not None for row in rows)
    pieces = counters.pieces
    with _only(model, config), _counted(model, counters):
        sequences: Tensor = model.generate(
            input_ids=prompts,
            attention_mask=mask,
            generation_config=config,
            logits_processor=LogitsProcessorList([_Scripted(rows, width, end)] if scripted else []),
            stopping_criteria=StoppingCriteriaList([_RowEnds(rows, width)]),
        )
    answers = [_read(row, answer, end) for row, answer in zip(rows, sequences[:, width:].tolist(), strict=True)]
    counters.peak_kv_pieces = max(counters.peak_kv_pieces, len(rows) * (sequences.shape[1] - 1))
    # The last piece of an answer, its end included, is not fed.
    fed = [len(answer) - (finish is Finish.LIMIT) for answer, finish in answers]
    counters.padding += counters.pieces - pieces - sum(map(len, (row.prompt for row in rows))) - sum(fed)
    return answers


def _read(row: Row, generated: Sequence[int], end: int) -> tuple[tuple[int, ...], Finish]:
    """An answer without its end and what follows it."""
    for place, piece in enumerate(generated[: row.limit]):
        if piece == end:
            return tuple(generated[:place]), Finish.END
        if piece == row.closer and place:
            return tuple(generated[:place]), Finish.FOLLOWED
    return tuple(generated[: row.limit]), Finish.LIMIT


class _RowEnds(StoppingCriteria):
    """Ends each row at its closer or its limit; the end piece is `generate`'s own affair."""

    def __init__(self, rows: Sequence[Row], width: int) -> None:
        self._width = width
        self._limits = torch.tensor([row.limit for row in rows])
        self._closers = torch.tensor([_NO_PIECE if row.closer is None else row.closer for row in rows])

    def __call__(self, input_ids: Tensor, scores: Any, **_: Any) -> Tensor:
        length = input_ids.shape[1] - self._width
        ended = self._limits.to(input_ids.device) <= length
        return ended | (input_ids[:, -1] == self._closers.to(input_ids.device)) if length > 1 else ended


class _Scripted(LogitsProcessor):
    """Leaves each row only the next piece of its script, and the end behind that."""

    def __init__(self, rows: Sequence[Row], width: int, end: int) -> None:
        scripts = [row.script or () for row in rows]
        longest = max(map(len, scripts)) + 1
        self._width = width
        self._pieces = torch.tensor([[*script, *[end] * (longest - len(script))] for script in scripts])

    def __call__(self, input_ids: Tensor, scores: Tensor) -> Tensor:
        place = min(input_ids.shape[1] - self._width, self._pieces.shape[1] - 1)
        chosen = self._pieces[:, place : place + 1].to(scores.device)
        return torch.full_like(scores, -torch.inf).scatter(1, chosen, 0.0)


@contextmanager
def _only(model: PreTrainedModel, config: GenerationConfig) -> Iterator[None]:
    """The model without the settings that came with it: `generate` would fill gaps of ours with those."""
    came = model.generation_config
    model.generation_config = config
    try:
        yield
    finally:
        model.generation_config = came


@contextmanager
def _counted(model: PreTrainedModel, counters: Counters) -> Iterator[None]:
    def count(_: Any, __: Any, kwargs: dict[str, Any]) -> None:
        counters.steps += 1
        counters.pieces += kwargs["input_ids"].numel()

    hook = model.register_forward_pre_hook(count, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()
