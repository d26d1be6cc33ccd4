"""`python -m benchmarks.adapters`: pipelines that share a base model beside those that do not, and merged ones."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import adapters
from spacy_padellm.model import sources

pytestmark = pytest.mark.filterwarnings("ignore:.*W00[123]")


@pytest.fixture(autouse=True)
def restored(monkeypatch: pytest.MonkeyPatch) -> None:
    """The registry is put back, and models are not proved."""
    monkeypatch.setattr(sources, "BASES", sources.BASES)
    monkeypatch.setattr(sources, "prove", lambda lm: None)


def test_figures(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(adapters, "measure_apart", adapters.measure)
    output = tmp_path / "figures.json"
    options = ["--model", "tiny", "--pipes", "1", "2", "--rank", "2", "--docs", "2", "--runs", "1", "--batch-size", "2"]
    adapters.main([*options, "--output", str(output)])
    printed = capsys.readouterr().out.splitlines()
    figures = json.loads(printed[-1])
    assert json.loads(output.read_text()) == figures
    assert [(row["pipes"], row["shared"], row["bases"]) for row in figures["loading"]] == [
        (1, True, 1),
        (1, False, 1),
        (2, True, 1),
        (2, False, 2),
    ]
    (row,) = figures["annotating"]
    assert row["batch_size"] == 2 and row["adapter_ms"] > 0 and row["merged_ms"] > 0
    assert figures["pipeline_mb"] < figures["base_mb"]
    assert "| 2 | no | 2 |" in "\n".join(printed)
    assert str(tmp_path) not in json.dumps({**figures, "command": ""})


def test_an_adapter_and_its_merged_weights_take_the_same_steps(tmp_path: Path) -> None:
    (folder,) = adapters.write_pipelines(tmp_path, "tiny", 1, 2)
    adapted = adapters.spacy.load(folder)
    adapters.export_pipeline(adapted, tmp_path / "merged")
    docs = adapters.documents(3)
    merged = adapters.spacy.load(tmp_path / "merged")
    assert adapters.replay(adapted, docs) == adapters.replay(merged, docs)


@pytest.mark.slow
def test_a_process_of_its_own(tmp_path: Path) -> None:
    folders = adapters.write_pipelines(tmp_path, "tiny", 2, 2)
    assert [adapters.measure_apart(folders, shared=shared)["bases"] for shared in (True, False)] == [1, 2]
