"""What other people wrote stands in a card as text; several pipes stand in one card."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import spacy
import srsly

from spacy_padellm.pipeline.markdown import block, code, plain, table
from spacy_padellm.sharing.card import Said
from spacy_padellm.sharing.forms import Shape
from spacy_padellm.sharing.written import write_repository
from tests.pipeline.makers import FRESH, blank, examples
from tests.pipeline.makers import block as scheme_block

HOSTILE = "`a` | <script>alert(1)</script>\n# b ![x](http://x.y/z)"


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("New York", "New York"),
        ("a_b*c", r"a\_b\*c"),
        ("<b>&amp;</b>", "&lt;b&gt;&amp;amp;&lt;/b&gt;"),
        ("[x](y) | z", r"\[x\](y) \| z"),
        ("two\n\nlines", "two lines"),
        ("# no heading", r"\# no heading"),
        ("1. no list", r"1\. no list"),
        ("--- no rule", r"\--- no rule"),
        ("3.11.7", "3.11.7"),
    ],
)
def test_plain_text_means_nothing(text: str, told: str):
    assert plain(text) == told


def test_code_ends_where_it_should():
    assert code("a") == "`a`" and code("a\nb") == "`a b`"
    assert code("a`b") == "``a`b``" and code("`a``") == "``` `a`` ```"
    assert block("x = '''\n```\n'''", "python") == "````python\nx = '''\n```\n'''\n````"


def test_cells_do_not_end_early():
    written = table(("a", "b"), [(code("x | y"), plain("x | y"))], numbers_from=1)
    assert written.splitlines() == ["| a | b |", "| --- | ---: |", r"| `x \| y` | x \| y |"]


@pytest.fixture
def two() -> spacy.Language:
    nlp = spacy.blank("xx")
    for name, labels in (("one", {HOSTILE: None, "city": None}), ("two", {"film": {"description": HOSTILE}})):
        pipe = nlp.add_pipe("padellm_ner", name=name, config={"model": FRESH, "spans_key": name})
        pipe.set_labels(labels)  # type: ignore[attr-defined]
    nlp.meta.update(description=HOSTILE, author="Ada\nLovelace: {x}", url="https://x.y")
    return nlp


@pytest.mark.filterwarnings("ignore:.*W002")
def test_a_card_of_two_pipes_with_hostile_words(two: spacy.Language, tmp_path: Path):
    two.initialize()
    said = Said("ada/films", "mit", data_text=HOSTILE, datasets=("a: b", "x\n---\ny"))
    write_repository(two, tmp_path / "out", Shape("--as-is"), said)
    text = (tmp_path / "out" / "README.md").read_text(encoding="utf8")
    _, front, body = text.split("\n---\n", 1)[0], *text.removeprefix("---\n").split("\n---\n", 1)
    found = srsly.yaml_loads(front)
    assert found["datasets"] == ["a: b", "x\n---\ny"] and found["language"] == ["multilingual"]
    assert "Of the component `one`:" in body and "Of the component `two`:" in body
    headings = re.findall(r"^#+ .*", body, flags=re.MULTILINE)
    assert headings == [
        "# films",
        "## How to load it",
        "## Labels",
        "## Data",
        "## Figures",
        "## Versions",
    ]
    outside = re.sub(r"(`+)(?:(?!\1).)+?\1(?!`)", "", re.sub(r"```.*?```", "", body, flags=re.DOTALL))
    assert "<script>" not in outside and "![" not in outside
    labels = [line for line in body.splitlines() if "alert" in line and line.startswith("|")]
    # A line of a table has as many cells as its header.
    assert len(labels) == 2 and [len(re.findall(r"(?<!\\)\|", line)) for line in labels] == [3, 5]


@pytest.mark.filterwarnings("ignore:.*W002")
def test_the_model_of_one_of_two_pipes(two: spacy.Language, tmp_path: Path):
    two.initialize()
    said = Said("ada/films", "mit")
    with pytest.raises(ValueError, match=r"\[P034\].*there are several.*one, two"):
        write_repository(two, tmp_path / "out", Shape("--merged"), said)
    write_repository(two, tmp_path / "one", Shape("--merged", pipe="one"), said)
    text = (tmp_path / "one" / "README.md").read_text(encoding="utf8")
    assert "model of `one`" in text and "model of `two`" not in text and "film" not in text.partition("## Labels")[2]
    # Its settings that are not the component's own, to be asked as it was.
    assert "settings = {'spans_key': 'one'}" in text
    assert "\n## Without this package\n" in text and "\n### How it is asked\n" in text


def test_a_card_tells_the_scheme(tmp_path: Path):
    for name in ("PaDeLLM", "OneStep"):
        nlp = blank(scheme=scheme_block(name))
        nlp.initialize(lambda nlp=nlp: examples(nlp))
        write_repository(nlp, tmp_path / name, Shape("--as-is"), Said("ada/films", "mit"))
        text = (tmp_path / name / "README.md").read_text(encoding="utf8")
        assert f"| scheme | `spacy-padellm.{name}.v1` |" in text
        assert ("for all of these at once" in text) == (name == "PaDeLLM")
