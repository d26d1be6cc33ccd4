"""Completions servers that are started on loopback, in float32 on the CPU: llama.cpp and transformers' own."""

from __future__ import annotations

import gc
import os
import socket
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PATIENCE = 180.0
"""Seconds that a server may take to start."""


@contextmanager
def llama_cpp(
    path: Path, *, alias: str = "tiny", context: int = 2048, slots: int = 4, threads: int = 1
) -> Iterator[str]:
    """llama.cpp in this process, with one store of keys and values for all slots.

    path (Path): A GGUF file.
    alias (str): What the model is called.
    context (int): Positions in the store.
    slots (int): Questions at a time.
    YIELDS (str): Its address, up to "/completions".
    """
    import xllamacpp

    params = xllamacpp.CommonParams()
    params.model.path = str(path)
    params.model_alias = {alias}
    params.n_ctx, params.n_parallel, params.kv_unified = context, slots, True
    params.cache_type_k = params.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    params.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    params.cpuparams.n_threads = params.cpuparams_batch.n_threads = threads
    params.warmup, params.verbosity, params.port = False, 0, 0
    server = xllamacpp.Server(params)
    try:
        yield f"{server.listening_address}/v1"
    finally:
        del server
        gc.collect()


@contextmanager
def transformers_serve(folder: Path, log: Path, *, threads: int = 1) -> Iterator[str]:
    """`transformers serve` in a process of its own.

    folder (Path): A model's folder, which is also what the server calls the model.
    log (Path): Where its output goes.
    YIELDS (str): Its address, up to "/completions".
    """
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    command = [str(Path(sys.executable).with_name("transformers")), "serve", str(folder), "--device", "cpu"]
    command += ["--dtype", "float32", "--host", "127.0.0.1", "--port", str(port)]
    settings = {**os.environ, "OMP_NUM_THREADS": str(threads), "HF_HUB_OFFLINE": "1"}
    with log.open("w") as told, subprocess.Popen(command, stdout=told, stderr=told, env=settings) as process:
        try:
            end = time.monotonic() + _PATIENCE
            while not _answers(f"http://127.0.0.1:{port}/health"):
                if process.poll() is not None or time.monotonic() > end:
                    raise RuntimeError(f"transformers serve did not start: {log.read_text()[-2000:]}")
                time.sleep(0.2)
            yield f"http://127.0.0.1:{port}/v1"
        finally:
            process.kill()


def _answers(url: str) -> bool:
    try:
        with urllib.request.urlopen(url, timeout=2) as answer:
            return bool(answer.status == 200)
    except (urllib.error.URLError, OSError):
        return False
