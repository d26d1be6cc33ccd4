"""`python -m benchmarks.decoding`: its figures are counts that can be made by hand."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import decoding
from benchmarks.documents import labels_of, read_documents

DOCS = [
    {"text": "Ada met Hugo", "tokens": ["Ada", "met", "Hugo"], "spans": [[0, 3, "PER"], [8, 12, "PER"]]},
    {"text": "in Paris", "tokens": ["in", "Paris"], "spans": [[3, 8, "LOC"]]},
    {"text": "", "tokens": [], "spans": []},
]


@pytest.fixture
def docs_path(tmp_path: Path) -> Path:
    path = tmp_path / "docs.jsonl"
    path.write_text("".join(json.dumps(doc) + "\n" for doc in DOCS), encoding="utf8")
    return path


def run(capsys: pytest.CaptureFixture[str], *arguments: str) -> dict[str, object]:
    decoding.main([*arguments, "--runs", "1", "--device", "cpu"])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_documents_are_read_in_text_order_and_empty_ones_left_out(docs_path: Path) -> None:
    documents = read_documents(docs_path)
    assert [doc.text.string for doc in documents] == ["Ada met Hugo", "in Paris"]
    assert documents[0].text.borders == [(0, 3), (4, 7), (8, 12)]
    assert [mention.string for mention in documents[0].gold] == ["Ada", "Hugo"]
    assert labels_of(documents) == {"LOC": "LOC", "PER": "PER"}
    assert len(read_documents(docs_path, limit=1)) == 1


def test_replayed_answers_cost_the_same_in_any_batch(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    alone = run(capsys, "--docs", str(docs_path), "--batch-size", "1")
    together = run(capsys, "--docs", str(docs_path), "--batch-size", "2")
    for name in ("docs", "steps_per_doc", "pieces_per_doc", "answer_pieces_per_doc"):
        assert alone[name] == together[name]
    assert alone["docs"] == 2
    # Counts are one piece each ("2", "0", "1", "0"); the rest are the mentions' pieces.
    assert alone["answer_pieces_per_doc"] >= (4 + 3) / 2
    assert together["forward_passes"] < alone["forward_passes"]
    assert float(str(alone["ms_per_doc"])) > 0


def test_a_second_reading_of_the_text_adds_its_pieces(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    once = run(capsys, "--docs", str(docs_path))
    twice = run(capsys, "--docs", str(docs_path), "--readings", "2")
    assert float(str(twice["pieces_per_doc"])) > float(str(once["pieces_per_doc"]))
    assert twice["answer_pieces_per_doc"] == once["answer_pieces_per_doc"]


def test_the_models_own_answers(docs_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    own = run(capsys, "--docs", str(docs_path), "--answers", "model", "--limit", "1")
    assert (own["docs"], own["answers"]) == (1, "model")


@pytest.mark.parametrize("scheme", ["one_step", "structured", "augmented"])
def test_the_other_schemes_are_replayed_too(docs_path: Path, capsys: pytest.CaptureFixture[str], scheme: str) -> None:
    """One question for each label, or one for all; the answers are longer, and so take more steps."""
    ours = run(capsys, "--docs", str(docs_path))
    other = run(capsys, "--docs", str(docs_path), "--scheme", scheme)
    assert (other["scheme"], other["docs"]) == (scheme, 2)
    assert float(str(other["answer_pieces_per_doc"])) > float(str(ours["answer_pieces_per_doc"]))
    assert float(str(other["steps_per_doc"])) > float(str(ours["steps_per_doc"]))
