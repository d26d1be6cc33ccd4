"""Entries and what became of them as rows of tables, which is what travels in a cluster and what is written."""

from __future__ import annotations

import base64
import json
from collections.abc import Iterable, Sequence
from typing import Any

import pyarrow as pa
from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_padellm.data.entries import Broken, Entry
from spacy_padellm.metrics.pairs import Found
from spacy_padellm.pipeline.outcomes import entities_of, mentions_of
from spacy_padellm.pipeline.settled import Failure, failure_of, text_of

BITS = 32
"""Of an id, for the number of an entry in its file. What lies above is the number of the file."""

_ENTRY = [
    pa.field("id", pa.int64()),
    pa.field("file", pa.string()),
    pa.field("line", pa.int64()),
    pa.field("text", pa.large_string()),
    pa.field("fields", pa.large_string()),
]
_PLACE = [("start", pa.int64()), ("end", pa.int64()), ("label", pa.string())]

READ = pa.schema([*_ENTRY, pa.field("doc", pa.large_binary()), pa.field("broken", pa.large_string())])
"""An entry: `doc` is a .spacy file's document, `broken` why it cannot be read."""

WRITTEN = pa.schema(
    [
        *_ENTRY,
        pa.field("spans", pa.list_(pa.struct([*_PLACE, ("score", pa.float64())]))),
        pa.field("ents", pa.list_(pa.struct(_PLACE))),
        pa.field("error", pa.string()),
        pa.field("reason", pa.large_string()),
    ]
)
"""A document, or an entry that has none: then `error` is its code and `spans` and `ents` are null."""


def entry_id(file: int, number: int) -> int:
    """What an entry is known by: the number of its file in the listing, and its own in the file, both from 0.

    Whole numbers, since those of a written corpus are all held in memory by whoever goes on with it.
    """
    return file << BITS | number


def table_of(entries: Iterable[tuple[int, Entry | Broken]], field: str) -> pa.Table:
    """Entries with their ids as they travel. `field` is the one that has the text, which is not among `fields`."""
    return pa.Table.from_pylist([_read_row(number, entry, field) for number, entry in entries], schema=READ)


def _read_row(number: int, entry: Entry | Broken, field: str) -> dict[str, Any]:
    if isinstance(entry, Broken):
        return {"id": number, "file": whole(entry.file), "broken": whole(str(entry.error))}
    doc = entry.text if isinstance(entry.text, Doc) else None
    named = field if field in entry.fields else "text"
    fields = {name: value for name, value in entry.fields.items() if name != named}
    return {
        "id": number,
        "file": whole(entry.file),
        "line": entry.line,
        "text": text_of(entry),
        "fields": json.dumps(fields, default=_as_json),
        "doc": None if doc is None else DocBin(store_user_data=True, docs=[doc]).to_bytes(),
    }


def entries_of(table: pa.Table, vocab: Vocab) -> list[Entry | Broken]:
    """The entries of a table. Their fields stay where they are."""
    return [_entry(row, vocab) for row in table.select(["file", "line", "text", "doc", "broken"]).to_pylist()]


def _entry(row: dict[str, Any], vocab: Vocab) -> Entry | Broken:
    if row["broken"] is not None:
        return Broken(row["file"], ValueError(row["broken"]))
    text: str | Doc = row["text"]
    if row["doc"] is not None:
        (text,) = DocBin().from_bytes(row["doc"]).get_docs(vocab)
    return Entry(row["file"], row["line"], text, {})


def outcome_row(entry: Entry | Broken, outcome: Doc | Failure, spans_key: str) -> dict[str, Any]:
    """What a row says of an entry beside what was read."""
    if isinstance(outcome, Doc):
        try:
            mentions, entities = mentions_of(outcome, spans_key), entities_of(outcome)
        except Exception as error:  # what a pipe left in a document may be anything
            outcome = failure_of(error, entry)
    if isinstance(outcome, Failure):
        return {"error": outcome.code, "reason": whole(outcome.reason)}
    scored = [{**_place(one), "score": None if one.score is None else round(one.score, 6)} for one in mentions]
    return {"spans": scored, "ents": [_place(one) for one in entities]}


def written(table: pa.Table, rows: Sequence[dict[str, Any]]) -> pa.Table:
    """What is written: the columns of what was read, and the rows' own."""
    ours = pa.Table.from_pylist(list(rows), schema=pa.schema(list(WRITTEN)[len(_ENTRY) :]))
    columns = [*(table[field.name].cast(field.type) for field in _ENTRY), *ours.columns]
    return pa.Table.from_arrays(columns, schema=WRITTEN)


def whole(text: str) -> str:
    """A text without lone surrogates, which no column can hold: they are written as Python escapes them."""
    return text.encode("utf-8", "backslashreplace").decode("utf-8")


def _place(one: Found) -> dict[str, Any]:
    return {"start": one.start, "end": one.end, "label": one.label}


def _as_json(value: object) -> str:
    """A value that JSON does not have: bytes in base64, anything else (a date, a decimal) as it is written."""
    return base64.b64encode(value).decode("ascii") if isinstance(value, bytes) else str(value)
