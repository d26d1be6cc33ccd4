"""A file of any file system as readers take it."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from io import BufferedReader
from typing import Any, BinaryIO, Literal, cast


class Opened:
    """A file that is open, and may be read again from its beginning.

    name (str): What messages call it.
    file (NativeFile): The file of pyarrow's, which knows no lines itself.
    """

    def __init__(self, name: str, file: Any) -> None:
        self.name = name
        self.buffered = BufferedReader(file)

    def __str__(self) -> str:
        return self.name

    def open(self, mode: Literal["rb"]) -> BinaryIO:
        return cast(BinaryIO, self._from_the_beginning())

    @contextmanager
    def _from_the_beginning(self) -> Iterator[BufferedReader]:
        # Whoever reads may stop and begin again; the file is closed by whoever opened it.
        self.buffered.seek(0)
        yield self.buffered

    def read_bytes(self) -> bytes:
        self.buffered.seek(0)
        return self.buffered.read()
