"""`python -m benchmarks.families`: which families pass the load-time proof."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import families


def test_families_pass_are_refused_or_are_not_tried(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    output = tmp_path / "families.json"
    families.main(["--families", "llama", "gemma2", "no-such-family", "--output", str(output)])
    found = json.loads(output.read_text(encoding="utf8"))
    assert found["passing"] == ["llama"]
    assert "soft-capping" in found["refused"]["gemma2"]
    assert "no-such-family" in found["not_tried"]
    assert "1 families pass: llama." in output.with_suffix(".md").read_text(encoding="utf8")
    assert json.loads(capsys.readouterr().out.splitlines()[-1]) == found


def test_a_family_that_cannot_be_made_small_is_not_built(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(families, "LARGEST", 1000)
    families.main(["--families", "llama"])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert "million weights" in found["not_tried"]["llama"] and not found["passing"]


def test_all_families_of_transformers_are_asked_about(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(families, "try_family", lambda family, pieces: asked.append(family) or "passes")
    families.main([])
    assert {"llama", "qwen2", "mistral", "gemma", "phi3", "olmo2"} <= set(asked) and asked == sorted(asked)
