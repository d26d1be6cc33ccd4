"""A pipeline's model here and on a completions server: whether they find the same, and at what cost.

    python -m benchmarks.servers --model FOLDER --docs test.spacy                  llama.cpp, started by this command
    python -m benchmarks.servers --model FOLDER --docs test.spacy --kind transformers
    python -m benchmarks.servers --model FOLDER --docs test.spacy --url http://127.0.0.1:8000/v1 --served-name NAME

With --url the server is whatever runs there, vLLM for instance, with the model that `padellm export --merged` wrote
from the same pipeline. Each number of requests at a time is measured in every round, beside the engine here; medians
over the rounds are told. Requests and pieces (those that a server says it computed) do not depend on the machine. The
last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import tempfile
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

import spacy
from spacy.language import Language
from spacy.tokens import Doc

from benchmarks.arguments import whole
from benchmarks.results import table, tell
from benchmarks.serving import llama_cpp, transformers_serve
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.export import export_gguf, export_merged, export_served

HEAD = ("who", "at a time", "texts/s", "of here", "same", "spans", "score off", "requests/text", "pieces/text")

ALIAS = "benchmark"


@contextmanager
def server(nlp: Language, arguments: argparse.Namespace, folder: Path) -> Iterator[tuple[str, str | None]]:
    """The server to ask: its address, and what it calls the model."""
    if arguments.url:
        yield arguments.url, arguments.served_name
    elif arguments.kind == "transformers":
        (folder / "merged").mkdir()
        export_merged(nlp, folder / "merged", pipe=arguments.pipe)
        with transformers_serve(folder / "merged", folder / "log", threads=arguments.threads) as url:
            yield url, str(folder / "merged")
    else:
        (folder / "gguf").mkdir()
        export_gguf(nlp, folder / "gguf", pipe=arguments.pipe, dtype="float32")
        file, slots = folder / "gguf" / "model.gguf", arguments.slots
        context = arguments.context or 512 * slots
        with llama_cpp(file, alias=ALIAS, context=context, slots=slots, threads=arguments.threads) as url:
            yield url, ALIAS


def run(nlp: Language, pipe: PaDeLLMNER, texts: Sequence[str], batch_size: int) -> tuple[list[Doc], dict[str, float]]:
    """Annotate all texts once. RETURNS (tuple[list[Doc], dict[str, float]]): The documents, and what it cost."""
    before, begun = pipe.counters.as_dict(), time.perf_counter()
    docs = [*nlp.pipe(texts, batch_size=batch_size)]
    seconds = time.perf_counter() - begun
    after = pipe.counters.as_dict()
    cost = {name: (after[name] - before[name]) / len(texts) for name in ("steps", "pieces", "answers")}
    return docs, {"texts_per_second": len(texts) / seconds, **cost}


def compare(here: Sequence[Doc], there: Sequence[Doc], key: str) -> dict[str, Any]:
    """How many documents have the same spans, and how far the scores of the same ones are apart."""
    same, off, scored = 0, 0.0, True
    for one, other in zip(here, there, strict=True):
        groups = [doc.spans[key] for doc in (one, other)]
        spans = [[(span.start, span.end, span.label_) for span in group] for group in groups]
        same += spans[0] == spans[1]
        scored = scored and "scores" in groups[1].attrs
        if spans[0] == spans[1] and scored:
            pairs = zip(*(group.attrs["scores"] for group in groups), strict=True)
            off = max([off, *(abs(float(mine) - float(its)) for mine, its in pairs)])
    return {"same_documents": same, "documents": len(here), "most_score_difference": round(off, 6) if scored else None}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    nlp = spacy.load(arguments.model)
    name = arguments.pipe or next(name for name, pipe in nlp.pipeline if isinstance(pipe, PaDeLLMNER))
    if arguments.free:
        nlp = spacy.load(arguments.model, config={f"components.{name}.constrain": False})
    pipe: Any = nlp.get_pipe(name)
    texts = [doc.text for doc in read_docs(arguments.docs, nlp.vocab)][: arguments.limit or None]
    key = pipe.options.spans_key
    with tempfile.TemporaryDirectory() as temporary, server(nlp, arguments, Path(temporary)) as (url, served_name):
        asking: list[tuple[int, Language]] = []
        for at_once in arguments.concurrency:
            folder = Path(temporary) / f"served-{at_once}"
            export_served(nlp, folder, url=url, served_name=served_name, pipe=name)
            settings = {f"components.{name}.model.concurrency": at_once}
            asking.append((at_once, spacy.load(folder, config=settings)))
        told: dict[int, list[dict[str, float]]] = {at_once: [] for at_once in (0, *arguments.concurrency)}
        found: dict[int, dict[str, Any]] = {}
        for _ in range(arguments.rounds):
            here, cost = run(nlp, pipe, texts, arguments.batch_size)
            told[0].append(cost)
            for at_once, other in asking:
                theirs: Any = other.get_pipe(name)
                there, cost = run(other, theirs, texts, arguments.batch_size)
                told[at_once].append(cost)
                found[at_once] = compare(here, there, key)
                print(at_once, cost, found[at_once], flush=True)
        terms: Any = asking[0][1].get_pipe(name)
        dialect = terms.model.shims[0].backend.terms.dialect.name
    n_spans = sum(len(doc.spans[key]) for doc in here)
    rows = [_row(at_once, costs, told[0], found.get(at_once)) for at_once, costs in told.items()]
    settings = {
        "free": arguments.free,
        "rounds": arguments.rounds,
        "batch_size": arguments.batch_size,
        "threads": arguments.threads,
    }
    files = {"model": Path(arguments.model).name, "docs": arguments.docs.name, "dialect": dialect}
    return {**files, "texts": len(texts), "spans": n_spans, **settings, "rows": rows, **surroundings()}


def _row(
    at_once: int, costs: Sequence[dict[str, float]], here: Sequence[dict[str, float]], found: dict[str, Any] | None
) -> dict[str, Any]:
    rate, of_here = (median(one["texts_per_second"] for one in some) for some in (costs, here))
    return {
        "who": "server" if at_once else "here",
        "at_a_time": at_once or None,
        "texts_per_second": round(rate, 2),
        "of_here": round(rate / of_here, 3),
        **(found or {}),
        **{name: round(median(one[name] for one in costs), 3) for name in ("steps", "pieces", "answers")},
    }


def as_rows(figures: dict[str, Any]) -> str:
    rows = []
    for row in figures["rows"]:
        same = f"{row['same_documents']} of {row['documents']}" if "documents" in row else "-"
        off = row.get("most_score_difference")
        cost = (float(row["steps"]), float(row["pieces"]))
        at_once = row["at_a_time"] or "-"
        shown = "-" if off is None else f"{off:.1e}"
        rates = (float(row["texts_per_second"]), float(row["of_here"]))
        rows.append([row["who"], at_once, *rates, same, figures["spans"], shown, *cost])
    return table(HEAD, rows)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a pipeline's folder or package, with the model here")
    parser.add_argument("--docs", type=Path, required=True, help="whose texts are annotated: .spacy")
    parser.add_argument("--pipe", help="name of the pipe, where there are several")
    parser.add_argument("--kind", choices=("llama.cpp", "transformers"), default="llama.cpp", help="what is started")
    parser.add_argument("--url", help="a server that runs, in place of one that is started")
    parser.add_argument("--served-name", help="what that server calls the model")
    parser.add_argument("--limit", type=int, default=0, help="the first texts only")
    parser.add_argument("--concurrency", type=whole, nargs="+", default=[1, 8], help="requests at a time")
    parser.add_argument("--slots", type=whole, default=8, help="of llama.cpp: questions at a time")
    parser.add_argument("--context", type=int, default=0, help="of llama.cpp: positions in all; 512 for each slot")
    parser.add_argument("--threads", type=whole, default=1, help="of the server that is started")
    parser.add_argument("--batch-size", type=whole, default=64)
    parser.add_argument("--free", action="store_true", help="mentions are not held to the text, here and there")
    parser.add_argument("--rounds", type=whole, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write; a table goes beside it")
    arguments = parser.parse_args(argv)
    with warnings.catch_warnings():
        warnings.simplefilter("once")
        figures = measure(arguments)
    tell(figures, [as_rows(figures)], arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
