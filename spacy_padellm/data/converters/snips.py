"""The custom-intent files of the SNIPS benchmark (Coucke et al., 2018), as published: {intent: [query, ...]}, where a
query is {"data": [{"text": "Is it windy in "}, {"text": "Boston", "entity": "city"}, ...]}. The parts' texts, put
together, are the query with its own white space.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from spacy_padellm.data.records import Gold, OnError, Record, decode, stop, whole_characters
from spacy_padellm.errors import Errors


def read_snips(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read a file's queries.

    Such a file is one JSON value, usually on one line, so where the JSON itself is broken nothing after that place
    can be trusted: the whole file counts as broken. Queries of the wrong form are named by their number.

    path (Path): The file.
    on_error (OnError): What becomes of a broken query.
    YIELDS (Record): In the order of the file; all intents that it has.
    RAISES (ValueError): P101, P103 or P106 for a broken file, P102 for a broken query, unless `on_error` lets it pass.
    """
    try:
        queries = _queries(path)
    except ValueError as error:
        on_error(error)
        return
    for number, query in enumerate(queries, start=1):
        try:
            record = record_of(query)
        except ValueError as error:
            on_error(ValueError(Errors.P102.format(path=path, query=number, problem=error)))
            continue
        yield record


def record_of(query: object) -> Record:
    """One query's record.

    RAISES (ValueError): Saying what is wrong with the query, without a code: the caller knows file and number.
    """
    if not isinstance(query, dict) or not isinstance(query.get("data"), list):
        raise ValueError("it has no list 'data'")
    text = ""
    spans: list[Gold] = []
    for part in query["data"]:
        if not isinstance(part, dict) or not isinstance(part.get("text"), str):
            raise ValueError(f"the part {part!r} has no 'text'")
        start, text = len(text), text + whole_characters(part["text"])
        label = part.get("entity")
        if label is None:
            continue
        if not isinstance(label, str) or not label.strip():
            raise ValueError(f"the part {part!r} has no label in 'entity'")
        spans.append(Gold(start, len(text), whole_characters(label)))
    return Record(text, tuple(spans))


def _queries(path: Path) -> list[object]:
    raw = path.read_bytes()
    try:
        content = json.loads(decode(raw))
    except UnicodeDecodeError as error:
        line = raw[: error.start].count(b"\n") + 1
        raise ValueError(Errors.P106.format(path=path, line=line, problem=error)) from error
    except json.JSONDecodeError as error:
        where = {"line": error.lineno, "column": error.colno}
        raise ValueError(Errors.P101.format(path=path, **where, problem=error.msg)) from error
    if not isinstance(content, dict):
        raise ValueError(Errors.P103.format(path=path, got=type(content).__name__))
    queries: list[object] = []
    for intent, found in content.items():
        if not isinstance(found, list):
            raise ValueError(Errors.P103.format(path=path, got=f"{intent!r}: {type(found).__name__}"))
        queries += found
    return queries
