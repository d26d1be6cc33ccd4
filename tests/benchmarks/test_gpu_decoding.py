"""Decoding on a GPU, rehearsed on the CPU at small scale."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import gpu_decoding
from tests.benchmarks.documents import ENGLISH, write_documents


def run(folder: Path, *more: str) -> dict[str, Any]:
    docs, output = write_documents(folder, ENGLISH), folder / "out.json"
    small = ["--device", "cpu", "--dtype", "float32", "--shape", "tiny", "--arm-seconds", "0.1", "--batch-size", "2"]
    gpu_decoding.main(["--docs", str(docs), "--output", str(output), *small, *more])
    assert output.with_suffix(".md").is_file()
    found: dict[str, Any] = json.loads(output.read_text(encoding="utf8"))
    return found


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*torch.jit:DeprecationWarning")
def test_all_sections(tmp_path: Path) -> None:
    found = run(tmp_path)
    assert "errors" not in found
    assert found["answers"]["captured_texts_equal"] and found["answers"]["generate_texts_equal"]
    assert found["compiled"]["texts_equal"] and found["compiled"]["ours, captured, compiled, 1"]["documents"]
    latency = found["latency"]
    assert (
        latency["ours, plain"]["steps"] == latency["ours, plain"]["steps_per_doc"] * latency["ours, plain"]["documents"]
    )
    least = found["roofline"]["ours, plain"]
    read = latency["ours, plain"]["steps"] * found["rates"]["weight_bytes"]
    assert least["gigabytes_per_doc"] == pytest.approx(read / latency["ours, plain"]["documents"] / 1e9)
    assert found["throughput"]["ours, captured, 2"]["batch"] == 2
    assert 0 < found["profile"]["64"]["tokenising"] < 1


def test_a_section_that_fails_leaves_its_error_and_the_others(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def broken(bench: gpu_decoding.Bench) -> dict[str, Any]:
        raise RuntimeError("no such kernel")

    monkeypatch.setitem(gpu_decoding.SECTIONS, "latency", broken)
    found = run(tmp_path, "--sections", "latency", "answers")
    assert "no such kernel" in found["errors"]["latency"]
    assert found["answers"]["captured_texts_equal"]


def test_time_that_is_over_is_told(tmp_path: Path) -> None:
    found = run(tmp_path, "--minutes", "0", "--sections", "answers")
    assert found["answers"] == {"left_out": "no time left"}
