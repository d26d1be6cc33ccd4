"""`python -m benchmarks.counts`: what is loaded, compared and printed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import counts
from tests.pipeline.makers import DATA, blank, train, write_docs


@pytest.fixture(scope="module")
def pipeline(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A trained pipeline, and beside it its gold documents in both formats."""
    folder = tmp_path_factory.mktemp("counts")
    train(blank()).to_disk(folder / "pipeline")
    write_docs(folder / "gold.spacy")
    lines = [json.dumps({"text": text, "spans": [list(span) for span in ents]}) for text, ents in DATA]
    (folder / "gold.jsonl").write_text("\n".join(lines), encoding="utf8")
    return folder / "pipeline"


def run(capsys: pytest.CaptureFixture[str], pipeline: Path, docs: str, *arguments: str) -> dict[str, Any]:
    path = str(pipeline.parent / docs)
    counts.main(["--model", str(pipeline), "--docs", path, "--samples", "20", *arguments])
    return json.loads(capsys.readouterr().out.splitlines()[-1])


def test_settings_are_names_and_changes() -> None:
    name, changes = counts.read_setting("two looks: scheme.second_look=2 scheme.drop_surplus=true")
    assert (name, changes) == ("two looks", {"scheme.second_look": 2, "scheme.drop_surplus": True})
    assert counts.read_setting("bare") == ("bare", {})


@pytest.mark.parametrize("docs", ["gold.spacy", "gold.jsonl"])
def test_figures_and_cost_of_each_setting(pipeline: Path, docs: str, capsys: pytest.CaptureFixture[str]) -> None:
    look = "all looks: scheme.second_look=2 scheme.look_floor=0.0 scheme.look_weight=0.1 scheme.look_absent=1.0"
    found = run(capsys, pipeline, docs, "--setting", look)
    assert (found["docs"], list(found["settings"])) == (len(DATA), ["plain", "all looks"])
    plain, looked = found["settings"].values()
    # The pipeline knows these documents by heart.
    assert plain["spans"]["f"] == plain["counts"]["all"] == looked["spans"]["f"] == 100
    assert (plain["pieces_ratio"], plain["steps_ratio"], plain["difference"]["span_f"]["difference"]) == (1, 1, 0)
    assert looked["pieces_ratio"] > 1
    assert looked["answers_per_doc"] > plain["answers_per_doc"]
    assert looked["pieces_per_doc"] / plain["pieces_per_doc"] == pytest.approx(looked["pieces_ratio"], rel=0.01)


def test_the_settings_tried_by_default(pipeline: Path, capsys: pytest.CaptureFixture[str]) -> None:
    found = run(capsys, pipeline, "gold.spacy", "--limit", "2")
    assert found["docs"] == 2
    assert len(found["settings"]) == 1 + len(counts.SETTINGS)


def test_gold_labels_that_the_pipe_does_not_know_are_missed(
    pipeline: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "gold.jsonl"
    path.write_text('{"text": "Ada sang", "spans": [[0, 3, "singer"]]}\n', encoding="utf8")
    found = run(capsys, pipeline, str(path), "--setting", "same: scheme.second_look=0")
    assert found["settings"]["plain"]["spans"]["r"] == 0


@pytest.mark.parametrize("written", ["", '{"text": " ", "spans": []}\n'])
def test_no_documents_are_refused(pipeline: Path, tmp_path: Path, written: str) -> None:
    (tmp_path / "none.jsonl").write_text(written, encoding="utf8")
    with pytest.raises(ValueError, match=r"\[P135\] .*none\.jsonl"):
        counts.main(["--model", str(pipeline), "--docs", str(tmp_path / "none.jsonl")])
