"""A corpus as a data source of Ray's: files of every format, entry by entry.

Ray's own readers make a table of a file, with one type a column, and one broken line costs them the file. These are the
readers of the local command: what is an entry, what is broken and what is told of it are the same.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from functools import partial
from itertools import islice
from typing import Any

import pyarrow as pa
import pyarrow.parquet
import ray
from pyarrow.fs import FileSystem
from ray.data.datasource import DefaultFileMetadataProvider, FileBasedDatasource
from spacy.vocab import Vocab

from spacy_padellm.cluster.opened import Opened
from spacy_padellm.cluster.place import Listed
from spacy_padellm.cluster.rows import entry_id, table_of
from spacy_padellm.data.converters.lines import broken
from spacy_padellm.data.entries import Broken, Entry, Found, Reader, read_file, readers_of
from spacy_padellm.data.readable import Readable
from spacy_padellm.data.records import OnError, whole_characters
from spacy_padellm.errors import Errors

SUFFIXES = (".txt", ".jsonl", ".csv", ".spacy", ".parquet")
ROWS = 256
"""Entries a table, while a file is read."""


class Corpus(FileBasedDatasource):
    """The entries of files. Ray reads as many files at once as it has room for.

    files (Sequence[Listed]): In the order that numbers them.
    """

    def __init__(
        self, files: Sequence[Listed], filesystem: FileSystem, *, field: str, whole_files: bool, on_error: str
    ) -> None:
        super().__init__([one.path for one in files], filesystem=filesystem, meta_provider=_Known(files))
        self._numbers = ray.put({one.path: (number, one.name) for number, one in enumerate(files)})
        self._field = field
        self._whole_files = whole_files
        self._on_error = on_error

    def _open_input_source(self, filesystem: FileSystem, path: str, **_: Any) -> pa.NativeFile:
        return filesystem.open_input_file(path)

    def _read_stream(self, f: pa.NativeFile, path: str) -> Iterator[pa.Table]:
        number, name = ray.get(self._numbers)[path]
        suffix = next(one for one in SUFFIXES if path.endswith(one))
        reader = self._readers()[suffix]
        names_file = self._whole_files and suffix == ".txt"
        entries = read_file(Opened(path, f), name, reader, on_error=self._on_error, names_file=names_file)
        numbered: Iterator[tuple[int, Entry | Broken]] = (
            (entry_id(number, place), entry) for place, entry in enumerate(entries)
        )
        while part := list(islice(numbered, ROWS)):
            yield table_of(part, self._field)

    def _readers(self) -> dict[str, Reader]:
        return {
            **readers_of(self._field, self._whole_files, Vocab()),
            ".parquet": partial(read_parquet, field=self._field),
        }


class _Known(DefaultFileMetadataProvider):
    """Files that were listed already: Ray's own listing would leave some names aside."""

    def __init__(self, files: Sequence[Listed]) -> None:
        super().__init__()
        self.found = [(one.path, one.size) for one in files]

    def expand_paths(self, *_: Any, **__: Any) -> Iterator[tuple[str, int]]:
        yield from self.found


def read_parquet(path: Readable, on_error: OnError, field: str) -> Iterator[Found]:
    """The rows of a Parquet file, numbered from 1.

    RAISES (ValueError): P157 for a file without the column, or with two of one name; P049 for what is no Parquet file;
        P113 for a row without a text, unless `on_error` lets it pass.
    """
    with path.open("rb") as file:
        try:
            parquet = pyarrow.parquet.ParquetFile(file)
        except pa.ArrowInvalid as error:
            raise ValueError(Errors.P049.format(path=path, problem=error)) from error
        names = parquet.schema_arrow.names
        if field not in names or len(set(names)) < len(names):
            raise ValueError(Errors.P157.format(path=path, field=field, columns=", ".join(map(repr, names)) or "none"))
        rows = (row for batch in parquet.iter_batches(ROWS) for row in batch.to_pylist())
        for number, row in enumerate(rows, start=1):
            if isinstance(row[field], str):
                row[field] = whole_characters(row[field])
                yield number, row[field], row
            else:
                problem = f"{field!r} is {type(row[field]).__name__}"
                on_error(broken(path, number, problem, f'a string in the column "{field}" (another name: --field)'))
