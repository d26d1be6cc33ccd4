"""What a reader of files needs of a file."""

from __future__ import annotations

from typing import BinaryIO, Literal, Protocol


class Readable(Protocol):
    """A path, or a file that lies elsewhere and was opened already. As a string it is what messages call it."""

    def open(self, mode: Literal["rb"]) -> BinaryIO: ...

    def read_bytes(self) -> bytes: ...
