"""What several adapters over one base model cost, and what an adapter costs beside merged weights.

    python -m benchmarks.adapters --model 150m --pipes 1 2 4

Pipelines with random weights, each with an adapter of its own over the same base model, are saved; then so many of them
are loaded, each number in a process of its own, once with the base model shared and once without (every pipe has a
registry for itself). Loading counts from when everything is imported; resident memory is read when every pipeline has
annotated a text, and is that of before loading less. Then one pipeline and its export without an adapter take turns on
the same documents, answers replayed from gold; the ratio is the median over the runs. Times are processor times. The
last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import gc
import json
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import spacy
import torch
from spacy.language import Language
from spacy.training import Example

from benchmarks.arguments import whole
from benchmarks.documents import Document
from benchmarks.memory import resident_mb
from benchmarks.models import SHAPES, make_model
from benchmarks.surroundings import surroundings
from benchmarks.synthetic import Measure, invent_labels, invent_tape, make_document
from spacy_padellm.backends.replay import replay_texts
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.checkpoint import save_model
from spacy_padellm.engine.decoder import Counters
from spacy_padellm.model import sources
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.bases import Bases
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.export import export_pipeline

LABELS = invent_labels(4, 0)
QUESTIONS = ("text:\n", "\n", "entity type:\n", "\n\n<num>", "\n<mention 1>", *LABELS.values())


def documents(count: int) -> list[Document]:
    """Texts of 25 words with two mentions."""
    tape = invent_tape(0)
    return [make_document(Measure(25, len(LABELS), 2), tape, f"document {number}") for number in range(count)]


def pipe_of(nlp: Language) -> PaDeLLMNER:
    pipe = nlp.get_pipe("padellm_ner")
    assert isinstance(pipe, PaDeLLMNER)
    return pipe


def write_pipelines(folder: Path, model: str, count: int, rank: int) -> list[Path]:
    """Save a base model, and pipelines with adapters over it. RETURNS (list[Path]): The pipelines' folders."""
    texts = [document.text.string for document in documents(200)]
    lm = make_model(model, texts, QUESTIONS, device="cpu", dtype="float32")
    save_model(lm.model, lm.pieces, folder / "base")
    del lm
    found = []
    for number in range(count):
        torch.manual_seed(number)
        nlp = spacy.blank("en")
        lora = {"@misc": "spacy-padellm.LoRA.v1", "rank": rank}
        name = str(folder / "base")
        block = {"@architectures": "spacy-padellm.CausalLM.v1", "name": name, "lora": lora, "device": "cpu"}
        nlp.add_pipe("padellm_ner", config={"model": block})
        example = Example.from_dict(nlp.make_doc("x"), {"entities": []})
        pipe_of(nlp).initialize(lambda example=example: [example], labels=LABELS)  # type: ignore[misc]
        with torch.no_grad():  # an adapter at its first weights adds nothing
            for weight in (one for one in shim_of(pipe_of(nlp).model).lm.model.parameters() if one.requires_grad):
                weight.normal_(std=0.02)
        nlp.to_disk(folder / f"pipeline{number}")
        found.append(folder / f"pipeline{number}")
    return found


def replay(nlp: Language, docs: Sequence[Document]) -> Counters:
    """Annotate documents with answers from gold, up to where spans are written."""
    pipe, counters = pipe_of(nlp), Counters()
    texts, gold = [document.text for document in docs], [document.gold for document in docs]
    lm, decoding = shim_of(pipe.model).lm, pipe.options.decoding()
    replay_texts(lm, pipe.scheme, LABELS, texts, gold, decoding=decoding, counters=counters)
    return counters


def measure(folders: Sequence[Path], *, shared: bool) -> dict[str, Any]:
    """Load pipelines and have each annotate a text. RETURNS (dict[str, Any]): Memory in MB, and seconds."""
    gc.collect()
    before, clock, began = resident_mb(), time.process_time(), time.perf_counter()
    pipelines = []
    for folder in folders:
        if not shared:
            sources.BASES = Bases()
        pipelines.append(spacy.load(folder))
    loaded = {"load_cpu_s": time.process_time() - clock, "load_s": time.perf_counter() - began}
    for nlp in pipelines:
        replay(nlp, documents(1))
    gc.collect()
    bases = {id(shim_of(pipe_of(nlp).model).lm.base) for nlp in pipelines}
    figures = {"resident_mb": resident_mb() - before, **loaded}
    return {"bases": len(bases), **{name: round(figure, 2) for name, figure in figures.items()}}


def measure_apart(folders: Sequence[Path], *, shared: bool) -> dict[str, Any]:
    """`measure` in a process of its own."""
    command = [sys.executable, "-m", "benchmarks.adapters", "--measure", *map(str, folders)]
    done = subprocess.run([*command, *([] if shared else ["--apart"])], capture_output=True, text=True, check=True)
    figures: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return figures


def compare_merged(folder: Path, place: Path, *, docs: int, runs: int, batches: Sequence[int]) -> list[dict[str, Any]]:
    """A pipeline beside its export without an adapter, in turns."""
    adapted = spacy.load(folder)
    export_pipeline(adapted, place)
    contenders = {"adapter": adapted, "merged": spacy.load(place)}
    made, rows = documents(docs), []
    for batch in batches:
        seconds: dict[str, list[float]] = {name: [] for name in contenders}
        for run in range(runs + 1):
            for name, nlp in contenders.items():
                clock = time.process_time()
                for first in range(0, docs, batch):
                    replay(nlp, made[first : first + batch])
                if run:  # the first one warms up
                    seconds[name].append((time.process_time() - clock) / docs)
        ratios = [one / two for one, two in zip(seconds["adapter"], seconds["merged"], strict=True)]
        took = {f"{name}_ms": round(1000 * statistics.median(times), 2) for name, times in seconds.items()}
        rows.append({"batch_size": batch, **took, "ratio": round(statistics.median(ratios), 3)})
    return rows


def table(figures: dict[str, Any]) -> str:
    """Both comparisons as Markdown."""
    lines = ["| pipes | shared | bases | resident MB | load, CPU s |", "|---|---|---|---|---|"]
    lines += [
        f"| {row['pipes']} | {'yes' if row['shared'] else 'no'} | {row['bases']} | {row['resident_mb']:.0f} "
        f"| {row['load_cpu_s']:.2f} |"
        for row in figures["loading"]
    ]
    lines += ["", "| documents at once | adapter, ms | merged, ms | ratio |", "|---|---|---|---|"]
    lines += [
        f"| {row['batch_size']} | {row['adapter_ms']:.1f} | {row['merged_ms']:.1f} | {row['ratio']:.2f} |"
        for row in figures["annotating"]
    ]
    return "\n".join(lines)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SHAPES, default="150m")
    parser.add_argument("--pipes", type=whole, nargs="+", default=[1, 2, 4], help="how many pipelines are loaded")
    parser.add_argument("--rank", type=whole, default=16)
    parser.add_argument("--docs", type=whole, default=8, help="documents that are annotated")
    parser.add_argument("--batch-size", type=whole, nargs="+", default=[1, 8])
    parser.add_argument("--runs", type=whole, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write the figures to")
    parser.add_argument("--measure", type=Path, nargs="+", help=argparse.SUPPRESS)
    parser.add_argument("--apart", action="store_true", help=argparse.SUPPRESS)
    arguments = parser.parse_args(argv)
    if arguments.measure:
        print(json.dumps(measure(arguments.measure, shared=not arguments.apart)))
        return
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        pipelines = write_pipelines(folder, arguments.model, max(arguments.pipes), arguments.rank)
        sizes = {path: sum(file.stat().st_size for file in path.rglob("*")) for path in (folder / "base", pipelines[0])}
        loading = [
            {"pipes": count, "shared": shared, **measure_apart(pipelines[:count], shared=shared)}
            for count in arguments.pipes
            for shared in (True, False)
        ]
        settings = {"docs": arguments.docs, "runs": arguments.runs, "batches": arguments.batch_size}
        figures = {
            "model": arguments.model,
            "rank": arguments.rank,
            "base_mb": round(sizes[folder / "base"] / 1e6, 1),
            "pipeline_mb": round(sizes[pipelines[0]] / 1e6, 1),
            "loading": loading,
            "annotating": compare_merged(pipelines[0], folder / "merged", **settings),
            **surroundings(),
        }
    print(table(figures))
    if arguments.output:
        arguments.output.write_text(json.dumps(figures, indent=2) + "\n", encoding="utf8")
    print(json.dumps(figures))


if __name__ == "__main__":
    with coded_errors():
        main()
