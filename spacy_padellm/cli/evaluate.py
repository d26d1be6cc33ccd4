"""`python -m spacy padellm evaluate`: everything that can be said about a pipeline on gold documents."""

from __future__ import annotations

import warnings
from itertools import chain, islice
from pathlib import Path
from typing import Any

import spacy
import srsly
import typer
from spacy import util
from spacy.cli._util import setup_gpu
from spacy.tokens import Doc
from spacy.vocab import Vocab
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.cli.tables import print_difference, print_report
from spacy_padellm.data.doc_bins import read_docs, spacy_files
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.errors import Errors, Warnings
from spacy_padellm.metrics.pairs import labels_in
from spacy_padellm.metrics.report import Outcome, difference, report
from spacy_padellm.pipeline.asked import ask_about, asked_pipes
from spacy_padellm.pipeline.outcomes import is_annotated, labels_of, mentions_of, outcome_of
from spacy_padellm.settings import check_whole


@app.command("evaluate")
def evaluate_cli(
    model: str = typer.Argument(..., help="Folder or package name of a pipeline that fills doc.ents or doc.spans"),
    data_path: Path = typer.Argument(..., help="Gold documents: a .spacy file or a folder of them"),
    against: str | None = typer.Option(None, "--against", "-a", help="Another pipeline, to compare with"),
    labels: Path | None = typer.Option(
        None, "--labels", "-l", help="JSON file of labels that padellm_ner pipes are asked about"
    ),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file to write the figures to"),
    spans_key: str = typer.Option("sc", "--spans-key", "-sk", help="Span group with all mentions; else doc.ents"),
    samples: int = typer.Option(1000, "--samples", "-s", help="Resamples for the intervals, 0 for no intervals"),
    seed: int = typer.Option(0, "--seed", "-S", help="Seed of the resamples"),
    limit: int = typer.Option(0, "--limit", "-n", help="Take only so many documents, 0 for all"),
    batch_size: int | None = typer.Option(None, "--batch-size", "-b", help="Documents a batch; else the pipeline's"),
    gpu_id: int = typer.Option(-1, "--gpu-id", "-g", help="GPU, -1 for the CPU"),
    code: Path | None = typer.Option(None, "--code", "-c", help="Python file with functions the pipelines need"),
) -> None:
    """Evaluate a pipeline: P/R/F of spans, of entities and of strings (as the PaDeLLM paper counts them), the accuracy
    of counts, and every mistake in exactly one category. Intervals come from resampling the documents. With --against
    two pipelines are compared on the same documents, by paired bootstrap.
    """
    util.import_file("python_code", code) if code else None
    with coded_errors():
        setup_gpu(gpu_id, silent=True)
        found = evaluate(
            model,
            data_path,
            against=against,
            labels=labels,
            spans_key=spans_key,
            samples=samples,
            seed=seed,
            limit=limit,
            batch_size=batch_size,
        )
    print_report(found)
    if against is not None:
        print_report(found["against"])
        print_difference(found)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_json(output, found)
        msg.good(f"Saved to {output}")


def evaluate(
    model: str | Path,
    data_path: Path,
    *,
    against: str | Path | None = None,
    labels: Path | None = None,
    spans_key: str = "sc",
    samples: int = 1000,
    seed: int = 0,
    limit: int = 0,
    batch_size: int | None = None,
) -> dict[str, Any]:
    """Evaluate a pipeline on gold documents, and compare it with another one if asked to.

    model (str | Path): Folder or package name of a pipeline.
    data_path (Path): A .spacy file or a folder of them. Documents without gold annotation are left out (W060).
    against (str | Path | None): Another pipeline.
    labels (Path | None): A file of labels, as `read_labels_v1` reads it: what padellm_ner pipes are asked about in
        place of their own labels. They may be labels that no pipe was trained on. A pipeline `against` which `model` is
        compared may have no such pipe, and keeps its labels.
    RETURNS (dict[str, Any]): The figures of `model` as `metrics.report.report` gives them, with `model`, `data` and
        `labels`. With `against`: its figures under that name, and under `difference` how much higher those of `model`
        are, as `metrics.report.difference` gives it.
    RAISES (ValueError): P001 for a number out of range; P109 for a file that is not a .spacy file; P116 for labels that
        cannot be read, P011, P015 to P017 or P190 for labels that are none; P150 for a path without .spacy files; P151
        for documents without gold annotation; P152 for documents without a gold mention; P153 for a pipeline that
        changes the text; P154 for one that does not exist; P155 if there are `labels` for which `model` has no pipe.
    """
    # A comparison is made of resamples.
    check_whole("samples", samples, least=0 if against is None else 1)
    check_whole("seed", seed, least=0)
    check_whole("limit", limit, least=0)
    check_whole("batch_size", 1 if batch_size is None else batch_size)
    for one in (model, against):
        if one is not None and not Path(one).exists() and not util.is_package(str(one)):
            raise ValueError(Errors.P154.format(name=one))
    gold = read_gold(data_path, spans_key=spans_key, limit=limit)
    outcome, asked = annotate(model, gold, labels=labels, spans_key=spans_key, batch_size=batch_size)
    draws = {"samples": samples, "seed": seed}
    if against is None:
        found = report(outcome, sorted(asked), **draws)
        return {"model": str(model), "data": str(data_path), "labels": sorted(asked), **found}
    other, others = annotate(against, gold, labels=labels, spans_key=spans_key, batch_size=batch_size, yardstick=True)
    # Both are judged on the same labels, so that their counts are of the same (text, label) pairs.
    judged = sorted(asked | others)
    found = {"model": str(model), "data": str(data_path), "labels": judged, **report(outcome, judged, **draws)}
    found["against"] = {"model": str(against), **report(other, judged, **draws)}
    found["difference"] = difference(outcome, other, judged, **draws)
    return found


def annotate(
    model: str | Path,
    gold: list[Doc],
    *,
    labels: Path | None = None,
    spans_key: str,
    batch_size: int | None,
    yardstick: bool = False,
) -> tuple[Outcome, set[str]]:
    """Have a pipeline annotate the texts of gold documents.

    labels (Path | None): A file of labels that its padellm_ner pipes are asked about; None for their own labels.
    yardstick (bool): It may be a pipeline without such pipes, which keeps its own labels.
    RETURNS (tuple[Outcome, set[str]]): What it found beside gold, and the labels that it was asked about or that one
        of them has.
    """
    nlp = spacy.load(model)
    if labels is not None and (asked_pipes(nlp) or not yardstick):
        ask_about(nlp, read_labels_v1(path=labels))
    predicted = nlp.pipe((doc.text for doc in gold), batch_size=batch_size)
    outcome = outcome_of(gold, predicted, spans_key)
    return outcome, labels_of(nlp) | labels_in(outcome.spans) | labels_in(outcome.ents)


def read_gold(path: Path, *, spans_key: str, limit: int = 0) -> list[Doc]:
    """The gold documents at a path, without those that have no annotation.

    limit (int): Read only so many documents, 0 for all.
    RAISES (ValueError): P109, P150, P151 or P152 if there is nothing to score.
    """
    files = spacy_files(path)
    if not files:
        got = "a folder without any" if path.is_dir() else "another file" if path.exists() else "nothing at that path"
        raise ValueError(Errors.P150.format(path=path, got=got))
    vocab = Vocab()
    docs = list(islice(chain.from_iterable(read_docs(file, vocab) for file in files), limit or None))
    if not docs:
        raise ValueError(Errors.P152.format(path=path, got="no documents"))
    gold = [doc for doc in docs if is_annotated(doc, spans_key)]
    values = {"path": path, "docs": len(docs), "spans_key": spans_key}
    if not gold:
        raise ValueError(Errors.P151.format(**values))
    if len(gold) < len(docs):
        warnings.warn(Warnings.W060.format(count=len(docs) - len(gold), **values), stacklevel=2)
    if not any(mentions_of(doc, spans_key) for doc in gold):
        raise ValueError(Errors.P152.format(path=path, got="no gold mention in any document"))
    return gold
