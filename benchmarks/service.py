"""The service under load: throughput and latency with one client and with many, measured by wrk on loopback.

    python -m benchmarks.service --model FOLDER --docs test.spacy [--clients 1 4 16] [--seconds 10] [--rounds 3]

`wrk` (a package of most systems) has to be there. Every client sends a text, waits for its answer and sends the next.
Rounds go through all numbers of clients before the next round begins, so that other work on the machine disturbs all of
them alike; medians over the rounds are told. The last line printed is one JSON object.
"""

from __future__ import annotations

import argparse
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any

from spacy.vocab import Vocab

from benchmarks.arguments import whole
from benchmarks.results import table, tell
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.doc_bins import read_docs

HEAD = ("clients", "texts/s", "times one client's", "p50 ms", "p95 ms", "p95 / p50 of one client", "steps a text")

_TIMED = ("p50", "p95", "p99")

SCRIPT = """
local bodies, at = {}, 0
for line in io.lines(os.getenv("BODIES")) do bodies[#bodies + 1] = line end
wrk.method = "POST"
wrk.headers["Content-Type"] = "application/json"
function request()
  at = at % #bodies + 1
  return wrk.format(nil, nil, nil, bodies[at])
end
function done(summary, latency, requests)
  local errors = summary.errors
  io.write(string.format('\\nRESULT {"requests": %d, "seconds": %f, "p50": %f, "p95": %f, "p99": %f, "errors": %d}\\n',
    summary.requests, summary.duration / 1e6, latency:percentile(50) / 1e3, latency:percentile(95) / 1e3,
    latency:percentile(99) / 1e3, errors.connect + errors.read + errors.write + errors.status + errors.timeout))
end
"""
"""What wrk sends and tells: one body after the other, times in milliseconds."""


@contextmanager
def served(model: str, *, options: Sequence[str], patience: float = 120.0) -> Iterator[str]:
    """A service in a process of its own, with its address."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [sys.executable, "-m", "spacy", "padellm", "serve", model, "--port", str(port), *options]
    url = f"http://127.0.0.1:{port}"
    with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
        try:
            _wait_for(url, process, patience)
            yield url
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(60)


def _wait_for(url: str, process: subprocess.Popen[bytes], patience: float) -> None:
    end = time.monotonic() + patience
    while True:
        try:
            with urllib.request.urlopen(f"{url}/health"):
                return
        except (urllib.error.URLError, ConnectionError):
            if process.poll() is not None or time.monotonic() > end:
                raise SystemExit("The service did not start.") from None
            time.sleep(0.1)


def load(url: str, bodies: Path, script: Path, *, clients: int, seconds: float) -> dict[str, float]:
    """What wrk measures with so many clients."""
    command = ["wrk", "-t1", f"-c{clients}", f"-d{seconds:g}s", "--timeout", "60s", "-s", str(script)]
    done = subprocess.run(
        [*command, f"{url}/annotate"],
        env={**os.environ, "BODIES": str(bodies)},
        capture_output=True,
        text=True,
        check=True,
    )
    line = next(line for line in done.stdout.splitlines() if line.startswith("RESULT "))
    found: dict[str, float] = json.loads(line.removeprefix("RESULT "))
    return found


def counted(url: str) -> dict[str, float]:
    """The service's own counters."""
    with urllib.request.urlopen(f"{url}/metrics") as answer:
        lines = [line for line in answer.read().decode().splitlines() if not line.startswith("#")]
    return {name: float(value) for name, value in (line.rsplit(" ", 1) for line in lines)}


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    """Load one service with every number of clients, round by round."""
    texts = [doc.text for doc in read_docs(arguments.docs, Vocab()) if doc.text.strip()][: arguments.limit or None]
    found: dict[int, list[dict[str, float]]] = {clients: [] for clients in arguments.clients}
    with tempfile.TemporaryDirectory() as temporary, served(arguments.model, options=arguments.options) as url:
        bodies, script = Path(temporary) / "bodies", Path(temporary) / "wrk.lua"
        bodies.write_text("".join(json.dumps({"text": text}) + "\n" for text in texts), encoding="utf8")
        script.write_text(SCRIPT, encoding="utf8")
        load(url, bodies, script, clients=max(arguments.clients), seconds=min(5.0, arguments.seconds))
        for _ in range(arguments.rounds):
            for clients, rounds in found.items():
                before = counted(url)
                rounds.append(load(url, bodies, script, clients=clients, seconds=arguments.seconds))
                after = counted(url)
                done = 'padellm_documents_total{outcome="done"}'
                rounds[-1]["steps"] = (after["padellm_steps_total"] - before["padellm_steps_total"]) / max(
                    1.0, after[done] - before[done]
                )
                print(clients, rounds[-1], flush=True)
    rows = [_row(clients, rounds) for clients, rounds in found.items()]
    single = rows[0]
    for row in rows:
        row["throughput_ratio"] = round(row["texts_per_second"] / single["texts_per_second"], 2)
        row["p95_ratio"] = round(row["p95_ms"] / single["p50_ms"], 2)
    files = {"model": Path(arguments.model).name, "docs": arguments.docs.name}
    settings = {"seconds": arguments.seconds, "rounds": arguments.rounds, "options": arguments.options}
    return {**files, "texts": len(texts), **settings, "clients": rows, **surroundings()}


def _row(clients: int, rounds: Sequence[dict[str, float]]) -> dict[str, Any]:
    rates = [one["requests"] / one["seconds"] for one in rounds]
    return {
        "clients": clients,
        "texts_per_second": round(median(rates), 2),
        "rates": [round(rate, 2) for rate in rates],
        **{f"{name}_ms": round(median(one[name] for one in rounds), 2) for name in _TIMED},
        "steps_per_text": round(median(one["steps"] for one in rounds), 3),
        "errors": int(sum(one["errors"] for one in rounds)),
    }


def as_rows(rows: Sequence[dict[str, Any]]) -> str:
    names = ("texts_per_second", "throughput_ratio", "p50_ms", "p95_ms", "p95_ratio", "steps_per_text")
    return table(HEAD, [[row["clients"], *(float(row[name]) for name in names)] for row in rows])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", required=True, help="a pipeline's folder or package")
    parser.add_argument("--docs", type=Path, required=True, help="whose texts are sent: .spacy")
    parser.add_argument("--limit", type=int, default=0, help="the first texts only")
    parser.add_argument("--clients", type=whole, nargs="+", default=[1, 4, 16], help="numbers of clients, 1 first")
    parser.add_argument("--seconds", type=float, default=10.0, help="of each round and number")
    parser.add_argument("--rounds", type=whole, default=3)
    parser.add_argument(
        "--options", nargs="*", default=[], help="further options of `padellm serve`, as --options=-b=16"
    )
    parser.add_argument("--output", type=Path, help="JSON file to write; a table goes beside it")
    arguments = parser.parse_args(argv)
    if shutil.which("wrk") is None:
        raise SystemExit("This benchmark needs wrk, a load generator, on the PATH.")
    figures = measure(arguments)
    tell(figures, [as_rows(figures["clients"])], arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
