"""Whether memory creeps: resident memory while a pipeline annotates a long stream.

    python -m benchmarks.memory --docs FILE.jsonl --limit 50000 --batch-size 64

A random model answers, so spans mean nothing; the documents of the file come again and again until there are enough.
Resident memory is read ten times on the way, the first time after a tenth of the stream. The last line printed is one
JSON object.
"""

from __future__ import annotations

import argparse
import gc
import itertools
import json
import time
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path

import spacy
from spacy.language import Language

from benchmarks.arguments import whole
from benchmarks.documents import Document, labels_of, read_documents
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.pipeline.component import PaDeLLMNER

READINGS = 10

MODEL = {
    "@architectures": "spacy-padellm.FreshCausalLM.v1",
    "hidden_size": 64,
    "n_layers": 2,
    "n_heads": 2,
    "intermediate_size": 128,
    "vocab_size": 1000,
}


def resident_mb() -> float:
    """Resident memory of this process in MB (Linux)."""
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * 4096 / 1e6


def make_pipeline(documents: Sequence[Document], kv_bytes: int | None) -> Language:
    """A pipeline with random weights that asks about the documents' labels. Free answers are short."""
    nlp = spacy.blank("en")
    settings = {"model": MODEL, "max_answer": 4, "kv_bytes": kv_bytes}
    pipe = nlp.add_pipe("padellm_ner", config=settings)
    assert isinstance(pipe, PaDeLLMNER)
    for label in labels_of(list(documents)):
        pipe.add_label(label)
    texts = [document.text.string for document in documents]
    pipe.model.initialize(X=(texts, ["text:\n", "entity type:\n", "\n\n<num>", "\n<mention 1>"]))
    return nlp


def watch(nlp: Language, texts: Iterator[str], n_docs: int, batch_size: int) -> list[float]:
    """Annotate a stream and read resident memory on the way, in MB."""
    readings = []
    every = max(1, n_docs // READINGS)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # what a random model answers is mostly unreadable
        for number, _ in enumerate(nlp.pipe(itertools.islice(texts, n_docs), batch_size=batch_size), start=1):
            if number % every == 0:
                gc.collect()
                readings.append(round(resident_mb(), 1))
    return readings


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument("--limit", type=whole, default=50_000, help="documents to annotate")
    parser.add_argument("--batch-size", type=whole, default=64)
    parser.add_argument("--kv-bytes", type=int, default=None)
    arguments = parser.parse_args(argv)
    documents = read_documents(arguments.docs, limit=1000)
    nlp = make_pipeline(documents, arguments.kv_bytes)
    texts = itertools.cycle(document.text.string for document in documents)
    start = time.perf_counter()
    readings = watch(nlp, texts, arguments.limit, arguments.batch_size)
    figures = {
        "docs": arguments.limit,
        "batch_size": arguments.batch_size,
        "seconds": round(time.perf_counter() - start, 1),
        "resident_mb": readings,
        "grown_mb": round(readings[-1] - readings[0], 1),
        **surroundings(),
    }
    print(json.dumps(figures))


if __name__ == "__main__":
    with coded_errors():
        main()
