"""`python -m spacy padellm export`: models for other engines, and pipelines without adapters or without weights."""

from __future__ import annotations

from pathlib import Path

import spacy
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.folders import written_whole
from spacy_padellm.errors import Errors


@app.command("export")
def export_cli(
    model: str = typer.Argument(..., help="Folder or package name of a pipeline with a padellm_ner pipe"),
    output: Path = typer.Argument(..., help="Folder to write to, new or empty"),
    merged: bool = typer.Option(False, "--merged", "-m", help="A plain Hugging Face folder, the adapter merged"),
    adapter: bool = typer.Option(False, "--adapter", "-a", help="The adapter alone, as a PEFT folder"),
    pipeline: bool = typer.Option(False, "--pipeline", "-P", help="A spaCy pipeline with its models whole, merged"),
    gguf: bool = typer.Option(False, "--gguf", "-G", help="One file for llama.cpp, the adapter merged"),
    served: str | None = typer.Option(
        None, "--served", "-s", help="A spaCy pipeline that asks the server at this address, without weights"
    ),
    served_name: str | None = typer.Option(None, "--served-name", "-n", help="What that server calls the model"),
    pipe: str | None = typer.Option(None, "--pipe", "-p", help="Name of the pipe, where there are several"),
    dtype: str | None = typer.Option(
        None, "--dtype", "-d", help="float32, bfloat16 or float16, with --gguf also q8_0; else the base model's"
    ),
    dequantize: bool = typer.Option(
        False, "--dequantize", "-D", help="Write quantised weights as the numbers they stand for"
    ),
    force: bool = typer.Option(False, "--force", "-f", help="Replace what is in the folder"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipeline needs"),
) -> None:
    """Export the model of a pipe: merged, as an adapter or a GGUF file, or in a pipeline of its own, with its weights
    or with a server in their place. Exactly one of them.
    """
    util.import_file("python_code", code) if code else None
    with coded_errors():
        setup_gpu(gpu_id, silent=True)
        export(
            model,
            output,
            forms={
                "--merged": merged,
                "--adapter": adapter,
                "--pipeline": pipeline,
                "--gguf": gguf,
                "--served": served is not None,
            },
            url=served,
            served_name=served_name,
            pipe=pipe,
            dtype=dtype,
            dequantize=dequantize,
            force=force,
        )
    msg.good(f"Exported to {output}")


def export(
    model: str | Path,
    output: Path,
    *,
    forms: dict[str, bool],
    url: str | None = None,
    served_name: str | None = None,
    pipe: str | None = None,
    dtype: str | None = None,
    dequantize: bool = False,
    force: bool = False,
) -> None:
    """Export a pipeline that is on the disk.

    model (str | Path): Its folder or package name.
    output (Path): The folder to write, which appears when it is complete.
    forms (dict[str, bool]): --merged, --adapter, --pipeline, --gguf and --served: which form is wanted.
    url, served_name, pipe, dtype, dequantize: As in `pipeline.export`.
    force (bool): Replace a folder that is not empty.
    RAISES (ValueError): P001 for a setting that the form does not have; P032 unless exactly one form is wanted; P033
        for an output that is taken; P154 for a pipeline that does not exist; those of `pipeline.export`.
    """
    wanted = [form for form, is_wanted in forms.items() if is_wanted]
    if len(wanted) != 1:
        raise ValueError(Errors.P032.format(got=" and ".join(wanted) or "none of them"))
    (form,) = wanted
    for name, got, without in (
        ("dtype", dtype, form in ("--adapter", "--served")),
        ("dequantize", dequantize, form in ("--adapter", "--served")),
        ("served_name", served_name, form != "--served"),
    ):
        if got and without:
            raise ValueError(Errors.P001.format(name=name, expected=f"nothing with {form}", got=got))
    if not Path(model).exists() and not util.is_package(str(model)):
        raise ValueError(Errors.P154.format(name=model))
    sources = [Path(model)] if Path(model).exists() else []
    # Every command of spaCy imports this module, and what is imported here takes seconds.
    from spacy_padellm.pipeline.export import (
        export_adapter,
        export_gguf,
        export_merged,
        export_pipeline,
        export_served,
    )

    with written_whole(output, force=force, sources=sources) as folder:
        nlp = spacy.load(model)
        if form == "--merged":
            export_merged(nlp, folder, pipe=pipe, dtype=dtype, dequantize=dequantize)
        elif form == "--adapter":
            export_adapter(nlp, folder, pipe=pipe)
        elif form == "--gguf":
            export_gguf(nlp, folder, pipe=pipe, dtype=dtype, dequantize=dequantize)
        elif form == "--served":
            assert url is not None, "the form is its address"
            export_served(nlp, folder, url=url, served_name=served_name, pipe=pipe)
        else:
            export_pipeline(nlp, folder, pipe=pipe, dtype=dtype, dequantize=dequantize)
