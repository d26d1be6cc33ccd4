"""Decoding a 7B model on one GPU, against what the GPU can do and against `generate`. Under five minutes.

    python -m benchmarks.gpu_decoding --docs conll03/test.jsonl --output results/gpu_decoding.json
    python -m benchmarks.gpu_decoding --docs conll03/test.jsonl --output trial.json --device cpu --shape tiny

The model has random weights in the shape of Llama-2-7B, in bfloat16; answers are replayed from gold, so every forward
pass is paid for as if the model were perfect. Sections, each of which may fail without the others:

    rates        bytes and operations a second, measured
    attention    one layer's attention under several kernels and kinds of mask
    answers      captured steps, plain steps and `generate` give the same answers
    latency      one document at a time
    throughput   many at a time, and the schemes one would use instead
    compiled     the same with layers that torch compiles
    roofline     the least that a document needs, and how far we are from it
    profile      where the host's time goes

Each arm stops at `--arm-seconds`, and says how many documents it did.
"""

from __future__ import annotations

import argparse
import cProfile
import itertools
import json
import pstats
import statistics
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import cached_property, partial
from pathlib import Path
from typing import Any

import torch

from benchmarks.arms import Arm, Forest, Generated
from benchmarks.contenders.generation import BatchCounters
from benchmarks.contenders.staged import Asker, answer_staged
from benchmarks.corpora import Corpus, read_corpus
from benchmarks.documents import Document
from benchmarks.models import SHAPES, random_llama
from benchmarks.rates import attention_times, bandwidth, matrix_rate, synchronise
from benchmarks.results import Cell, table, write_results
from benchmarks.schemes import SCHEMES
from benchmarks.surroundings import surroundings
from spacy_padellm.backends.local import answer_texts
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.checkpoint import choose_device
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.drafting import Drafting
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.errors import Errors
from spacy_padellm.types import Answered, Branch

EAGER, GRAPHS, COMPILED = Decoding(cuda_graphs=False), Decoding(), Decoding(compile_layers=True)
NO_COUNTS, NO_DRAFTS = Decoding(drafting=Drafting(counts=False)), Decoding(drafting=Drafting(False, 0, False))
WARM_UPS = 3
"""Batches before the clock starts: a step is captured when its shape comes for the second time."""

WATCHED = {
    "tokenising": ("pieces.py", "_cut"),
    "trees": ("tree.py", "add"),
    "questions and answers put in place": ("growth.py", "take"),
    "copy constraint": ("constraint.py", "spell_paths"),
    "packing, plain": ("packing.py", "pack"),
    "packing, padded": ("packing.py", "pack_padded"),
    "step, packing included": ("graphs.py", "run"),
    "choosing pieces, waiting included": ("decoder.py", "_choose"),
    "waiting for the device": ("~", "<method 'tolist' of 'torch._C.TensorBase' objects>"),
    "reading mentions": ("padellm.py", "read"),
}
"""What the profile tells apart: files and functions."""


@dataclass
class Bench:
    """What all sections share."""

    corpus: Corpus
    lm: LanguageModel
    arm_seconds: float
    ends: float
    batches: Sequence[int]
    found: dict[str, Any] = field(default_factory=dict)

    @cached_property
    def weight_bytes(self) -> int:
        """Bytes of the weights that every step reads: all but the input embeddings."""
        return (
            sum(w.numel() * w.element_size() for w in self.lm.model.parameters())
            - self.lm.model.get_input_embeddings().weight.nbytes
        )

    @cached_property
    def head_size(self) -> int:
        return int(self.lm.model.get_output_embeddings().weight.numel())

    @cached_property
    def body_size(self) -> int:
        """Weights that every piece is multiplied with."""
        embeddings = self.lm.model.get_input_embeddings().weight.numel()
        return sum(w.numel() for w in self.lm.model.parameters()) - embeddings - self.head_size

    def ours(self, decoding: Decoding) -> Forest:
        return Forest(self.lm, SCHEMES["padellm"](self.corpus.prompt), self.corpus, decoding=decoding)

    def generated(self, scheme: str) -> Generated:
        return Generated(self.lm, SCHEMES[scheme](self.corpus.prompt), self.corpus)

    def scripts(self, documents: Sequence[Document]) -> list[Callable[[Branch], str]]:
        """For each document the answers of a perfect model."""
        scheme = SCHEMES["padellm"](self.corpus.prompt)
        return [partial(scheme.answer, gold=document.gold) for document in documents]

    def answer(self, documents: Sequence[Document], decoding: Decoding) -> list[list[Answered]]:
        """Replay some documents as one batch."""
        return answer_texts(
            self.lm,
            SCHEMES["padellm"](self.corpus.prompt),
            self.corpus.labels,
            [document.text for document in documents],
            decoding=decoding,
            counters=Counters(),
            scripts=self.scripts(documents),
        )

    def documents(self, count: int) -> list[Document]:
        """The first documents, from the start again where there are fewer."""
        return list(itertools.islice(itertools.cycle(self.corpus.documents), count))

    def time(self, arm: Arm, batch_size: int, *, most: int, warm_ups: int = 1) -> dict[str, Any]:
        """Annotate documents batch by batch until the arm's time is over.

        most (int): Documents, at most: the same for all arms that get so far.
        warm_ups (int): Batches before the clock starts, of the same documents: shapes of steps are known then.
        """
        limit = min(self.arm_seconds, self.ends - time.perf_counter())
        if limit <= 0:
            return {"documents": 0, "left_out": "no time left"}
        start = time.perf_counter()
        documents = self.documents(most)
        batches = [documents[at : at + batch_size] for at in range(0, most, batch_size)]
        for batch in itertools.islice(itertools.cycle(batches), warm_ups):
            arm.run(batch, BatchCounters())
            if time.perf_counter() - start > 2 * limit:
                break
        warmed = time.perf_counter()
        counters, seconds = BatchCounters(), []
        for batch in batches:
            seconds.append(arm.run(batch, counters))
            if time.perf_counter() - warmed > limit or time.perf_counter() > self.ends:
                break
        n_docs = counters.documents
        return {
            "batch": batch_size,
            "documents": n_docs,
            "ms_per_doc": 1000 * sum(seconds) / n_docs,
            "median_ms_per_batch": 1000 * statistics.median(seconds),
            "docs_per_second": n_docs / sum(seconds),
            "steps": counters.steps,
            "steps_per_doc": counters.document_steps / n_docs,
            "pieces_per_doc": counters.pieces / n_docs,
            "answer_pieces": counters.answer_pieces + counters.answers,
            "pieces": counters.pieces,
            "seconds": sum(seconds),
            "warm_up_seconds": warmed - start,
        }


def rates(bench: Bench) -> dict[str, Any]:
    device, dtype = bench.lm.device, next(bench.lm.model.parameters()).dtype
    return {
        "bytes_per_second": bandwidth(device),
        "operations_per_second": matrix_rate(device, dtype),
        "weight_bytes": bench.weight_bytes,
    }


def attention(bench: Bench) -> dict[str, Any]:
    config = bench.lm.config
    size = config.hidden_size // config.num_attention_heads
    return attention_times(config.num_attention_heads, size, bench.lm.device, next(bench.lm.model.parameters()).dtype)


def answers(bench: Bench) -> dict[str, Any]:
    """Texts and probabilities of the same documents, decoded four times so that steps are captured on the way."""
    scheme, documents = SCHEMES["padellm"](bench.corpus.prompt), bench.documents(6)

    def decoded(decoding: Decoding) -> list[list[tuple[str, float]]]:
        answered = bench.answer(documents, decoding)
        return [[(one.answer.text, one.answer.probability) for one in answers] for answers in answered]

    plain = decoded(EAGER)
    captured = [decoded(GRAPHS) for _ in range(4)][-1]
    with own_attention(bench.lm, "sdpa"):
        asker = Asker(bench.lm, scheme, bench.corpus.labels)
        texts = [document.text.string for document in documents]
        generated = answer_staged(asker, texts, BatchCounters(), bench.scripts(documents))
    pairs = [(a, b) for one, other in zip(plain, captured, strict=True) for a, b in zip(one, other, strict=True)]
    return {
        "answers": len(pairs),
        "captured_texts_equal": all(a[0] == b[0] for a, b in pairs),
        # bfloat16 keeps three digits; padding changes the order of a matrix product's sums.
        "captured_probability_ratio_at_most": max(max(a[1], b[1]) / max(min(a[1], b[1]), 1e-300) for a, b in pairs),
        "generate_texts_equal": [[text for text, _ in one] for one in plain]
        == [[given.text for given in one] for one in generated],
        "captures": bench.lm.steps.captures,
        "replays": bench.lm.steps.replays,
    }


def latency(bench: Bench) -> dict[str, Any]:
    n_docs = 20
    arms: dict[str, tuple[Arm, int]] = {
        "ours, plain": (bench.ours(EAGER), 2),
        "ours, captured": (bench.ours(GRAPHS), WARM_UPS * n_docs),
        "ours, captured, counts not drafted": (bench.ours(NO_COUNTS), WARM_UPS * n_docs),
        "ours, captured, nothing drafted": (bench.ours(NO_DRAFTS), WARM_UPS * n_docs),
        "padellm generate": (bench.generated("padellm"), 2),
        "structured generate": (bench.generated("structured"), 1),
        "augmented generate": (bench.generated("augmented"), 1),
    }
    found: dict[str, Any] = {}
    for name, (arm, warm_ups) in arms.items():
        captures = bench.lm.steps.captures
        figures = bench.time(arm, 1, most=n_docs, warm_ups=warm_ups)
        if figures["documents"] and "rates" in bench.found:
            least = figures["steps"] * bench.weight_bytes / bench.found["rates"]["bytes_per_second"]
            figures["over_reading_weights"] = figures["seconds"] / least
        found[name] = {**figures, "captures": bench.lm.steps.captures - captures}
    return found


def compiled(bench: Bench) -> dict[str, Any]:
    """The same with compiled layers, alone and in the first two batch sizes."""
    start, documents = time.perf_counter(), bench.documents(6)
    texts = [
        [[one.answer.text for one in answers] for answers in bench.answer(documents, decoding)]
        for decoding in (COMPILED, GRAPHS)
    ]
    found: dict[str, Any] = {
        "texts_equal": texts[0] == texts[1],
        "compiling_seconds": time.perf_counter() - start,
    }
    for size in (1, *bench.batches[:2]):
        figures = bench.time(bench.ours(COMPILED), size, most=max(20, 2 * size), warm_ups=max(3 * WARM_UPS, 60 // size))
        if figures["documents"] and "rates" in bench.found:
            least = figures["steps"] * bench.weight_bytes / bench.found["rates"]["bytes_per_second"]
            figures["over_reading_weights"] = figures["seconds"] / least
        found[f"ours, captured, compiled, {size}"] = figures
    return found


def throughput(bench: Bench) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for size in bench.batches:
        captures = bench.lm.steps.captures
        figures = bench.time(bench.ours(GRAPHS), size, most=2 * size, warm_ups=2 * WARM_UPS)
        found[f"ours, captured, {size}"] = {**figures, "captures": bench.lm.steps.captures - captures}
    found[f"ours, plain, {bench.batches[0]}"] = bench.time(
        bench.ours(EAGER), bench.batches[0], most=2 * bench.batches[0]
    )
    for size in (8, 16):
        found[f"padellm generate, {size}"] = bench.time(bench.generated("padellm"), size, most=2 * size)
    for size in (8, 32):
        for scheme in ("structured", "augmented"):
            found[f"{scheme} generate, {size}"] = bench.time(bench.generated(scheme), size, most=size, warm_ups=0)
    return found


def roofline(bench: Bench) -> dict[str, Any]:
    """The least time of the documents timed before: weights read once a step, every piece multiplied with them."""
    measured, found = bench.found["rates"], {}
    timed = {**bench.found.get("latency", {}), **bench.found.get("throughput", {}), **bench.found.get("compiled", {})}
    for name, arm in timed.items():
        if not name.startswith("ours") or not arm.get("documents"):
            continue
        n_bytes = arm["steps"] * bench.weight_bytes
        operations = 2 * (bench.body_size * arm["pieces"] + bench.head_size * arm["answer_pieces"])
        least = max(n_bytes / measured["bytes_per_second"], operations / measured["operations_per_second"])
        found[name] = {
            "gigabytes_per_doc": n_bytes / arm["documents"] / 1e9,
            "teraoperations_per_doc": operations / arm["documents"] / 1e12,
            "least_ms_per_doc": 1000 * least / arm["documents"],
            "ours_over_least": arm["seconds"] / least,
        }
    return found


def profile(bench: Bench) -> dict[str, Any]:
    """Shares of the host's time, profiled: some lines lie within others, and the profiler itself slows Python down."""
    found: dict[str, Any] = {}
    scheme = SCHEMES["padellm"](bench.corpus.prompt)
    for size in (1, 64):
        documents = bench.documents(8 if size == 1 else 64)
        batches = [documents[at : at + size] for at in range(0, len(documents), size)]

        def work(batches: list[list[Document]] = batches) -> None:
            for batch in batches:
                for answers in bench.answer(batch, GRAPHS):
                    scheme.read(answers)

        for _ in range(WARM_UPS):
            work()
        synchronise(bench.lm.device)
        start = time.perf_counter()
        work()
        wall = time.perf_counter() - start
        with cProfile.Profile() as profiler:
            work()
        found[str(size)] = {"wall_ms_per_doc": 1000 * wall / len(documents), **_shares(pstats.Stats(profiler))}
    return found


def _shares(stats: pstats.Stats) -> dict[str, float]:
    told: dict[tuple[str, int, str], Any] = stats.stats  # type: ignore[attr-defined]
    total: float = stats.total_tt  # type: ignore[attr-defined]
    return {
        name: sum(entry[3] for (path, _, function), entry in told.items() if (Path(path).name, function) == watched)
        / total
        for name, watched in WATCHED.items()
    }


SECTIONS: dict[str, Callable[[Bench], dict[str, Any]]] = {
    "rates": rates,
    "attention": attention,
    "answers": answers,
    "latency": latency,
    "throughput": throughput,
    "compiled": compiled,
    "roofline": roofline,
    "profile": profile,
}


def make_bench(arguments: argparse.Namespace) -> Bench:
    """RAISES (ValueError): P135 if there is no document."""
    start = time.perf_counter()
    corpus = read_corpus(arguments.docs, limit=arguments.limit)
    if not corpus.documents:
        raise ValueError(Errors.P135.format(path=arguments.docs))
    texts = [document.text.string for document in corpus.documents]
    schemes = [make(corpus.prompt) for make in SCHEMES.values()]
    questions = [branch.question for scheme in schemes for branch in scheme.ask(corpus.labels)]
    lm = random_llama(
        arguments.shape,
        texts,
        questions,
        device=choose_device(arguments.device),
        dtype=getattr(torch, arguments.dtype),
        tokenizer=arguments.tokenizer,
    )
    return Bench(corpus, lm, arguments.arm_seconds, start + 60 * arguments.minutes, arguments.batch_size)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Run all sections that there is time for. One that fails leaves its error in the place of figures."""
    bench = make_bench(arguments)
    for name, section in SECTIONS.items():
        if name not in arguments.sections:
            continue
        if time.perf_counter() > bench.ends:
            bench.found[name] = {"left_out": "no time left"}
            continue
        start = time.perf_counter()
        try:
            bench.found[name] = section(bench)
        except Exception as error:  # the machine may not be there for long: what works is measured
            bench.found.setdefault("errors", {})[name] = traceback.format_exc()
            print(f"{name}: {type(error).__name__}: {error}", flush=True)
        print(f"{name}: {time.perf_counter() - start:.1f} s", flush=True)
    bench.found["memory_bytes"] = torch.cuda.max_memory_allocated() if bench.lm.device.type == "cuda" else None
    return {
        "set": bench.corpus.name,
        "shape": arguments.shape,
        "dtype": arguments.dtype,
        "parameters": sum(weights.numel() for weights in bench.lm.model.parameters()),
        **bench.found,
        **surroundings(),
    }


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """What people read."""
    least = figures.get("roofline", {})
    rows: list[list[Cell]] = []
    for section in ("latency", "throughput", "compiled"):
        for name, arm in figures.get(section, {}).items():
            if isinstance(arm, dict) and arm.get("documents"):
                columns = ("batch", "documents", "ms_per_doc", "docs_per_second", "steps_per_doc", "pieces_per_doc")
                over = least.get(name, {}).get("ours_over_least")
                rows.append([name, *(arm[column] for column in columns), arm.get("over_reading_weights"), over])
    head = [
        "arm",
        "batch",
        "documents",
        "ms a document",
        "documents/s",
        "steps",
        "pieces",
        "over weights",
        "over least",
    ]
    yield table(head, rows)
    for section in ("rates", "attention", "answers"):
        yield table([section, ""], [[name, value] for name, value in figures.get(section, {}).items()])
    profiled = figures.get("profile", {})
    if all(isinstance(one, dict) for one in profiled.values()) and profiled:
        names = list(next(iter(profiled.values())))
        shares = [[name, *(one[name] for one in profiled.values())] for name in names]
        yield table(["share of the host's time", *profiled], shares)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--limit", type=int, default=1024, help="read the first documents only")
    parser.add_argument("--shape", choices=list(SHAPES), default="7b")
    parser.add_argument("--tokenizer", help="a hub id, folder or tokenizer.json, not one made of the texts")
    parser.add_argument("--device", default="cuda")
    parser.add_argument("--dtype", default="bfloat16")
    parser.add_argument("--batch-size", type=int, nargs="+", default=[16, 64, 128, 256], help="of our own arms")
    parser.add_argument("--sections", nargs="+", choices=list(SECTIONS), default=list(SECTIONS))
    parser.add_argument("--arm-seconds", type=float, default=10.0, help="after which an arm begins no further batch")
    parser.add_argument("--minutes", type=float, default=4.5, help="after which no arm begins")
    parser.add_argument("--output", type=Path, required=True, help="a JSON file; beside it a table is written")
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    told = list(tables(figures))
    write_results(arguments.output, figures, told)
    print("\n\n".join(told))
    print(json.dumps({"output": str(arguments.output), "errors": list(figures.get("errors", {}))}))


if __name__ == "__main__":
    with coded_errors():
        main()
