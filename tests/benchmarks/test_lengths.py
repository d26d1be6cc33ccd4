"""`python -m benchmarks.lengths`: with one piece a byte, every length can be counted by hand."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from benchmarks import lengths
from benchmarks.lengths import nearest, spread
from benchmarks.models import read_tokenizer
from spacy_padellm.engine.checkpoint import save_pieces
from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.pieces import Pieces
from tests.benchmarks.documents import CHINESE, ENGLISH, write_documents

MARKER = len("\n<mention 1>")


def tokenizer_of_bytes(folder: Path, *, leading_blank: bool = False) -> str:
    save_pieces(Pieces(train_tokenizer([], [], 257), leading_blank=leading_blank), folder)
    return str(folder)


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, Any]:
    lengths.main(arguments)
    return json.loads(capsys.readouterr().out.splitlines()[-1])


@pytest.fixture
def found(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> dict[str, Any]:
    docs = write_documents(tmp_path, ENGLISH)
    return run(capsys, "--docs", str(docs), "--tokenizer", tokenizer_of_bytes(tmp_path / "bytes"))["sets"]["test"]


def test_lengths_of_each_scheme(found: dict[str, Any]) -> None:
    assert (found["docs"], found["labels"]) == (2, {"LOC": "LOC", "PER": "PER"})
    expected = {
        # "0", "2", "Ada", "Hugo" and "1", "Paris", "0"
        "padellm": [[1, 1, 3, 4], [1, 5, 1]],
        "one_step": [[len("[]"), len('["Ada", "Hugo"]')], [len('["Paris"]'), len("[]")]],
        "structured": [[len("((LOC): (NULL), (PER): (Ada), (PER): (Hugo))")], [len("((LOC): (Paris), (PER): (NULL))")]],
        "augmented": [[len("[Ada | PER] met [Hugo | PER]")], [len("in [Paris | LOC]")]],
    }
    for cut in ("segments", "whole"):
        assert set(found["schemes"][cut]) == set(expected)
        for name, documents in expected.items():
            every = [length for document in documents for length in document]
            figures = found["schemes"][cut][name]
            assert figures["sequence"] == spread(every)
            assert figures["document"] == spread([sum(document) for document in documents])
            assert figures["left_out"] == 0


@pytest.mark.parametrize(
    "definition, n, without, within",
    [
        ("count", 4, 1, 2),
        ("count above 0", 2, 1, 2),
        ("mention", 3, (3 + 4 + 5) / 3, (4 + 5 + 6) / 3),
        ("count, and mention", 7, (4 + 12) / 7, (8 + 15) / 7),
        ("count + marker + mention", 5, (5 + 3 * MARKER + 12) / 5, (10 + 3 * MARKER + 12) / 5),
        (
            "count + marker + mention, absent labels left out",
            3,
            (3 + 3 * MARKER + 12) / 3,
            (6 + 3 * MARKER + 12) / 3,
        ),
        ("count + mention", 5, (5 + 12) / 5, (10 + 15) / 5),
        ("count + mention, absent labels left out", 3, (3 + 12) / 3, (6 + 15) / 3),
        ("count + mention, longest of the document", 2, (5 + 6) / 2, (7 + 8) / 2),
    ],
)
def test_every_definition_of_a_padellm_sequence(
    found: dict[str, Any], definition: str, n: int, without: float, within: float
) -> None:
    for cut in ("segments", "whole"):
        means = found["padellm_definitions"][cut][definition]
        assert means == {"n": n, "without_end": pytest.approx(without), "with_end": pytest.approx(within)}


def test_the_definitions_are_all_tested(found: dict[str, Any]) -> None:
    assert len(found["padellm_definitions"]["segments"]) == 9


def test_a_segment_of_its_own_has_its_own_blank(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = write_documents(tmp_path, ENGLISH)
    tokenizer = tokenizer_of_bytes(tmp_path / "bytes", leading_blank=True)
    cuts = run(capsys, "--docs", str(docs), "--tokenizer", tokenizer)["sets"]["test"]["padellm_definitions"]
    assert cuts["segments"]["mention"]["without_end"] == 5
    assert cuts["whole"]["mention"]["without_end"] == 4


def test_a_data_set_of_the_catalogue_brings_labels_language_and_the_papers_figures(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    english = write_documents(tmp_path / "conll03", ENGLISH)
    chinese = write_documents(tmp_path / "resume", CHINESE)
    arguments = ["--docs", str(english), str(chinese), "--tokenizer", tokenizer_of_bytes(tmp_path / "bytes")]
    sets = run(capsys, *arguments)["sets"]
    assert [sets[name]["language"] for name in ("conll03", "resume")] == ["en", "zh"]
    assert sets["conll03"]["labels"]["PER"] == "person"
    assert sets["resume"]["labels"]["CONT"] == "国籍"
    assert sets["conll03"]["paper"] == {"augmented": 33.85, "structured": 28.36, "padellm": 6.54}
    # Count with end 2, mention with end 5: of all means the one nearest to 6.54.
    assert abs(sets["conll03"]["padellm_nearest"]["mean"] - 6.54) < 1
    # "<第1文段>" with a newline is 13 bytes.
    trained = sets["resume"]["padellm_definitions"]["segments"]["count + marker + mention, absent labels left out"]
    assert trained["without_end"] == pytest.approx((3 * (1 + 13) + 6 + 12 + 6) / 3)
    named = run(capsys, *arguments, "--words", "names", "--limit", "1")["sets"]
    assert named["conll03"]["labels"]["PER"] == "PER"
    assert (named["conll03"]["docs"], named["resume"]["docs"]) == (1, 1)


def test_the_language_of_the_prompt_can_be_chosen(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = write_documents(tmp_path, ENGLISH)
    arguments = ["--docs", str(docs), "--tokenizer", tokenizer_of_bytes(tmp_path / "bytes")]
    chinese = run(capsys, *arguments, "--language", "zh")["sets"]["test"]
    assert chinese["language"] == "zh" and chinese["labels"]["PER"] == "人名"


def test_results_are_written_as_json_and_as_a_table(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    docs = write_documents(tmp_path / "conll03", ENGLISH)
    output = tmp_path / "results" / "lengths.json"
    arguments = ["--docs", str(docs), "--tokenizer", tokenizer_of_bytes(tmp_path / "bytes")]
    printed = run(capsys, *arguments, "--tokenizer-name", "one piece a byte", "--output", str(output))
    assert json.loads(output.read_text("utf8")) == printed
    assert printed["tokenizer"] == "one piece a byte" and printed["commit"]
    lines = output.with_suffix(".md").read_text("utf8").splitlines()
    assert lines[0] == "# lengths" and printed["command"] in lines[2]
    rows = [line.split(" | ") for line in lines if line.startswith("| conll03 | padellm")]
    assert [row[1:3] for row in rows] == [["padellm", "segments"], ["padellm", "whole"]]
    assert rows[0][-1] == "6.54 |"


def test_a_tokenizer_json_is_read_by_itself(tmp_path: Path) -> None:
    tokenizer = train_tokenizer([], [], 257)
    tokenizer.save_pretrained(tmp_path)
    pieces = read_tokenizer(str(tmp_path / "tokenizer.json"))
    assert pieces.encode(["Ada"]) == Pieces(tokenizer).encode(["Ada"])
    assert pieces.end == tokenizer.eos_token_id


@pytest.mark.parametrize("written, code", [(None, "P027"), ("{}", "P027")])
def test_a_tokenizer_that_is_none_is_named(tmp_path: Path, written: str | None, code: str) -> None:
    path = tmp_path / "tokenizer.json"
    if written is not None:
        path.write_text(written)
    with pytest.raises(ValueError, match=rf"\[{code}\]"):
        read_tokenizer(str(path))


def test_no_lengths_have_a_spread_too() -> None:
    assert spread([]) == {"n": 0, "mean": 0.0, "median": 0.0, "p90": 0.0, "max": 0}
    assert spread([1, 2, 3, 10]) == {"n": 4, "mean": 4.0, "median": 2.5, "p90": pytest.approx(7.9), "max": 10}


def test_the_nearest_definition() -> None:
    means = {"a": {"n": 1, "without_end": 3.0, "with_end": 5.0}, "b": {"n": 1, "without_end": 9.0, "with_end": 6.4}}
    found = nearest({"segments": means, "whole": {"a": {"n": 1, "without_end": 6.0, "with_end": 7.0}}}, 6.54)
    assert found == {"definition": "b", "cut": "segments", "ends": "with_end", "mean": 6.4}


def test_a_command_ends_without_a_traceback(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.lengths", "--docs", str(tmp_path / "none"), "--tokenizer", "none"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 1
    assert "Traceback" not in done.stderr
    assert "none" in done.stdout
