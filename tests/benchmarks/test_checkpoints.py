"""`python -m benchmarks.checkpoints`: what a checkpoint of a small training costs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from benchmarks import checkpoints
from tests.training.runs import Runs


@pytest.mark.filterwarnings("ignore:.*W001")
def test_parts_of_a_checkpoint(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    runs = Runs(tmp_path)
    paths = [f"{name.removeprefix('paths.')}={path}" for name, path in runs.overrides.items()]
    checkpoints.main(["--config", str(runs.path), "--updates", "2", "--times", "2", "--paths", *paths])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    assert set(found["bytes"]) == {"pipeline", "optimizer.safetensors", "run.json", "draws.safetensors"}
    # Two moments and an average of four bytes each, and the names.
    assert found["bytes"]["optimizer.safetensors"] > 12 * found["trained_weights"] > 50_000
    assert 0 < found["seconds_to_write"]["median"] <= found["seconds_to_write"]["most"]
    assert found["seconds_an_update"] > 0 and found["seconds_to_go_on"] > 0
    assert str(tmp_path) not in json.dumps(found)
