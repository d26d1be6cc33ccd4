"""What training costs: packed trees against one padded sequence for each mention.

    python -m benchmarks.training --docs conll03/train.jsonl --model 8m --sample 200 --output training.json

The same model, the same documents, the same loss (the sums are compared before anything is timed), all labels asked.
Ways to train:

    packed        the trees of this package in rows of `--max-row` pieces
    packed again  the same with gradient checkpointing: layers are computed again on the way back
    padded        one sequence for each mention, and for each label without any: text, label, count, marker, mention;
                  random batches, padded to the longest, the logits of every place computed, as Hugging Face's Trainer
                  does it and the paper's authors with it
    padded best   the same sequences sorted by length, logits only where the loss is: the most that padding allows

A batch of padded sequences has `--max-row` pieces, too. A pass is one epoch: forward and backward of all documents,
without the optimizer's step, which costs the same in all ways. `--memory` measures what a pass holds at most for
several budgets. Beside the JSON file a table is written (.md). The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import random
import statistics
import time
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any, NamedTuple, get_args

import numpy as np
from torch import Tensor

from benchmarks.arguments import whole
from benchmarks.arms import corpus_model
from benchmarks.contenders.padded import batches_of, padded_loss, padded_pieces, sequences_of
from benchmarks.corpora import Corpus, Language, read_corpus
from benchmarks.documents import Document
from benchmarks.peaks import in_child, peak_bytes, saved_bytes
from benchmarks.results import table, tell
from benchmarks.schemes import SCHEMES
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.errors import Errors
from spacy_padellm.model.checkpointing import set_checkpointing
from spacy_padellm.training.batching import rows_of
from spacy_padellm.training.loss import row_loss
from spacy_padellm.training.targets import TargetTree, grow_gold

WAYS = ("packed", "packed again", "padded", "padded best")
_SAME = 1e-4
"""How far the sums of the losses may differ, relative to each other: float32 in another order."""


class Row(NamedTuple):
    """What goes through the model at once.

    loss (partial[Tensor]): Its forward pass.
    computed (int): Pieces that go through the model, padding too.
    padded (int): Pieces that attention sees, padding too.
    own (int): Pieces without padding.
    """

    loss: partial[Tensor]
    computed: int
    padded: int
    own: int


class Way(NamedTuple):
    """One way to train: its rows, and how the model must be set for them."""

    rows: list[Row]
    forest: bool
    again: bool

    def set(self, lm: LanguageModel) -> AbstractContextManager[object]:
        set_checkpointing(lm, self.again)
        return nullcontext() if self.forest else own_attention(lm, "sdpa")


def make_way(name: str, lm: LanguageModel, corpus: Corpus, max_row: int) -> Way:
    """RETURNS (Way): One of `WAYS` through all documents of a corpus."""
    scheme = SCHEMES["padellm"](corpus.prompt)
    if name.startswith("packed"):
        rows = [_packed(lm, row) for row in rows_of(grow_trees(lm, corpus), max_row)]
        return Way(rows, forest=True, again=name == "packed again")
    best = name == "padded best"
    sequences = [one for document in corpus.documents for one in sequences_of(scheme, corpus.labels, document, lm)]
    rows = []
    for batch in batches_of(sequences, max_row, by_length=best):
        size, own = padded_pieces(batch), sum(len(one.pieces) for one in batch)
        rows.append(Row(partial(padded_loss, lm, batch, all_logits=not best), size, size, own))
    return Way(rows, forest=False, again=False)


def grow_trees(lm: LanguageModel, corpus: Corpus) -> list[TargetTree]:
    """The documents as trees whose targets count as often as in the paper's sequences."""
    scheme = SCHEMES["padellm"](corpus.prompt)
    return [
        grow_gold(scheme, corpus.labels, one.text.string, one.gold, lm.pieces, weighting="sequence")
        for one in corpus.documents
    ]


def _packed(lm: LanguageModel, trees: Sequence[TargetTree]) -> Row:
    sizes = [len(target.tree) for target in trees]
    return Row(partial(row_loss, lm, trees), sum(sizes), len(sizes) * max(sizes), sum(sizes))


def run(way: Way, lm: LanguageModel, rows: Sequence[Row] | None = None) -> tuple[float, float, float]:
    """Forward and backward through all rows, or some.

    RETURNS (tuple[float, float, float]): The sum of the loss, seconds that passed, seconds of processor time.
    """
    lm.model.train()
    total, wall, cpu = 0.0, time.perf_counter(), time.process_time()
    with way.set(lm):
        for row in way.rows if rows is None else rows:
            loss = row.loss()
            loss.backward()
            total += loss.item()
    spent = time.perf_counter() - wall, time.process_time() - cpu
    lm.model.zero_grad(set_to_none=False)
    lm.model.eval()
    return total, *spent


def time_ways(ways: dict[str, Way], lm: LanguageModel, *, runs: int) -> dict[str, dict[str, Any]]:
    """Passes of all ways, in an order that turns.

    RAISES (ValueError): P117 if their losses are not the same.
    """
    names = list(ways)
    spent: dict[str, list[tuple[float, ...]]] = {name: [] for name in ways}
    for way in ways.values():
        run(way, lm, way.rows[-1:])
    for number in range(runs):
        turn = number % len(names)
        for name in names[turn:] + names[:turn]:
            spent[name].append(run(ways[name], lm))
        losses = {name: found[number][0] for name, found in spent.items()}
        if max(losses.values()) - min(losses.values()) > _SAME * max(losses.values()):
            raise ValueError(Errors.P117.format(losses=losses))
    return {
        name: {
            "loss": spent[name][0][0],
            "pieces": sum(row.own for row in way.rows),
            "pieces_computed": sum(row.computed for row in way.rows),
            "pieces_in_attention": sum(row.padded for row in way.rows),
            "rows": len(way.rows),
            "wall_s": statistics.median(wall for _, wall, _ in spent[name]),
            "cpu_s": statistics.median(cpu for _, _, cpu in spent[name]),
            "cpu_s_of_runs": [cpu for _, _, cpu in spent[name]],
        }
        for name, way in ways.items()
    }


def ratios(ways: dict[str, dict[str, Any]]) -> dict[str, dict[str, float]]:
    """What each way costs over packed trees."""
    keys = ("pieces", "pieces_computed", "wall_s", "cpu_s")
    return {name: {key: way[key] / ways["packed"][key] for key in keys} for name, way in ways.items()}


def measure_memory(arguments: argparse.Namespace, name: str) -> list[dict[str, Any]]:
    """What the largest rows of one way hold for each budget: those with most pieces, and those with most places in
    attention. To be called in a process of its own."""
    corpus, lm = prepare(arguments)
    found = []
    for max_row in sorted(arguments.memory):
        way = make_way(name, lm, corpus, max_row)
        largest = [max(way.rows, key=lambda row: row.padded), max(way.rows, key=lambda row: row.padded**2 / row.own)]
        # Gradients of the weights are there from now on, and are not counted.
        run(way, lm, way.rows[-1:])
        lm.model.train()
        with way.set(lm):
            saved = max(saved_bytes(lm.model, row.loss) for row in largest)
        figures = {"largest_row": max(row.padded for row in way.rows), "saved_bytes": saved}
        peak = peak_bytes(partial(run, way, lm, largest))
        found.append({"way": name, "max_row": max_row, **figures, "peak_bytes": peak})
    return found


def fit_estimate(lm: LanguageModel, corpus: Corpus) -> dict[str, Any]:
    """The settings of `batch_by_pieces` that fit these documents best, and how far off they are."""
    sizes = np.array([len(target.tree) for target in grow_trees(lm, corpus)], dtype=float)
    known = np.array([[_tokens(one), 1.0, len(one.gold)] for one in corpus.documents])
    found = np.linalg.lstsq(known, sizes, rcond=None)[0]
    off = np.quantile(known @ found / sizes, [0.05, 0.5, 0.95])
    names = ("per_token", "per_doc", "per_mention")
    return {**dict(zip(names, found.round(2).tolist(), strict=True)), "estimated_over_true": off.round(3).tolist()}


def _tokens(document: Document) -> int:
    """Tokens of the text and of its mentions."""
    places = [(gold.start, len(gold.string)) for gold in document.gold if gold.start is not None]
    inside = [sum(at <= start < at + length for start, _ in document.text.borders) for at, length in places]
    return len(document.text.borders) + sum(inside)


def prepare(arguments: argparse.Namespace) -> tuple[Corpus, LanguageModel]:
    """A sample of the documents and the model, the same each time.

    RAISES (ValueError): P135 if there is no document.
    """
    corpus = read_corpus(arguments.docs, language=arguments.language)
    if not corpus.documents:
        raise ValueError(Errors.P135.format(path=arguments.docs))
    # The tokenizer of a random model is trained on the whole file, not on the sample alone.
    lm = corpus_model(arguments.model, corpus, device=arguments.device)
    size = min(arguments.sample or len(corpus.documents), len(corpus.documents))
    drawn = random.Random(arguments.seed).sample(corpus.documents, size)
    return replace(corpus, documents=drawn), lm


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all ways, and what they hold for each budget."""
    measured_on = surroundings()
    corpus, lm = prepare(arguments)
    ways = {name: make_way(name, lm, corpus, arguments.max_row) for name in WAYS}
    timed = time_ways(ways, lm, runs=arguments.runs)
    return {
        "set": corpus.name,
        "docs": len(corpus.documents),
        "labels": corpus.labels,
        "language": corpus.language,
        "model": arguments.model,
        "parameters": sum(weights.numel() for weights in lm.model.parameters()),
        "max_row": arguments.max_row,
        "runs": arguments.runs,
        "ways": timed,
        "ratios": ratios(timed),
        "memory": [one for name in WAYS for one in in_child(measure_memory, arguments, name)]
        if arguments.memory
        else [],
        "estimate": fit_estimate(lm, corpus),
        **measured_on,
    }


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """What people read."""
    told = f"{figures['docs']} documents, model {figures['model']}, {figures['parameters']:,} weights"
    yield f"{figures['set']}, {told}, rows of {figures['max_row']:,} pieces, {figures['runs']} runs; an epoch:"
    yield table(
        ["way", "pieces", "with padding", "in attention", "rows", "wall, s", "CPU, s", "loss"],
        [
            [
                name,
                *(way[key] for key in ("pieces", "pieces_computed", "pieces_in_attention", "rows")),
                *(float(way[key]) for key in ("wall_s", "cpu_s", "loss")),
            ]
            for name, way in figures["ways"].items()
        ],
    )
    yield table(
        ["over packed", "pieces", "with padding", "wall", "CPU"],
        [[name, *found.values()] for name, found in figures["ratios"].items() if name != "packed"],
    )
    if figures["memory"]:
        yield "The most that is held, MB: kept for the way back, and memory of the process beyond model and gradients."
        yield table(
            ["way", "max_row", "largest row", "kept", "process"],
            [
                [
                    one["way"],
                    one["max_row"],
                    one["largest_row"],
                    one["saved_bytes"] / 1e6,
                    None if one["peak_bytes"] is None else one["peak_bytes"] / 1e6,
                ]
                for one in figures["memory"]
            ],
        )
    yield f"Settings of `batch_by_pieces` that fit: {figures['estimate']}"


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--model", default="tiny", help="tiny, 8m, 40m (random weights), or a hub id")
    parser.add_argument("--language", choices=get_args(Language), help="of the prompt; by default the data set's")
    parser.add_argument("--sample", type=whole, help="so many documents, drawn at random")
    parser.add_argument("--seed", type=int, default=0, help="of the sample")
    parser.add_argument("--max-row", type=int, default=2048)
    parser.add_argument("--runs", type=whole, default=2)
    parser.add_argument("--memory", type=int, nargs="*", default=[], help="budgets of which the memory is measured")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    tell(figures, list(tables(figures)), arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
