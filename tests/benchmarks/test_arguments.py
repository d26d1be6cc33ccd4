"""Numbers on the benchmarks' command lines that would leave nothing to measure are refused before anything runs."""

from __future__ import annotations

import importlib

import pytest

from benchmarks.arguments import whole

ASKED = [
    ("decoding", ["--docs", "no.jsonl", "--limit", "0"]),
    ("decoding", ["--docs", "no.jsonl", "--batch-size", "4", "0"]),
    ("decoding", ["--docs", "no.jsonl", "--runs", "0"]),
    ("decoding", ["--docs", "no.jsonl", "--threads", "-1"]),
    ("latency", ["--docs", "no.jsonl", "--limit", "-1"]),
    ("latency", ["--docs", "no.jsonl", "--batch-size", "0"]),
    ("lengths", ["--docs", "no.jsonl", "--limit", "0"]),
    ("memory", ["--batch-size", "0"]),
    ("prompts", ["--labels", "0"]),
    ("prompts", ["--at-once", "0"]),
    ("scaling", ["--runs", "0"]),
    ("training", ["--docs", "no.jsonl", "--sample", "0"]),
]


@pytest.mark.parametrize(("name", "options"), ASKED, ids=lambda given: given if isinstance(given, str) else given[-2])
def test_nothing_is_measured_nothing_times(name: str, options: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        importlib.import_module(f"benchmarks.{name}").main(options)
    told = f"expected a whole number of at least 1, got '{options[-1]}'"
    assert told in capsys.readouterr().err


def test_whole_numbers_are_taken() -> None:
    assert whole("12") == 12
