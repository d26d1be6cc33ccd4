"""`python -m spacy padellm annotate`: files of texts through a pipeline, however many, however often interrupted."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable, Iterable
from itertools import islice
from pathlib import Path
from typing import Any

import spacy
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.cli.engines import ENGINES, FORMATS, check_shares, read_workers, refuse_others
from spacy_padellm.cli.progress import Progress
from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.entries import Broken, Entries, Entry
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.data.shards import FAILED, Shards, Step
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.asked import ask_about
from spacy_padellm.pipeline.checksums import checksum, model_checksum
from spacy_padellm.pipeline.settled import Failure, Settled, failure_of, settle
from spacy_padellm.pipeline.shard import PARTS, AnyPart
from spacy_padellm.settings import check_number, check_whole

SOME_FAILED = 3
"""The exit code if entries have no document."""


@app.command("annotate")
def annotate_cli(
    context: typer.Context,
    model: str = typer.Argument(..., help="Folder or package name of a pipeline"),
    input_path: str = typer.Argument(
        ..., help="A .txt, .jsonl, .csv or .spacy file, or a folder of them; with Ray .parquet, and addresses, too"
    ),
    output_path: str = typer.Argument(..., help="Folder to write to; one of the same command goes on"),
    engine: str = typer.Option("local", "--engine", "-E", help="local: this process; ray: a cluster (extra: ray)"),
    format: str | None = typer.Option(
        None, "--format", "-f", help="Format of the output: jsonl (the default) or spacy; with Ray parquet or jsonl"
    ),
    field: str = typer.Option("text", "--field", "-F", help="Field (.jsonl) or column (.csv) that has the text"),
    whole_files: bool = typer.Option(False, "--whole-files", "-w", help="A .txt file is one text, not one a line"),
    labels: Path | None = typer.Option(
        None, "--labels", "-l", help="JSON file of labels that padellm_ner pipes are asked about"
    ),
    spans_key: str = typer.Option("sc", "--spans-key", "-sk", help="Span group with all mentions; else doc.ents"),
    batch_size: int | None = typer.Option(None, "--batch-size", "-b", help="Documents a batch; else the pipeline's"),
    shard_size: int = typer.Option(1000, "--shard-size", "-n", help="Most entries a shard (local)"),
    save_every: float = typer.Option(60.0, "--save-every", "-s", help="Seconds after which a shard is closed (local)"),
    on_error: str = typer.Option("stop", "--on-error", "-e", help="At a broken entry of the input: stop, or skip it"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU (local)"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipeline needs"),
    progress: bool = typer.Option(True, "--progress/--no-progress", help="Say on a terminal how far it is"),
    address: str | None = typer.Option(
        None, "--address", help="A cluster that runs, as Ray takes it (ray); else one is started on this machine"
    ),
    workers: str = typer.Option("1", "--workers", help="Workers at any time: 4, or from 1 to 8 as 1-8 (ray)"),
    cpus_per_worker: float = typer.Option(1.0, "--cpus-per-worker", help="CPUs that each takes (ray)"),
    gpus_per_worker: float = typer.Option(0.0, "--gpus-per-worker", help="GPUs that each takes, 0.5 for a half (ray)"),
    block_size: int = typer.Option(1000, "--block-size", help="Entries of a block, which one worker annotates (ray)"),
) -> None:
    """Annotate files. OUTPUT is a folder: shards of documents, failed.log with the entries that have none and the
    reason, and manifest.log. The same command again goes on where it stopped. The exit code is 3 if entries failed.
    With --engine ray a cluster does it, and OUTPUT is as Ray writes it: "A corpus on a cluster" in the documentation.
    """
    with coded_errors():
        check_choice("engine", engine, ENGINES)
        refuse_others(context, engine)
        format = format or FORMATS[engine][0]
        check_choice("format", format, FORMATS[engine])
        check_choice("on_error", on_error, ("stop", "skip"))
        check_whole("batch_size", 1 if batch_size is None else batch_size)
        both: dict[str, Any] = {
            "format": format,
            "field": field,
            "whole_files": whole_files,
            "labels": labels,
            "spans_key": spans_key,
            "batch_size": batch_size,
            "on_error": on_error,
            "code": code,
            "progress": progress and sys.stderr.isatty(),
        }
        if engine == "ray":
            check_shares(cpus_per_worker, gpus_per_worker, block_size)
            shares = {"cpus": cpus_per_worker, "gpus": gpus_per_worker}
            told = on_cluster(
                model,
                input_path,
                output_path,
                workers=workers,
                shares=shares,
                block_size=block_size,
                address=address,
                **both,
            )
        else:
            util.import_file("python_code", code) if code else None
            setup_gpu(gpu_id, silent=True)
            both |= {"shard_size": shard_size, "save_every": save_every}
            told = annotate(model, Path(input_path), Path(output_path), **both)
    msg.good(f"{told.documents} documents in {output_path}")
    if told.failed:
        where = Path(output_path) / FAILED if engine == "local" else 'the rows with an "error"'
        msg.warn(f"{told.failed} entries have no document: see {where}")
        raise typer.Exit(SOME_FAILED)


def on_cluster(model: str, source: str, target: str, *, workers: str, shares: dict[str, Any], **settings: Any) -> Any:
    """Annotate a corpus with Ray, as `cluster.job.annotate` does.

    RAISES (ValueError): P039 without the extra; P001 for a number of workers that is none.
    """
    least, most = read_workers(workers)
    try:
        from spacy_padellm.cluster.job import Pool
        from spacy_padellm.cluster.job import annotate as annotate_corpus
    except ImportError as error:
        raise ValueError(Errors.P039.format(problem=error)) from error
    return annotate_corpus(model, source, target, pool=Pool(least=least, most=most, **shares), **settings)


def annotate(
    model: str | Path,
    input_path: Path,
    output_path: Path,
    *,
    format: str = "jsonl",
    field: str = "text",
    whole_files: bool = False,
    labels: Path | None = None,
    spans_key: str = "sc",
    batch_size: int | None = None,
    shard_size: int = 1000,
    save_every: float = 60.0,
    on_error: str = "stop",
    code: Path | None = None,
    progress: bool = False,
) -> Step:
    """Annotate files, or go on with it.

    What is not settled yet when the process ends is done again by the same call: no more than `shard_size` entries, or
    what came in `save_every` seconds. An input that is read for the first time is read once before, so that it is
    counted, and a broken entry at which to stop is met before the work begins.

    model (str | Path): Folder or package name of a pipeline.
    input_path (Path): What `data.entries.Entries` reads, with `field` and `whole_files`.
    output_path (Path): A folder as `data.shards.Shards` writes it.
    code (Path | None): The file that the pipeline's own functions came from. It is not imported here.
    progress (bool): Say on stderr how far it is.
    RETURNS (Step): How many entries have a document and how many have none, those of earlier runs included.
    RAISES (ValueError): P001 for a setting out of range; P101, P106, P109, P113 or P157 for broken input; P116, P155,
        P011 or P015 to P017 for labels; P154 for a pipeline that does not exist; P156 for a path without input; P158,
        P159, P185 or P186 for a folder that cannot be written to; P187 for a pipe that makes documents of its own.
    """
    check_whole("batch_size", 1 if batch_size is None else batch_size)
    check_whole("shard_size", shard_size)
    check_number("save_every", save_every)
    check_choice("format", format, tuple(PARTS))
    check_choice("on_error", on_error, ("stop", "skip"))
    reading = {"field": field, "whole_files": whole_files}
    counted = Entries(input_path, **reading)  # type: ignore[arg-type]
    if input_path.is_dir() and output_path.resolve().is_relative_to(input_path.resolve()):
        raise ValueError(Errors.P158.format(path=output_path, got="a folder within the input"))
    command = {
        "input": checksum(counted.files, counted.root),
        "model": model_checksum(model),
        "labels": checksum([labels], labels.parent) if labels else "none",
        "code": checksum([code], code.parent) if code else "none",
        **{name: str(value) for name, value in {**reading, "format": format, "spans_key": spans_key}.items()},
    }
    with Shards(output_path, command) as shards:
        if shards.complete:
            return shards.last
        nlp = spacy.load(model)
        if labels is not None:
            ask_about(nlp, read_labels_v1(path=labels))
        if shards.entries is None:
            shards.begin(sum(1 for _ in counted.read(on_error)))
        entries = Entries(input_path, vocab=nlp.vocab, **reading)  # type: ignore[arg-type]
        rest = islice(entries.read(on_error), shards.last.settled, None)
        settled = settle(nlp, rest, batch_size=batch_size, bounded=not entries.has_docs)
        shown = Progress(shards.entries or 0, shards.last.settled, sys.stderr) if progress else None
        part = PARTS[format]
        write(settled, shards, lambda: part(spans_key), size=shard_size, every=save_every, progress=shown)
        return shards.last


def write(
    settled: Iterable[Settled],
    shards: Shards,
    make_part: Callable[[], AnyPart],
    *,
    size: int,
    every: float,
    progress: Progress | None = None,
) -> None:
    """Write what a pipeline gives, shard by shard.

    settled (Iterable[Settled]): The entries behind those that are settled already, in order.
    make_part (Callable[[], AnyPart]): An empty shard.
    size (int): Most entries of a shard.
    every (float): Seconds after which a shard is closed.
    """
    part, failed, begun = make_part(), list[dict[str, Any]](), time.monotonic()
    for entry, outcome in settled:
        failure = outcome if isinstance(outcome, Failure) else add(part, entry, outcome)
        if failure is not None:
            failed.append(told(failure, entry, shards.last.settled + len(part) + len(failed)))
        if len(part) + len(failed) >= size or time.monotonic() - begun >= every:
            shards.add(part, failed)
            part, failed, begun = make_part(), [], time.monotonic()
        if progress:
            progress.show(shards.last.settled + len(part) + len(failed), shards.last.failed + len(failed))
    if len(part) or failed:
        shards.add(part, failed)
    if progress:
        progress.end(shards.last.settled, shards.last.failed)


def add(part: AnyPart, entry: Entry | Broken, doc: Doc) -> Failure | None:
    """Add a document to a shard. RETURNS (Failure | None): Why it cannot be written, if so."""
    assert isinstance(entry, Entry), "a broken entry has no document"
    try:
        part.add(entry, doc)
    except Exception as error:  # what a pipe left in a document may be anything
        return failure_of(error, entry)
    return None


def told(failure: Failure, entry: Entry | Broken, number: int) -> dict[str, Any]:
    """The line about an entry that has no document. `number` counts all entries, from 0."""
    line = entry.line if isinstance(entry, Entry) else None
    return {"number": number, "file": entry.file, "line": line, **failure._asdict()}


def check_choice(name: str, got: object, choices: tuple[str, ...]) -> None:
    """RAISES (ValueError): P001 unless the setting is one of the choices."""
    if got not in choices:
        expected = " or ".join(f'"{choice}"' for choice in choices)
        raise ValueError(Errors.P001.format(name=name, expected=expected, got=got))
