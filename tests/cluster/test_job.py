"""Jobs on a cluster of one machine: formats in and out, failures, going on, and processes that are killed."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
import zipfile
from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pyarrow.parquet
import pytest
import ray.data
from typer.testing import CliRunner

from spacy_padellm.cli import app
from spacy_padellm.cluster import job
from spacy_padellm.cluster.job import Pool, annotate
from spacy_padellm.cluster.output import Counts
from spacy_padellm.cluster.place import Listed
from tests.cluster.conftest import ENVIRONMENT, ROOT
from tests.cluster.makers import CODE, as_local, lay, local_lines, rows_of, write, write_parquet

pytestmark = [
    # Whenever Ray copies its settings, it reads some that it no longer likes.
    pytest.mark.filterwarnings(r"ignore:`use_\w+` is deprecated:DeprecationWarning"),
    # A pool that starts before anything was read is told that it has nothing to do.
    pytest.mark.filterwarnings("ignore:The minimum number of concurrent actors:UserWarning"),
    pytest.mark.usefixtures("cluster"),
]

LITTLE = ("--engine", "ray", "--code", CODE)


def run(*args: Any) -> Any:
    return CliRunner().invoke(app, ["annotate", *map(str, args)])


def refused(code: str, *args: Any, says: str = "") -> None:
    result = run(*args)
    assert result.exit_code == 1, result.output
    printed = " ".join(result.output.split())
    assert f"[{code}]" in printed and says in printed, printed


def failures(rows: list[dict[str, Any]]) -> list[tuple[Any, ...]]:
    return [(row["file"], row["line"], row["error"], row["reason"]) for row in rows if row["error"]]


# Formats


@pytest.mark.slow
def test_every_format_as_the_local_engine_has_it(model: Path, tmp_path: Path):
    source = lay(tmp_path / "in")
    assert run(model, source, tmp_path / "local", "--on-error", "skip").exit_code == 3
    told = [json.loads(line) for line in (tmp_path / "local" / "failed.log").read_text().splitlines()]
    write_parquet(source / "e.parquet", [{"n": 1, "text": "Ann met Bo"}, {"n": 2, "text": None}])
    result = run(model, source, tmp_path / "out", *LITTLE, "--on-error", "skip", "--workers", "1-2", "--block-size", 4)
    assert result.exit_code == 3, (result.output, result.exception)
    assert "10 documents in" in result.output and "6 entries have no document" in " ".join(result.output.split())
    rows = rows_of(tmp_path / "out")
    assert len(rows) == len({row["id"] for row in rows}) == 16
    of_parquet = [row for row in rows if row["file"] == "e.parquet"]
    rest = [row for row in rows if row["file"] != "e.parquet"]
    assert [as_local(row) for row in rest if not row["error"]] == local_lines(tmp_path / "local")
    assert failures(rest) == [(one["file"], one["line"], one["code"], one["reason"]) for one in told]
    assert as_local(of_parquet[0])["spans"] == [[0, 10, "ALL"], [0, 3, "PER"], [8, 10, "PER"]]
    assert json.loads(of_parquet[0]["fields"]) == {"n": 1} and of_parquet[1]["error"] == "P113"
    assert all(pyarrow.parquet.read_metadata(path).num_rows <= 4 for path in (tmp_path / "out").glob("documents/*"))
    # What is complete is left alone, and needs no job.
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")}
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "Corpus", None)
        again = run(model, source, tmp_path / "out", *LITTLE, "--on-error", "skip")
    assert again.exit_code == 3 and "10 documents in" in again.output
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out").rglob("*")} == before


def test_json_lines_by_other_addresses(model: Path, tmp_path: Path):
    """In and out through fsspec, with the options that both engines have."""
    folder = tmp_path / "in"
    write(folder / "a.txt", "Ann", "met Bo")
    write(folder / "b.jsonl", json.dumps({"body": "Ann met Bo", "text": "x", "id": "7"}))
    options = ["--format", "jsonl", "--field", "body", "--whole-files", "--spans-key", "none", "--batch-size", 1]
    assert run(model, folder, tmp_path / "local", *options).exit_code == 0
    with zipfile.ZipFile(tmp_path / "in.zip", "w") as packed:
        for path in folder.iterdir():
            packed.write(path, path.name)
    out = tmp_path / "out"
    result = run(model, f"zip://::{tmp_path / 'in.zip'}", f"local://{out}", *LITTLE, *options)
    assert result.exit_code == 0, (result.output, result.exception)
    rows = rows_of(out)
    fields = ["id", "file", "line", "text", "fields", "spans", "ents", "error", "reason"]
    assert [list(row) for row in rows] == [fields] * 2
    lines = [as_local(row, "text" if row["file"] == "a.txt" else "body") for row in rows]
    assert lines == local_lines(tmp_path / "local") and len(lines[0]["spans"]) == 2
    assert rows[0]["text"] == "Ann\nmet Bo" and (rows[1]["line"], rows[1]["error"]) == (1, None)


def test_an_empty_input(model: Path, tmp_path: Path):
    source, out = write(tmp_path / "a.txt", "", " "), tmp_path / "out"
    assert annotate(str(model), str(source), str(out), code=CODE) == Counts(0, 0)
    assert {path.name for path in out.iterdir()} >= {"command.json", "complete.json"} and rows_of(out) == []


# Going on


def notes(name: str) -> Counter[str]:
    """How often each text was worked on, by what it ends with."""
    return Counter(path.name.split("-")[0] for path in Path(os.environ["TEST_NOTES"]).glob(f"{name}*"))


def slow(name: str, count: int) -> list[str]:
    return [f"Ann slow {name}{number:04}" for number in range(count)]


def check_all_once(out: Path, texts: list[str]) -> None:
    rows = rows_of(out)
    assert [row["text"] for row in rows] == texts
    assert len({row["id"] for row in rows}) == len(texts) and all(len(row["ents"]) == 1 for row in rows)


@pytest.mark.slow
def test_what_was_half_written_is_done_again_and_nothing_else(model: Path, tmp_path: Path):
    """A job that ended between a block and its ids, and before another block."""
    texts, out = slow("half", 30), tmp_path / "out"
    source = write(tmp_path / "a.txt", *texts)
    settings: dict[str, Any] = {"block_size": 10, "code": CODE}
    assert annotate(str(model), str(source), str(out), **settings) == Counts(30, 0)
    check_all_once(out, texts)
    (out / "complete.json").unlink()
    first, second, _ = sorted((out / "written").glob("*.parquet"))
    (document,) = (out / "documents").glob(f"{second.stem}*")
    redone = {pyarrow.parquet.read_table(path)["id"][0].as_py() // 10 for path in (first, second)}
    first.rename(first.with_name(first.stem + ".pending.parquet"))
    second.unlink()
    document.unlink()
    assert annotate(str(model), str(source), str(out), **settings) == Counts(30, 0)
    check_all_once(out, texts)
    assert {text for text, times in notes("half").items() if times == 2} == {
        text.split()[-1] for number, text in enumerate(texts) if number // 10 in redone
    }
    assert max(notes("half").values()) == 2


def test_another_command_p159(model: Path, tmp_path: Path):
    source, out = write(tmp_path / "a.txt", "Ann"), tmp_path / "out"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(job, "write", lambda documents, output: None)
        assert run(model, source, out, *LITTLE).exit_code == 0
    for options in (["--field", "x"], ["-w"], ["-sk", "x"], ["-f", "jsonl"]):
        refused("P159", model, source, out, *LITTLE, *options)
    refused("P159", model, source, out, "--engine", "ray", says="code (")
    write(tmp_path / "labels.json", '["PER"]')
    refused("P159", model, source, out, *LITTLE, "--labels", tmp_path / "labels.json", says="labels (")
    refused("P159", model, write(source, "Ann and Bo"), out, *LITTLE, says="input (")
    write(source, "Bob")  # as long as before
    assert run(model, source, out, *LITTLE).exit_code == 0
    (model / "meta.json").write_text((model / "meta.json").read_text() + " ")
    refused("P159", model, source, out, *LITTLE, says="model (")


# Errors


def test_a_broken_entry_stops_the_job(model: Path, tmp_path: Path):
    source = write(tmp_path / "a.jsonl", '{"text": "Ann"}', "{")
    refused("P113", model, source, tmp_path / "out", *LITTLE, says="line 2")
    assert run(model, source, tmp_path / "out", *LITTLE, "--on-error", "skip").exit_code == 3
    assert [row["error"] for row in rows_of(tmp_path / "out")] == [None, "P113"]


def test_a_worker_that_cannot_start(model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    source = write(tmp_path / "a.txt", "Ann")
    failing = write(tmp_path / "own.py", "import nothing_of_this_name")
    refused("P044", model, source, tmp_path / "a", "--engine", "ray", "--code", failing, says="nothing_of_this_name")
    # Far behind the frames of Ray and spaCy.
    refused(
        "P044", model, source, tmp_path / "c", "--engine", "ray", says="ActorDiedError: ValueError: [E002] Can't find"
    )
    monkeypatch.setattr(job, "everywhere", lambda name: "elsewhere")
    refused("P043", model, source, tmp_path / "b", *LITTLE, says="'elsewhere'")


def test_wrong_addresses(model: Path, tmp_path: Path):
    source = write(tmp_path / "a.txt", "Ann")
    refused("P154", tmp_path / "none", source, tmp_path / "out", *LITTLE)
    refused("P042", model, tmp_path / "none.txt", tmp_path / "out", *LITTLE)
    refused("P041", model, "nobody://x", tmp_path / "out", *LITTLE)
    refused("P158", model, source, source, *LITTLE)
    refused("P158", model, tmp_path, tmp_path / "within" / "it", *LITTLE, says="within the input")
    refused("P116", model, source, tmp_path / "out", *LITTLE, "--labels", write(tmp_path / "bad.json", "{"))
    assert not (tmp_path / "out").exists()


# What Ray is told


def test_the_pool_is_as_asked(monkeypatch: pytest.MonkeyPatch):
    class Blocks:
        def map_batches(self, *args: Any, **settings: Any) -> dict[str, Any]:
            return settings

    told: Any = job.annotated(Blocks(), "model", {}, Pool(2, 7, 3.0, 0.5), block_size=9)  # type: ignore[arg-type]
    assert told["compute"] == ray.data.ActorPoolStrategy(min_size=2, max_size=7)
    assert (told["num_cpus"], told["num_gpus"], told["batch_size"]) == (3.0, 0.5, 9)


def test_workers_with_a_gpu(model: Path, tmp_path: Path):
    """Ray's own checks of such a pool are passed, and each worker takes the GPU."""
    pretended = f"spacy.require_gpu = lambda number: open({str(tmp_path / 'taken')!r}, 'a').write(f'{{number}}')"
    code = write(tmp_path / "own.py", CODE.read_text(encoding="utf-8"), "import spacy", pretended)
    source = write(tmp_path / "a.txt", *["Ann"] * 5)
    options = ("--engine", "ray", "--code", code, "--gpus-per-worker", "0.5", "--block-size", "2")
    result = run(model, source, tmp_path / "out", *options)
    assert result.exit_code == 0, result.output
    assert (tmp_path / "taken").read_text() == "0"
    assert [len(row["spans"]) for row in rows_of(tmp_path / "out")] == [1] * 5
    # Ray puts a short block to the one that comes behind it, in whatever order they come.
    sizes = [len(pyarrow.parquet.read_table(path)) for path in (tmp_path / "out" / "documents").iterdir()]
    assert sum(sizes) == 5 and len(sizes) > 1 and max(sizes) < 2 * 2


def test_files_are_dealt_out_by_their_size():
    def files(count: int, size: int) -> list[Listed]:
        return [Listed(str(number), str(number), size) for number in range(count)]

    assert [job.readers_for(files(count, 2**25)) for count in (1, 3, 100_000)] == [1, 3, 4096]
    assert [job.readers_for(files(count, 2**20)) for count in (1, 31, 32, 320)] == [1, 1, 2, 11]


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, Any]]:
    """What `ray.init` is given, and the job."""
    found: dict[str, Any] = {}
    monkeypatch.setattr(job.ray, "is_initialized", lambda: False)
    monkeypatch.setattr(job.ray, "cluster_resources", dict)
    monkeypatch.setattr(job.ray, "shutdown", lambda: found.update(ended=True))
    monkeypatch.setattr(job.ray, "init", lambda **settings: found.update(settings))
    monkeypatch.setattr(job, "write", lambda documents, output: found.update(context=documents.context))
    yield found


def test_a_cluster_that_is_started_here_has_room(model: Path, tmp_path: Path, asked: dict[str, Any]):
    source = write(tmp_path / "a.txt", "Ann")
    pool = Pool(1, 40, cpus=0.5)
    annotate(str(model), str(source), str(tmp_path / "a"), pool=pool, progress=True)
    assert (asked["address"], asked["num_cpus"], asked["ended"]) == ("local", max(22, os.cpu_count() or 1), True)
    assert asked["context"].enable_progress_bars
    annotate(str(model), str(source), str(tmp_path / "b"), address="auto")
    assert (asked["address"], asked["context"].enable_progress_bars) == ("auto", False)


@pytest.mark.parametrize(("gpus", "found"), [(1.0, {"CPU": 4.0}), (2.0, {"GPU": 1.0})])
def test_no_gpu_for_a_worker_p047(
    model: Path, tmp_path: Path, asked: dict[str, Any], monkeypatch: pytest.MonkeyPatch, gpus: float, found: Any
):
    monkeypatch.setattr(job.ray, "cluster_resources", lambda: found)
    source = write(tmp_path / "a.txt", "Ann")
    with pytest.raises(ValueError, match=rf"\[P047\] Expected {gpus:g} GPUs.* finds {found.get('GPU', 0):g} on"):
        annotate(str(model), str(source), str(tmp_path / "out"), pool=Pool(gpus=gpus))
    assert asked["ended"] and "context" not in asked
    # Elsewhere machines may come when they are needed.
    annotate(str(model), str(source), str(tmp_path / "out"), pool=Pool(gpus=gpus), address="auto")
    assert "context" in asked


@pytest.mark.parametrize("error", [ConnectionError("none"), SystemExit(15)])
def test_no_cluster_p046(model: Path, tmp_path: Path, asked: Any, monkeypatch: Any, error: BaseException):
    def fail(**_: Any) -> None:
        raise error

    monkeypatch.setattr(job.ray, "init", fail)
    source = write(tmp_path / "a.txt", "Ann")
    refused("P046", model, source, tmp_path / "out", "--engine", "ray", "--address", "10.0.0.1:1", says="10.0.0.1:1")


# Killed


@pytest.mark.slow
def test_a_worker_that_is_killed_costs_its_block(model: Path, tmp_path: Path):
    texts, out, block = slow("worker", 400), tmp_path / "out", 20
    killed: list[int] = []

    def kill() -> None:
        while len(found := list(Path(os.environ["TEST_NOTES"]).glob("worker*"))) < 100:
            time.sleep(0.01)
        last = max(found, key=lambda path: int(path.name.split("-")[2]))
        killed.append(int(last.name.split("-")[1]))
        os.kill(killed[0], signal.SIGKILL)

    killer = threading.Thread(target=kill)
    killer.start()
    source = write(tmp_path / "a.txt", *texts)
    counts = annotate(str(model), str(source), str(out), block_size=block, code=CODE, pool=Pool(2, 2))
    killer.join()
    assert counts == Counts(len(texts), 0)
    check_all_once(out, texts)
    times = notes("worker")
    assert set(times) == {text.split()[-1] for text in texts} and max(times.values()) == 2
    assert 0 < sum(count - 1 for count in times.values()) <= block
    pids = {path.name.split("-")[1] for path in Path(os.environ["TEST_NOTES"]).glob("worker*")}
    assert len(pids) >= 2 and str(killed[0]) in pids


@pytest.mark.slow
def test_a_job_that_is_killed_goes_on(model: Path, tmp_path: Path):
    """The whole command, in a process and with a cluster of its own."""
    texts, out = slow("job", 400), tmp_path / "out"
    source = write(tmp_path / "a.txt", *texts)
    args = [model, source, out, *LITTLE, "--block-size", 20]
    command = [sys.executable, "-m", "spacy", "padellm", "annotate", *map(str, args)]
    environment = {**os.environ, **ENVIRONMENT}
    begun = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, env=environment, cwd=ROOT)
    while begun.poll() is None and len(committed(out)) < 80:
        time.sleep(0.05)
    begun.kill()
    assert begun.wait() == -signal.SIGKILL
    done = committed(out)
    assert 80 <= len(done) < len(texts) and not (out / "complete.json").exists()
    again = subprocess.run(command, capture_output=True, text=True, timeout=240, env=environment, cwd=ROOT)
    assert again.returncode == 0 and f"{len(texts)} documents in" in again.stdout, again.stdout + again.stderr
    check_all_once(out, texts)
    times = notes("job")
    assert all(times[texts[number].split()[-1]] == 1 for number in done)
    assert max(times.values()) == 2


def committed(out: Path) -> list[int]:
    files = [path for path in (out / "written").glob("*.parquet") if ".pending" not in path.name]
    return [number.as_py() for path in files for number in pyarrow.parquet.read_table(path)["id"]]
