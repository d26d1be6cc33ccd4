"""Reading .spacy files."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from spacy.tokens import Doc, DocBin
from spacy.vocab import Vocab

from spacy_padellm.data.readable import Readable
from spacy_padellm.errors import Errors


def spacy_files(path: Path) -> list[Path]:
    """The .spacy file that a path names, or those in the folder, at any depth; none for any other path."""
    files = sorted(path.rglob("*.spacy")) if path.is_dir() else [path]
    return [file for file in files if file.suffix == ".spacy" and file.is_file()]


def read_docs(path: Readable, vocab: Vocab) -> Iterator[Doc]:
    """The documents of a .spacy file.

    RAISES (ValueError): P109 if it is none. zlib, msgpack and spaCy each have errors of their own for that.
    """
    try:
        yield from DocBin().from_bytes(path.read_bytes()).get_docs(vocab)
    except OSError:
        raise
    except Exception as error:
        raise ValueError(Errors.P109.format(path=path, problem=error or type(error).__name__)) from error
