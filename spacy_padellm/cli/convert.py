"""`python -m spacy padellm convert`: a published file to gold documents."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path

import spacy
import typer
from wasabi import msg

from spacy_padellm.cli.root import app, coded_errors
from spacy_padellm.data.converters import READERS, format_of, reader_for
from spacy_padellm.data.docs import OnUnaligned, Summary, to_doc_bin
from spacy_padellm.data.records import OnError, Skip, stop
from spacy_padellm.errors import Errors, Warnings


@app.command("convert")
def convert_cli(
    input_path: Path = typer.Argument(..., help="File to convert, or a folder of ACE's files", exists=True),
    output_path: Path = typer.Argument(..., help="The .spacy file to write"),
    format: str = typer.Option(
        "auto", "--format", "-f", help=f"Format of the file: {', '.join(READERS)}, or auto to go by its suffix"
    ),
    token_column: int | None = typer.Option(
        None, "--token-column", help="Column of the tokens, from 0, or from -1 at the end of the line"
    ),
    tag_column: list[int] = typer.Option(
        [], "--tag-column", help="Column of the tags, counted likewise; several times for several levels"
    ),
    lang: str = typer.Option("en", "--lang", "-l", help="Language code, for the tokenizer"),
    spans_key: str = typer.Option("sc", "--spans-key", "-sk", help="Span group that takes all mentions"),
    on_unaligned: str = typer.Option(
        "split",
        "--on-unaligned",
        "-u",
        help="Mentions off token borders: split the token in the gold document, expand the mention, or skip it",
    ),
    on_error: str = typer.Option("stop", "--on-error", "-e", help="At a broken record: stop, or skip it"),
    use_tokens: bool = typer.Option(False, "--use-tokens", "-t", help="Take the file's own tokens where it has them"),
) -> None:
    """Convert a file with entities to a .spacy file. All mentions go to a span group, those that do not overlap to
    doc.ents too, the longest first. White space at a mention's edges is trimmed. What was changed or left out is
    counted at the end.
    """
    with coded_errors():
        summary, skipped = convert(
            input_path,
            output_path,
            format=format,
            token_column=token_column,
            tag_columns=tag_column,
            lang=lang,
            spans_key=spans_key,
            on_unaligned=on_unaligned,  # type: ignore[arg-type]
            on_error=on_error,
            use_tokens=use_tokens,
        )
    print_summary(summary, skipped)
    msg.good(f"{summary.docs} documents saved to {output_path}")


def convert(
    input_path: Path,
    output_path: Path,
    *,
    format: str = "auto",
    token_column: int | None = None,
    tag_columns: Sequence[int] = (),
    lang: str = "en",
    spans_key: str = "sc",
    on_unaligned: OnUnaligned = "split",
    on_error: str = "stop",
    use_tokens: bool = False,
) -> tuple[Summary, int]:
    """Convert a file. What stood at `output_path` stays as it was if the conversion stops.

    RETURNS (tuple[Summary, int]): What was done, and how many broken records were left out.
    RAISES (ValueError): P001, P100 to P107 or P113 for a file or a setting that cannot be used.
    """
    if on_error not in ("stop", "skip"):
        raise ValueError(Errors.P001.format(name="on_error", expected='"stop" or "skip"', got=on_error))
    name = format_of(input_path) if format == "auto" else format
    reader = reader_for(name, token_column=token_column, tag_columns=tag_columns)
    skip = Skip()
    choice: OnError = skip if on_error == "skip" else stop
    doc_bin, summary = to_doc_bin(
        reader(input_path, choice),
        spacy.blank(lang),
        on_unaligned=on_unaligned,
        spans_key=spans_key,
        use_tokens=use_tokens,
    )
    if skip.messages:
        values = {"path": input_path, "count": len(skip.messages), "first": skip.messages[0]}
        warnings.warn(Warnings.W040.format(**values), stacklevel=2)
    if not summary.docs:
        raise ValueError(Errors.P105.format(path=input_path, skipped=len(skip.messages)))
    output_path.parent.mkdir(parents=True, exist_ok=True)
    doc_bin.to_disk(output_path)
    return summary, len(skip.messages)


def print_summary(summary: Summary, skipped: int) -> None:
    """Print what a conversion did: labels, and every count that is not zero."""
    msg.table(sorted(summary.labels.items()), header=("label", "mentions"), aligns=("l", "r"), divider=True)
    told = {
        "mentions read": summary.mentions,
        "mentions kept": summary.kept,
        "blank edges trimmed": summary.trimmed,
        "blank mentions dropped": summary.blank,
        "mentions given twice, counted once": summary.repeated,
        "mentions that the text does not have": summary.unplaced,
        "mentions off token borders": summary.unaligned,
        "of these left out": summary.skipped,
        "overlapping mentions, in the span group only": summary.nested,
        "documents without text": summary.blank_texts,
        "broken records left out": skipped,
    }
    msg.table([(name, count) for name, count in told.items() if count], aligns=("l", "r"))
