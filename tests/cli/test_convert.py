import json
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from spacy.tokens import DocBin
from typer.testing import CliRunner

from spacy_padellm.cli.convert import convert
from spacy_padellm.data.converters import READERS

SAMPLES = Path(__file__).parents[1] / "data" / "samples"
OF_FORMAT = {
    "ace": "ace",
    "conll": "iob1.conll",
    "conll_chars": "sentences.char.bmes",
    "conversations": "conversations.json",
    "genia": "genia.xml",
    "genia_iob2": "genia.iob2",
    "germeval": "germeval.tsv",
    "jsonl": "mentions.jsonl",
    "nested": "nested.json",
    "padellm": "padellm_en.json",
    "padellm_chars": "padellm_zh.json",
    "padellm_genia": "padellm_genia.json",
    "snips": "snips.json",
    "standoff": "standoff.jsonl",
    "weibo": "weibo.txt",
}

LINES = [
    {"text": "Ann met  Bo", "tokens": ["Ann", "met", "Bo"], "spans": [[0, 4, "PER"], [9, 11, "PER"]]},
    {"text": "2times", "spans": [[0, 1, "N"]]},
]


@pytest.fixture
def source(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, LINES)), encoding="utf-8")
    return path


def run(*args):
    return CliRunner().invoke(app, ["padellm", "convert", *map(str, args)])


def read(path):
    return list(DocBin().from_disk(path).get_docs(spacy.blank("en").vocab))


def test_spacy_finds_the_command():
    done = subprocess.run([sys.executable, "-m", "spacy", "padellm", "--help"], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert all(name in done.stdout for name in ("annotate", "convert", "debug", "evaluate"))


def test_importing_the_commands_imports_no_model_library():
    code = "import sys, spacy_padellm.cli; print([n for n in ('transformers', 'peft') if n in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.stdout.strip() == "[]", done.stderr


def test_converts_and_tells(source, tmp_path):
    output = tmp_path / "deep" / "a.spacy"
    result = run(source, output)
    assert result.exit_code == 0, result.output
    assert [[ent.text for ent in doc.ents] for doc in read(output)] == [["Ann", "Bo"], ["2"]]
    for told in ("blank edges trimmed", "mentions off token borders", "2 documents saved"):
        assert told in result.output


def test_snips_by_suffix_and_by_name(tmp_path):
    content = json.dumps({"A": [{"data": [{"text": "Ann", "entity": "PER"}]}]})
    for name, options in (("a.json", []), ("a.data", ["--format", "snips"])):
        (tmp_path / name).write_text(content, encoding="utf-8")
        result = run(tmp_path / name, tmp_path / "a.spacy", *options)
        assert result.exit_code == 0, result.output
        assert [ent.text for doc in read(tmp_path / "a.spacy") for ent in doc.ents] == ["Ann"]


@pytest.mark.filterwarnings("ignore:.*W04[01]")
@pytest.mark.parametrize("format", READERS)
def test_every_format(tmp_path, format):
    output = tmp_path / "a.spacy"
    result = run(SAMPLES / OF_FORMAT[format], output, "--format", format, "--on-error", "skip", "--lang", "xx")
    assert result.exit_code == 0, result.output
    assert any(doc.spans["sc"] for doc in read(output))


def test_columns(tmp_path):
    options = ["--token-column", "1", "--tag-column", "2"]
    result = run(SAMPLES / "ids.iob2", tmp_path / "a.spacy", *options)
    assert result.exit_code == 0, result.output
    assert [ent.text for doc in read(tmp_path / "a.spacy") for ent in doc.ents] == ["Ann", "Bonn", "Bonn", "USA"]
    result = run(SAMPLES / "germeval.tsv", tmp_path / "a.spacy", "-f", "germeval", "--tag-column", "-1")
    assert [ent.text for doc in read(tmp_path / "a.spacy") for ent in doc.ents] == ["Bonn"]


def test_mentions_that_are_not_in_the_text_are_counted(tmp_path):
    with pytest.warns(UserWarning, match=r"\[W041\] 2 of 7 mentions .*2 not in the text"):
        result = run(SAMPLES / "conversations.json", tmp_path / "a.spacy", "--format", "conversations")
    assert "mentions that the text does not have" in result.output


def test_chinese_characters_are_tokens(tmp_path):
    run(SAMPLES / "sentences.char.bmes", tmp_path / "a.spacy", "--lang", "zh")
    first, second = read(tmp_path / "a.spacy")
    assert (first.text, [ent.text for ent in first.ents]) == ("安小明， 男", ["安小明", "男"])
    assert len(second) == 2


def test_options_act(source, tmp_path):
    output = tmp_path / "a.spacy"
    run(source, output, "--on-unaligned", "expand", "--spans-key", "gold", "--lang", "xx", "--use-tokens")
    first, second = read(output)
    assert [span.text for span in second.spans["gold"]] == ["2times"]
    assert [token.text for token in first] == ["Ann", "met", " ", "Bo"]


def test_use_tokens(tmp_path):
    path, output = tmp_path / "a.jsonl", tmp_path / "a.spacy"
    path.write_text(json.dumps({"text": "ab", "tokens": ["a", "b"]}), encoding="utf-8")
    for options, n_tokens in (([], 1), (["--use-tokens"], 2)):
        run(path, output, *options)
        assert [len(doc) for doc in read(output)] == [n_tokens]


def test_broken_line_stops_and_leaves_what_was_there(source, tmp_path):
    output = tmp_path / "a.spacy"
    run(source, output)
    before = output.read_bytes()
    with source.open("a") as file:
        file.write("\n{broken")
    result = run(source, output)
    assert result.exit_code == 1
    assert "[P100]" in result.output and "line 3" in result.output.replace("\n", " ")
    assert output.read_bytes() == before


def test_skipping_broken_lines_warns_once(source, tmp_path):
    with source.open("a") as file:
        file.write("\n{broken\n{too")
    with pytest.warns(UserWarning, match=r"\[W040\] .*a\.jsonl: 2 broken.*line 3"):
        summary, skipped = convert(source, tmp_path / "a.spacy", on_error="skip")
    assert (summary.docs, skipped) == (2, 2)


def test_nothing_to_convert(tmp_path):
    (tmp_path / "a.jsonl").write_text("\n\n")
    with pytest.raises(ValueError, match=r"\[P105\] .*a\.jsonl.* 0 were left out"):
        convert(tmp_path / "a.jsonl", tmp_path / "a.spacy")
    assert not (tmp_path / "a.spacy").exists()


@pytest.mark.parametrize(
    ("options", "code"),
    [
        (["--format", "csv"], "P104"),
        (["--tag-column", "1"], "P001"),
        (["--on-unaligned", "drop"], "P107"),
        (["--on-error", "ignore"], "P001"),
    ],
)
def test_options_that_do_not_exist(source, tmp_path, options, code):
    result = run(source, tmp_path / "a.spacy", *options)
    assert result.exit_code == 1
    assert f"[{code}]" in result.output


def test_missing_file(tmp_path):
    assert run(tmp_path / "none.jsonl", tmp_path / "a.spacy").exit_code == 2


def test_folder_of_a_format_without_folders(tmp_path):
    result = run(tmp_path, tmp_path / "a.spacy", "--format", "conll")
    assert result.exit_code == 1
    assert "directory" in result.output
