"""A result names files, not the folders of one machine."""

from __future__ import annotations

import pytest

from benchmarks.surroundings import surroundings, without_folders


@pytest.mark.parametrize(
    ("argument", "told"),
    [
        ("/home/somebody/conll03/test.jsonl", "conll03/test.jsonl"),
        ("/test.jsonl", "test.jsonl"),
        ("bench/decoding.json", "bench/decoding.json"),
        ("--limit", "--limit"),
        ("8m", "8m"),
    ],
)
def test_of_a_path_two_parts_are_told(argument: str, told: str) -> None:
    assert without_folders(argument) == told


def test_the_command_is_told_without_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.argv", ["/a/b/decoding.py", "--docs", "/home/somebody/conll03/test.jsonl", "--runs", "2"])
    assert surroundings()["command"] == "python -m benchmarks.decoding --docs conll03/test.jsonl --runs 2"
