"""`python -m spacy padellm debug`: what can be told about training data without a model."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import spacy
import srsly
import typer
from spacy import util
from spacy.cli._util import parse_config_overrides
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.checks import Findings, examine
from spacy_padellm.data.doc_bins import read_docs, spacy_files
from spacy_padellm.errors import Errors

OVERRIDES = {"allow_extra_args": True, "ignore_unknown_options": True}


@app.command("debug", context_settings=OVERRIDES)
def debug_cli(
    ctx: typer.Context,
    path: Path = typer.Argument(
        ..., help="Training config (its corpora are checked), .spacy file, or folder of .spacy files", exists=True
    ),
    lang: str = typer.Option("en", "--lang", "-l", help="Language code, for the tokenizer; a config names its own"),
    spans_key: str = typer.Option("sc", "--spans-key", "-sk", help="Span group with all mentions"),
    limit: int = typer.Option(99, "--limit", "-n", help="Most mentions of one label in one text"),
    output: Path | None = typer.Option(None, "--output", "-o", help="JSON file to write the counts to"),
    code: Path | None = typer.Option(
        None, "--code", "-c", help="Python file with registered functions that the config needs"
    ),
) -> None:
    """Check training data: labels and counts, white space at mentions' edges, mentions across sentences, mentions that
    no prediction can reach, counts over the limit, mentions that doc.ents cannot hold, doubles, the longest texts.
    """
    with coded_errors():
        util.import_file("python_code", code) if code else None
        overrides = parse_config_overrides(ctx.args)
        findings = debug(path, lang=lang, spans_key=spans_key, limit=limit, overrides=overrides)
    if output is not None:
        output.parent.mkdir(parents=True, exist_ok=True)
        srsly.write_json(output, report(findings))
    for name, found in findings.items():
        print_findings(name, found, limit, spans_key)
    print_across(findings)


def debug(
    path: Path, *, lang: str = "en", spans_key: str = "sc", limit: int = 99, overrides: dict[str, Any] | None = None
) -> dict[str, Findings]:
    """Examine the corpora that a path names.

    path (Path): A config, a .spacy file or a folder of .spacy files.
    RETURNS (dict[str, Findings]): What each corpus holds, by the corpus' name.
    RAISES (ValueError): P109 for a file that is not a .spacy file, P110 for a path without corpora.
    """
    if path.suffix == ".cfg":
        nlp, corpora = corpora_of(path, overrides or {})
    else:
        nlp = spacy.blank(lang)
        files = spacy_files(path)
        if not files:
            raise ValueError(Errors.P110.format(path=path, got="no .spacy file"))
        stems = Counter(file.stem for file in files)
        # Files of the same name in several folders are told apart by their folders.
        names = [str(file.relative_to(path).with_suffix("")) if stems[file.stem] > 1 else file.stem for file in files]
        corpora = {name: read_docs(file, nlp.vocab) for name, file in zip(names, files, strict=True)}
    return {name: examine(docs, nlp, spans_key=spans_key, limit=limit) for name, docs in corpora.items()}


def corpora_of(path: Path, overrides: dict[str, Any]) -> tuple[Language, dict[str, Iterator[Doc]]]:
    """The corpora of a config, and a pipeline without pipes that tokenizes as the config says."""
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
    named = {name: reader for name, reader in readers.items() if callable(reader)}
    return nlp, {name: (example.reference for example in reader(nlp)) for name, reader in named.items()}


def report(findings: dict[str, Findings]) -> dict[str, Any]:
    """All counts, ready for JSON."""
    return {name: found.figures() for name, found in findings.items()}


def print_findings(name: str, found: Findings, limit: int, spans_key: str) -> None:
    """Print one corpus: a table of labels, then what to look at."""
    msg.divider(name)
    msg.info(f"{found.docs} documents, {found.tokens} tokens, {found.mentions} mentions")
    rows = [
        (label, count, found.docs_with[label], found.most[label], f"{1 - found.docs_with[label] / found.docs:.0%}")
        for label, count in found.labels.most_common()
    ]
    header = ("label", "mentions", "documents", "most in one", "documents without")
    msg.table(rows, header=header, divider=True, aligns=("l", "r", "r", "r", "r"))
    suspects = {
        "mentions have white space at an edge": found.blank_edges,
        "mentions reach over the end of a sentence": found.cross_sentence,
        "mentions lie off token borders: no prediction can reach them": found.unaligned,
        f"texts have more than {limit} mentions of one label": found.over_limit,
        f"mentions stand in doc.spans[{spans_key!r}] only, not in doc.ents": found.nested,
        "documents have no annotation at all": found.unannotated,
        "documents have no text": found.blank_texts,
        "texts stood before in this corpus": found.doubles,
    }
    for what, count in suspects.items():
        if count:
            msg.warn(f"{count} {what}")
    if not any(suspects.values()):
        msg.good("Nothing to look at")
    for text in found.longest[:3]:
        msg.text(f"long: {text.characters} characters, {text.tokens} tokens: {text.begins!r}")


def print_across(findings: dict[str, Findings]) -> None:
    """Print what the corpora say about each other: labels that one lacks, and shared texts."""
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
