"""`python -m benchmarks.prompts`: pieces of labels and mentions, and the cost of many labels in groups."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import prompts
from benchmarks.models import read_tokenizer
from benchmarks.prompts import count_pieces, make_labels
from tests.benchmarks.test_lengths import tokenizer_of_bytes


def test_labels_are_made_up() -> None:
    labels = make_labels(1000)
    assert len(set(labels.values())) == len(labels) == 1000
    words = [label.split()[:2] for label in list(labels.values())[:20]]
    assert len({first for first, _ in words}) == len({second for _, second in words}) == 20
    with pytest.raises(ValueError, match="at the most, got 5000"):
        make_labels(5000)


def test_pieces_where_a_byte_is_a_piece(tmp_path: Path) -> None:
    pieces = read_tokenizer(tokenizer_of_bytes(tmp_path / "bytes"))
    compact, english = (count_pieces(prompts.SCHEMES[name], pieces) for name in ("Compact", "English"))
    words = sum(map(len, make_labels(100).values())) / 100
    assert compact["words"] == english["words"] == words
    assert compact["label"] == pytest.approx(words + len(":"))
    assert english["label"] == pytest.approx(words + len("entity type:\n\n\n<num>"))
    assert (compact["mention"], english["mention"]) == (len("#1:"), len("\n<mention 1>"))
    # "#" is shared, the ordinal and what closes it are not.
    assert compact["mention_in_tree"] == pytest.approx(2 + 1 / 9)
    assert english["mention_in_tree"] == pytest.approx(2 + len("\n<mention ") / 9)
    assert compact["label_in_tree"] < compact["label"]


def test_many_labels_are_decoded_at_once_and_in_groups(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "prompts.json"
    sizes = ["--labels", "4", "30", "--at-once", "10", "--runs", "1"]
    prompts.main(["--tokenizer", tokenizer_of_bytes(tmp_path / "bytes"), *sizes, "--output", str(output)])
    figures = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert json.loads(output.read_text(encoding="utf8")) == figures
    assert figures["tokenizer"] == "bytes"
    for decoded in figures["decoding"].values():
        assert [*decoded["4"]] == ["all"]
        every, groups = decoded["30"]["all"], decoded["30"]["10"]
        assert groups["kv_pieces"] < every["kv_pieces"] and groups["steps"] > every["steps"]
        assert every["ms"] > 0 and groups["ms"] > 0
    english, compact = (figures["decoding"][name]["30"]["all"]["pieces"] for name in ("English", "Compact"))
    assert compact < english / 1.5
    told = output.with_suffix(".md").read_text(encoding="utf8")
    assert "| Compact | 30 | 10 |" in told and "| Compact | bytes |" in told
