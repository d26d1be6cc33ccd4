"""Which options go with which engine, and what is said where the cluster's packages are missing."""

from __future__ import annotations

import inspect
import sys
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

import spacy_padellm.cluster
from spacy_padellm.cli import annotate as command
from spacy_padellm.cli import app
from spacy_padellm.cli.engines import OWN, read_workers
from spacy_padellm.data.shards import Step


def run(*args: Any) -> Any:
    return CliRunner().invoke(app, ["annotate", "model", "in.txt", "out", *map(str, args)])


def refused(code: str, *args: Any, says: str = "") -> None:
    result = run(*args)
    printed = " ".join(result.output.split())
    assert result.exit_code == 1 and f"[{code}]" in printed and says in printed, printed


VALUES = {
    **{"shard_size": 5, "save_every": 1.0, "gpu_id": 0},
    **{"address": "auto", "workers": "2", "cpus_per_worker": 2, "gpus_per_worker": 1, "block_size": 5},
}


@pytest.mark.parametrize(("owner", "name"), [(owner, name) for owner, names in OWN.items() for name in names])
def test_an_option_of_the_other_engine_p040(owner: str, name: str):
    other = "ray" if owner == "local" else "local"
    option = "--" + name.replace("_", "-")
    refused("P040", option, VALUES[name], "--engine", other, says=f"{option} belongs to the engine '{owner}'")


def test_every_option_that_is_one_engines_is_an_option():
    parameters = inspect.signature(command.annotate_cli).parameters
    assert {name for names in OWN.values() for name in names} <= set(parameters)
    assert set(VALUES) == {*sum(OWN.values(), ())}


@pytest.mark.parametrize("workers", ["0", "3-2", "0-2", "many", "1-", "-1", ""])
def test_wrong_workers_p001(workers: str):
    with pytest.raises(ValueError, match=r"\[P001\].*workers"):
        read_workers(workers)


def test_workers():
    assert (read_workers("4"), read_workers("1-8")) == ((4, 4), (1, 8))


def test_wrong_settings_p001():
    for options in (["--block-size", 0], ["--cpus-per-worker", -1], ["--gpus-per-worker", -0.5], ["--workers", "x"]):
        refused("P001", "--engine", "ray", *options)
    of_ray = (["-E", "ray", "-f", "spacy"], ["-E", "ray", "-e", "go"])
    for options in (["-E", "spark"], ["-f", "parquet"], ["-b", 0], *of_ray):
        refused("P001", *options)


def test_what_a_job_is_asked(monkeypatch: pytest.MonkeyPatch, tmp_path: Path):
    from spacy_padellm.cluster import job

    told: dict[str, Any] = {}

    def annotate(*where: Any, **settings: Any) -> Step:
        told.update(settings, where=where)
        return Step(documents=3)

    monkeypatch.setattr(job, "annotate", annotate)
    ours = ["--workers", "2-5", "--cpus-per-worker", 0.5, "--gpus-per-worker", 0.25, "--block-size", 7]
    both = ["--batch-size", 3, "--field", "x", "-w", "-sk", "k", "-e", "skip", "--labels", tmp_path, "--code", tmp_path]
    assert run("--engine", "ray", "--address", "auto", *ours, *both).exit_code == 0
    assert told == {
        **{"where": ("model", "in.txt", "out"), "format": "parquet", "field": "x", "whole_files": True},
        **{"labels": tmp_path, "spans_key": "k", "batch_size": 3, "on_error": "skip", "code": tmp_path},
        **{"progress": False, "block_size": 7, "address": "auto", "pool": job.Pool(2, 5, 0.5, 0.25)},
    }
    assert run("--engine", "ray", "--format", "jsonl").exit_code == 0
    assert (told["format"], told["block_size"], told["address"], told["pool"]) == ("jsonl", 1000, None, job.Pool())


def test_without_the_extra_p039(monkeypatch: pytest.MonkeyPatch):
    # Its import anew would stay the package's attribute, beside the old one among the modules.
    monkeypatch.setattr(spacy_padellm, "cluster", spacy_padellm.cluster)
    for name in [name for name in sys.modules if name.startswith("spacy_padellm.cluster")]:
        monkeypatch.delitem(sys.modules, name)
    monkeypatch.setitem(sys.modules, "ray", None)
    refused("P039", "--engine", "ray", says="spacy-padellm[ray]")
