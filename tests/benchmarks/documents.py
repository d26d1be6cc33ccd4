"""Files of documents small enough to count by hand."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ENGLISH: Sequence[dict[str, Any]] = (
    {"text": "Ada met Hugo", "tokens": ["Ada", "met", "Hugo"], "spans": [[0, 3, "PER"], [8, 12, "PER"]]},
    {"text": "in Paris", "tokens": ["in", "Paris"], "spans": [[3, 8, "LOC"]]},
    {"text": "", "tokens": [], "spans": []},
)

CHINESE: Sequence[dict[str, Any]] = (
    {"text": "王明，男。", "tokens": [*"王明，男。"], "spans": [[0, 2, "NAME"]]},
    {"text": "北京公司", "tokens": [*"北京公司"], "spans": [[0, 4, "ORG"], [0, 2, "LOC"]]},
)


def write_documents(folder: Path, documents: Sequence[dict[str, Any]], name: str = "test.jsonl") -> Path:
    """RETURNS (Path): A file of that name in the folder, which is made where it is missing."""
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    path.write_text("".join(json.dumps(one, ensure_ascii=False) + "\n" for one in documents), encoding="utf8")
    return path
