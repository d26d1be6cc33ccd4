"""How cost grows: with labels, text, mentions, documents at once, and the model.

    python -m benchmarks.scaling --model 8m --clock cpu --output scaling.json --plots FOLDER
    python -m benchmarks.scaling --axis text --text 100 1000 10000
    python -m benchmarks.scaling --short

Documents are made to measure (`benchmarks/synthetic.py`), of invented words or, with `--docs`, of the words of a file;
answers are replayed from gold, so that every forward pass is paid for as if the model were perfect. Along an axis one
thing grows and all else stays:

    labels     asked about, of a document of 30 words and of one of 500
    text       words, 4 labels, 3 mentions
    mentions   in 500 words, 4 labels
    batch      documents at once, of 10 to 50 words each, 4 labels, 3 mentions; the same documents at every size
    model      random weights, 30 words, 4 labels, 3 mentions; those that do not fit into memory are left out, and named

All but the batch axis decode one document at a time. For each point there is a median over the runs; `growth` is the
power that time, and pieces, grow with from the point before (1: as the value does), and a point is marked where a piece
through a weight takes more than 15 % longer than at the point before. Beside the JSON file a table is written (.md),
and with `--plots` an SVG file for each axis. Points are told on stderr as they come; the last line printed is one JSON
object.
"""

from __future__ import annotations

import argparse
import random
import statistics
import sys
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import torch

from benchmarks.arguments import whole
from benchmarks.arms import CLOCKS, Batched, Forest
from benchmarks.contenders.generation import BatchCounters
from benchmarks.corpora import Corpus
from benchmarks.curves import STEEPER, Curve, add_growth
from benchmarks.documents import Document, read_documents
from benchmarks.models import SHAPES, make_model, shaped_model, weights_of
from benchmarks.plots import Line, draw_lines
from benchmarks.results import Cell, table, tell
from benchmarks.schemes import SCHEMES
from benchmarks.surroundings import surroundings
from benchmarks.synthetic import Measure, invent_labels, invent_tape, make_document, tape_of
from benchmarks.watched import watch
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.memory import available_bytes, bytes_per_place
from spacy_padellm.errors import Errors
from spacy_padellm.prompts.english import build_english_prompt_v1

VALUES: dict[str, tuple[int, ...]] = {
    "labels": (1, 5, 10, 20, 50, 100, 200, 500),
    "text": (20, 50, 100, 200, 500, 1000, 2000, 4000),
    "mentions": (0, 1, 2, 5, 10, 20, 50, 100),
    "batch": (1, 2, 4, 8, 16, 32, 64, 128, 256),
}
FEW: dict[str, tuple[int, ...]] = {
    "labels": (1, 20, 100),
    "text": (20, 200, 1000),
    "mentions": (0, 10, 50),
    "batch": (1, 8, 32),
}
"""The values of a short run."""

AXES = (*VALUES, "model")
FEW_MODELS = ("tiny", "8m")
LEAST = {"labels": 1, "text": 3, "mentions": 0, "batch": 1}

SHORT_TEXT, LONG_TEXT = Measure(30, 4, 3), Measure(500, 4, 10)
AT_A_POINT = 2
"""Documents of a point, where they are decoded one at a time."""

ROOM = 2
"""How many times a model's weights must be free: a machine has other things to hold, too."""


class Point(NamedTuple):
    """What is measured.

    at (int): Its place on the axis.
    measure (Measure): What its documents are made to.
    batch (int): How many are decoded at once.
    """

    at: int
    measure: Measure
    batch: int = 1


class Bench(NamedTuple):
    """What all points share.

    lm (LanguageModel): The model, where it is not what the axis changes.
    tape (Sequence[str]): The words of the documents.
    arguments (argparse.Namespace): The options.
    """

    lm: LanguageModel
    tape: Sequence[str]
    arguments: argparse.Namespace


def points_of(axis: str, values: Sequence[int]) -> dict[str, list[Point]]:
    """The curves of an axis by name, each with its points."""
    if axis == "labels":
        return {
            f"labels, {size.words} words": [Point(value, size._replace(labels=value)) for value in values]
            for size in (SHORT_TEXT, LONG_TEXT)
        }
    if axis == "text":
        return {"text": [Point(value, SHORT_TEXT._replace(words=value)) for value in values]}
    if axis == "mentions":
        return {"mentions": [Point(value, LONG_TEXT._replace(mentions=value)) for value in values]}
    return {"batch": [Point(value, SHORT_TEXT, batch=value) for value in values]}


def documents_of(point: Point, bench: Bench, *, largest_batch: int) -> list[Document]:
    """The documents of a point. On the batch axis they are the same at every point, and of different lengths."""
    measure, seed = point.measure, bench.arguments.seed
    if not largest_batch:
        return [make_document(measure, bench.tape, f"{seed} {number}") for number in range(AT_A_POINT)]
    sizes = random.Random(f"sizes {seed}")
    return [
        make_document(measure._replace(words=sizes.randint(10, 50)), bench.tape, f"{seed} {number}")
        for number in range(largest_batch)
    ]


def measure_point(lm: LanguageModel, point: Point, bench: Bench, *, largest_batch: int = 0) -> dict[str, Any]:
    """Annotate the documents of a point as often as there is time for, after a first time that does not count (it does
    where there is time for no other)."""
    arguments = bench.arguments
    clock = CLOCKS[arguments.clock]
    documents = documents_of(point, bench, largest_batch=largest_batch)
    labels = invent_labels(point.measure.labels, arguments.seed)
    prompt = build_english_prompt_v1()
    corpus = Corpus("made to measure", "en", documents, labels, prompt)
    watched = watch(lm, clock)
    forest = Batched(Forest(watched, SCHEMES["padellm"](prompt), corpus, clock=clock), point.batch)

    def spend() -> tuple[float, float]:
        before = watched.seconds
        spent = forest.run(documents, BatchCounters())
        return spent, watched.seconds - before

    counters, start = BatchCounters(), time.perf_counter()
    took = forest.run(documents, counters)
    passed, in_model = time.perf_counter() - start, watched.seconds
    runs = min(arguments.runs, int(arguments.seconds / passed))
    spent = [spend() for _ in range(runs)] or [(took, in_model)]
    n_docs, total = len(documents), sum(whole for whole, _ in spent)
    ms = 1000 * statistics.median(whole for whole, _ in spent) / n_docs
    print(f"{lm.name}, {point.measure}, {point.batch} at once: {ms:.1f} ms a document", file=sys.stderr)
    return {
        "at": point.at,
        **point.measure._asdict(),
        "batch": point.batch,
        "parameters": sum(weights.numel() for weights in lm.model.parameters()),
        "docs": n_docs,
        "runs": len(spent),
        "ms_per_doc": ms,
        "ms_per_doc_of_runs": [1000 * whole / n_docs for whole, _ in spent],
        "host_share": 1 - sum(model for _, model in spent) / total,
        "steps_per_doc": counters.document_steps / n_docs,
        "forward_passes": counters.steps,
        "pieces_per_doc": counters.pieces / n_docs,
        "drafts_per_doc": counters.drafts / n_docs,
        "drafts_refuted_per_doc": (counters.drafts - counters.drafts_accepted) / n_docs,
        "answers_per_doc": counters.answers / n_docs,
        "peak_kv_pieces": counters.peak_kv_pieces,
        "peak_kv_bytes": counters.peak_kv_pieces * bytes_per_place(lm),
    }


def measure_axis(axis: str, bench: Bench) -> list[Curve]:
    """The curves of an axis on which documents grow, or how many they are."""
    values = sorted({*getattr(bench.arguments, axis)})
    if values[0] < LEAST[axis]:
        raise ValueError(Errors.P171.format(axis=axis, least=LEAST[axis], got=values[0]))
    curves = []
    unit = {"text": "words", "batch": "documents at once"}.get(axis, axis)
    largest = values[-1] if axis == "batch" else 0
    for name, points in points_of(axis, values).items():
        found = [measure_point(bench.lm, point, bench, largest_batch=largest) for point in points]
        add_growth(found)
        curves.append(Curve(name, unit, found))
    return curves


def measure_models(bench: Bench) -> tuple[list[Curve], list[dict[str, Any]]]:
    """The curve of the models, and those that were left out with what they need and what there is, in bytes. All have
    one tokenizer, so that all are fed the same pieces."""
    found, left_out = [], []
    dtype, device = bench.arguments.dtype, bench.lm.device
    for name in sorted({*bench.arguments.models}, key=lambda name: weights_of(SHAPES[name])):
        missing = _missing(weights_of(SHAPES[name]), getattr(torch, dtype), device)
        if missing is not None:
            left_out.append({"model": name, "needs_bytes": missing[0], "free_bytes": missing[1]})
            continue
        is_there = bench.lm.name == name
        lm = bench.lm if is_there else shaped_model(name, bench.lm.pieces, device=device, dtype=dtype)
        size = sum(weights.numel() for weights in lm.model.parameters())
        found.append({"model": name, **measure_point(lm, Point(size, SHORT_TEXT), bench)})
        del lm
    add_growth(found)
    return [Curve("model", "weights", found)], left_out


def _missing(n_weights: int, dtype: torch.dtype, device: torch.device) -> tuple[int, int] | None:
    """The bytes that a model needs and those that are free, where these are too few; else None. A model is made in main
    memory in float32, whatever becomes of it."""
    wants = [(ROOM * n_weights * torch.float32.itemsize, available_bytes())]
    if device.type == "cuda":
        wants.append((ROOM * n_weights * dtype.itemsize, torch.cuda.mem_get_info(device)[0]))
    return next((want for want in wants if want[0] > want[1]), None)


def prepare(arguments: argparse.Namespace) -> Bench:
    """The model and the words. The tokenizer of a random one knows the words and the questions of all points.

    RAISES (ValueError): P135 if the file of documents has none.
    """
    tape = invent_tape(arguments.seed)
    if arguments.docs is not None:
        tape = tape_of(read_documents(arguments.docs))
        if not tape:
            raise ValueError(Errors.P135.format(path=arguments.docs))
    labels = invent_labels(max(*arguments.labels, SHORT_TEXT.labels), arguments.seed)
    asked = SCHEMES["padellm"](build_english_prompt_v1()).ask(labels)
    lm = make_model(
        arguments.model,
        [" ".join(tape)],
        [branch.question for branch in asked],
        device=arguments.device,
        dtype=arguments.dtype,
        tokenizer=arguments.tokenizer,
    )
    return Bench(lm, tape, arguments)


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Measure all axes asked for."""
    measured_on = surroundings()
    bench = prepare(arguments)
    curves: list[Curve] = []
    left_out: list[dict[str, Any]] = []
    for axis in dict.fromkeys(arguments.axis):
        if axis == "model":
            of_models, left_out = measure_models(bench)
            curves += of_models
        else:
            curves += measure_axis(axis, bench)
    return {
        "words": "invented" if arguments.docs is None else arguments.docs.name,
        "model": arguments.model,
        "parameters": sum(weights.numel() for weights in bench.lm.model.parameters()),
        "dtype": arguments.dtype,
        "device": bench.lm.device.type,
        "clock": arguments.clock,
        "seed": arguments.seed,
        "curves": [curve._asdict() for curve in curves],
        "models_left_out": left_out,
        **measured_on,
    }


def tables(figures: dict[str, Any]) -> Iterator[str]:
    """What people read: for each curve its points."""
    told = f"model {figures['model']}, {figures['parameters']:,} weights, {figures['dtype']} on {figures['device']}"
    yield (
        f"{told}, {figures['clock']} time, {figures['words']} words; a document. `growth` is the power of the value "
        f"that time, and pieces, grow with since the point before; ▲: a piece through a weight takes more than "
        f"{STEEPER - 1:.0%} longer than there."
    )
    for curve in figures["curves"]:
        yield f"## {curve['name'][0].upper()}{curve['name'][1:]}"
        head = ("ms", "of it outside the model, %", "steps", "pieces", "drafts", "of them refuted", "K/V places")
        rows = [_cells(point) for point in curve["points"]]
        yield table([curve["unit"], *head, "K/V, MB", "µs a piece", "growth of ms", "of pieces", ""], rows)
    for one in figures["models_left_out"]:
        needs, free = one["needs_bytes"] / 1e9, one["free_bytes"] / 1e9
        yield f"Left out: `{one['model']}` needs {needs:.1f} GB of memory, {free:.1f} GB were free."


def _cells(point: dict[str, Any]) -> list[Cell]:
    return [
        f"{point['model']}, {point['at']:,}" if "model" in point else point["at"],
        point["ms_per_doc"],
        round(100 * point["host_share"]),
        point["steps_per_doc"],
        point["pieces_per_doc"],
        point["drafts_per_doc"],
        point["drafts_refuted_per_doc"],
        point["peak_kv_pieces"],
        point["peak_kv_bytes"] / 1e6,
        1000 * point["ms_per_doc"] / point["pieces_per_doc"],
        point["ms_exponent"],
        point["pieces_exponent"],
        "▲" if point["bends"] else "",
    ]


def plots(figures: dict[str, Any]) -> dict[str, str]:
    """An SVG element for each axis: time, its share outside the model, and how it would be if it grew as the work."""
    found: dict[str, list[Line]] = {}
    units = {}
    for curve in figures["curves"]:
        axis, points = curve["name"].split(",")[0], curve["points"]
        lines = found.setdefault(axis, [])
        units[axis] = curve["unit"]
        work = [point["pieces_per_doc"] * point["parameters"] for point in points]
        at, spent = [point["at"] for point in points], [point["ms_per_doc"] for point in points]
        color = len(lines) // 3
        words = curve["name"].partition(", ")[2]
        told = f", {words}" if words else ""
        host = [point["host_share"] * ms for point, ms in zip(points, spent, strict=True)]
        lines.append(Line(f"measured{told}", at, spent, color))
        lines.append(Line(f"outside the model{told}", at, host, color, ":"))
        lines.append(Line(f"as work grows{told}", at, [spent[0] * one / work[0] for one in work], color, "--"))
    clock = f"{figures['clock']} time"
    titles = {axis: clock if axis == "model" else f"{figures['model']}, {clock}" for axis in found}
    return {
        axis: draw_lines(lines, title=f"Time by {axis}, {titles[axis]}", x=units[axis], y="ms a document")
        for axis, lines in found.items()
    }


def read_arguments(argv: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--axis", nargs="+", choices=AXES, default=list(AXES))
    for axis, values in VALUES.items():
        parser.add_argument(f"--{axis}", type=int, nargs="+", help=f"values of this axis; by default {values}")
    parser.add_argument("--models", nargs="+", choices=list(SHAPES), help="of the model axis; by default all that fit")
    parser.add_argument("--short", action="store_true", help="few values and one run: two minutes on two cores")
    parser.add_argument("--model", default="8m", help="of the other axes: a shape, a pipeline's folder or a hub id")
    parser.add_argument("--docs", type=Path, help="JSON lines whose words the documents are made of")
    parser.add_argument("--tokenizer", help="for random weights, in place of one that is trained on the words")
    parser.add_argument("--runs", type=whole, help="of each point, at the most; by default 5, of a short run 1")
    parser.add_argument("--seconds", type=float, help="of each point after its first run; by default 20, or 4")
    parser.add_argument("--clock", choices=list(CLOCKS), default="wall", help="cpu: processor time, on a busy machine")
    parser.add_argument("--seed", type=int, default=0, help="of words, texts and mentions")
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    parser.add_argument("--output", type=Path)
    parser.add_argument("--plots", type=Path, metavar="FOLDER")
    arguments = parser.parse_args(argv)
    for axis, values in (FEW if arguments.short else VALUES).items():
        setattr(arguments, axis, getattr(arguments, axis) or list(values))
    arguments.models = arguments.models or (list(FEW_MODELS) if arguments.short else list(SHAPES))
    arguments.runs = arguments.runs or (1 if arguments.short else 5)
    arguments.seconds = arguments.seconds or (4.0 if arguments.short else 20.0)
    return arguments


def main(argv: Sequence[str] | None = None) -> None:
    arguments = read_arguments(argv)
    figures = measure(arguments)
    if arguments.plots:
        arguments.plots.mkdir(parents=True, exist_ok=True)
        for axis, svg in plots(figures).items():
            (arguments.plots / f"scaling-{axis}.svg").write_text(svg + "\n", encoding="utf8")
    tell(figures, list(tables(figures)), arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
