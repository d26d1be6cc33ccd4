"""The page on which a person tries texts and labels."""

from __future__ import annotations

import itertools
import shutil
import subprocess
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import httpx
import pytest

from spacy_padellm.service.limits import Limits
from spacy_padellm.service.page import Form, lines_of
from tests.pipeline.makers import TEXTS
from tests.service.conftest import Running

pytestmark = pytest.mark.filterwarnings("ignore:.*W0[01]")

EVIL = "<script>alert(1)</script>\"'&"


class Seen(HTMLParser):
    """What a browser would make of a page: tags, the text in them, and what is wrong with how they are nested."""

    VOID = frozenset({"meta", "input", "br", "rect", "line", "path", "circle"})

    def __init__(self, html: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attributes: list[tuple[str, str]] = []
        self.texts: list[str] = []
        self._open: list[str] = []
        self.mistakes: list[str] = []
        self.feed(html)
        self.mistakes += self._open

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]
        if tag not in self.VOID:
            self._open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.attributes += [(name, value or "") for name, value in attrs]

    def handle_endtag(self, tag: str) -> None:
        if tag in self.VOID:
            return
        if not self._open or self._open.pop() != tag:
            self.mistakes.append(tag)

    def handle_data(self, data: str) -> None:
        self.texts.append(data)

    @property
    def text(self) -> str:
        return "".join(self.texts)


def send(running: Running, **fields: str) -> httpx.Response:
    return running.client.post("/", data=fields)


def test_the_empty_form(serve: Callable[..., Running]):
    answer = serve().client.get("/")
    seen = Seen(answer.text)
    assert answer.status_code == 200 and not seen.mistakes
    assert "city\nmovie" in seen.text and "Entities" not in seen.text
    assert "script" not in seen.tags and answer.headers["content-security-policy"].startswith("default-src 'none'")


def test_what_was_found(serve: Callable[..., Running]):
    running = serve()
    answer = send(running, text=TEXTS[0], labels="city: a place with streets\nmovie", threshold="0")
    seen = Seen(answer.text)
    assert answer.status_code == 200 and not seen.mistakes
    assert "mark" in seen.tags and "svg" in seen.tags
    found = running.annotate(text=TEXTS[0], labels={"city": {"description": "a place with streets"}, "movie": None})
    for one in found.json()["spans"]:
        assert one["text"] in seen.text and f"{one['start']}–{one['end']}" in seen.text
    assert any(name == "title" and value.startswith("confidence ") for name, value in seen.attributes)
    # The form is as it was sent, and the labels were asked with what they mean.
    assert "city: a place with streets\nmovie" in seen.text
    assert "entity type:⏎city: a place with streets" in seen.text


def test_nested_mentions_are_drawn_as_spans(serve: Callable[..., Running]):
    """Two labels for one and the same string: one of them has no room among the entities."""
    running = serve()
    plain = Seen(send(running, text=TEXTS[1], labels="city").text)
    nested = Seen(send(running, text=TEXTS[1], labels="city\nCity: city\ntown: city").text)
    assert "All mentions" not in plain.text
    found = running.annotate(text=TEXTS[1], labels=["city", "City", "town"]).json()
    assert ("All mentions" in nested.text) == (len(found["spans"]) > len(found["ents"]))


@pytest.mark.parametrize("field", ["text", "labels", "threshold"])
def test_everything_is_escaped(serve: Callable[..., Running], field: str):
    fields = {"text": TEXTS[0], "labels": "city", "threshold": "0", field: f"{TEXTS[0]} {EVIL}"}
    seen = Seen(send(serve(), **fields).text)
    assert "script" not in seen.tags and not seen.mistakes
    assert EVIL in seen.text or ("value", f"{TEXTS[0]} {EVIL}") in seen.attributes
    assert not any(name.startswith("on") for name, _ in seen.attributes)


@pytest.mark.parametrize(
    ("fields", "status", "code"),
    [
        ({"text": "a", "threshold": "2"}, 422, "invalid"),
        ({"text": "a", "threshold": "much"}, 422, "invalid"),
        ({"text": "a" * 50}, 413, "P179"),
        ({"text": "a", "labels": ":"}, 422, "P015"),
    ],
)
def test_why_there_is_no_answer(serve: Callable[..., Running], fields: dict[str, str], status: int, code: str):
    answer = send(serve(limits=Limits(characters=40)), **fields)
    seen = Seen(answer.text)
    assert answer.status_code == status and ("role", "alert") in seen.attributes and code in seen.text


@pytest.mark.parametrize("sent", [{"json": {"text": "a"}}, {"files": {"text": "a"}}, {"content": b"text=a"}])
def test_what_is_no_form(serve: Callable[..., Running], sent: dict[str, Any]):
    answer = serve().client.post("/", **sent)
    assert answer.status_code == 415 and "Expected a form" in Seen(answer.text).text


def test_a_form_of_another_page_is_refused(serve: Callable[..., Running]):
    running = serve()
    for site, status in (("cross-site", 403), ("same-site", 403), ("same-origin", 200), ("none", 200)):
        answer = running.client.post("/", data={"text": TEXTS[0]}, headers={"Sec-Fetch-Site": site})
        assert answer.status_code == status


def test_nobody_needs_a_mouse_or_eyes(serve: Callable[..., Running]):
    """Every field has a label, every section a heading, no level of headings is left out."""
    seen = Seen(send(serve(), text=TEXTS[0], labels="city\nmovie").text)
    named = {value for name, value in seen.attributes if name == "for"}
    assert named == {"text", "labels", "threshold"}
    ids = [value for name, value in seen.attributes if name == "id"]
    assert named <= set(ids) and len(ids) == len(set(ids))
    assert {value for name, value in seen.attributes if name == "aria-labelledby"} <= set(ids)
    levels = [int(tag[1]) for tag in seen.tags if len(tag) == 2 and tag[0] == "h" and tag[1].isdigit()]
    assert levels[0] == 1 and all(later <= before + 1 for before, later in itertools.pairwise(levels))


def test_labels_to_lines_and_back():
    labels = {"city": None, "movie": {"description": "a film", "words": "movie"}, "person": "somebody"}
    lines = lines_of(labels)
    assert lines == "city\nmovie: a film\nperson"
    body = Form(text="a", labels=lines).body()
    assert isinstance(body.labels, dict) and list(body.labels) == list(labels)
    assert Form.read(b"text=a%0D%0Ab&labels=&other=x&text=c+d") == Form(text="c d", labels="")


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("chromium") is None, reason="needs Chromium")
def test_in_a_browser(serve: Callable[..., Running], tmp_path: Path):
    """A real browser sends the form of a page of its own, and shows what comes back without a word of complaint."""
    running = serve()
    shown = _browse(f"{running.url}/", tmp_path)
    assert "<h1>" in shown and "Annotate" in shown
    # A page of elsewhere that sends the form by itself is refused: the browser says where it comes from.
    trap = tmp_path / "trap.html"
    trap.write_text(
        f'<form method="post" action="{running.url}/"><input name="text" value="{TEXTS[0]}"></form>'
        "<script>document.forms[0].submit()</script>"
    )
    assert "sent from another page" in _browse(trap.as_uri(), tmp_path)


def _browse(url: str, folder: Path) -> str:
    command = ["chromium", "--headless=new", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder / 'profile'}"]
    command += ["--virtual-time-budget=8000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, timeout=120, check=True).stdout
