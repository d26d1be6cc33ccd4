"""Stand-off annotation in JSON, one object a line or all in one list, as annotation tools write it.

The text stands under "text", its mentions under "spans", "entities", "label" or "labels"; a mention is
[start, end, label] or {"start": ..., "end": ..., "label": ...}, where "start_offset", "end_offset" and "type" will do,
too. Offsets count characters, the end is exclusive. A list of spaCy's old training pairs [text, {"entities": [...]}] is
read as well. A record that an annotator rejected or ignored ("answer") is no gold and counts as broken.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

from spacy_padellm.data.converters.json_values import read_values
from spacy_padellm.data.converters.lines import broken
from spacy_padellm.data.records import Gold, OnError, Record, same_but_for_blanks, stop, whole_characters

EXPECTED = '{"text": str, "spans": [{"start": int, "end": int, "label": str}, ...]}, or [start, end, label] for a span'
SPANS = ("spans", "entities", "label", "labels")
START, END, LABEL = ("start", "start_offset"), ("end", "end_offset"), ("label", "type")


def read_standoff(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read one object at a time.

    path (Path): The file.
    on_error (OnError): What becomes of a broken record.
    YIELDS (Record): In the order of the file.
    RAISES (ValueError): P113 for a broken record, P101 or P106 for a broken file, unless `on_error` lets it pass.
    """
    for number, value in read_values(path, on_error, EXPECTED):
        try:
            record = record_of(value)
        except ValueError as error:
            on_error(broken(path, number, error, EXPECTED))
            continue
        yield record


def record_of(value: Any) -> Record:
    """One object's record.

    RAISES (ValueError): Saying what is wrong with it, without a code: the caller knows file and line.
    """
    match value:
        case [str() as text, {"entities": list() as spans}]:
            return Record(whole_characters(text), tuple(_gold(span, whole_characters(text)) for span in spans))
        case {"answer": "reject" | "ignore" as answer}:
            raise ValueError(f"its answer is {answer!r}")
        case {"text": str() as text}:
            text = whole_characters(text)
        case _:
            raise ValueError("it has no 'text'")
    spans = _first(value, SPANS) or []
    if not isinstance(spans, list):
        raise ValueError(f"its mentions are {spans!r}")
    return Record(text, tuple(_gold(span, text) for span in spans), _tokens(value.get("tokens"), text))


def _first(found: dict[str, Any], names: tuple[str, ...]) -> Any:
    return next((found[name] for name in names if name in found), None)


def _gold(span: object, text: str) -> Gold:
    given = [_first(span, names) for names in (START, END, LABEL)] if isinstance(span, dict) else span
    match given:
        # bool is an int to Python: true would be offset 1.
        case [int() as start, int() as end, str() as label] if bool not in (type(start), type(end)):
            pass
        case _:
            raise ValueError(f"the mention {span!r} has no start, end and label")
    if not 0 <= start <= end <= len(text):
        raise ValueError(f"the mention {span!r} does not lie in a text of {len(text)} characters")
    if not label.strip():
        raise ValueError(f"the mention {span!r} has a blank label")
    return Gold(start, end, whole_characters(label))


def _tokens(tokens: object, text: str) -> tuple[str, ...] | None:
    """The record's own tokens, plain or as objects with a text; None where they are something else."""
    if not isinstance(tokens, list):
        return None
    words = [token.get("text") if isinstance(token, dict) else token for token in tokens]
    whole = tuple(whole_characters(word) for word in words if isinstance(word, str))
    if not same_but_for_blanks(whole, text):
        raise ValueError("the tokens are not the text")
    return whole
