"""The package's own format: {"text": str, "spans": [[start, end, label], ...], "tokens": [str, ...]}, one a line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from spacy_padellm.data.converters.lines import read_lines
from spacy_padellm.data.records import Gold, OnError, Record, same_but_for_blanks, stop, whole_characters
from spacy_padellm.errors import Errors


def read_jsonl(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read one line at a time; blank lines are passed over, keys that are not ours ignored.

    path (Path): The file. Offsets in it count characters (code points), the end is exclusive.
    on_error (OnError): What becomes of a broken line.
    YIELDS (Record): In the order of the lines.
    RAISES (ValueError): P100 for a broken line, P106 for one that is not UTF-8, unless `on_error` lets it pass.
    """
    for number, line in read_lines(path, on_error):
        try:
            record = record_of(line)
        except ValueError as error:
            on_error(ValueError(Errors.P100.format(path=path, line=number, problem=error)))
            continue
        yield record


def record_of(line: str) -> Record:
    """One line's record.

    RAISES (ValueError): Saying what is wrong with the line, without a code: the caller knows file and line.
    """
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise ValueError("brackets within brackets without end") from error
    if not isinstance(found, dict):
        raise ValueError(f"expected an object, got {type(found).__name__}")
    text = found.get("text")
    if not isinstance(text, str):
        raise ValueError(f"'text' is {text!r}")
    text = whole_characters(text)
    spans = found.get("spans", [])
    if not isinstance(spans, list):
        raise ValueError(f"'spans' is {spans!r}")
    tokens = found.get("tokens")
    return Record(text, tuple(_gold(span, len(text)) for span in spans), _tokens(tokens, text))


def _gold(span: object, length: int) -> Gold:
    match span:
        # bool is an int to Python: true would be offset 1.
        case [int() as start, int() as end, str() as label] if bool not in (type(start), type(end)):
            pass
        case _:
            raise ValueError(f"the span {span!r} is no [start, end, label]")
    if not 0 <= start <= end <= length:
        raise ValueError(f"the span {span!r} does not lie in a text of {length} characters")
    if not label.strip():
        raise ValueError(f"the span {span!r} has a blank label")
    return Gold(start, end, whole_characters(label))


def _tokens(tokens: object, text: str) -> tuple[str, ...] | None:
    if tokens is None:
        return None
    if not isinstance(tokens, list) or not all(isinstance(token, str) for token in tokens):
        raise ValueError("'tokens' is no list of strings")
    whole = tuple(whole_characters(token) for token in tokens)
    if not same_but_for_blanks(whole, text):
        raise ValueError("the tokens are not the text")
    return whole
