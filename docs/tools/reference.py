"""Writes the pages that are made from the code. Sphinx calls it before it reads its sources."""

from __future__ import annotations

from pathlib import Path

from docs.tools.codes import errors_page
from docs.tools.commands import command_line_page
from docs.tools.registered import api_page

DOCS = Path(__file__).parents[1]


def write_reference(folder: Path) -> list[Path]:
    """Write the pages into a folder, those that changed.

    folder (Path): Made where it is not there.
    RETURNS (list[Path]): All pages.
    """
    pages = {
        "api.md": api_page(DOCS / "attributes.yml"),
        "command-line.md": command_line_page(),
        "errors.md": errors_page(DOCS / "errors.yml"),
        "changelog.md": (DOCS.parent / "CHANGELOG.md").read_text(encoding="utf-8"),
    }
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in pages.items():
        path = folder / name
        # Sphinx reads again what is newer than its last build.
        if not path.exists() or path.read_text(encoding="utf-8") != text:
            path.write_text(text, encoding="utf-8")
    return [folder / name for name in pages]
