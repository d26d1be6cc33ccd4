"""Small pieces of Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def code(text: object) -> str:
    """Text in code, blanks at its ends and all."""
    string = str(text)
    mark = "``" if "`" in string else "`"
    return f"{mark}{string}{mark}" if string else ""


def cell(text: str) -> str:
    """Text that stays in its cell."""
    return " ".join(text.replace("|", "\\|").split())


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A table, empty where it has no rows."""
    lines = ["| " + " | ".join(map(cell, row)) + " |" for row in rows]
    if not lines:
        return ""
    return "\n".join(["| " + " | ".join(head) + " |", "|" + " --- |" * len(head), *lines])


def page(*parts: str) -> str:
    """Parts with a blank line between them; empty ones are left out."""
    return "\n\n".join(part for part in parts if part) + "\n"
