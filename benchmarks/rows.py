"""What a document costs beside the model on its way through a cluster: processor time of each step, and bytes.

    python -m benchmarks.rows --docs test.jsonl [--block 1000] [--rounds 5]

The documents are read as a worker of Ray's would read them, made, given their gold mentions with scores at random
(which do not compress), turned into rows and written to memory. Medians over the rounds. The last line printed is one
JSON object.
"""

from __future__ import annotations

import argparse
import io
import random
import tempfile
import time
from collections.abc import Sequence
from itertools import cycle, islice
from pathlib import Path
from statistics import mean, median
from typing import Any

import spacy
from spacy.tokens import Doc, SpanGroup
from spacy.vocab import Vocab

from benchmarks.arguments import whole
from benchmarks.documents import Document, read_documents
from benchmarks.results import table, tell
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.durable import json_line
from spacy_padellm.data.entries import read_file, readers_of

STEPS = ("reading a line", "into a table", "out of a table", "making the document", "into a row", "to Parquet")


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All steps, round by round, over one block."""
    documents = read_documents(arguments.docs)
    block = list(islice(cycle(documents), arguments.block))
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "part-00000.jsonl"
        path.write_bytes(b"".join(json_line({"text": one.text.string}) for one in block))
        rounds = [one_round(path, block) for _ in range(arguments.rounds)]
        input_bytes = path.stat().st_size / len(block)
    steps = {step: round(median(one[0][step] for one in rounds), 2) for step in STEPS}
    facts = {
        "text_bytes": round(mean(len(one.text.string.encode()) for one in documents), 1),
        "mentions": round(mean(len(one.gold) for one in documents), 2),
    }
    sizes = {"input_jsonl": round(input_bytes, 1), **rounds[0][1]}
    settings = {"docs": arguments.docs.name, "documents": len(documents), "block": arguments.block}
    return {**settings, **facts, "microseconds": steps, "bytes": sizes, **surroundings()}


def one_round(path: Path, block: Sequence[Document]) -> tuple[dict[str, float], dict[str, float]]:
    """Every step once over a block. RETURNS: Processor time of each in microseconds a document; bytes a document."""
    import pyarrow as pa
    import pyarrow.parquet

    from spacy_padellm.cluster.rows import entries_of, entry_id, outcome_row, table_of, written

    nlp, clock = spacy.blank("en"), _Clock(len(block))
    reader = readers_of("text", False, Vocab())[".jsonl"]
    numbered = [(entry_id(5, number), one) for number, one in enumerate(read_file(path, path.name, reader))]
    clock.note(STEPS[0])
    read = table_of(numbered, "text")
    clock.note(STEPS[1])
    entries = entries_of(read, nlp.vocab)
    clock.note(STEPS[2])
    docs = [nlp.make_doc(one.text.string) for one in block]
    clock.note(STEPS[3])
    for doc, one in zip(docs, block, strict=True):
        _annotate(doc, one)
    clock.start()
    rows = written(read, [outcome_row(one, doc, "sc") for one, doc in zip(entries, docs, strict=True)])
    clock.note(STEPS[4])
    documents, ids = io.BytesIO(), io.BytesIO()
    pyarrow.parquet.write_table(rows, documents)
    clock.note(STEPS[5])
    pyarrow.parquet.write_table(rows.select(["id"]), ids)
    plain = io.BytesIO()
    pyarrow.parquet.write_table(pa.table({"text": read["text"]}), plain)
    lines = rows.to_pandas().to_json(orient="records", lines=True).encode()
    found = {
        **{"input_parquet": plain.tell(), "in_memory": read.nbytes, "output_parquet": documents.tell()},
        **{"output_jsonl": len(lines), "ids": ids.tell()},
    }
    return clock.spent, {name: round(size / len(block), 1) for name, size in found.items()}


class _Clock:
    """Processor time of this process since the last note."""

    def __init__(self, documents: int) -> None:
        self.documents = documents
        self.spent: dict[str, float] = {}
        self.start()

    def start(self) -> None:
        self.at = time.process_time()

    def note(self, step: str) -> None:
        self.spent[step] = (time.process_time() - self.at) / self.documents * 1e6
        self.start()


def _annotate(doc: Doc, document: Document) -> None:
    places = ((one.start, one.start + len(one.string), one.label) for one in document.gold if one.start is not None)
    found = (doc.char_span(start, end, label, alignment_mode="expand") for start, end, label in places)
    spans = [span for span in found if span is not None]
    doc.spans["sc"] = SpanGroup(doc, spans=spans, attrs={"scores": [random.random() for _ in spans]})
    doc.ents = spacy.util.filter_spans(spans)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True, help="documents with gold mentions, as .jsonl")
    parser.add_argument("--block", type=whole, default=1000, help="documents of a block, over and over if need be")
    parser.add_argument("--rounds", type=whole, default=5)
    parser.add_argument("--output", type=Path, help="JSON file to write; a table goes beside it")
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    steps = table(("step", "CPU µs a document"), list(map(list, figures["microseconds"].items())))
    sizes = table(("what", "bytes a document"), list(map(list, figures["bytes"].items())))
    tell(figures, [steps, sizes], arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
