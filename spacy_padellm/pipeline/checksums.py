"""What was read, as a checksum."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable
from pathlib import Path

from spacy import util

from spacy_padellm.errors import Errors


def model_checksum(model: str | Path) -> str:
    """The checksum of a pipeline's folder or package. A base model that it names only is not looked at.

    RAISES (ValueError): P154 if there is none of the name.
    """
    if not Path(model).exists() and not util.is_package(str(model)):
        raise ValueError(Errors.P154.format(name=model))
    folder = Path(model) if Path(model).exists() else util.get_package_path(str(model))
    files = [path for path in sorted(folder.rglob("*")) if path.is_file() and "__pycache__" not in path.parts]
    return checksum(files, folder)


def checksum(files: Iterable[Path], root: Path) -> str:
    """The MD5 of files, their names under `root` included."""
    total = hashlib.md5(usedforsecurity=False)
    for path in files:
        total.update(f"{path.relative_to(root).as_posix()}\0{path.stat().st_size}\0".encode("utf-8", "surrogateescape"))
        with path.open("rb") as file:
            while block := file.read(1 << 20):
                total.update(block)
    return total.hexdigest()
