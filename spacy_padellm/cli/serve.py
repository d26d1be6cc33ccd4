"""`python -m spacy padellm serve`: a pipeline over HTTP."""

from __future__ import annotations

import ipaddress
import socket
import sys
from contextlib import suppress
from pathlib import Path

import typer
from spacy import util
from spacy.cli._util import setup_gpu
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.errors import Errors

_HERE = ["localhost", "127.0.0.1", "[::1]"]


@app.command("serve")
def serve_cli(
    model: str = typer.Argument(..., help="Folder or package of a pipeline"),
    host: str = typer.Option(
        "127.0.0.1", "--host", "-h", help="Address to listen at; by default for this machine only"
    ),
    port: int = typer.Option(8000, "--port", "-p", min=0, max=65535, help="Port to listen at, 0 for a free one"),
    allowed_host: list[str] = typer.Option(
        [], "--allowed-host", "-a", help="A name under which it may be asked, beside the address; * for any"
    ),
    batch_size: int = typer.Option(64, "--batch-size", "-b", help="Most texts that are decoded at once"),
    max_waiting: int = typer.Option(256, "--max-waiting", help="Most texts in line; more are refused with 429"),
    max_body: int = typer.Option(10_000_000, "--max-body", help="Most bytes of a request"),
    max_texts: int = typer.Option(1_000, "--max-texts", help="Most texts of a request"),
    max_characters: int = typer.Option(1_000_000, "--max-characters", help="Most characters of a text"),
    max_labels: int = typer.Option(500, "--max-labels", help="Most labels of a request"),
    timeout: float = typer.Option(60.0, "--timeout", "-t", help="Seconds that an answer may take"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipeline needs"),
) -> None:
    """Serve a pipeline: POST /annotate takes a text or several, with labels of their own if they like. Requests that
    arrive together are one forest. Needs the extra "serve".
    """
    util.import_file("python_code", code) if code else None
    with coded_errors():
        setup_gpu(gpu_id, silent=True)
        try:
            import uvicorn

            from spacy_padellm.service.annotator import Annotator
            from spacy_padellm.service.app import make_app
            from spacy_padellm.service.limits import Limits
        except ImportError as error:
            raise ValueError(Errors.P175.format(problem=error)) from error
        nlp = util.load_model(model)
        limits = Limits(max_body, max_texts, min(max_characters, nlp.max_length), max_labels, timeout)
        annotator = Annotator(nlp, batch_size=batch_size, most_waiting=max_waiting)
        hosts = [*_HERE, *([] if _is_any(host) else [_bracketed(host)]), *allowed_host]
        service = make_app(annotator, limits=limits, hosts=hosts)
        listening = _listen(host, port)
    msg.info(f"Listening at http://{_bracketed(host)}:{listening.getsockname()[1]}")
    sys.stdout.flush()  # who starts it by a program waits for that line
    config = uvicorn.Config(service, timeout_graceful_shutdown=int(timeout) + 1, log_level="warning")
    with suppress(KeyboardInterrupt):
        uvicorn.Server(config).run(sockets=[listening])


def _listen(host: str, port: int) -> socket.socket:
    """RETURNS (socket): It takes connections from now on; only now has a free port a number that can be told."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=2048)
    except OSError as error:
        raise ValueError(Errors.P182.format(host=host, port=port, problem=error)) from error


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _is_any(host: str) -> bool:
    """Whether an address means all addresses of the machine: none of them is known then."""
    try:
        return ipaddress.ip_address(host).is_unspecified
    except ValueError:
        return False
