"""A corpus through a pipeline by Ray Data: it schedules, queues, retries, writes and goes on; this says with what."""

from __future__ import annotations

import hashlib
import math
import os
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import ray
import ray.data
from ray.data.checkpoint import CheckpointConfig
from ray.data.datasource import FilenameProvider

from spacy_padellm.cluster.output import Counts, Output
from spacy_padellm.cluster.place import Listed, place_of
from spacy_padellm.cluster.reading import SUFFIXES, Corpus
from spacy_padellm.cluster.worker import Worker
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.checksums import checksum, model_checksum

READ_AT_ONCE, MOST_READERS = 32 * 2**20, 4096
"""Bytes that are worth a task to read them, and the most tasks that the files of a corpus are dealt out to."""

SPARE_CPUS = 2
"""Of a cluster that is started here: one for what is read and written, one for what leaves out what is done already."""

_CODED = re.compile(r"\[P\d{3}\] .*")
_FRAMES = re.compile(r'\A.*^ *File "[^\n]*\n(?: {4}[^\n]*\n)*', re.DOTALL | re.MULTILINE)
"""A traceback up to what was raised. Of a worker that cannot start Ray has no more than the text."""


@dataclass(frozen=True)
class Pool:
    """The workers.

    least, most (int): How many there are at any time. Between the two Ray decides by how much is waiting.
    cpus, gpus (float): What each takes; half a GPU means that two share one.
    """

    least: int = 1
    most: int = 1
    cpus: float = 1.0
    gpus: float = 0.0


def annotate(
    model: str,
    input_address: str,
    output_address: str,
    *,
    format: str = "parquet",
    field: str = "text",
    whole_files: bool = False,
    labels: Path | None = None,
    spans_key: str = "sc",
    batch_size: int | None = None,
    block_size: int = 1000,
    on_error: str = "stop",
    code: Path | None = None,
    pool: Pool = Pool(),  # frozen
    address: str | None = None,
    progress: bool = False,
) -> Counts:
    """Annotate a corpus, or go on with it.

    model (str): Folder or package of a pipeline, which every machine has under this name.
    input_address, output_address (str): Paths that every machine has, or addresses of pyarrow or fsspec.
    block_size (int): Entries that are one piece of work: what is done again if its worker is killed.
    address (str | None): Of a cluster that runs. None starts one on this machine, unless this process is connected.
    progress (bool): Let Ray say how far it is.
    RETURNS (Counts): Of all entries, those of earlier jobs included.
    RAISES (ValueError): P041, P042 or P158 for an address; P159 for output of another command; P043 or P044 if the job
        fails; P047 if there is no GPU for a worker; P045 for damaged output; what broken input and labels raise, from
        wherever it was met.
    """
    source, target = place_of(input_address), place_of(output_address)
    files = source.files(SUFFIXES)
    if not files:
        raise ValueError(Errors.P042.format(path=input_address, suffixes=", ".join(SUFFIXES)))
    if target.within(source):
        raise ValueError(Errors.P158.format(path=output_address, got="a folder within the input"))
    asked = None if labels is None else read_labels_v1(path=labels)
    command = {
        "input": listing_checksum(files),
        "model": model_checksum(model),
        "labels": checksum([labels], labels.parent) if labels else "none",
        "code": checksum([code], code.parent) if code else "none",
        "field": field,
        "whole_files": str(whole_files),
        "format": format,
        "spans_key": spans_key,
    }
    output = Output(target, command)
    if output.complete is not None:
        return output.complete
    arguments = {
        "code": None if code is None else code.read_text(encoding="utf-8"),
        "labels": asked,
        "spans_key": spans_key,
        "batch_size": batch_size,
        "gpu": pool.gpus > 0,
    }
    with _connected(address, pool), _coded(output_address):
        corpus = Corpus(files, source.filesystem, field=field, whole_files=whole_files, on_error=on_error)
        entries = ray.data.read_datasource(corpus, override_num_blocks=readers_for(files))
        entries.context.enable_progress_bars = progress
        entries.context.checkpoint_config = CheckpointConfig(
            "id", output.ids.path, override_filesystem=target.filesystem, delete_checkpoint_on_success=False
        )
        blocks = entries.repartition(target_num_rows_per_block=block_size, strict=True)
        write(annotated(blocks, everywhere(model), arguments, pool, block_size=block_size), output)
    return output.finish()


def readers_for(files: Sequence[Listed]) -> int:
    """How many tasks read the files: no more than there are files, since none is cut in two."""
    return min(len(files), MOST_READERS, 1 + sum(one.size for one in files) // READ_AT_ONCE)


def everywhere(model: str) -> str:
    """The name under which every machine has the pipeline: a folder's whole path, since workers run elsewhere."""
    return str(Path(model).resolve()) if Path(model).exists() else model


def annotated(
    blocks: ray.data.Dataset, model: str, arguments: dict[str, Any], pool: Pool, *, block_size: int
) -> ray.data.Dataset:
    """Blocks of entries through a pool of workers, each block by one of them. Ray starts a worker anew that was killed,
    and gives it its block again.

    block_size (int): Entries of a block. Ray asks for a number where there are GPUs, and would take "the block" else.
    """
    return blocks.map_batches(
        Worker,
        fn_constructor_args=(model,),
        fn_constructor_kwargs=arguments,
        batch_size=block_size,
        batch_format="pyarrow",
        zero_copy_batch=True,
        compute=ray.data.ActorPoolStrategy(min_size=pool.least, max_size=pool.most),
        num_cpus=pool.cpus,
        num_gpus=pool.gpus,
    )


def write(documents: ray.data.Dataset, output: Output) -> None:
    """Have Ray write what the workers give."""
    place, names = output.documents, _Names(file_format=output.format)
    write_as = documents.write_parquet if output.format == "parquet" else documents.write_json
    write_as(place.path, filesystem=place.filesystem, filename_provider=names)


class _Names(FilenameProvider):
    """Names of one length. Ray removes what a job left half written by the beginning of its name, and its own names
    have a number of six digits: the hundred thousandth would begin the name of the millionth."""

    def get_filename_for_task(self, write_uuid: str, task_index: int) -> str:
        return f"part-{write_uuid}-{task_index:012}.{self.file_format}"


def listing_checksum(files: Sequence[Listed]) -> str:
    """The MD5 of names and sizes. What files hold is not read: a corpus may be too large to be read twice."""
    lines = (f"{one.name}\0{one.size}\0".encode("utf-8", "surrogateescape") for one in files)
    return hashlib.md5(b"".join(lines), usedforsecurity=False).hexdigest()


@contextmanager
def _connected(address: str | None, pool: Pool) -> Iterator[None]:
    """A cluster, which ends with the context if it began with it."""
    if ray.is_initialized():
        yield
        return
    own = {"address": "local", "num_cpus": max(os.cpu_count() or 1, math.ceil(pool.most * pool.cpus) + SPARE_CPUS)}
    try:
        ray.init(**(own if address is None else {"address": address}), include_dashboard=False)
    except (ConnectionError, SystemExit) as error:  # Ray ends the process where nothing answers
        raise ValueError(Errors.P046.format(address=address, problem=error)) from error
    try:
        if address is None and pool.gpus > (found := ray.cluster_resources().get("GPU", 0.0)):
            # Ray would wait for a machine that has them, for half an hour.
            raise ValueError(Errors.P047.format(expected=pool.gpus, got=found))
        yield
    finally:
        ray.shutdown()


@contextmanager
def _coded(output_address: str) -> Iterator[None]:
    """Tell errors of tasks and workers as what they are: one of ours by its own code, any other with P044."""
    try:
        yield
    except Exception as error:
        said = str(error)
        if ours := _CODED.search(said):
            raise ValueError(ours.group()) from error
        problem = getattr(error, "cause", None) or error
        told = f"{type(problem).__name__}: {_FRAMES.sub('', str(problem), count=1).strip()[:1000]}"
        raise ValueError(Errors.P044.format(problem=told, output=output_address)) from error
