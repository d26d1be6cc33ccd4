"""`python -m spacy padellm tree`: one text's questions and answers, and what became of them."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import spacy
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from spacy.language import Language
from wasabi import msg

from spacy_padellm.cli.annotate import check_choice
from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.trace import Trace
from spacy_padellm.pipeline.tree_html import tree_html
from spacy_padellm.pipeline.tree_svg import tree_svg
from spacy_padellm.pipeline.tree_text import tree_text


def tree_json(trace: Trace, *, everything: bool = True) -> str:
    """A trace as JSON, absent labels among it in any case."""
    return json.dumps(trace.as_dict(), indent=2) + "\n"


FORMATS: dict[str, Callable[..., str]] = {"text": tree_text, "html": tree_html, "svg": tree_svg, "json": tree_json}


@app.command("tree")
def tree_cli(
    model: str = typer.Argument(..., help="Folder or package name of a pipeline with a padellm_ner pipe"),
    text: str = typer.Argument(..., help="The text; - to read it from standard input"),
    labels: str | None = typer.Option(
        None, "--labels", "-l", help="What to ask about: a JSON file of labels, or names as a,b,c"
    ),
    pipe: str = typer.Option("padellm_ner", "--pipe", "-p", help="Name of the pipe"),
    format: str = typer.Option("text", "--format", "-f", help=f"Form of the tree: {', '.join(FORMATS)}"),
    output: Path | None = typer.Option(None, "--output", "-o", help="File to write to; else standard output"),
    everything: bool = typer.Option(False, "--all", "-a", help="Show each label that is absent by itself"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipeline needs"),
) -> None:
    """Show how a text is annotated: each question with its answer, in which steps it was decoded, and where its
    mention stands or why it has no place.
    """
    util.import_file("python_code", code) if code else None
    with coded_errors():
        setup_gpu(gpu_id, silent=True)
        check_choice("format", format, tuple(FORMATS))
        if not Path(model).exists() and not util.is_package(model):
            raise ValueError(Errors.P154.format(name=model))
        if text == "-":
            # A line's end is the terminal's, not the text's.
            text = sys.stdin.read().removesuffix("\n")
        trace = trace_text(spacy.load(model), text, labels=read_names(labels), pipe=pipe)
        drawn = FORMATS[format](trace, everything=everything)
        if output is not None:
            output.parent.mkdir(parents=True, exist_ok=True)
            output.write_text(drawn, encoding="utf-8")
            msg.good(f"Saved to {output}")
        else:
            typer.echo(drawn, nl=False)


def trace_text(nlp: Language, text: str, *, labels: Any = None, pipe: str = "padellm_ner") -> Trace:
    """The trace of a text as a pipeline's pipe would annotate it.

    nlp (Language): The pipeline. The pipes in front of it are run: they may set sentences, labels or entities.
    labels (Any): What to ask about, as `set_labels` takes it; None for the pipe's own labels.
    pipe (str): Name of the pipe.
    RETURNS (Trace): The trace.
    RAISES (ValueError): P160 if there is no such pipe; P015, P016 or P190 for labels that are none; the rest as
        `PaDeLLMNER.trace` does.
    """
    if pipe not in nlp.pipe_names or nlp.get_pipe_meta(pipe).factory != "padellm_ner":
        raise ValueError(Errors.P160.format(name=pipe, pipes=", ".join(nlp.pipe_names) or "no pipes"))
    doc = nlp.make_doc(text)
    for name, component in nlp.pipeline:
        if name == pipe:
            break
        doc = component(doc)
    if labels is not None:
        doc._.padellm_labels = labels
    ours: Any = nlp.get_pipe(pipe)
    traced: Trace = ours.trace(doc)
    return traced


def read_names(given: str | None) -> Any:
    """Labels from a command line: the name of a JSON file, or names with commas between them; None for none."""
    if given is None:
        return None
    if given.endswith(".json") or Path(given).is_file():
        return read_labels_v1(path=Path(given))
    return [name.strip() for name in given.split(",")]
