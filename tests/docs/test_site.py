"""The site is built without a warning, and what it and the README link to is there."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote, urlsplit

import pytest

from tests.docs.pages import ROOT, page_names

_LINK = re.compile(r"\]\(([^)\s]+)\)")


class Links(HTMLParser):
    """What a page links to, what it loads, and its anchors."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.links: list[str] = []
        self.loaded: list[str] = []
        self.anchors: set[str] = set()
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        found = {name: value or "" for name, value in attrs}
        self.anchors.add(found.get("id", ""))
        if tag == "a" and "href" in found:
            self.links.append(found["href"])
        if tag in ("script", "img", "link") and (source := found.get("src") or found.get("href")):
            self.loaded.append(source)


@pytest.fixture(scope="session")
def site(tmp_path_factory) -> Path:
    # The second test environment has no extra "docs".
    pytest.importorskip("sphinx")
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "sphinx", "-W", "-n", "--keep-going", "-q", "-b", "html"]
    done = subprocess.run([*command, "-d", folder / "doctrees", "docs", folder / "html"], cwd=ROOT, capture_output=True)
    assert done.returncode == 0, done.stderr.decode()
    return folder / "html"


@pytest.mark.slow
def test_pages_are_there(site: Path):
    wanted = {Path(page).relative_to("docs").with_suffix(".html") for page in page_names() if page != "README.md"}
    reference = {Path("_reference") / f"{name}.html" for name in ("api", "command-line", "errors", "changelog")}
    assert wanted | reference <= {path.relative_to(site) for path in site.rglob("*.html")}


@pytest.mark.slow
def test_links_and_anchors_lead_somewhere(site: Path):
    pages = {path: Links(path.read_text(encoding="utf-8")) for path in site.rglob("*.html")}
    n_seen = 0
    for path, page in pages.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            target = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            assert target.is_file(), f"{path.name}: {link}"
            if parts.fragment and target in pages:
                assert unquote(parts.fragment) in pages[target].anchors, f"{path.name}: {link}"
            n_seen += 1
    assert n_seen > 100


@pytest.mark.slow
def test_nothing_is_loaded_from_outside(site: Path):
    for path in site.rglob("*.html"):
        for source in Links(path.read_text(encoding="utf-8")).loaded:
            assert not urlsplit(source).netloc, f"{path.name}: {source}"
    for path in site.rglob("*.css"):
        assert not re.search(r"(@import|url\()\s*[\"']?(https?:)?//", path.read_text(encoding="utf-8")), path.name


@pytest.mark.parametrize("page", page_names())
def test_relative_links_of_the_source_lead_to_files(page: str):
    for link in _LINK.findall((ROOT / page).read_text(encoding="utf-8")):
        parts = urlsplit(link)
        if parts.scheme or not parts.path:
            continue
        assert (ROOT / page).parent.joinpath(unquote(parts.path)).exists(), f"{page}: {link}"


def test_names_of_pages_in_the_readme_are_files():
    named = re.findall(r"[`(](docs/[\w./-]+\.\w+)[`)]", (ROOT / "README.md").read_text(encoding="utf-8"))
    assert named
    for name in named:
        assert (ROOT / name).is_file(), name
