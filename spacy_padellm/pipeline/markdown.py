"""Other people's words in Markdown, so that they say what they say and nothing else."""

from __future__ import annotations

import re
from collections.abc import Sequence

_MARKUP = re.compile(r"[\\`*_{}\[\]<>|~$&!]")

_LINE_START = re.compile(r"^(\d*)([#+=.)-])(?=[\s#=-]|$)")
"""What would begin a heading, a list or a rule."""

_BARE_PIPE = re.compile(r"(?<!\\)\|")

_ENTITIES = {"<": "&lt;", ">": "&gt;", "&": "&amp;"}


def plain(text: object) -> str:
    """A text that stands in a paragraph or in a cell of a table as it is, in one line."""
    line = " ".join(str(text).split())
    escaped = _MARKUP.sub(lambda found: _ENTITIES.get(found[0], f"\\{found[0]}"), line)
    return _LINE_START.sub(r"\1\\\2", escaped)


def code(text: object) -> str:
    """A text as a code span, in one line."""
    line = re.sub(r"[\r\n]+", " ", str(text))
    fence = "`" * (1 + max((len(run) for run in re.findall("`+", line)), default=0))
    edge = " " if line.startswith("`") or line.endswith("`") or not line else ""
    return f"{fence}{edge}{line}{edge}{fence}"


def table(header: Sequence[str], rows: Sequence[Sequence[str]], *, numbers_from: int | None = None) -> str:
    """A table.

    rows (Sequence[Sequence[str]]): Cells, in Markdown.
    numbers_from (int | None): The first column that is set to the right.
    """
    first_number = len(header) if numbers_from is None else numbers_from
    cells_of = [[_BARE_PIPE.sub(r"\\|", cell) for cell in row] for row in rows]
    rule = ["---" if column < first_number else "---:" for column in range(len(header))]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in (header, rule, *cells_of))


def block(source: str, language: str = "") -> str:
    """A fenced block, whose fence is longer than any in it."""
    fence = "`" * max(3, 1 + max((len(run) for run in re.findall("`+", source)), default=0))
    return f"{fence}{language}\n{source.rstrip()}\n{fence}"
