"""A cluster of one machine that the tests of this folder share, and a pipeline whose answers are known."""

from __future__ import annotations

import warnings
from collections.abc import Iterator
from pathlib import Path

import pytest
import ray
import spacy

import tests.cluster.own  # noqa: F401  # its component is registered
from tests.cluster.makers import PATTERNS

ROOT = Path(__file__).parents[2]

ENVIRONMENT = {
    "OMP_NUM_THREADS": "1",
    "PYTHONPATH": str(ROOT),
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_AUTH_MODE": "disabled",
    "HF_HUB_OFFLINE": "1",
}
"""What workers have around them, and the processes that tests start: no network, one thread."""


@pytest.fixture(scope="session", autouse=True)
def environment(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("TEST_NOTES", str(tmp_path_factory.mktemp("notes")))
        for name, value in ENVIRONMENT.items():
            patch.setenv(name, value)
        yield


@pytest.fixture(scope="session")
def cluster(environment: None) -> Iterator[None]:
    """Four CPUs and a GPU by Ray's count, whatever the machine has: two CPUs are for workers, two for what goes on
    beside them."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", ResourceWarning)  # of the processes that Ray starts and forgets
        ray.init(
            address="local",
            num_cpus=4,
            num_gpus=1,
            include_dashboard=False,
            object_store_memory=80 * 2**20,
            log_to_driver=False,
            _memory=4 * 2**30,
        )
    yield
    ray.shutdown()


@pytest.fixture
def model(tmp_path: Path) -> Path:
    """Ann and Bo are persons, in a span group and in doc.ents; texts with "crash" fail, those with "slow" take time."""
    nlp = spacy.blank("en")
    nlp.add_pipe("test_crash_or_sleep")
    nlp.add_pipe("entity_ruler").add_patterns(PATTERNS)
    config = {"spans_key": "sc", "annotate_ents": False}
    nlp.add_pipe("span_ruler", config=config).add_patterns([*PATTERNS, {"label": "ALL", "pattern": "Ann met Bo"}])
    nlp.to_disk(tmp_path / "model")
    return tmp_path / "model"
