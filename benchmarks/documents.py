"""Documents with gold mentions, as benchmarks read them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import spacy

from spacy_padellm.backends.local import Text
from spacy_padellm.data.converters import format_of, reader_for
from spacy_padellm.data.docs import to_docs
from spacy_padellm.data.records import stop
from spacy_padellm.types import Mention

_SPANS_KEY = "gold"


@dataclass(frozen=True)
class Document:
    """A text with its token borders and gold mentions in text order."""

    text: Text
    gold: tuple[Mention, ...]


def read_documents(path: Path, limit: int | None = None, *, language: str = "en") -> list[Document]:
    """Documents of a file in one of the package's formats, which its suffix tells: `.jsonl`, SNIPS' `.json`, ...

    path (Path): The file.
    limit (int | None): Read the first ones only.
    language (str): Whose blank tokenizer gives the tokens of a text that comes without.
    RETURNS (list[Document]): Those with at least one token. A mention that ends inside a token grows to its end.
    RAISES (ValueError): As the format's reader does: P100 for a line of a `.jsonl` file that is no document.
    """
    return [*islice(_documents(path, language), limit)]


def _documents(path: Path, language: str) -> Iterator[Document]:
    records = reader_for(format_of(path))(path, stop)
    for doc in to_docs(records, spacy.blank(language), on_unaligned="expand", spans_key=_SPANS_KEY, use_tokens=True):
        borders = [(token.idx, token.idx + len(token)) for token in doc if not token.is_space]
        if borders:
            gold = (Mention(span.label_, span.text, start=span.start_char) for span in doc.spans[_SPANS_KEY])
            yield Document(Text(doc.text, borders), tuple(gold))


def labels_of(documents: list[Document]) -> dict[str, str]:
    """The labels that occur, each as its own words."""
    return {label: label for label in sorted({mention.label for doc in documents for mention in doc.gold})}
