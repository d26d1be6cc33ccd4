"""`python -m benchmarks.devices`: what one process counts, and two together."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from benchmarks import devices
from spacy_padellm.training.peers import ALONE, Peers
from tests.training.runs import Runs
from tests.training.world import together

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")


def test_one(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    runs = Runs(tmp_path)
    paths = [f"{name.removeprefix('paths.')}={path}" for name, path in runs.overrides.items()]
    devices.main(["--config", str(runs.path), "--updates", "2", "--paths", *paths])
    found = json.loads(capsys.readouterr().out.splitlines()[-1])
    (counted,) = found["an_update"]
    assert found["processes"] == 1 and counted["gradient_bytes_added_up"] == 0
    assert counted["pieces"] > 100 and 0 < counted["seconds_growing_trees"] < counted["seconds"]
    assert str(tmp_path) not in json.dumps(found)


@pytest.mark.parametrize("shard", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_two(tmp_path: Path, shard: bool) -> None:
    """Each has about half of the pieces; in parts also half of what is held."""
    size = {"training.batcher.size.start": 60, "training.batcher.size.stop": 60, "training.accumulate_gradient": 1}
    config = Runs(tmp_path, **size).config()

    def job(peers: Peers) -> dict[str, Any]:
        return devices.measure(config.copy(), peers, updates=2, shard=shard)

    alone = devices.measure(config.copy(), ALONE, updates=2, shard=False)
    one, two = together(job)
    assert one["pieces"] + two["pieces"] == pytest.approx(alone["pieces"], abs=1)
    assert one["pieces"] == pytest.approx(two["pieces"], rel=0.5)
    assert one["gradient_bytes_added_up"] == two["gradient_bytes_added_up"] > 0
    for what in ("weights", "gradients"):
        whole = alone["held_bytes"][what]
        assert whole > 10_000
        assert one["held_bytes"][what] == (pytest.approx(whole / 2, rel=0.1) if shard else whole)
    # What the optimizer knows of other components is whole everywhere.
    moments, own = alone["held_bytes"]["moments_and_averages"], one["held_bytes"]["moments_and_averages"]
    assert own < moments - alone["held_bytes"]["weights"] if shard else own == moments
