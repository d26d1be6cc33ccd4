"""What each worker of the pool does: it loads the pipeline once and annotates block after block."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import pyarrow as pa
import spacy
from spacy import util
from spacy.tokens import Doc

from spacy_padellm.cluster.rows import entries_of, outcome_row, written
from spacy_padellm.data.entries import Entry
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.asked import ask_about
from spacy_padellm.pipeline.settled import settle


class Worker:
    """A pipeline that takes tables of entries and gives back tables of what became of them.

    model (str): Folder or package of a pipeline, as this machine has it.
    code (str | None): Python code with functions that the pipeline needs.
    labels (Any): What padellm_ner pipes are asked about; None for their own.
    gpu (bool): Take the GPU that Ray has given to the worker.
    RAISES (ValueError): P043 if the machine does not have the pipeline; P155, P011 or P015 to P017 for labels.
    """

    def __init__(
        self, model: str, *, code: str | None, labels: Any, spans_key: str, batch_size: int | None, gpu: bool
    ) -> None:
        if code is not None:
            import_code(code)
        if gpu:
            spacy.require_gpu(0)
        if not Path(model).exists() and not util.is_package(model):
            raise ValueError(Errors.P043.format(name=model))
        self.nlp = spacy.load(model)
        if labels is not None:
            ask_about(self.nlp, labels)
        self.spans_key = spans_key
        self.batch_size = batch_size

    def __call__(self, table: pa.Table) -> pa.Table:
        entries = entries_of(table, self.nlp.vocab)
        has_docs = any(isinstance(one, Entry) and isinstance(one.text, Doc) for one in entries)
        settled = settle(self.nlp, entries, batch_size=self.batch_size, bounded=not has_docs)
        return written(table, [outcome_row(entry, outcome, self.spans_key) for entry, outcome in settled])


def import_code(code: str) -> None:
    """Import Python code as `--code` imports a file."""
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "python_code.py"
        path.write_text(code, encoding="utf-8")
        util.import_file("python_code", path)
