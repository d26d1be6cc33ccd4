"""Tokens with nested mentions, the form that work on ACE 2005 and GENIA passes on: objects
{"tokens": ["The", "mayor", "of", "Bonn"], "entities": [{"start": 0, "end": 4, "type": "PER"}, ...]}, one a line or all
in one list. Numbers count tokens from 0; the end is exclusive. Other keys (relations, neighbouring sentences) are
ignored.
"""

from __future__ import annotations

from collections.abc import Iterator
from itertools import accumulate
from pathlib import Path

from spacy_padellm.data.converters.json_values import read_values
from spacy_padellm.data.converters.lines import broken
from spacy_padellm.data.records import Gold, OnError, Record, stop, whole_characters

EXPECTED = '{"tokens": [str, ...], "entities": [{"start": int, "end": int, "type": str}, ...]}'


def read_nested(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read one object at a time.

    path (Path): The file.
    on_error (OnError): What becomes of a broken record.
    YIELDS (Record): In the order of the file; the text is the tokens with a blank between them.
    RAISES (ValueError): P113 for a broken record, P101 or P106 for a broken file, unless `on_error` lets it pass.
    """
    for number, value in read_values(path, on_error, EXPECTED):
        try:
            record = record_of(value)
        except ValueError as error:
            on_error(broken(path, number, error, EXPECTED))
            continue
        yield record


def record_of(value: object) -> Record:
    """One object's record.

    RAISES (ValueError): Saying what is wrong with it, without a code: the caller knows file and line.
    """
    match value:
        case {"tokens": [*given], "entities": [*entities]} if all(isinstance(token, str) for token in given):
            tokens = tuple(whole_characters(token) for token in given)
        case _:
            raise ValueError("it has no strings 'tokens' and list 'entities'")
    starts = [0, *accumulate(len(token) + 1 for token in tokens)]
    golds: list[Gold] = []
    for entity in entities:
        match entity:
            case {"start": int() as first, "end": int() as behind, "type": str() as label} if label.strip():
                pass
            case _:
                raise ValueError(f"the mention {entity!r} has no start, end and type")
        if not 0 <= first < behind <= len(tokens):
            raise ValueError(f"the mention {entity!r} does not lie among {len(tokens)} tokens")
        golds.append(Gold(starts[first], starts[behind] - 1, whole_characters(label)))
    return Record(" ".join(tokens), tuple(golds), tokens)
