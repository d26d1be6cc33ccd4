"""The benchmark of the cluster, with few documents."""

from __future__ import annotations

import json
import os
from pathlib import Path

import pytest
import spacy

from benchmarks import cluster, noting
from tests.pipeline.makers import DATA, write_docs


@pytest.mark.slow
@pytest.mark.filterwarnings(r"ignore:`use_\w+` is deprecated:DeprecationWarning")
@pytest.mark.filterwarnings("ignore:The minimum number of concurrent actors:UserWarning")
def test_all_arms(tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch):
    for name in (noting.NOTES, "PYTHONPATH", "PYTHONHASHSEED", "RAY_USAGE_STATS_ENABLED", "OMP_NUM_THREADS"):
        monkeypatch.setenv(name, os.environ.get(name, ""))  # put back as they were
    nlp = spacy.blank("en")
    nlp.add_pipe("entity_ruler").add_patterns([{"label": "city", "pattern": "Paris"}])
    nlp.to_disk(tmp_path / "pipeline")
    docs = write_docs(tmp_path / "docs.spacy", DATA)
    arguments = ["--model", str(tmp_path / "pipeline"), "--docs", str(docs), "--documents", "240", "--block", "20"]
    cluster.main([*arguments, "--rounds", "1", "--seconds", "0.02", "--output", str(tmp_path / "out.json")])
    told = json.loads(capsys.readouterr().out.splitlines()[-1])
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
