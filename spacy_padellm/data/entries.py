"""Texts that are to be annotated, from files: one entry at a time, none held in memory longer than that."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

from spacy.tokens import Doc
from spacy.vocab import Vocab

from spacy_padellm.data.converters.json_values import read_values
from spacy_padellm.data.converters.lines import broken, decode_line, read_lines
from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.data.readable import Readable
from spacy_padellm.data.records import OnError, decode, stop, whole_characters
from spacy_padellm.errors import Errors

LONGEST_CELL = (1 << 31) - 1
"""Characters of a .csv cell. The module's own limit would refuse a text of 131,073."""


class Entry(NamedTuple):
    """What a file says about one document.

    file (str): The file, as its path in the input folder.
    line (int): The line it begins on, from 1; in a .spacy file its number.
    text (str | Doc): The text, or a .spacy file's document.
    fields (dict[str, Any]): All that the file says, the text among it, in the file's order.
    """

    file: str
    line: int
    text: str | Doc
    fields: dict[str, Any]


class Broken(NamedTuple):
    """An entry that cannot be read.

    file (str): The file, as its path in the input folder.
    error (ValueError): What is wrong with it. Its message names the line.
    """

    file: str
    error: ValueError


Found = tuple[int, str | Doc, dict[str, Any]]
Reader = Callable[[Readable, OnError], Iterator[Found]]


class Entries:
    """The entries of a file or of all files of a folder, file by file in the order of their paths.

    path (Path): A .txt, .jsonl, .csv or .spacy file, or a folder of them, at any depth. Files of other formats in a
        folder are left aside.
    field (str): Name of the field of a .jsonl object, or of the column of a .csv file, that has the text.
    whole_files (bool): A .txt file is one text, with its name under "file"; else each of its lines that is not blank
        is one.
    vocab (Vocab): Of the documents of .spacy files.
    RAISES (ValueError): P156 if there is no such file.
    """

    def __init__(self, path: Path, *, field: str = "text", whole_files: bool = False, vocab: Vocab | None = None):
        self.readers = readers_of(field, whole_files, vocab or Vocab())
        self.names_files = whole_files
        self.root = path if path.is_dir() else path.parent
        found = sorted(path.rglob("*")) if path.is_dir() else [path]
        self.files = [file for file in found if file.suffix in self.readers and file.is_file()]
        if not self.files:
            got = "a folder without any" if path.is_dir() else "another file" if path.exists() else "nothing there"
            raise ValueError(Errors.P156.format(path=path, got=got))

    @property
    def has_docs(self) -> bool:
        """Whether some entries are documents, which need their strings for as long as their file is read."""
        return any(file.suffix == ".spacy" for file in self.files)

    def read(self, on_error: str = "stop") -> Iterator[Entry | Broken]:
        """Read all files.

        on_error (str): At a broken entry: "stop", or "skip" it.
        YIELDS (Entry | Broken): The entries in order, the broken ones in their places.
        RAISES (ValueError): P106, P109, P101 or P113 for a broken entry, unless they are skipped; P157 for a .csv file
            without the column.
        """
        for file in self.files:
            name = file.relative_to(self.root).as_posix()
            names_file = self.names_files and file.suffix == ".txt"
            yield from read_file(file, name, self.readers[file.suffix], on_error=on_error, names_file=names_file)


def readers_of(field: str, whole_files: bool, vocab: Vocab) -> dict[str, Reader]:
    """How files are read, by the ends of their names."""
    return {
        ".txt": _read_whole if whole_files else _read_txt,
        ".jsonl": lambda file, on_error: _read_jsonl(file, on_error, field),
        ".csv": lambda file, on_error: _read_csv(file, on_error, field),
        ".spacy": lambda file, on_error: _read_spacy(file, on_error, vocab),
    }


def read_file(
    file: Readable, name: str, reader: Reader, *, on_error: str = "stop", names_file: bool = False
) -> Iterator[Entry | Broken]:
    """The entries of one file in order, the broken ones in their places.

    name (str): What entries say of the file.
    names_file (bool): Whether the name is among the fields of an entry.
    """
    met: list[ValueError] = []
    for line, text, fields in reader(file, stop if on_error == "stop" else met.append):
        yield from _told(name, met)
        yield Entry(name, line, text, {"file": name, **fields} if names_file else fields)
    yield from _told(name, met)


def _told(name: str, met: list[ValueError]) -> Iterator[Broken]:
    yield from (Broken(name, error) for error in met)
    met.clear()


def _read_txt(path: Readable, on_error: OnError) -> Iterator[Found]:
    for number, line in read_lines(path, on_error):
        text = whole_characters(line.rstrip("\r\n"))
        yield number, text, {"text": text}


def _read_whole(path: Readable, on_error: OnError) -> Iterator[Found]:
    raw = path.read_bytes()
    try:
        text = decode(raw)
    except UnicodeDecodeError as error:
        line = 1 + raw.count(b"\n", 0, error.start)
        on_error(ValueError(Errors.P106.format(path=path, line=line, problem=error)))
        return
    yield 1, text, {"text": text}


def _read_jsonl(path: Readable, on_error: OnError, field: str) -> Iterator[Found]:
    expected = f'a JSON object with a string under "{field}" (another name: --field)'
    for line, value in read_values(path, on_error, expected):
        if not isinstance(value, dict):
            on_error(broken(path, line, f"expected an object, got {type(value).__name__}", expected))
        elif not isinstance(value.get(field), str):
            got = type(value[field]).__name__ if field in value else "nothing"
            on_error(broken(path, line, f"{field!r} is {got}", expected))
        else:
            value[field] = whole_characters(value[field])
            yield line, value[field], value


def _read_csv(path: Readable, on_error: OnError, field: str) -> Iterator[Found]:
    csv.field_size_limit(LONGEST_CELL)
    with path.open("rb") as file:
        rows = _rows(path, file)
        _, header = next(rows, (1, []))
        if isinstance(header, ValueError):
            raise header
        names = _columns(path, header, field)
        for line, row in rows:
            if not isinstance(row, ValueError) and len(row) != len(names):
                row = broken(path, line, f"{len(row)} columns", f"{len(names)}, as in the first line")
            if isinstance(row, ValueError):
                on_error(row)
            else:
                fields: dict[str, Any] = dict(zip(names, row, strict=True))
                yield line, fields[field], fields


def _rows(path: Readable, file: BinaryIO) -> Iterator[tuple[int, list[str] | ValueError]]:
    """The rows of a .csv file that are not empty, each with the line it begins on, or what is wrong with it."""
    unreadable: list[ValueError] = []
    rows = csv.reader(_lines(path, file, unreadable), strict=True)
    while True:
        begun = rows.line_num + 1
        try:
            row: list[str] | ValueError = next(rows)
        except StopIteration:
            return
        except csv.Error as error:
            row = broken(path, begun, error, 'cells in quotes ("") where they have commas, quotes or line breaks')
        if unreadable:
            row = unreadable[0]
            unreadable.clear()
        if row:
            yield begun, row


def _columns(path: Readable, names: list[str], field: str) -> list[str]:
    if field not in names or len(set(names)) < len(names):
        raise ValueError(Errors.P157.format(path=path, field=field, columns=", ".join(map(repr, names)) or "none"))
    return names


def _lines(path: Readable, file: BinaryIO, unreadable: list[ValueError]) -> Iterator[str]:
    """The lines of a .csv file. One that is not UTF-8 is told and passed on damaged, so that the row it lies in ends
    where it should."""
    for number, raw in enumerate(file, start=1):
        try:
            yield decode_line(raw, path, number)
        except ValueError as error:
            unreadable.append(error)
            yield raw.decode("utf-8", "replace")


def _read_spacy(path: Readable, on_error: OnError, vocab: Vocab) -> Iterator[Found]:
    docs = enumerate(read_docs(path, vocab), start=1)
    while True:
        try:
            number, doc = next(docs)
        except StopIteration:
            return
        except ValueError as error:
            on_error(error)
            return
        yield number, doc, {"text": doc.text}
