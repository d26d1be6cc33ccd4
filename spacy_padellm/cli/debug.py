"""`python -m spacy padellm debug`: what can be told about training data without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import spacy
import srsly
import typer
from spacy import util
from spacy.cli._util import parse_config_overrides
from spacy.language import Language
from spacy.tokens import Doc
from spacy.training import Example
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.checks import Findings, examine
from spacy_padellm.data.doc_bins import read_docs, spacy_files
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.factory import DEFAULT_CONFIG
from spacy_padellm.pipeline.suspects import Suspects

if TYPE_CHECKING:
    from spacy_padellm.pipeline.reach import Measuring, Reach

SHOWN = 3
"""Examples that a line shows."""

FEW = 5
"""Mentions below which a label has very few."""

OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}


class Corpus(NamedTuple):
    """What one corpus holds.

    reach (Reach | None): Its texts in a model's pieces; None without a tokenizer.
    """

    findings: Findings
    suspects: Suspects
    reach: Reach | None

    def figures(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        reach = None if self.reach is None else self.reach.figures()
        return {**self.findings.figures(), **self.suspects.figures(FEW), "pieces": reach}


@app.command("debug", context_settings=OVERRIDES)
def debug_cli(
    ctx: typer.Context,
    path: Path = typer.Argument(
        ..., help="Training config (its corpora are checked), .spacy file, or folder of .spacy files", exists=True
    ),
    lang: str = typer.Option("en", "--lang", "-l", help="Language code, for the tokenizer; a config names its own"),
    spans_key: str = typer.Option("sc", "--spans-key", "-sk", help="Span group with all mentions"),
    limit: int = typer.Option(99, "--limit", "-n", help="Most mentions of one label in one text"),
    tokenizer: Path | None = typer.Option(
        None, "--tokenizer", "-t", help="Folder with a model's tokenizer, to measure texts; else that of the config"
    ),
    window: int | None = typer.Option(None, "--window", "-w", help="The pipe's window, in pieces; else the config's"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file to write the counts to"),
    code: Path | None = typer.Option(
        None, "--code", "-c", help="Python file with registered functions that the config needs"
    ),
) -> None:
    """Check training data: labels and counts, mentions that no prediction can reach, overlaps, strings that are
    annotated in some places only, labels alike or rare, doubles, the longest texts, and what does not fit the model.
    """
    with coded_errors():
        util.import_file("python_code", code) if code else None
        overrides = parse_config_overrides(ctx.args)
        findings = debug(
            path,
            lang=lang,
            spans_key=spans_key,
            limit=limit,
            tokenizer=tokenizer,
            window=window,
            overrides=overrides,
        )
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_json(output, report(findings))
    for name, found in findings.items():
        print_findings(name, found, limit, spans_key)
    print_across(findings)


def debug(
    path: Path,
    *,
    lang: str = "en",
    spans_key: str = "sc",
    limit: int = 99,
    tokenizer: Path | None = None,
    window: int | None = None,
    overrides: dict[str, Any] | None = None,
) -> dict[str, Corpus]:
    """Examine the corpora that a path names.

    path (Path): A config, a .spacy file or a folder of .spacy files.
    tokenizer (Path | None): Folder with a model's tokenizer, to measure texts in its pieces; by default that of the
        config's model, if it lies on this machine.
    window (int | None): What the pipe's `window` is taken to be; by default what the config says.
    RETURNS (dict[str, Corpus]): What each corpus holds, by the corpus' name.
    RAISES (ValueError): P109 for a file that is not a .spacy file, P110 for a path without corpora, P020 or P027 for a
        tokenizer that cannot be read.
    """
    settings: dict[str, Any] = {}
    if path.suffix == ".cfg":
        nlp, corpora, settings = corpora_of(path, overrides or {})
    else:
        nlp = spacy.blank(lang)
        corpora = files_of(path, nlp)
    if window is not None:
        settings = {**settings, "window": window}
    measuring = measuring_of(settings, tokenizer)
    found: dict[str, Corpus] = {}
    for name, read in corpora.items():
        suspects = Suspects()
        findings = examine(suspects.looking(read(), spans_key=spans_key), nlp, spans_key=spans_key, limit=limit)
        reach = measuring.measure(read(), findings.labels, spans_key=spans_key) if measuring else None
        found[name] = Corpus(findings, suspects, reach)
    return found


def files_of(path: Path, nlp: Language) -> dict[str, Callable[[], Iterator[Doc]]]:
    """The readers of the .spacy files at a path."""
    files = spacy_files(path)
    if not files:
        raise ValueError(Errors.P110.format(path=path, got="no .spacy file"))
    stems = Counter(file.stem for file in files)
    # Files of the same name in several folders are told apart by their folders.
    names = [str(file.relative_to(path).with_suffix("")) if stems[file.stem] > 1 else file.stem for file in files]
    return {name: partial(read_docs, file, nlp.vocab) for name, file in zip(names, files, strict=True)}


def corpora_of(
    path: Path, overrides: dict[str, Any]
) -> tuple[Language, dict[str, Callable[[], Iterator[Doc]]], dict[str, Any]]:
    """The readers of a config's corpora, a pipeline without pipes that tokenizes as the config says, and the settings
    of its padellm_ner pipe."""
    config = util.load_config(path, overrides=overrides, interpolate=True)
    if not config.get("corpora"):
        raise ValueError(Errors.P110.format(path=path, got="a config without [corpora]"))
    # No pipe is built, so no model is loaded and no dependency of one is needed.
    bare = config.copy()
    bare["nlp"] = {**config["nlp"], "pipeline": [], "disabled": []}
    bare["components"] = {}
    nlp = util.load_model_from_config(bare, auto_fill=True)
    blocks = nlp.config.interpolate()["corpora"]
    # What the files hold is looked at, not what training makes of them.
    blocks = {name: {**block, "augmenter": None} if "augmenter" in block else block for name, block in blocks.items()}
    readers = util.registry.resolve({"corpora": blocks})["corpora"]
    ours = (one for one in config.get("components", {}).values() if one.get("factory") == "padellm_ner")
    named: dict[str, Callable[[], Iterator[Doc]]] = {
        name: partial(_references, reader, nlp) for name, reader in readers.items() if callable(reader)
    }
    return nlp, named, dict(next(ours, {}))


def _references(reader: Callable[[Language], Iterable[Example]], nlp: Language) -> Iterator[Doc]:
    return (example.reference for example in reader(nlp))


def measuring_of(settings: dict[str, Any], tokenizer: Path | None) -> Measuring | None:
    """How texts are measured: with the tokenizer named, or that of the model in a pipe's settings; None if there is
    none on this machine."""
    name = (settings.get("model") or {}).get("name")
    if tokenizer is None and not name:
        return None
    # It brings torch, which no other part of this command needs.
    from spacy_padellm.pipeline.reach import Measuring, local_folder

    folder = tokenizer or local_folder(str(name))
    if folder is None:
        return None
    block = settings.get("scheme", DEFAULT_CONFIG["scheme"])
    return Measuring.of(folder, util.registry.resolve({"scheme": block})["scheme"], settings)


def report(findings: dict[str, Corpus]) -> dict[str, Any]:
    """All counts, ready for JSON."""
    return {name: found.figures() for name, found in findings.items()}


def print_findings(name: str, corpus: Corpus, limit: int, spans_key: str) -> None:
    """Print one corpus: a table of labels, then what to look at."""
    found = corpus.findings
    msg.divider(name)
    msg.info(f"{found.docs} documents, {found.tokens} tokens, {found.mentions} mentions")
    rows = [
        (label, count, found.docs_with[label], found.most[label], f"{1 - found.docs_with[label] / found.docs:.0%}")
        for label, count in found.labels.most_common()
    ]
    header = ("label", "mentions", "documents", "most in one", "documents without")
    msg.table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r"))
    told = [*counted(found, limit, spans_key), *suspected(corpus.suspects), *measured(corpus.reach)]
    for line in told:
        msg.warn(line)
    if not told:
        msg.good("Nothing to look at")
    if corpus.reach is not None:
        for length in corpus.reach.longest[:3]:
            msg.text(f"long: {length.pieces} pieces: {length.begins!r}")
        return
    for text in found.longest[:3]:
        msg.text(f"long: {text.characters} characters, {text.tokens} tokens: {text.begins!r}")


def counted(found: Findings, limit: int, spans_key: str) -> Iterator[str]:
    """What is suspect about places, counts and texts, and what it means."""
    suspects = {
        "mentions have white space at an edge: the model would have to answer it": found.blank_edges,
        "mentions reach over the end of a sentence: a window may end there": found.cross_sentence,
        "mentions lie off token borders: no prediction can reach them": found.unaligned,
        f"texts have more than {limit} mentions of one label: none of them is asked for": found.over_limit,
        f"mentions stand in doc.spans[{spans_key!r}] only, not in doc.ents: only spans hold overlaps": found.nested,
        "documents have no annotation at all: training leaves them out": found.unannotated,
        "documents have no text: training leaves them out": found.blank_texts,
        "texts stood before in this corpus: each weighs once more": found.doubles,
    }
    return (f"{count} {what}" for what, count in suspects.items() if count)


def suspected(suspects: Suspects) -> Iterator[str]:
    """What is suspect about strings and labels, and what it means."""
    repeated = suspects.repeated()
    if repeated:
        gaps = sum(one.occurs - one.annotated for one in repeated)
        examples = ", ".join(
            f"{one.string!r} ({one.label}) {one.annotated} of {one.occurs}" for one in repeated[:SHOWN]
        )
        yield (
            f'{gaps} occurrences of annotated strings are not annotated: gaps, or a reason for placing = "strict" '
            f'and against "all": {examples}'
        )
    means = {
        "two_labels": "strings have several labels in one text: leave one_label_per_string off",
        "crossing": "mentions cross another one: doc.ents holds one of them, AutoRegAug cannot mark both",
        "unmarkable": "mentions cannot be held by an answer of AutoRegAug: training with it leaves them out",
        "whole_texts": "mentions are the whole text: the model may learn to copy all of it",
    }
    for name, what in means.items():
        if count := getattr(suspects, name):
            yield f"{count} {what}: {', '.join(suspects.examples[name][:SHOWN])}"
    if rare := suspects.rare(FEW):
        named = ", ".join(f"{label} ({count})" for label, count in [*rare.items()][: 2 * SHOWN])
        yield f"{len(rare)} labels have fewer than {FEW} mentions, too few to learn from: {named}"
    for group in suspects.alike():
        yield f"Labels that differ in case or white space only, and are asked about one by one: {', '.join(group)}"


def measured(reach: Reach | None) -> Iterator[str]:
    """What is suspect about lengths in pieces, and what it means."""
    if reach is None:
        return
    if reach.in_windows:
        yield (
            f"{reach.in_windows} texts have more than {reach.limit} pieces: they are read in {reach.windows} windows, "
            "or refused with strict = true"
        )
    if reach.cut_off:
        yield f"{reach.cut_off} mentions lie whole in no window: they are lost to training and cannot be found"
    if reach.too_long:
        yield f"{reach.too_long} texts have a token that is longer than a window: they fail (P180)"


def print_across(corpora: dict[str, Corpus]) -> None:
    """Print what the corpora say about each other: labels that one lacks, and shared texts."""
    findings = {name: corpus.findings for name, corpus in corpora.items()}
    train = findings.get("train")
    if train is None:
        return
    for name, found in findings.items():
        if name == "train":
            continue
        missing = sorted(found.labels.keys() - train.labels.keys())
        if missing:
            msg.warn(f"Labels of {name} that train lacks: {', '.join(missing)}")
        shared = len(found.texts & train.texts)
        if shared:
            msg.warn(f"{shared} texts of {name} stand in train too, case and white space aside")
