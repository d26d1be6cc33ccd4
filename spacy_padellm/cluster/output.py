"""The folder that a job on a cluster writes to.

    command.json     what was asked, written first
    documents/       what became of the entries, as Ray writes it
    written/         the ids of what is in documents/, as Ray's checkpoint keeps them
    complete.json    how many entries there were, written last

Ray writes the ids of a block under another name, then the block, then gives the ids their name: what has no ids is
removed and done again by the next job.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NamedTuple

import pyarrow as pa
import pyarrow.dataset
import pyarrow.json
from pyarrow.fs import FileType

from spacy_padellm.cluster.place import Place
from spacy_padellm.cluster.rows import WRITTEN
from spacy_padellm.errors import Errors

COMMAND, COMPLETE, DOCUMENTS, IDS = "command.json", "complete.json", "documents", "written"


class Counts(NamedTuple):
    """Entries that have a document, and entries that have none."""

    documents: int
    failed: int


class Output:
    """Output that the same command goes on with.

    place (Place): A folder, which need not exist.
    command (Mapping[str, str]): What was asked, by name.
    RAISES (ValueError): P158 for a place with something else, P159 for output of another command.
    """

    def __init__(self, place: Place, command: Mapping[str, str]) -> None:
        self.place = place
        self.documents, self.ids = place / DOCUMENTS, place / IDS
        self.format = command["format"]
        if place.kind is FileType.File:
            raise ValueError(Errors.P158.format(path=place.address, got="a file"))
        names = place.names()
        if COMMAND in names:
            self._check(command)
        elif others := [name for name in names if not name.startswith(COMMAND)]:
            raise ValueError(Errors.P158.format(path=place.address, got=f"a folder with {others[0]!r} in it"))
        else:
            place.filesystem.create_dir(place.path, recursive=True)
            (place / COMMAND).write_json(command)

    def _check(self, command: Mapping[str, str]) -> None:
        try:
            before = (self.place / COMMAND).read_json()
        except ValueError:
            before = None
        if not isinstance(before, dict):
            raise ValueError(Errors.P158.format(path=self.place.address, got=f"another {COMMAND}"))
        names = sorted(name for name in before.keys() | command.keys() if before.get(name) != command.get(name))
        if names:
            told = ", ".join(f"{name} ({before.get(name)} before, {command.get(name)} now)" for name in names)
            raise ValueError(Errors.P159.format(path=self.place.address, differences=told))

    @property
    def complete(self) -> Counts | None:
        """What was counted when all was done; None while it is not."""
        place = self.place / COMPLETE
        return Counts(**place.read_json()) if place.kind is FileType.File else None

    def finish(self) -> Counts:
        """Count what is written, and note that it is all.

        RAISES (ValueError): P045 if it is not what the ids say.
        """
        rows = self._dataset()
        total, ids = rows.count_rows(), self._ids()
        if total != ids:
            raise ValueError(Errors.P045.format(path=self.place.address, rows=total, ids=ids))
        failed = rows.count_rows(filter=pyarrow.dataset.field("error").is_valid())
        counts = Counts(total - failed, failed)
        (self.place / COMPLETE).write_json(counts._asdict())
        return counts

    def _dataset(self) -> pyarrow.dataset.Dataset:
        schema = pa.schema([WRITTEN.field("id"), WRITTEN.field("error")])
        form: pyarrow.dataset.FileFormat = pyarrow.dataset.ParquetFileFormat()
        if self.format == "jsonl":
            # Only what is counted is parsed, as what it is.
            options = pyarrow.json.ParseOptions(explicit_schema=schema, unexpected_field_behavior="ignore")
            form = pyarrow.dataset.JsonFileFormat(parse_options=options)
        return _dataset(self.documents, schema, form)

    def _ids(self) -> int:
        schema = pa.schema([WRITTEN.field("id")])
        return _dataset(self.ids, schema, pyarrow.dataset.ParquetFileFormat()).count_rows()


def _dataset(place: Place, schema: pa.Schema, form: pyarrow.dataset.FileFormat) -> pyarrow.dataset.Dataset:
    paths = [one.path for one in place.files((".parquet", ".jsonl"))]
    return pyarrow.dataset.FileSystemDataset.from_paths(paths, schema=schema, format=form, filesystem=place.filesystem)
