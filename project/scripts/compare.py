"""Compare trained pipelines on a test set: quality, training time, and speed on their own answers.

    python project/scripts/compare.py project/training/snips_screening/compare TEST.spacy compare.json

The folder is what train_schemes.py wrote. Any other pipelines stand beside its own: `--pipelines NAME=PIPELINE`. What a
pipeline found is kept beside it (found.spacy), so that only pipelines that are new are run again; speed is measured
each time, all pipelines in turn.
"""

from __future__ import annotations

import argparse
import shlex
import statistics
import sys
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy import util
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from train_schemes import RECORD, SCHEMES
from wasabi import msg

from spacy_padellm.cli.evaluate import read_gold
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.errors import Errors
from spacy_padellm.metrics.pairs import labels_in
from spacy_padellm.metrics.report import Outcome, difference, report
from spacy_padellm.metrics.surroundings import surroundings
from spacy_padellm.pipeline.component import PaDeLLMNER
from spacy_padellm.pipeline.outcomes import labels_of, outcome_of

FOUND = "found.spacy"
YARDSTICK = "padellm"
"""The pipeline that the others are compared with."""


@dataclass(frozen=True)
class Contender:
    """A trained pipeline.

    name (str): Its scheme, or the name that the user gave it.
    seed (int | None): Of its training; None for a pipeline that was trained elsewhere.
    path (str): Folder or package.
    training (Mapping[str, Any]): What its training took; empty for one that was trained elsewhere.
    kept (Path | None): Where to keep what it finds.
    """

    name: str
    seed: int | None
    path: str
    training: Mapping[str, Any]
    kept: Path | None


def contenders(folder: Path) -> list[Contender]:
    """The pipelines in a folder of train_schemes.py. Those that were trained under other conditions than the newest, by
    an earlier run for instance, are left out with a warning."""
    records = {record: srsly.read_json(record) for record in sorted(folder.glob(f"seed-*/*/{RECORD}"))}
    newest = max(records, key=lambda record: record.stat().st_mtime, default=None)
    found = []
    for record, told in records.items():
        path = record.parent
        if newest and conditions(told) != conditions(records[newest]):
            msg.warn(f"{path} is left out: it was not trained on the documents, or for the updates, of {newest.parent}")
            continue
        found.append(Contender(told["scheme"], told["seed"], str(path / "model-best"), told, path / FOUND))
    order = {name: place for place, name in enumerate(SCHEMES)}
    found.sort(key=lambda one: (order.get(one.name, len(order)), one.name))
    return found


def conditions(told: Mapping[str, Any]) -> tuple[str | None, ...]:
    """What must be equal where pipelines are compared: documents and updates."""
    files = {Path(file).name: checksum for file, checksum in told["inputs"].items()}
    settings = dict(pairwise(told["command"]))
    updates, limit = settings.get("--training.max_steps"), settings.get("--corpora.train.limit", "0")
    return files.get("train.spacy"), files.get("dev.spacy"), updates, limit


def others(named: Sequence[str], taken: Iterable[str]) -> list[Contender]:
    """Pipelines that were trained elsewhere.

    named (Sequence[str]): NAME=FOLDER_OR_PACKAGE of each.
    taken (Iterable[str]): Names that stand for something else: rows of one name are seeds of one pipeline.
    RAISES (ValueError): If one is written otherwise, has a name that is taken, or does not exist.
    """
    found: dict[str, Contender] = {}
    for one in named:
        name, _, path = one.partition("=")
        if not (name and path):
            raise ValueError(f"--pipelines: expected NAME=FOLDER_OR_PACKAGE, got {one!r}.")
        if name in found or name in taken:
            raise ValueError(f"--pipelines: the name {name!r} stands for another pipeline. Choose another name.")
        if not Path(path).exists() and not util.is_package(path):
            raise ValueError(Errors.P154.format(name=path))
        found[name] = Contender(name, None, path, {}, None)
    return list(found.values())


def annotate(contender: Contender, nlp: Language, gold: Sequence[Doc]) -> list[Doc]:
    """What a pipeline finds in the texts of gold documents: what it found before, if nothing is newer."""
    kept, record = contender.kept, Path(contender.path).parent / RECORD
    if kept is not None and kept.is_file() and kept.stat().st_mtime > record.stat().st_mtime:
        try:
            docs = list(read_docs(kept, nlp.vocab))
        except ValueError:  # cut off while it was written
            docs = []
        if [doc.text for doc in docs] == [doc.text for doc in gold]:
            return docs
    docs = list(nlp.pipe(doc.text for doc in gold))
    if kept is not None:
        DocBin(docs=docs).to_disk(kept)
    return docs


def speed(
    pipelines: Sequence[Language], texts: Sequence[str], batch_sizes: Iterable[int], runs: int
) -> list[dict[str, Any]]:
    """Milliseconds a document on the pipelines' own answers, and what decoding cost.

    Pipelines take turns, so that a disturbance of the machine meets all of them.

    RETURNS (list[dict[str, Any]]): For each pipeline `ms_per_doc` by batch size, medians of all runs; and for
        padellm_ner `steps_per_doc` and `pieces_per_doc`.
    """
    told: list[dict[str, Any]] = [{"ms_per_doc": {}} for _ in pipelines]
    for size in batch_sizes:
        seconds: list[list[float]] = [[] for _ in pipelines]
        for nlp in pipelines:
            list(nlp.pipe(texts[: 2 * size], batch_size=size))
        for _ in range(runs):
            for nlp, spent in zip(pipelines, seconds, strict=True):
                begun = time.perf_counter()
                list(nlp.pipe(texts, batch_size=size))
                spent.append(time.perf_counter() - begun)
        for one, spent in zip(told, seconds, strict=True):
            one["ms_per_doc"][str(size)] = round(1000 * statistics.median(spent) / len(texts), 2)
    for one, nlp in zip(told, pipelines, strict=True):
        one |= cost(nlp, texts)
    return told


def cost(nlp: Language, texts: Sequence[str]) -> dict[str, float]:
    """Steps and pieces a document of the padellm_ner pipes; empty for a pipeline that has none."""
    pipes = [pipe for _, pipe in nlp.pipeline if isinstance(pipe, PaDeLLMNER)]
    before = [pipe.counters.as_dict() for pipe in pipes]
    list(nlp.pipe(texts))
    if not pipes:
        return {}
    spent = {
        name: sum(pipe.counters.as_dict()[name] - told[name] for pipe, told in zip(pipes, before, strict=True))
        for name in ("document_steps", "pieces", "documents")
    }
    return {
        "steps_per_doc": round(spent["document_steps"] / spent["documents"], 2),
        "pieces_per_doc": round(spent["pieces"] / spent["documents"], 2),
    }


def compare(
    found: Sequence[Contender], test: Path, *, speed_docs: int, batch_sizes: Sequence[int], runs: int, samples: int
) -> list[dict[str, Any]]:
    """Quality and speed of some pipelines, and how far each is from PaDeLLM of the same seed.

    test (Path): Gold documents.
    speed_docs (int): Measure speed on the first so many.
    samples (int): Resamples of the test set that intervals come from.
    RETURNS (list[dict[str, Any]]): `name`, `seed`, `path`, `training`, `quality`, `speed`, `against_padellm` of each.
    """
    pipelines = [spacy.load(one.path) for one in found]
    outcomes: list[Outcome] = []
    labels: set[str] = set()
    for one, nlp in zip(found, pipelines, strict=True):
        msg.info(f"{one.name}, seed {one.seed}")
        gold = list(read_docs(test, nlp.vocab))
        outcome = outcome_of(gold, annotate(one, nlp, gold))
        outcomes.append(outcome)
        labels |= labels_of(nlp) | labels_in(outcome.spans)
    texts = [pair.text for pair in outcomes[0].spans][:speed_docs] if outcomes else []
    speeds = speed(pipelines, texts, batch_sizes, runs)
    yardsticks = {one.seed: outcome for one, outcome in zip(found, outcomes, strict=True) if one.name == YARDSTICK}
    rows = []
    for one, outcome, fast in zip(found, outcomes, speeds, strict=True):
        quality = report(outcome, sorted(labels), samples=samples)
        row = {"name": one.name, "seed": one.seed, "path": one.path, "training": dict(one.training)}
        row |= {"quality": quality, "speed": fast}
        other = yardsticks.get(one.seed) or next(iter(yardsticks.values()), None)
        if other is not None and one.name != YARDSTICK:
            row["against_padellm"] = difference(outcome, other, sorted(labels), samples=samples, seed=0)
        rows.append(row)
    return rows


def show(rows: Sequence[Mapping[str, Any]]) -> None:
    """Print the main figures as a table."""
    sizes = list(rows[0]["speed"]["ms_per_doc"]) if rows else []
    lines = []
    for row in rows:
        quality, fast = row["quality"], row["speed"]
        figures = [quality["spans"]["f"], quality["strings"]["set"]["f"]]
        figures += [quality["counts"][which] for which in ("all", "nonzero")]
        figures += [row["training"].get("cpu_seconds", "-"), *(fast["ms_per_doc"][size] for size in sizes)]
        figures += [fast.get(name, "-") for name in ("steps_per_doc", "pieces_per_doc")]
        lines.append((row["name"], "-" if row["seed"] is None else row["seed"], *figures))
    header = ("", "seed", "span F", "string F", "counts", "counts > 0", "training, CPU s")
    header += (*(f"ms at {size}" for size in sizes), "steps", "pieces")
    msg.table(lines, header=header, divider=True, aligns=("l", *("r" * (len(header) - 1))))


def main() -> None:
    parser = argparse.ArgumentParser(description="Compare trained pipelines: quality and speed.")
    parser.add_argument("folder", type=Path, help="what train_schemes.py wrote")
    parser.add_argument("test", type=Path, help="gold documents")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--pipelines", nargs="*", default=[], help="NAME=FOLDER_OR_PACKAGE of other pipelines")
    parser.add_argument("--speed-docs", type=int, default=100, help="measure speed on the first so many documents")
    parser.add_argument("--batch-sizes", type=int, nargs="+", default=[1, 16])
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--samples", type=int, default=1000, help="resamples that intervals come from")
    parser.add_argument("--title", help="the data set's name; else that of the test file's folder")
    parser.add_argument("--gpu-id", type=int, default=-1)
    options = parser.parse_args()
    if options.gpu_id >= 0:
        spacy.require_gpu(options.gpu_id)
    settings = {name: getattr(options, name) for name in ("speed_docs", "batch_sizes", "runs", "samples")}
    with coded_errors():
        read_gold(options.test, spans_key="sc")
        found = contenders(options.folder)
        found += others(options.pipelines, {*SCHEMES, *(one.name for one in found)})
        if not found:
            raise ValueError(f"No trained pipeline in {options.folder}: run train_schemes.py first.")
        rows = compare(found, options.test, **settings)
    told = {
        "data_set": options.title or options.test.parent.name,
        "test": str(options.test),
        **{name: settings[name] for name in ("speed_docs", "runs")},
        "pipelines": rows,
        "surroundings": surroundings(shlex.join(["python", *sys.argv])),
    }
    options.output.parent.mkdir(parents=True, exist_ok=True)
    srsly.write_json(options.output, told)
    show(rows)
    msg.good(f"Saved to {options.output}")


if __name__ == "__main__":
    main()
