"""A folder that appears as a whole or not at all."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from spacy_padellm.errors import Errors

_OPEN = 0o777


@contextmanager
def written_whole(path: Path, *, force: bool, sources: Sequence[Path] = ()) -> Iterator[Path]:
    """Write a folder beside its place and move it there when it is complete; if that fails, what was there stays.

    path (Path): The folder, new or empty.
    force (bool): Whether a folder that holds something is replaced by the new one.
    sources (Sequence[Path]): What is read for it: it must neither lie in the folder nor the folder in it.
    YIELDS (Path): Where to write.
    RAISES (ValueError): P033 if the place is taken.
    """
    _check_free(path, force, sources)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = Path(tempfile.mkdtemp(prefix=f".{path.name}-", dir=path.parent))
    try:
        yield temporary
        mask = os.umask(0)
        os.umask(mask)
        temporary.chmod(_OPEN & ~mask)
        if path.exists():
            shutil.rmtree(path)
        temporary.rename(path)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _check_free(path: Path, force: bool, sources: Sequence[Path]) -> None:
    place = path.resolve()
    for source in (source.resolve() for source in sources):
        if place == source or place in source.parents or source in place.parents:
            got, advice = f"one that {source} lies in" if place != source else "the pipeline itself", "Name another."
            got = f"one within {source}" if source in place.parents else got
            raise ValueError(Errors.P033.format(path=path, got=got, advice=advice))
    if path.exists() and not path.is_dir():
        raise ValueError(Errors.P033.format(path=path, got="a file", advice="Name another."))
    n_files = len(list(path.iterdir())) if path.exists() else 0
    if n_files and not force:
        advice = "Name another, or have its contents replaced with --force."
        raise ValueError(Errors.P033.format(path=path, got=f"one with {n_files} files in it", advice=advice))
