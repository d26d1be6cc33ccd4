"""Links of the pages that lead out of docs/: on the site they have no page to lead to."""

from __future__ import annotations

import re
from pathlib import PurePosixPath
from typing import Any

_LINK = re.compile(r"(?<!!)\[(?P<text>[^\]\[]*)\]\((?P<target>\.\./[^)\s]*)\)")


def resolve_links(app: Any, page: str, source: list[str]) -> None:
    """Turn links to files beside docs/ into their names, as the event `source-read` of Sphinx wants it: in place."""
    source[0] = without_outer_links(source[0], depth=page.count("/"))


def without_outer_links(text: str, *, depth: int = 0) -> str:
    """A page's text whose links to files outside of docs/ are nothing but their text.

    depth (int): How many folders below docs/ the page is.
    """

    def plain(link: re.Match[str]) -> str:
        ups = sum(part == ".." for part in PurePosixPath(link["target"]).parts)
        return link["text"] if ups > depth else link[0]

    return _LINK.sub(plain, text)
