"""Files that have one record a line."""

from __future__ import annotations

from collections.abc import Iterator

from spacy_padellm.data.readable import Readable
from spacy_padellm.data.records import OnError, decode
from spacy_padellm.errors import Errors


def read_lines(path: Readable, on_error: OnError) -> Iterator[tuple[int, str]]:
    """Read one line at a time; blank lines are passed over.

    path (Readable): The file.
    on_error (OnError): What becomes of a line that cannot be read.
    YIELDS (tuple[int, str]): The number of the line, from 1, and the line.
    RAISES (ValueError): P106 for a line that is not UTF-8, unless `on_error` lets it pass.
    """
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            try:
                line = decode_line(raw, path, number)
            except ValueError as error:
                on_error(error)
                continue
            if line.strip():
                yield number, line


def decode_line(raw: bytes, path: Readable, number: int) -> str:
    """One line as text.

    RAISES (ValueError): P106 if it is not UTF-8.
    """
    try:
        return decode(raw)
    except UnicodeDecodeError as error:
        raise ValueError(Errors.P106.format(path=path, line=number, problem=error)) from error


def broken(path: Readable, line: int, problem: object, expected: str) -> ValueError:
    """The error for a record of the wrong form (P113).

    line (int): Where the record begins, from 1.
    expected (str): The form.
    """
    return ValueError(Errors.P113.format(path=path, line=line, problem=problem, expected=expected))
