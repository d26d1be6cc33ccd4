"""What decoding costs beside its alternatives: steps, pieces and time per document, and how many times ours.

    python -m benchmarks.decoding --docs FILE.jsonl --model 8m --batch-size 1 16 --output decoding.json

One scheme in the forest of this package at each batch size, and beside it contenders, which put the same questions to
the same model through Hugging Face's `generate`:

    padellm-unshared    PaDeLLM as its authors run it: every label's and every mention's prompt encoded in full, padded
                        on the left; one document at a time and at each batch size
    structured-generate, augmented-generate, one-step-generate
                        the paper's other schemes, always one document at a time

All take turns on the same documents, and ratios are medians of quotients of the same run. Answers are replayed from
gold, so every forward pass is paid for as if the model were perfect; `--answers model` takes the model's own. FILE is
any file that `spacy padellm convert` reads. Beside the JSON file of `--output` a table is written (.md). The last line
printed is one JSON object. `benchmarks.latency` sets all schemes and other ways to decode beside each other.
"""

from __future__ import annotations

import argparse
import statistics
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple, get_args

import torch

from benchmarks.arguments import whole
from benchmarks.arms import CLOCKS, Arm, Batched, Clock, Forest, Generated, corpus_model, run_interleaved
from benchmarks.contenders.generation import BatchCounters
from benchmarks.corpora import Corpus, Language, read_corpus
from benchmarks.costs import Cost, cost, quotients
from benchmarks.results import table, tell
from benchmarks.schemes import SCHEMES
from benchmarks.shares import HOST, Shares
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors

CONTENDERS = {
    "padellm-unshared": "padellm",
    "structured-generate": "structured",
    "augmented-generate": "augmented",
    "one-step-generate": "one_step",
}
"""Contenders with their schemes."""

UNSHARED = "padellm-unshared"
"""The contender that batches documents; for the others one document is one sequence or a few."""

TARGETS = {
    (UNSHARED, 1, 1): 5.0,
    (UNSHARED, 16, 16): 8.0,
    ("structured-generate", 1, 1): 6.0,
    ("structured-generate", 1, 16): 10.0,
    ("augmented-generate", 1, 1): 12.0,
    ("augmented-generate", 1, 16): 18.0,
}
"""Times a contender's time over that of PaDeLLM in the forest that this package sets itself as a goal, on two cores at
8 and 40 million weights: contender, its batch size, ours."""


class Runner(NamedTuple):
    """Who annotates how many documents at once."""

    name: str
    batch_size: int

    def __str__(self) -> str:
        return f"{self.name} at {self.batch_size}"


def make_arms(arguments: argparse.Namespace, corpus: Corpus, lm: LanguageModel) -> dict[Runner, Arm]:
    """Ours at each batch size, and the contenders."""
    settings: dict[str, Any] = {"replay": arguments.answers == "gold", "clock": CLOCKS[arguments.clock]}
    forest = Forest(
        lm,
        SCHEMES[arguments.scheme](corpus.prompt),
        corpus,
        decoding=Decoding(drafting=drafting(arguments)),
        **settings,
    )
    arms: dict[Runner, Arm] = {Runner("forest", size): forest for size in arguments.batch_size}
    for name in arguments.contender:
        generated = Generated(lm, SCHEMES[CONTENDERS[name]](corpus.prompt), corpus, **settings)
        sizes = sorted({1, *arguments.batch_size}) if name == UNSHARED else [1]
        arms |= {Runner(name, size): generated for size in sizes}
    return {runner: Batched(arm, runner.batch_size) for runner, arm in arms.items()}


def drafting(arguments: argparse.Namespace) -> Drafting:
    drafts = arguments.drafts
    copies = arguments.copies if drafts != "none" else 0
    return Drafting(questions=drafts != "none", copies=copies, counts=drafts == "all")


def ratios(costs: dict[Runner, Cost], *, scheme: str) -> list[dict[str, Any]]:
    """Every contender's time over ours: one document at a time against each of our batch sizes, and at equal sizes.

    scheme (str): Ours. Only PaDeLLM has targets.
    RETURNS (list[dict[str, Any]]): Median, least and most of the runs' quotients, the quotient of the steps, which does
        not depend on the machine, and the target where there is one.
    """
    ours = [runner for runner in costs if runner.name == "forest"]
    theirs = [runner for runner in costs if runner.name != "forest"]
    pairs = [(slow, fast) for slow in theirs for fast in ours if slow.batch_size in (1, fast.batch_size)]
    found = []
    for slow, fast in pairs:
        of_runs = quotients(costs[slow], costs[fast])
        found.append(
            {
                "contender": slow.name,
                "its_batch_size": slow.batch_size,
                "our_batch_size": fast.batch_size,
                "time": statistics.median(of_runs),
                "least": min(of_runs),
                "most": max(of_runs),
                "steps": costs[slow]["steps_per_doc"] / costs[fast]["steps_per_doc"],
                "pieces": costs[slow]["pieces_per_doc"] / costs[fast]["pieces_per_doc"],
                "target": TARGETS.get((slow.name, slow.batch_size, fast.batch_size)) if scheme == "padellm" else None,
            }
        )
    return found


def shares(arms: dict[Runner, Arm], corpus: Corpus, lm: LanguageModel, clock: Clock) -> dict[str, dict[str, float]]:
    """What the forest's time goes to at each batch size, in a pass of its own: to look at every layer takes time."""
    found: dict[str, dict[str, float]] = {}
    for runner in (runner for runner in arms if runner.name == "forest"):
        watch = Shares(clock)
        with watch.watching(lm.model):
            seconds = arms[runner].run(corpus.documents, BatchCounters())
        parts = watch.of(seconds)
        found[str(runner)] = {**parts, "ms_of_the_host_per_doc": 1000 * seconds * parts[HOST] / len(corpus.documents)}
    return found


def prepare(arguments: argparse.Namespace) -> tuple[Corpus, LanguageModel]:
    """The documents and the model.

    RAISES (ValueError): P135 if there is no document.
    """
    corpus = read_corpus(arguments.docs, language=arguments.language, words="names", readings=arguments.readings)
    if not corpus.documents:
        raise ValueError(Errors.P135.format(path=arguments.docs))
    # The tokenizer of a random model is trained on the whole file: on a few texts every word would be one piece.
    lm = corpus_model(
        arguments.model, corpus, device=arguments.device, dtype=arguments.dtype, tokenizer=arguments.tokenizer
    )
    return replace(corpus, documents=corpus.documents[: arguments.limit]), lm


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Time all arms on the same documents, after a warm-up of each."""
    if arguments.threads:
        torch.set_num_threads(arguments.threads)
    measured_on = surroundings()
    corpus, lm = prepare(arguments)
    arms = make_arms(arguments, corpus, lm)
    together = max(runner.batch_size for runner in arms)
    for runner, arm in arms.items():
        arm.run(corpus.documents[: 2 * runner.batch_size], BatchCounters())
    timed = run_interleaved(arms, corpus.documents, batch_size=together, runs=arguments.runs)
    costs = {runner: cost(*found, len(corpus.documents)) for runner, found in timed.items()}
    return {
        "set": corpus.name,
        "docs": len(corpus.documents),
        "scheme": arguments.scheme,
        "labels": corpus.labels,
        "language": corpus.language,
        "model": arguments.model,
        "parameters": sum(weights.numel() for weights in lm.model.parameters()),
        "dtype": arguments.dtype,
        "answers": arguments.answers,
        "clock": arguments.clock,
        "runs": arguments.runs,
        "arms": {str(runner): told for runner, told in costs.items()},
        "ratios": ratios(costs, scheme=arguments.scheme),
        "shares": shares(arms, corpus, lm, CLOCKS[arguments.clock]) if arguments.shares else {},
        **measured_on,
    }


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """What people read: what each arm costs, and the contenders over ours."""
    columns = {
        "ms_per_doc": "ms",
        "steps_per_doc": "steps",
        "pieces_per_doc": "pieces computed",
        "padding_per_doc": "of them padding",
        "drafts_per_doc": "drafts",
        "drafts_accepted_per_doc": "wanted",
        "answer_pieces_per_doc": "answers' pieces",
        "forward_passes": "forward passes",
    }
    yield (
        f"{figures['set']}, {figures['docs']} documents, {figures['scheme']} in the forest, model {figures['model']}, "
        f"{figures['parameters']:,} weights, {figures['dtype']}, {figures['clock']} time, {figures['runs']} runs; a "
        "document:"
    )
    rows = [[name, *(told[key] for key in columns)] for name, told in figures["arms"].items()]
    yield table(["documents at once", *columns.values()], rows)
    if figures["ratios"]:
        yield table(
            ["contender over the forest", "time", "least", "most", "target", "steps", "pieces"],
            [
                [
                    f"{one['contender']} at {one['its_batch_size']} / forest at {one['our_batch_size']}",
                    *(one[key] for key in ("time", "least", "most", "target", "steps", "pieces")),
                ]
                for one in figures["ratios"]
            ],
        )
    if figures["shares"]:
        names = list(next(iter(figures["shares"].values())))
        rows = [[name, *(found[name] for found in figures["shares"].values())] for name in names]
        yield table(["share of the time", *figures["shares"]], rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument(
        "--model", default="tiny", help="tiny, 8m, 40m (random weights), a pipeline's folder or a hub id"
    )
    parser.add_argument("--scheme", choices=sorted(SCHEMES), default="padellm")
    parser.add_argument("--contender", nargs="*", choices=list(CONTENDERS), default=[*CONTENDERS][:3])
    parser.add_argument("--batch-size", type=whole, nargs="+", default=[1])
    parser.add_argument("--drafts", choices=["none", "some", "all"], default="some", help="some: all but counts")
    parser.add_argument("--copies", type=int, help="pieces drafted of a copied string")
    parser.add_argument("--tokenizer", help="a hub id, folder or tokenizer.json, for a model with random weights")
    parser.add_argument("--answers", choices=["gold", "model"], default="gold")
    parser.add_argument("--readings", type=int, default=1, help="how often the text stands in the trunk")
    parser.add_argument("--language", choices=get_args(Language), help="of the prompt; by default the data set's")
    parser.add_argument("--limit", type=whole, help="the first documents only")
    parser.add_argument("--runs", type=whole, default=3)
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, on a busy machine")
    parser.add_argument("--threads", type=whole, help="of torch; by default as many as it chooses")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--shares", action="store_true", help="what the forest's time goes to, on a CPU")
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    tell(figures, list(tables(figures)), arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
