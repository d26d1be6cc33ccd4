"""The comparison with a server, on four sentences."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import servers
from tests.pipeline.makers import DATA, blank, train, write_docs


@pytest.mark.filterwarnings("ignore:.*W080")
def test_here_and_there(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    train(blank()).to_disk(tmp_path / "pipeline")
    docs = write_docs(tmp_path / "docs.spacy", DATA)
    arguments = ["--model", str(tmp_path / "pipeline"), "--docs", str(docs), "--rounds", "1", "--slots", "2"]
    servers.main([*arguments, "--concurrency", "1", "2", "--output", str(tmp_path / "out.json")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads((tmp_path / "out.json").read_text())
    assert (told["dialect"], told["texts"], told["spans"]) == ("llama.cpp", 4, 7)
    here, one, two = told["rows"]
    assert (here["who"], here["of_here"], one["at_a_time"], two["at_a_time"]) == ("here", 1.0, 1, 2)
    for row in (one, two):
        assert (row["same_documents"], row["documents"]) == (4, 4)
        assert row["most_score_difference"] < 1e-3
        # 2 counts a text, and a question for each mention.
        assert row["steps"] == row["answers"] == (2 * 4 + 7) / 4
        assert row["texts_per_second"] > 0 and row["pieces"] > 0
    assert str(tmp_path) not in json.dumps(told)
