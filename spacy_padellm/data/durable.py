"""Writes that are on the disk when they return."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

DRAFT = ".tmp"
"""What a file's name ends with until it is whole."""

_OLD = ".old"


def json_line(value: Mapping[str, Any]) -> bytes:
    """A line of JSON. A lone surrogate, which UTF-8 cannot hold, is written as JSON escapes it."""
    return json.dumps(value, ensure_ascii=False).encode("utf-8", "backslashreplace") + b"\n"


def write_whole(path: Path, content: bytes) -> None:
    """Write a file that is there as a whole or not at all."""
    draft = path.with_name(path.name + DRAFT)
    with draft.open("wb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    os.replace(draft, path)
    _sync_folder(path.parent)


def append(path: Path, content: bytes) -> None:
    """Write behind the end of a file, on to the disk."""
    is_new = not path.exists()
    with path.open("ab") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
    if is_new:
        _sync_folder(path.parent)


def cut(path: Path, size: int) -> None:
    """Cut a file down to so many bytes, on the disk."""
    with path.open("r+b") as file:
        file.truncate(size)
        os.fsync(file.fileno())


def _sync_folder(folder: Path) -> None:
    """Bring a new name to the disk. Windows has no such call and does not need it."""
    if os.name == "nt":
        return
    opened = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(opened)
    finally:
        os.close(opened)


def place_folder(draft: Path, path: Path) -> None:
    """Give a folder that was written under another name its own, once all in it is on the disk. What had the name is
    removed; between the two there is a moment without either."""
    for one in (*draft.rglob("*"), draft):
        if one.is_dir():
            _sync_folder(one)
        else:
            with one.open("rb+") as file:
                os.fsync(file.fileno())
    old = path.with_name(path.name + _OLD)
    shutil.rmtree(old, ignore_errors=True)
    if path.exists():
        os.replace(path, old)
    os.replace(draft, path)
    _sync_folder(path.parent)
    shutil.rmtree(old, ignore_errors=True)
