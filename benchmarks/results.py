"""Results as files: figures for programs, a table for people."""

from __future__ import annotations

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

Cell = str | int | float | None


def write_results(path: Path, figures: dict[str, Any], tables: Sequence[str]) -> None:
    """Write figures as JSON, and beside them a file of the same name that ends in .md.

    path (Path): The JSON file. Its folder is made where it is missing.
    figures (dict[str, Any]): What was measured, with what it was measured on.
    tables (Sequence[str]): What the other file holds, under a heading with the command.
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", encoding="utf8")
    told = [f"{name}: {figures[name]}" for name in ("commit", "machine", "torch_threads") if name in figures]
    heading = [f"# {path.stem}", f"`{figures['command']}`", ", ".join(told)]
    path.with_suffix(".md").write_text("\n\n".join([*heading, *tables]) + "\n", encoding="utf8")


def tell(figures: dict[str, Any], tables: Sequence[str], output: Path | None) -> None:
    """Print tables and, as the last line, the figures as one JSON object; write both where a file is named."""
    if output is not None:
        write_results(output, figures, tables)
    print("\n\n".join(tables), json.dumps(figures, ensure_ascii=False), sep="\n\n")


def table(head: Sequence[str], rows: Sequence[Sequence[Cell]]) -> str:
    """A table in markdown. Numbers with a fraction get two decimals, None an empty cell."""
    lines = [head, ["---", *["---:"] * (len(head) - 1)], *([_cell(cell) for cell in row] for row in rows)]
    return "\n".join(f"| {' | '.join(line)} |" for line in lines)


def _cell(cell: Cell) -> str:
    if cell is None:
        return ""
    return f"{cell:.2f}" if isinstance(cell, float) else str(cell)
