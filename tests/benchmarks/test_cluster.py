"""The benchmark of the cluster, with few documents."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
import spacy

from benchmarks import cluster
from tests.pipeline.makers import DATA, write_docs

ROOT = Path(__file__).parents[2]


@pytest.mark.slow
def test_all_arms(tmp_path: Path):
    """In a process of its own: it starts a cluster, and sets variables of the environment."""
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "city", "pattern": "Paris"}])
    nlp.to_disk(tmp_path / "pipeline")
    docs = write_docs(tmp_path / "docs.spacy", DATA)
    arguments = ["--model", str(tmp_path / "pipeline"), "--docs", str(docs), "--documents", "240", "--block", "20"]
    arguments += ["--rounds", "1", "--seconds", "0.02", "--output", str(tmp_path / "out.json")]
    command = [sys.executable, "-m", "benchmarks.cluster", *arguments]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=600)
    assert done.returncode == 0, done.stderr[-2000:]
    told = json.loads(done.stdout.splitlines()[-1])
    assert told == json.loads((tmp_path / "out.json").read_text())
    arms = [(row["pipeline"], row["arm"]) for row in told["arms"]]
    assert arms == [(name, arm) for name in ("model", "waiting") for arm in cluster.ARMS]
    assert [row["workers"] for row in told["arms"] if row["pipeline"] == "waiting"] == [[1], [1], [2]]
    assert all(row["rate"] > 0 and row["starting_seconds"] >= 0 for row in told["arms"])
    assert told["kill"]["documents"] == 240 and 0 < told["kill"]["done_twice"] <= told["kill"]["block"] == 20
    assert all(size > 0 for size in told["bytes_per_document"].values())
    assert str(tmp_path) not in json.dumps(told)


def test_a_rate_is_of_the_time_in_which_all_work():
    one, two = [0.0, 1.0, 2.0, 3.0, 9.0], [1.5, 2.5, 3.5]
    workers = [[(at, at / 2) for at in times] for times in (one, two)]
    found = cluster.rate(workers)
    assert found == {"rate": 2.0, "cpu_ms": pytest.approx(1000 * (4.5 + 1.0) / 6), "workers": 2}
