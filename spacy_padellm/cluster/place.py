"""Where files lie: on this machine, in an object store, or behind any other address that fsspec knows."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple

import fsspec
import pyarrow
from pyarrow.fs import FileSelector, FileSystem, FileType, FSSpecHandler, LocalFileSystem, PyFileSystem

from spacy_padellm.data.durable import DRAFT, json_line
from spacy_padellm.errors import Errors


class Listed(NamedTuple):
    """A file of a listing: its path in the file system, its path from where the listing began, its bytes."""

    path: str
    name: str
    size: int


class Place(NamedTuple):
    """A file or a folder.

    address (str): As it was given.
    filesystem (FileSystem): Where it lies.
    path (str): Its path there.
    """

    address: str
    filesystem: FileSystem
    path: str

    def __truediv__(self, name: str) -> Place:
        return Place(f"{self.address.rstrip('/')}/{name}", self.filesystem, f"{self.path.rstrip('/')}/{name}")

    @property
    def kind(self) -> FileType:
        return self.filesystem.get_file_info(self.path).type

    def within(self, other: Place) -> bool:
        """Whether it is another place, or lies in it."""
        return self.filesystem == other.filesystem and f"{self.path}/".startswith(f"{other.path.rstrip('/')}/")

    def names(self) -> list[str]:
        """What a folder holds; nothing where there is none."""
        found = self.filesystem.get_file_info(FileSelector(self.path, allow_not_found=True))
        return sorted(one.base_name for one in found)

    def files(self, suffixes: Iterable[str]) -> list[Listed]:
        """The file itself, or those in the folder at any depth, in the order of their paths.

        suffixes (Iterable[str]): What their names end with, behind a name: `.txt` alone has none, as for `pathlib`.
        """
        if self.kind is FileType.File:
            root, found = self.path.rpartition("/")[0], [self.filesystem.get_file_info(self.path)]
        else:
            root = self.path.rstrip("/")
            found = self.filesystem.get_file_info(FileSelector(self.path, recursive=True, allow_not_found=True))
        wanted = frozenset(suffixes)
        files = [one for one in found if one.type is FileType.File and PurePosixPath(one.path).suffix in wanted]
        return sorted(Listed(one.path, one.path.removeprefix(root).lstrip("/"), one.size or 0) for one in files)

    def read_json(self) -> Any:
        """What a file holds. RAISES (ValueError): If it is not JSON."""
        with self.filesystem.open_input_stream(self.path) as file:
            return json.loads(file.read())

    def write_json(self, value: Mapping[str, Any]) -> None:
        """Write a file that is there as a whole or not at all."""
        draft = self.path + DRAFT
        with self.filesystem.open_output_stream(draft) as file:
            file.write(json_line(value))
        self.filesystem.move(draft, self.path)


def place_of(address: str) -> Place:
    """Find out where an address leads.

    address (str): A path, or an address as pyarrow or, if it does not know it, fsspec takes it.
    RAISES (ValueError): P041 for an address that neither can open.
    """
    if "://" not in address:
        return Place(address, LocalFileSystem(), Path(address).resolve().as_posix())
    try:
        return Place(address, *FileSystem.from_uri(address))
    except (pyarrow.ArrowInvalid, pyarrow.ArrowNotImplementedError) as unknown:
        try:
            filesystem, path = fsspec.url_to_fs(address)
        except (ValueError, ImportError, OSError) as error:
            raise ValueError(Errors.P041.format(address=address, problem=f"{unknown}; {error}")) from error
    except OSError as error:
        raise ValueError(Errors.P041.format(address=address, problem=error)) from error
    return Place(address, PyFileSystem(FSSpecHandler(filesystem)), path)
