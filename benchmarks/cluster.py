"""A corpus on a cluster of one machine: two workers beside one and beside the local engine, starting, and a kill.

    python -m benchmarks.cluster --model FOLDER --docs test.spacy [--documents 600] [--rounds 3]

Each arm annotates the same texts with two pipelines: MODEL, whose work is done by this machine's cores, and one that
waits 5 ms a document, as if a GPU did the work: there the cores limit nothing, and what is seen is what Ray adds. A
worker notes when each document is done. Rates are of the time in which all workers of the arm are at work, so starting
is not in them; it is told by itself, from the call to the first document. Rounds go through all arms. At the end a
worker of two is killed in the middle, and what was done twice is counted. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import os
import signal
import tempfile
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import cycle, islice
from pathlib import Path
from statistics import median
from typing import Any

import spacy
from spacy.language import Language
from spacy.vocab import Vocab

from benchmarks import noting
from benchmarks.arguments import whole
from benchmarks.results import table, tell
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.annotate import annotate as annotate_here
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.data.durable import json_line

HEAD = ("pipeline and arm", "documents/s", "times one worker's", "CPU ms a document", "s before the first document")
ARMS = ("local", "1 worker", "2 workers")
SPARE = 2


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """All arms on both pipelines, and a kill."""
    import ray

    texts = [doc.text for doc in read_docs(arguments.docs, Vocab()) if doc.text.strip()]
    with tempfile.TemporaryDirectory() as temporary, _environment() as notes:
        folder = Path(temporary)
        corpus = folder / "corpus.jsonl"
        # Each text once, or a worker's notes would not tell them apart.
        numbered = (f"{text} {number}" for number, text in enumerate(islice(cycle(texts), arguments.documents)))
        corpus.write_bytes(b"".join(json_line({"text": text}) for text in numbered))
        models = {"model": spacy.load(arguments.model), "waiting": _waiting(arguments.seconds)}
        for name, nlp in models.items():
            nlp.add_pipe("benchmark_note")
            nlp.to_disk(folder / name)
        begun = time.perf_counter()
        ray.init(address="local", num_cpus=2 + SPARE, include_dashboard=False, log_to_driver=False)
        starting = time.perf_counter() - begun
        found: dict[tuple[str, str], list[dict[str, float]]] = {(name, arm): [] for name in models for arm in ARMS}
        for number in range(arguments.rounds):
            for (name, arm), rounds in found.items():
                output = folder / f"{name}-{arm}-{number}".replace(" ", "-")
                rounds.append(run(folder / name, corpus, output, arm=arm, block=arguments.block, notes=notes))
                print(name, arm, rounds[-1], flush=True)
        sizes = _sizes(folder / "model-2-workers-0", corpus, arguments.documents)
        killed = kill(folder / "waiting", corpus, folder / "killed", block=arguments.block, notes=notes)
        ray.shutdown()
    rows = [_row(name, arm, rounds, found[name, ARMS[1]]) for (name, arm), rounds in found.items()]
    files = {"model": Path(arguments.model).name, "docs": arguments.docs.name, "documents": arguments.documents}
    settings = {"block": arguments.block, "rounds": arguments.rounds, "wait_seconds": arguments.seconds}
    figures = {"arms": rows, "kill": killed, "bytes_per_document": sizes, "cluster_seconds": round(starting, 2)}
    return {**files, **settings, **figures, "ray": ray.__version__, **surroundings()}


@contextmanager
def _environment() -> Iterator[Path]:
    """What workers have around them: a folder for notes, this checkout, one thread, and no network."""
    with tempfile.TemporaryDirectory() as notes:
        os.environ.update({noting.NOTES: notes, "PYTHONPATH": os.getcwd(), "PYTHONHASHSEED": "0"})
        os.environ.update({"RAY_USAGE_STATS_ENABLED": "0", "OMP_NUM_THREADS": "1"})
        yield Path(notes)


def _waiting(seconds: float) -> Language:
    nlp = spacy.blank("en")
    nlp.add_pipe("benchmark_wait", config={"seconds": seconds})
    return nlp


def run(model: Path, corpus: Path, output: Path, *, arm: str, block: int, notes: Path) -> dict[str, float]:
    """One arm once: its rate while all its workers are at work, and how long it took to start."""
    from spacy_padellm.cluster.job import Pool, annotate

    for path in notes.iterdir():
        path.unlink()
    begun = time.time()
    code = Path(noting.__file__)
    if arm == "local":
        annotate_here(model, corpus, output, shard_size=block)
    else:
        workers = int(arm.split()[0])
        annotate(str(model), str(corpus), str(output), block_size=block, code=code, pool=Pool(workers, workers))
    return {**rate(noted(notes)), "starting": min(times[0][0] for times in noted(notes)) - begun}


Note = tuple[float, float]
"""When a document was done: by the clock, and by the processor time of its process."""


def noted(notes: Path) -> list[list[Note]]:
    """Which documents were done when, worker by worker."""
    return [[_note(line) for line in path.read_text().splitlines()] for path in sorted(notes.iterdir())]


def _note(line: str) -> Note:
    at, spent = map(float, line.split())
    return at, spent


def rate(workers: list[list[Note]]) -> dict[str, float]:
    """Documents a second from when the last worker has begun to when the first is done; and the processor time that the
    workers' processes took for one."""
    begun, ended = max(times[0][0] for times in workers), min(times[-1][0] for times in workers)
    within = sum(begun < at <= ended for times in workers for at, _ in times)
    spent = sum(times[-1][1] - times[0][1] for times in workers) / sum(len(times) - 1 for times in workers)
    return {"rate": within / (ended - begun), "cpu_ms": 1000 * spent, "workers": len(workers)}


def kill(model: Path, corpus: Path, output: Path, *, block: int, notes: Path) -> dict[str, Any]:
    """Kill one of two workers in its block, when a third of the documents is done. RETURNS: What was done twice."""
    total = corpus.read_bytes().count(b"\n")
    for path in notes.iterdir():
        path.unlink()

    ended = threading.Event()

    def strike() -> None:
        while not ended.wait(0.01):
            done = {int(path.name): len(path.read_text().splitlines()) for path in notes.iterdir()}
            # Between two blocks there is nothing to lose.
            within = [process for process, number in done.items() if 0 < number % block <= block // 2]
            if sum(done.values()) >= total // 3 and within:
                os.kill(within[0], signal.SIGKILL)
                return

    striker = threading.Thread(target=strike)
    striker.start()
    from spacy_padellm.cluster.job import Pool, annotate

    code = Path(noting.__file__)
    counts = annotate(str(model), str(corpus), str(output), block_size=block, code=code, pool=Pool(2, 2))
    ended.set()
    striker.join()
    done = sum(map(len, noted(notes)))
    return {"documents": counts.documents, "failed": counts.failed, "done_twice": done - total, "block": block}


def _sizes(output: Path, corpus: Path, documents: int) -> dict[str, float]:
    """Bytes a document: read, written, and of its id."""
    folders = {"documents": output / "documents", "ids": output / "written"}
    written = {name: sum(path.stat().st_size for path in folder.iterdir()) for name, folder in folders.items()}
    return {name: round(size / documents, 1) for name, size in {"input": corpus.stat().st_size, **written}.items()}


def _row(name: str, arm: str, rounds: Sequence[dict[str, float]], single: Sequence[dict[str, float]]) -> dict[str, Any]:
    ratios = [one["rate"] / other["rate"] for one, other in zip(rounds, single, strict=True)]
    return {
        "pipeline": name,
        "arm": arm,
        "rate": round(median(one["rate"] for one in rounds), 2),
        "rates": [round(one["rate"], 2) for one in rounds],
        "ratio": round(median(ratios), 2),
        "cpu_ms": round(median(one["cpu_ms"] for one in rounds), 2),
        "starting_seconds": round(median(one["starting"] for one in rounds), 2),
        "workers": [int(one["workers"]) for one in rounds],
    }


def as_rows(rows: Sequence[dict[str, Any]]) -> str:
    cells = [
        [f"{row['pipeline']}, {row['arm']}", row["rate"], row["ratio"], row["cpu_ms"], row["starting_seconds"]]
        for row in rows
    ]
    return table(HEAD, cells)


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a pipeline's folder or package")
    parser.add_argument("--docs", type=Path, required=True, help="whose texts are annotated, over and over: .spacy")
    parser.add_argument("--documents", type=whole, default=600, help="how many")
    parser.add_argument("--block", type=whole, default=50, help="documents of a block, and of a local shard")
    parser.add_argument("--seconds", type=float, default=0.005, help="that the other pipeline waits for a document")
    parser.add_argument("--rounds", type=whole, default=3)
    parser.add_argument("--output", type=Path, help="JSON file to write; a table goes beside it")
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    killed = figures["kill"]
    lost = table(("a worker is killed", ""), [[name, killed[name]] for name in ("documents", "done_twice", "block")])
    bytes_told = table(("bytes a document", ""), list(map(list, figures["bytes_per_document"].items())))
    tell(figures, [as_rows(figures["arms"]), lost, bytes_told], arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
