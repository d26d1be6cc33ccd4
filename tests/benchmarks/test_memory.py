"""`python -m benchmarks.memory`: reads resident memory ten times while a stream is annotated."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import memory


def test_resident_memory_is_read_on_the_way(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "docs.jsonl"
    doc = {"text": "Ada met Hugo", "tokens": ["Ada", "met", "Hugo"], "spans": [[0, 3, "PER"]]}
    path.write_text(json.dumps(doc) + "\n", encoding="utf8")
    assert memory.resident_mb() > 10
    values = iter(range(100, 200))
    monkeypatch.setattr(memory, "resident_mb", lambda: float(next(values)))
    memory.main(["--docs", str(path), "--limit", "20", "--batch-size", "4"])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert figures["resident_mb"] == [100.0 + number for number in range(memory.READINGS)]
    assert (figures["docs"], figures["grown_mb"]) == (20, 9.0)
