"""Published files to records: one format a file. Every reader is a generator `(path, on_error) -> records`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

from spacy_padellm.data.converters.ace import read_ace
from spacy_padellm.data.converters.conll import Columns, read_conll
from spacy_padellm.data.converters.conversations import read_conversations
from spacy_padellm.data.converters.genia import read_genia
from spacy_padellm.data.converters.jsonl import read_jsonl
from spacy_padellm.data.converters.nested import read_nested
from spacy_padellm.data.converters.padellm import CHARACTERS, WORDS_END_OUTSIDE, read_padellm
from spacy_padellm.data.converters.snips import read_snips
from spacy_padellm.data.converters.standoff import read_standoff
from spacy_padellm.data.records import OnError, Record
from spacy_padellm.errors import Errors

Reader = Callable[[Path, OnError], Iterator[Record]]

COLUMNS: dict[str, Columns] = {
    "conll": Columns(),
    "conll_chars": Columns(joint=""),
    "germeval": Columns(token=-3, tags=(-2, -1)),
    "genia_iob2": Columns(tags=(1, 2, 3, 4)),
    "weibo": Columns(joint="", numbered=True),
}
READERS: dict[str, Reader] = {
    **{name: partial(read_conll, columns=columns) for name, columns in COLUMNS.items()},
    "ace": read_ace,
    "conversations": read_conversations,
    "genia": read_genia,
    "jsonl": read_jsonl,
    "nested": read_nested,
    "padellm": read_padellm,
    "padellm_chars": partial(read_padellm, counting=CHARACTERS),
    "padellm_genia": partial(read_padellm, counting=WORDS_END_OUTSIDE),
    "snips": read_snips,
    "standoff": read_standoff,
}
SUFFIXES = {
    ".jsonl": "jsonl",
    ".json": "snips",
    ".conll": "conll",
    ".iob": "conll",
    ".iob2": "conll",
    ".bmes": "conll_chars",
}


def reader_for(name: str, *, token_column: int | None = None, tag_columns: Sequence[int] = ()) -> Reader:
    """The reader of a format.

    name (str): Name of the format.
    token_column (int | None): The column of tokens, where the format has columns and they stand elsewhere.
    tag_columns (Sequence[int]): The columns of tags, likewise.
    RETURNS (Reader): Reads a file of that format, record by record.
    RAISES (ValueError): P104 if there is no such format, P001 if it has no columns to choose.
    """
    if name not in READERS:
        raise ValueError(Errors.P104.format(name=name, names=", ".join(sorted(READERS))))
    if token_column is None and not tag_columns:
        return READERS[name]
    if name not in COLUMNS:
        expected = f"a format with columns ({', '.join(COLUMNS)})"
        raise ValueError(Errors.P001.format(name="format", expected=expected, got=name))
    columns = COLUMNS[name]
    token = columns.token if token_column is None else token_column
    return partial(read_conll, columns=replace(columns, token=token, tags=tuple(tag_columns) or columns.tags))


def format_of(path: Path) -> str:
    """The format a file's name suggests: its suffix where that says nothing, which no reader is called."""
    return SUFFIXES.get(path.suffix.lower(), path.suffix)
