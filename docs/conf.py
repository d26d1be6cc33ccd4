"""How Sphinx builds the site: `make docs`. Nothing is fetched, and what is built names nothing outside."""

from __future__ import annotations

import sys
from pathlib import Path

from sphinx.application import Sphinx

ROOT = Path(__file__).parents[1]
sys.path.insert(0, str(ROOT))

from docs.tools.links import resolve_links  # noqa: E402
from docs.tools.reference import write_reference  # noqa: E402
from spacy_padellm import __version__  # noqa: E402

project = "spacy-padellm"
author = "spacy-padellm contributors"
release = version = __version__

extensions = ["myst_parser"]
source_suffix = {".md": "markdown"}
exclude_patterns = ["_build", "README.md"]

# GitHub makes an anchor of every heading, so the site does, too.
myst_heading_anchors = 4

html_theme = "furo"
html_title = f"spacy-padellm {release}"
html_copy_source = False
html_show_sourcelink = False
# Headings of the pages themselves: numbers and code in them are not to be turned into typographic quotes.
smartquotes = False


def setup(app: Sphinx) -> dict[str, bool]:
    """Pages that are made from the code are written before Sphinx looks for pages."""
    app.connect("config-inited", lambda *_: write_reference(Path(app.srcdir) / "_reference"))
    app.connect("source-read", resolve_links)
    return {"parallel_read_safe": True}
