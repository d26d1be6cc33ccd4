"""What a figure was measured on. A figure without it says little."""

from __future__ import annotations

import os
import platform
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

PACKAGES = ("spacy", "thinc", "torch", "transformers", "peft")


def surroundings(command: str) -> dict[str, object]:
    """Command, commit, hardware and versions.

    command (str): How the figures are made again.
    RETURNS (dict[str, object]): Ready for JSON. `commit` is that of the working folder, with "+changes" where files
        differ from it, and empty outside a repository.
    """
    return {
        "command": command,
        "commit": _commit(),
        "machine": _gpu() or _processor(),
        "cores": os.cpu_count(),
        "threads": os.environ.get("OMP_NUM_THREADS") or "not set",
        "python": platform.python_version(),
        "versions": _versions(),
    }


def _versions() -> dict[str, str]:
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def _commit() -> str:
    def git(*arguments: str) -> str:
        try:
            told = subprocess.run(["git", *arguments], capture_output=True, text=True, check=False)
        except OSError:
            return ""
        return told.stdout.strip()

    return git("rev-parse", "--short", "HEAD") + ("+changes" if git("status", "--porcelain") else "")


def _gpu() -> str:
    """The GPU's name, if whoever asks has loaded torch: the measuring itself did."""
    torch = sys.modules.get("torch")
    return torch.cuda.get_device_name() if torch is not None and torch.cuda.is_available() else ""


def _processor() -> str:
    path = Path("/proc/cpuinfo")
    if path.is_file():
        for line in path.read_text(encoding="utf8").splitlines():
            if line.startswith("model name"):
                return line.split(":", 1)[1].strip()
    return platform.processor() or platform.machine()
