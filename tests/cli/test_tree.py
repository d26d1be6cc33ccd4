import json
import xml.etree.ElementTree as ElementTree

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

from spacy_padellm.cli.tree import read_names, trace_text
from tests.pipeline.makers import TEXTS, blank, examples


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    path = tmp_path_factory.mktemp("pipelines") / "tree"
    nlp.to_disk(path)
    return path


def run(*args, stdin=None):
    return CliRunner().invoke(app, ["padellm", "tree", *map(str, args)], input=stdin)


def test_text(folder):
    result = run(folder, TEXTS[0])
    assert result.exit_code == 0, result.output
    assert result.stdout.startswith(f"{TEXTS[0]}\n0-{len(TEXTS[0])}: ")
    assert "PaDeLLM, " in result.stdout


def test_stdin(folder):
    result = run(folder, "-", "--format", "json", stdin="Line one\nline two\n")
    assert json.loads(result.stdout)["text"] == "Line one\nline two"


def test_formats(folder, tmp_path):
    for form in ("html", "svg", "json"):
        output = tmp_path / "deep" / f"tree.{form}"
        result = run(folder, TEXTS[0], "--format", form, "--output", output)
        assert result.exit_code == 0, result.output
        made = output.read_text(encoding="utf-8")
        if form == "json":
            assert [tree["text"] for tree in json.loads(made)["trees"]] == [TEXTS[0]]
        elif form == "svg":
            ElementTree.fromstring(made)
        else:
            assert made.startswith("<!doctype html>") and "<svg" in made


def test_labels(folder, tmp_path):
    (tmp_path / "labels.json").write_text('{"x": "an x"}')
    for given, asked in (("a, b", ["a", "b"]), (str(tmp_path / "labels.json"), ["x"])):
        traced = json.loads(run(folder, TEXTS[0], "--labels", given, "--format", "json").stdout)
        assert list(dict.fromkeys(limb["label"] for limb in traced["trees"][0]["limbs"])) == asked
    assert "an x" in run(folder, TEXTS[0], "--labels", tmp_path / "labels.json", "--all").stdout
    assert read_names(None) is None


@pytest.mark.parametrize("text", ["", " "])
def test_text_without_words(folder, text):
    result = run(folder, text)
    assert result.exit_code == 0 and "Nothing was asked" in result.stdout


def test_pipes_in_front_are_run(folder):
    nlp = spacy.load(folder)
    seen = []
    spacy.Language.component("front_of_tree", func=lambda doc: seen.append("front") or doc)
    spacy.Language.component("behind_tree", func=lambda doc: seen.append("behind") or doc)
    nlp.add_pipe("front_of_tree", first=True)
    nlp.add_pipe("behind_tree")
    trace_text(nlp, TEXTS[0])
    assert seen == ["front"]


def test_pipe_by_name(folder):
    nlp = spacy.load(folder)
    nlp.rename_pipe("padellm_ner", "ours")
    assert trace_text(nlp, TEXTS[0], pipe="ours").trees
    with pytest.raises(ValueError, match=r"\[P160\]"):
        trace_text(nlp, TEXTS[0])


@pytest.mark.parametrize(
    ("args", "code"),
    [
        (("nowhere", "text"), "P154"),
        ((None, "text", "--pipe", "other"), "P160"),
        ((None, "text", "--format", "pdf"), "P001"),
        ((None, "text", "--labels", "missing.json"), "P116"),
        ((None, "text", "--labels", "a,,b"), "P015"),
    ],
)
def test_errors(folder, args, code):
    result = run(args[0] or folder, *args[1:])
    assert result.exit_code == 1
    assert f"[{code}]" in result.output
