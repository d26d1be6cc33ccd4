"""`padellm serve` as a process of its own: where it listens, and how it ends."""

from __future__ import annotations

import re
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest
from typer.testing import CliRunner

from spacy_padellm.cli import app
from tests.pipeline.makers import blank, examples


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    nlp = blank()
    nlp.initialize(lambda: examples(nlp))
    nlp.to_disk(path := tmp_path_factory.mktemp("served"))
    return path


@pytest.fixture
def start(folder: Path) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    processes: list[subprocess.Popen[str]] = []

    def begin(*args: str) -> subprocess.Popen[str]:
        command = [sys.executable, "-m", "spacy", "padellm", "serve", str(folder), *args]
        processes.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        return processes[-1]

    yield begin
    for process in processes:
        process.kill()
        process.communicate()


@pytest.mark.slow
@pytest.mark.parametrize("stop", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
def test_a_free_port_is_told(start: Callable[..., subprocess.Popen[str]], stop: signal.Signals):
    """Into a pipe, too, and when it listens already."""
    process = start("--port", "0")
    assert process.stdout is not None
    address = re.search(r"http://127\.0\.0\.1:([1-9]\d*)", process.stdout.readline())
    assert address
    found = httpx.post(f"{address[0]}/annotate", json={"text": "Show me Jaws in Paris"}, timeout=60)
    assert found.status_code == 200 and "spans" in found.json()
    process.send_signal(stop)
    # After its work is done uvicorn lets the signal have its way, but for Ctrl-C.
    assert process.wait(60) == (-stop if stop is signal.SIGTERM else 0)


def test_where_nobody_can_listen_p182(folder: Path):
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        for host, number in [("127.0.0.1", port), ("203.0.113.7", "0"), ("2001:db8::7", "0")]:
            result = CliRunner().invoke(app, ["serve", str(folder), "--host", host, "--port", number])
            printed = " ".join(result.output.split())
            assert result.exit_code == 1 and "[P182]" in printed, printed
            assert f"{host}, port {number}" in printed
