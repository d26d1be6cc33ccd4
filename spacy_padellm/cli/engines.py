"""Which options of `padellm annotate` belong to one engine only, and what they say about a cluster's workers."""

from __future__ import annotations

import re

import typer

from spacy_padellm.errors import Errors
from spacy_padellm.settings import check_number, check_whole

ENGINES = ("local", "ray")

OWN = {
    "local": ("shard_size", "save_every", "gpu_id"),
    "ray": ("address", "workers", "cpus_per_worker", "gpus_per_worker", "block_size"),
}
"""Parameters that an engine has for itself."""

FORMATS = {"local": ("jsonl", "spacy"), "ray": ("parquet", "jsonl")}
"""What each can write, first what it does write where nothing is said."""

_WORKERS = re.compile(r"(\d+)(?:-(\d+))?")


def refuse_others(context: typer.Context, engine: str) -> None:
    """RAISES (ValueError): P040 if an option was given that another engine has for itself."""
    for other, names in OWN.items():
        for name in names if other != engine else ():
            source = context.get_parameter_source(name)
            if source is not None and source.name == "COMMANDLINE":
                option = "--" + name.replace("_", "-")
                raise ValueError(Errors.P040.format(option=option, other=other, engine=engine))


def read_workers(text: str) -> tuple[int, int]:
    """The least and the most workers: "4", or "1-8".

    RAISES (ValueError): P001 for anything else.
    """
    match = _WORKERS.fullmatch(text)
    least, most = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
    if not 1 <= least <= most:
        raise ValueError(Errors.P001.format(name="workers", expected='a number, or two as in "1-8"', got=text))
    return least, most


def check_shares(cpus: float, gpus: float, block_size: int) -> None:
    """RAISES (ValueError): P001 for what a worker cannot take, or a block be."""
    check_number("cpus_per_worker", cpus)
    check_number("gpus_per_worker", gpus)
    check_whole("block_size", block_size)
