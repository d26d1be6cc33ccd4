"""Files of every format, and what comes out of them."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.dataset
import pyarrow.parquet
import spacy
from spacy.tokens import DocBin

PATTERNS: list[dict[str, Any]] = [{"label": "PER", "pattern": name} for name in ("Ann", "Bo")]

CODE = Path(__file__).with_name("own.py")
"""The file that has the pipeline's own component."""

Line = dict[str, Any]


def write(path: Path, *lines: str) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("\n".join(lines), encoding="utf-8")
    return path


def lay(folder: Path) -> Path:
    """Files of the formats that both engines read, with entries that fail and entries that are broken."""
    write(folder / "a.txt", "Ann", "", "Ann met Bo", "\u4eac crash", "coded crash")
    objects = [{"id": 10**30, "body": [1], "text": "Bo\ud800"}, {"text": "Ann", "spans": "mine", "deep": {"x": None}}]
    write(folder / "deep" / "b.jsonl", *map(json.dumps, objects), '{"te', '{"text": 3}', '{"text": ""}')
    write(folder / "_c.csv", "id,text", '1,"Ann, and ""Bo"""', "2,x,y", '3,"Ann', 'Bo"')
    nlp = spacy.blank("en")
    doc = nlp("Ann met Bo")
    doc.user_data["mine"] = 7
    DocBin(docs=[doc, nlp("nobody")], store_user_data=True).to_disk(folder / "d.spacy")
    return folder


def rows_of(output: Path) -> list[Line]:
    """What was written, by id."""
    documents = output / "documents"
    if any(documents.glob("*.parquet")):
        found = pyarrow.dataset.dataset(documents, format="parquet").to_table().to_pylist()
    else:
        found = [line for path in documents.glob("*.jsonl") for line in read_lines(path)]
    return sorted(found, key=lambda row: row["id"])


def as_local(row: Line, field: str = "text") -> Line:
    """A row in the form of the local command's lines, without the order of the fields."""
    fields = json.loads(row["fields"])
    ours = {
        "spans": [[one["start"], one["end"], one["label"]] for one in row["spans"]],
        "scores": [one["score"] for one in row["spans"]],
        "ents": [[one["start"], one["end"], one["label"]] for one in row["ents"]],
    }
    all_fields = {**fields, field: row["text"]}
    names = {*ours, "replaced"}
    replaced = {name: value for name, value in all_fields.items() if name in names}
    kept = {name: value for name, value in all_fields.items() if name not in names}
    return {**kept, **ours, **({"replaced": replaced} if replaced else {})}


def local_lines(output: Path) -> list[Line]:
    return [line for path in sorted(output.glob("part-*.jsonl")) for line in read_lines(path)]


def read_lines(path: Path) -> list[Line]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


def write_parquet(path: Path, rows: Iterable[Line]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    pyarrow.parquet.write_table(pa.Table.from_pylist(list(rows)), path)
    return path
