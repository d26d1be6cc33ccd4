"""Fetch the published files of one data set to the folder of assets.

    python project/scripts/fetch.py crossner_ai project/assets

Files that are there stay as they are. A file whose checksum is known and that has another is not kept.
"""

from __future__ import annotations

import argparse
import hashlib
import shutil
from pathlib import Path
from urllib.request import urlopen

from wasabi import msg

from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.catalogue import data_set
from spacy_padellm.data.data_set import DataSet, PublishedFile, verify


def fetch(entry: DataSet, assets: Path) -> list[Path]:
    """Fetch what is missing of a data set.

    entry (DataSet): Its entry in the catalogue.
    assets (Path): Folder of the published files.
    RETURNS (list[Path]): What was fetched.
    RAISES (ValueError): P115 if a missing file has no address, saying how to obtain it; P112 if what came is not the
        published file. `OSError` if nothing came.
    """
    missing = [file for file in entry if not (assets / file.path).is_file()]
    fetched = [fetch_file(file, assets / file.path) for file in missing if file.url is not None]
    entry.check(assets)
    return fetched


def fetch_file(file: PublishedFile, path: Path) -> Path:
    """Fetch one file beside its place, and move it there once it is whole and the published one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    part = path.with_name(f"{path.name}.part")
    try:
        with urlopen(file.url) as source, part.open("wb") as target:
            shutil.copyfileobj(source, target)
        if file.md5 is not None:
            verify(part, file.md5)
        return part.replace(path)
    finally:
        part.unlink(missing_ok=True)


def main() -> None:
    parser = argparse.ArgumentParser(description="Fetch the published files of a data set of the catalogue.")
    parser.add_argument("name", help="its name in the catalogue")
    parser.add_argument("assets", type=Path, help="folder of the published files")
    options = parser.parse_args()
    with coded_errors():
        entry = data_set(options.name)
        msg.info(f"{entry.title}. Licence: {entry.licence}. To cite: {entry.citation}")
        for path in fetch(entry, options.assets):
            msg.good(f"{path}: {hashlib.md5(path.read_bytes(), usedforsecurity=False).hexdigest()}")
    for path in entry.unverified:
        msg.warn(f"No checksum is known for {path}")


if __name__ == "__main__":
    main()
