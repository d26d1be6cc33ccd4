"""The command that the package's commands hang under."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

import typer
from wasabi import msg

app = typer.Typer(
    name="padellm",
    help="Tools of spacy-padellm: data, training, annotated files, figures, exports and a service.",
    no_args_is_help=True,
    rich_markup_mode=None,
)


@contextmanager
def coded_errors() -> Iterator[None]:
    """Print a file's or a setting's error without a traceback and exit with 1."""
    try:
        yield
    except (ValueError, OSError) as error:
        msg.fail(str(error), exits=1)
