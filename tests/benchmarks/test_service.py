"""The load benchmark of the service, for a second."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import pytest

from benchmarks import service
from tests.pipeline.makers import DATA, blank, examples, write_docs


@pytest.mark.slow
@pytest.mark.skipif(shutil.which("wrk") is None, reason="needs wrk")
def test_one_client_and_two(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(tmp_path / "pipeline")
    docs = write_docs(tmp_path / "docs.spacy", DATA)
    arguments = ["--model", str(tmp_path / "pipeline"), "--docs", str(docs), "--clients", "1", "2", "--seconds", "1"]
    service.main([*arguments, "--rounds", "1", "--output", str(tmp_path / "out.json")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads((tmp_path / "out.json").read_text())
    one, two = told["clients"]
    assert (one["clients"], two["clients"], one["throughput_ratio"]) == (1, 2, 1.0)
    for row in told["clients"]:
        assert row["errors"] == 0 and row["texts_per_second"] > 0 and 0 < row["steps_per_text"]
        assert 0 < row["p50_ms"] <= row["p95_ms"] <= row["p99_ms"]
    assert str(tmp_path) not in json.dumps(told)


def test_without_wrk(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(shutil, "which", lambda name: None)
    with pytest.raises(SystemExit, match="needs wrk"):
        service.main(["--model", "x", "--docs", "y"])
