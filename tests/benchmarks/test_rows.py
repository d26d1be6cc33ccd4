"""What is measured of rows adds up."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import rows
from tests.benchmarks.documents import ENGLISH, write_documents


def test_steps_and_bytes(tmp_path: Path, capsys: pytest.CaptureFixture[str]):
    docs = write_documents(tmp_path, ENGLISH)
    rows.main(["--docs", str(docs), "--block", "10", "--rounds", "2", "--output", str(tmp_path / "out.json")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert told == json.loads((tmp_path / "out.json").read_text())
    assert (told["documents"], told["block"], told["text_bytes"], told["mentions"]) == (2, 10, 10.0, 1.5)
    assert list(told["microseconds"]) == list(rows.STEPS) and all(time >= 0 for time in told["microseconds"].values())
    assert told["bytes"]["input_jsonl"] == 5 * (len('{"text": "Ada met Hugo"}\n{"text": "in Paris"}\n')) / 10
    assert told["bytes"]["output_jsonl"] > told["bytes"]["input_jsonl"] and told["bytes"]["ids"] > 0
    assert str(tmp_path) not in json.dumps(told)
