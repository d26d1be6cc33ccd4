"""Published files to records: one format a file. Every reader is a generator `(path, on_error) -> records`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

from spacy_padellm.data.converters.jsonl import read_jsonl
from spacy_padellm.data.converters.snips import read_snips
from spacy_padellm.data.records import OnError, Record
from spacy_padellm.errors import Errors

Reader = Callable[[Path, OnError], Iterator[Record]]

READERS: dict[str, Reader] = {"jsonl": read_jsonl, "snips": read_snips}
SUFFIXES = {".jsonl": "jsonl", ".json": "snips"}


def reader_for(name: str) -> Reader:
    """The reader of a format.

    name (str): Name of the format.
    RETURNS (Reader): Reads a file of that format, record by record.
    RAISES (ValueError): P104 if there is no such format.
    """
    if name not in READERS:
        raise ValueError(Errors.P104.format(name=name, names=", ".join(sorted(READERS))))
    return READERS[name]


def format_of(path: Path) -> str:
    """The format a file's name suggests: its suffix where that says nothing, which no reader is called."""
    return SUFFIXES.get(path.suffix.lower(), path.suffix)
