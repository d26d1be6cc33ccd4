"""Remove folders that the project made: `rm -r` for machines without one.

    python project/scripts/clean.py project/corpus project/training

Each must lie in the folder `project`.
"""

from __future__ import annotations

import shutil
import sys
from pathlib import Path

PROJECT = Path(__file__).resolve().parent.parent


def clean(folders: list[Path]) -> None:
    """Remove folders, if they are there.

    RAISES (SystemExit): For a folder that does not lie in the project's own, before anything is removed.
    """
    for folder in folders:
        if PROJECT not in folder.resolve().parents:
            raise SystemExit(f"{folder} does not lie in {PROJECT}: not removed")
    for folder in folders:
        shutil.rmtree(folder, ignore_errors=True)


if __name__ == "__main__":
    clean([Path(name) for name in sys.argv[1:]])
