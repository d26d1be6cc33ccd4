"""Pages that are made from the code: nothing in them is written by hand that the code says, and nothing is left out."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest
import srsly
from typer.testing import CliRunner

from docs.tools.codes import errors_page, messages
from docs.tools.commands import command_line_page
from docs.tools.docstrings import Argument, Outcome, read_docstring
from docs.tools.links import without_outer_links
from docs.tools.markdown import code, table
from docs.tools.reference import write_reference
from docs.tools.registered import api_page, registered_functions
from docs.tools.signatures import as_config, describe
from spacy_padellm.cli import app
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.factory import DEFAULT_CONFIG
from tests.docs.pages import ROOT
from tests.pipeline.makers import answering, blank, examples

DOCS = ROOT / "docs"
API = api_page(DOCS / "attributes.yml")
COMMANDS = command_line_page()


def _row(page: str, name: str) -> list[str]:
    rows = [line for line in page.splitlines() if line.startswith(f"| `{name}` |")]
    return [cell.strip() for cell in re.split(r"(?<!\\)\|", rows[0])[1:-1]]


@pytest.mark.parametrize("name", DEFAULT_CONFIG)
def test_every_setting_has_its_default_and_a_text(name: str):
    _, type_, default, text = _row(API, name)
    assert type_ and text
    assert default == as_config(DEFAULT_CONFIG[name])


def test_every_registered_function_is_there():
    names = {point.name for points in registered_functions().values() for point in points}
    assert "spacy-padellm.CausalLM.v1" in names and "spacy-padellm.ner_scorer.v1" in names
    assert set(re.findall(r"^#### (\S+)$", API, re.M)) == names


def test_a_default_is_that_of_the_signature():
    part = API.partition("#### spacy-padellm.LoRA.v1")[2]
    assert _row(part, "rank")[1:] == ["`int`", "`16`", "Rank of the update of each weight."]


def test_every_method_is_there():
    for name in vars(PaDeLLMNER):
        assert (f"### PaDeLLMNER.{name}\n" in API) == (not name.startswith("_") or name == "__call__"), name


def test_outcomes_are_there():
    part = API.partition("### PaDeLLMNER.set_labels")[2].partition("### ")[0]
    assert "| **raises** | `ValueError` | P011 for no label at all;" in part
    assert "| **yields** | `Doc` |" in API.partition("### PaDeLLMNER.pipe")[2].partition("### ")[0]


@pytest.mark.filterwarnings("ignore:.*W0(01|10)")
def test_attributes_are_those_that_are_written(monkeypatch: pytest.MonkeyPatch):
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    with answering(monkeypatch, {("city", 0): "1", ("city", 1): "Paris"}):
        doc = nlp("Show me Jaws in Paris")
    said = srsly.read_yaml(DOCS / "attributes.yml")
    assert set(said) == {*doc.spans["sc"].attrs, "windows"}
    assert all(text.endswith(".") for text in said.values())


@pytest.mark.parametrize("command", [c.name or c.callback.__name__ for c in app.registered_commands])  # type: ignore[union-attr]
def test_command_is_as_its_help_says(command: str):
    part = COMMANDS.partition(f"## padellm {command}\n")[2].partition("\n## ")[0]
    assert part
    shown = CliRunner().invoke(app, [command, "--help"]).output
    listed = set(re.findall(r"(--[\w-]+)", "\n".join(re.findall(r"^\| `--.*?` ", part, re.M))))
    said = set(re.findall(r"(?<![\w-])(--[a-z][\w-]*)", shown)) - {"--help"}
    assert listed and listed <= said
    assert {option for option in said if re.search(rf"^  (-\w+, )?{option}\b", shown, re.M)} <= listed


def test_every_code_has_a_text_and_no_other():
    page = errors_page(DOCS / "errors.yml")
    assert re.findall(r"^## (\w+)$", page, re.M) == list(messages())
    assert len(messages()) > 80


@pytest.mark.parametrize(("line", "message"), [('P998: "No code."', "P998"), (None, "P001")])
def test_text_without_a_code_and_code_without_a_text_are_named(tmp_path: Path, line: str | None, message: str):
    lines = (DOCS / "errors.yml").read_text(encoding="utf-8").splitlines()
    kept = [*lines, line] if line else [one for one in lines if not one.startswith("P001")]
    path = tmp_path / "errors.yml"
    path.write_text("\n".join(kept), encoding="utf-8")
    with pytest.raises(ValueError, match=message):
        errors_page(path)


def test_texts_are_sentences():
    for key, text in srsly.read_yaml(DOCS / "errors.yml").items():
        assert text.endswith(".") and len(text) > 40, key


def test_pages_are_written_once(tmp_path: Path):
    pages = write_reference(tmp_path / "new")
    assert {page.name for page in pages} == {"api.md", "command-line.md", "errors.md", "changelog.md"}
    before = [page.stat().st_mtime_ns for page in pages]
    assert [page.stat().st_mtime_ns for page in write_reference(tmp_path / "new")] == before


def test_docstring_is_taken_apart():
    found = read_docstring(
        "Do it.\n\n    a = 1\n\na, b (int | None): One\n    and two.\n**c (Any): C.\n"
        "RETURNS (list[str]): X\n    y.\nRAISES (ValueError): P1."
    )
    assert found.text == "Do it.\n\n    a = 1"
    assert found.arguments == {
        "a": Argument("int | None", "One and two."),
        "b": Argument("int | None", "One and two."),
        "**c": Argument("Any", "C."),
    }
    assert found.outcomes == [Outcome("RETURNS", "list[str]", "X y."), Outcome("RAISES", "ValueError", "P1.")]


def test_docstring_of_one_line_ends_with_what_is_returned():
    found = read_docstring("The model. RETURNS (int): One.")
    assert (found.text, found.outcomes) == ("The model.", [Outcome("RETURNS", "int", "One.")])


def test_undescribed_argument_of_a_config_is_an_error():
    def build(*, size: int = 1) -> None:
        """Nothing."""

    with pytest.raises(ValueError, match="'size' has no line"):
        describe(build, defaults={})


@pytest.mark.parametrize(
    ("value", "shown"),
    [(None, "`null`"), (True, "`true`"), ("sc", '`"sc"`'), (0.5, "`0.5`"), ({"@misc": "a.v1"}, "`a.v1`")],
)
def test_defaults_are_shown_as_in_a_config(value: Any, shown: str):
    assert as_config(value) == shown


def test_cells_stay_cells():
    assert table(("a",), [["x | y\nz"]]).splitlines()[-1] == "| x \\| y z |"
    assert table(("a",), []) == ""
    assert code("a`b") == "``a`b``"


def test_links_out_of_the_folder_become_text():
    text = "[a](../README.md) [b](data.md) ![c](../x.svg)"
    assert without_outer_links(text) == "a [b](data.md) ![c](../x.svg)"
    assert without_outer_links("[a](../data.md) [b](../../README.md)", depth=1) == "[a](../data.md) b"
