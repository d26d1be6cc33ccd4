"""A trace as text, HTML and SVG."""

from __future__ import annotations

import xml.etree.ElementTree as ElementTree
from dataclasses import replace
from html.parser import HTMLParser

import pytest

from spacy_padellm.pipeline.shown import cut, fit, visible, width
from spacy_padellm.pipeline.trace import Found, Grown, Limb, Place, Trace
from spacy_padellm.pipeline.tree_html import tree_html
from spacy_padellm.pipeline.tree_svg import tree_svg
from spacy_padellm.pipeline.tree_text import tree_text

HOSTILE = (
    "<script>alert(1)</script> \"quoted\" 'single' & &amp; ]]> <!-- \x00\x07\x1b[31m \u202eright\u202c \u2028 \ud800"
)
VOID = {"meta"}


def limb(label: str, count: int, *opened: Limb, probability: float = 0.9) -> Limb:
    question = f"entity type:\n{label}\n\n<num>"
    return Limb("count", label, 0, question, str(count), probability, "end", count, 1, 2, 9, 4, 1, opened=opened)


def mention(label: str, string: str, *places: Place, fate: str = "entity", ordinal: int = 1) -> Limb:
    found = Found(label, string, ordinal, 0.8, 0.7, fate, places)  # type: ignore[arg-type]
    question = f"\n<mention {ordinal}>"
    return Limb("mention", label, ordinal, question, string, 0.8, "end", None, 2, 3, 5, 0, 2, found=(found,))


def traced(*limbs: Limb, text: str = "Ada met Hugo in Paris.") -> Trace:
    return Trace(text, "PaDeLLM", (Grown(0, len(text), text, 14, 3, limbs),), 3, 71, 8, 21, 14, 0.012)


SMALL = traced(
    limb(
        "person",
        3,
        mention("person", "Ada", Place(0, 3, "entity")),
        mention("person", "Hugo", Place(8, 12, "overlapped"), fate="overlapped", ordinal=2),
        mention("person", "Bo", fate="unplaced", ordinal=3),
    ),
    limb("film", 0, probability=0.99),
    limb("drink", 0, probability=0.95),
)

EMPTY = Trace("", "PaDeLLM", (), 0, 0, 0, 0, 0, 0.0)

BAD = traced(limb(HOSTILE, 1, mention(HOSTILE, HOSTILE, fate="unplaced")), limb(HOSTILE * 2, 0), text=HOSTILE)


class Tags(HTMLParser):
    """Checks that tags are closed in order, and collects them and the text."""

    def __init__(self, page: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.attrs: list[tuple[str, str | None]] = []
        self.shown = ""
        self.open: list[str] = []
        self.feed(page)
        self.close()
        assert self.open == []

    def handle_starttag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs += attrs
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append(tag)
        self.attrs += attrs

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.shown += data if "style" not in self.open else ""


def test_text():
    assert tree_text(SMALL) == (
        "Ada met Hugo in Paris.\n"
        "0-22: 14 pieces, read once, 3 steps\n"
        "├─ entity type:⏎person⏎⏎<num> 3  0.90  steps 1-2\n"
        "│  ├─ ⏎<mention 1> Ada  0.80  steps 2-3  confidence 0.70  0-3 in doc.ents\n"
        "│  ├─ ⏎<mention 2> Hugo  0.80  steps 2-3  confidence 0.70  8-12 in doc.spans only (overlap)\n"
        "│  └─ ⏎<mention 3> Bo  0.80  steps 2-3  confidence 0.70  does not stand in the text\n"
        "└─ 2 labels 0 (0.95 to 0.99): film, drink\n"
        "PaDeLLM, 6 answers, 3 steps, 71 pieces computed, 8 shared, 14 of 21 drafts wanted, 12 ms\n"
    )


def test_all_shows_each_absent_label():
    told = tree_text(SMALL, everything=True)
    assert "├─ entity type:⏎film⏎⏎<num> 0  0.99  steps 1-2\n└─ entity type:⏎drink⏎⏎<num> 0" in told
    for form in (tree_html, tree_svg):
        assert "entity type:⏎film" not in form(SMALL) and "entity type:⏎film" in form(SMALL, everything=True)


@pytest.mark.parametrize("form", [tree_text, tree_html, tree_svg])
def test_nothing_asked(form):
    assert "Nothing was asked" in form(EMPTY)


@pytest.mark.parametrize("columns", [60, 100])
def test_no_line_is_too_wide(columns):
    long = traced(
        limb("電影 " * 40, 1, mention("電影 " * 40, "東京" * 90, Place(0, 180, "entity"))),
        *(limb(f"label number {number}", 0) for number in range(90)),
        text="long " * 90,
    )
    for one in (long, BAD, SMALL, EMPTY):
        assert max(map(width, tree_text(one, columns=columns).splitlines())) <= columns


def test_windows_stand_one_below_the_other():
    (tree,) = SMALL.trees
    two = replace(SMALL, trees=(tree, replace(tree, start=30, end=52)))
    told = tree_text(two)
    assert "window 1: Ada" in told and "window 2: Ada" in told and "30-52: 14 pieces" in told
    assert "Window 2" in tree_html(two)
    assert tree_svg(two).count("⏎&lt;mention 3&gt;") == 2


def test_remarks():
    base = limb("film", 0)
    for changed, told in (
        ({"count": None, "unreadable": ("many",)}, "unreadable: many"),
        ({"finish": "limit"}, "cut off at its limit"),
        ({"passed_over": True, "count": None}, "another answer was kept"),
        ({"count": 1}, "taken as 1"),
        ({"answer": "100", "count": 100}, "over the limit"),
    ):
        one = traced(replace(base, **changed))  # type: ignore[arg-type]
        for form in (tree_text, tree_html, tree_svg):
            assert told in form(one)


@pytest.mark.parametrize("trace", [SMALL, EMPTY, BAD])
def test_svg_is_xml(trace):
    root = ElementTree.fromstring(tree_svg(trace))
    assert root.tag == "{http://www.w3.org/2000/svg}svg"
    names = {element.tag.split("}")[1] for element in root.iter()}
    assert names <= {"svg", "title", "style", "rect", "path", "text", "tspan"}
    assert root.find("{http://www.w3.org/2000/svg}title") is not None


@pytest.mark.parametrize("trace", [SMALL, EMPTY, BAD])
def test_html_stands_alone(trace):
    page = Tags(tree_html(trace))
    assert not {"script", "link", "img", "iframe", "object", "embed", "a"} & set(page.tags)
    addresses = {value for name, value in page.attrs if name != "xmlns" and value and "//" in value}
    assert not addresses and not any(name.startswith("on") or name in ("src", "href") for name, _ in page.attrs)
    assert "url(" not in tree_html(trace) and "@import" not in tree_html(trace)


def test_html_opens_with_the_keyboard_and_follows_the_theme():
    page = Tags(tree_html(SMALL))
    assert page.tags.count("details") == page.tags.count("summary") == 4
    assert "color-scheme:light dark" in tree_html(SMALL) and "prefers-color-scheme:dark" in tree_svg(SMALL)


@pytest.mark.parametrize("form", [tree_text, tree_html, tree_svg])
def test_hostile_strings(form):
    made = form(BAD)
    assert not [one for one in made if one != "\n" and visible(one) != one]
    if form is not tree_text:
        assert "<script" not in made and "&lt;script&gt;alert(1)&lt;/script&gt;" in made
    made.encode("utf-8")


def test_hostile_strings_are_shown_whole_in_html():
    assert visible(HOSTILE) in Tags(tree_html(BAD)).shown


def test_visible():
    assert visible("a\nb\tc\u202ed\u2028\x85\ud800é中😀") == r"a⏎b\tc\u202ed\u2028\x85\ud800é中😀"


def test_width_and_cut():
    assert (width("ab"), width("中a"), width("e\u0301")) == (2, 3, 1)
    assert (cut("abc", 3), cut("abcd", 3), cut("中中中", 4)) == ("abc", "ab…", "中…")


def test_fit_cuts_the_longest():
    assert fit(["short", "x" * 30], 20) == ["short", "x" * 14 + "…"]
    assert fit(["y" * 30, "x" * 30], 30) == ["y" * 14 + "…", "x" * 14 + "…"]
    assert [width(one) for one in fit(["y" * 30, "x" * 30], 2)] == [8, 8]
