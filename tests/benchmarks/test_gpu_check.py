"""The GPU check, rehearsed on the CPU at small scale."""

from __future__ import annotations

import json

import pytest
import torch

from benchmarks import gpu_check

SMALL = ["--device", "cpu", "--width", "64", "--layers", "2", "--steps", "120", "--texts", "24"]


@pytest.mark.slow
def test_the_checks_pass_on_the_cpu(capsys: pytest.CaptureFixture[str]) -> None:
    assert gpu_check.main(SMALL) == 0
    report = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert report["passed"] and report["spans in float32"]["mentions"] > 0 and report["training"]["changed"] > 0


@pytest.mark.slow
def test_a_failed_check_fails_the_command(capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(gpu_check, "check_spans", lambda *_: {"passed": False})
    assert gpu_check.main([*SMALL[:-4], "--steps", "1", "--texts", "8"]) == 1
    assert not json.loads(capsys.readouterr().out.splitlines()[-1])["passed"]


@pytest.mark.gpu
def test_the_checks_pass_on_the_gpu() -> None:
    if not torch.cuda.is_available():
        pytest.skip("no GPU")
    assert gpu_check.main([]) == 0
