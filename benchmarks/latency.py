"""What a document costs in each scheme, decoded in each way: time, steps and pieces.

    python -m benchmarks.latency --docs conll03/test.jsonl --model 8m --batch-size 1 16 --output latency.json

Answers are replayed from gold, so every forward pass is paid for as if the model were perfect; `--answers model` takes
the model's own. Ways to decode:

    forest     the engine of this package: one forest, prefixes shared, no padding
    generate   Hugging Face's `generate`, all sequences of a stage in one padded batch, each prompt in full; with one
               document at a time this is what the paper calls PaDeLLM_Batch
    alone      `generate` for each sequence alone; a document takes as long as its slowest sequence, as if each had a
               device of its own: the paper's PaDeLLM_Multi (for one document at a time)

`--pipeline` adds a spaCy pipeline: a package, a folder, or a factory, which is initialised but not trained. All ways
take turns on every batch of documents. Beside the JSON file a table is written (.md). The last line printed is one JSON
object.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, get_args

from benchmarks.arguments import whole
from benchmarks.arms import CLOCKS, Arm, Forest, Generated, Pipeline, corpus_model, run_interleaved
from benchmarks.contenders.generation import BatchCounters
from benchmarks.contenders.pipelines import load_pipeline
from benchmarks.corpora import Corpus, Language, read_corpus
from benchmarks.costs import cost, quotients
from benchmarks.paper import LATENCIES
from benchmarks.results import table, tell
from benchmarks.schemes import SCHEMES
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors

WAYS = ("forest", "generate", "alone")
_ALONE = ("padellm", "one_step")
"""Schemes with several sequences a document: for the others, alone and together are one."""

_SPED_UP = ("augmented", "structured", "one_step")
_FASTER = {"padellm alone": "padellm multi", "padellm generate": "padellm batch", "padellm forest": None}
"""Ways to decode PaDeLLM, and what the paper calls them."""


def make_arms(arguments: argparse.Namespace, corpus: Corpus, lm: LanguageModel, *, alone: bool) -> dict[str, Arm]:
    """The ways to be timed, by scheme and way, and the pipelines by what they are called."""
    settings: dict[str, Any] = {"replay": arguments.answers == "gold", "clock": CLOCKS[arguments.clock]}
    arms: dict[str, Arm] = {}
    for name in arguments.schemes:
        scheme = SCHEMES[name](corpus.prompt)
        made: dict[str, Arm] = {
            "forest": Forest(lm, scheme, corpus, **settings),
            "generate": Generated(lm, scheme, corpus, **settings),
            "alone": Generated(lm, scheme, corpus, **settings, alone=True),
        }
        chosen = [way for way in arguments.ways if way != "alone" or (alone and name in _ALONE)]
        arms |= {f"{name} {way}": made[way] for way in chosen}
    for named in arguments.pipeline:
        arms[named] = Pipeline(load_pipeline(named, corpus), settings["clock"])
    return arms


def speed_ups(arms: dict[str, dict[str, Any]], published: dict[str, float]) -> dict[str, dict[str, float | None]]:
    """Latency of a scheme over that of PaDeLLM, as the paper has it: the median of the runs' quotients. Beside it the
    quotient of the steps, which does not depend on the machine."""
    pairs = [(f"{scheme} generate", faster) for scheme in _SPED_UP for faster in _FASTER]
    pairs += [(f"{scheme} forest", "padellm forest") for scheme in _SPED_UP]
    pairs += [("padellm generate", "padellm forest")]
    found: dict[str, dict[str, float | None]] = {}
    for slow, fast in pairs:
        if slow in arms and fast in arms:
            over, under = published.get(slow.split()[0]), published.get(_FASTER[fast] or "")
            paper = over / under if over and under and slow.endswith("generate") else None
            same = not fast.endswith("alone")
            found[f"{slow} / {fast}"] = {
                "time": statistics.median(quotients(arms[slow], arms[fast])),
                "steps": arms[slow]["steps_per_doc"] / arms[fast]["steps_per_doc"] if same else None,
                "paper": paper,
            }
    return found


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all arms at all batch sizes, after a warm-up of each.

    RAISES (ValueError): P135 if there is no document.
    """
    measured_on = surroundings()
    corpus = read_corpus(arguments.docs, limit=arguments.limit, language=arguments.language)
    if not corpus.documents:
        raise ValueError(Errors.P135.format(path=arguments.docs))
    lm = corpus_model(arguments.model, corpus, device=arguments.device, dtype=arguments.dtype)
    published = {name: row[corpus.name] for name, row in LATENCIES.items() if corpus.name in row}
    batches: dict[str, Any] = {}
    for batch_size in arguments.batch_size:
        alone = batch_size == 1
        arms = make_arms(arguments, corpus, lm, alone=alone)
        for arm in arms.values():
            arm.run(corpus.documents[:batch_size], BatchCounters())
        timed = run_interleaved(arms, corpus.documents, batch_size=batch_size, runs=arguments.runs)
        figures = {name: cost(*found, len(corpus.documents)) for name, found in timed.items()}
        batches[str(batch_size)] = {"arms": figures, "speed_ups": speed_ups(figures, published if alone else {})}
    return {
        "set": corpus.name,
        "docs": len(corpus.documents),
        "labels": corpus.labels,
        "language": corpus.language,
        "model": arguments.model,
        "parameters": sum(weights.numel() for weights in lm.model.parameters()),
        "answers": arguments.answers,
        "clock": arguments.clock,
        "runs": arguments.runs,
        "batches": batches,
        **measured_on,
    }


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """What people read: for each batch size the ways to decode, and the speed-ups."""
    columns = {
        "ms_per_doc": "ms",
        "steps_per_doc": "steps",
        "pieces_per_doc": "pieces computed",
        "padding_per_doc": "of them padding",
        "answer_pieces_per_doc": "answers' pieces",
    }
    told = f"{figures['docs']} documents, model {figures['model']}, {figures['parameters']:,} weights"
    for size, found in figures["batches"].items():
        yield f"{figures['set']}, {told}, {size} at once, {figures['clock']} time, {figures['runs']} runs; a document:"
        yield table(
            ["scheme and way", *columns.values(), "forward passes"],
            [
                [name, *(arm.get(key) for key in columns), arm.get("forward_passes")]
                for name, arm in found["arms"].items()
            ],
        )
        quotients = found["speed_ups"].items()
        yield table(["quotient", "time", "steps", "paper"], [[name, *three.values()] for name, three in quotients])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument(
        "--model", default="tiny", help="tiny, 8m, 40m (random weights), a pipeline's folder or a hub id"
    )
    parser.add_argument("--schemes", nargs="+", choices=list(SCHEMES), default=list(SCHEMES))
    parser.add_argument("--ways", nargs="+", choices=WAYS, default=list(WAYS))
    parser.add_argument("--pipeline", action="append", default=[], help="a spaCy package, folder, or factory[=JSON]")
    parser.add_argument("--batch-size", type=whole, nargs="+", default=[1])
    parser.add_argument("--answers", choices=["gold", "model"], default="gold")
    parser.add_argument("--language", choices=get_args(Language), help="of the prompt; by default the data set's")
    parser.add_argument("--limit", type=whole, help="the first documents only")
    parser.add_argument("--runs", type=whole, default=3)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, on a busy machine")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    tell(figures, list(tables(figures)), arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
