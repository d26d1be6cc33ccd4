"""A file that one process at a time can hold. The system lets go of it when the process ends, however it ends."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

from spacy_padellm.errors import Errors

try:
    import fcntl
except ImportError:  # Windows; there nothing is held
    fcntl = None  # type: ignore[assignment]


class Lock:
    """A lock on a folder.

    path (Path): The file; it is made and stays.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def take(self) -> None:
        """RAISES (ValueError): P185 if another process, or another lock of this one, holds it."""
        file = self.path.open("ab")
        if fcntl is not None:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError as error:
                file.close()
                raise ValueError(Errors.P185.format(path=self.path.parent)) from error
        self._file = file

    def release(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
