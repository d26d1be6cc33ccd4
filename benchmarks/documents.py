"""Documents with gold mentions, as benchmarks read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from spacy_padellm.backends.local import Text
from spacy_padellm.errors import Errors
from spacy_padellm.types import Mention


@dataclass(frozen=True)
class Document:
    """A text with its token borders and gold mentions in text order."""

    text: Text
    gold: tuple[Mention, ...]


def read_documents(path: Path, limit: int | None = None) -> list[Document]:
    """Documents of a JSON lines file: {"text", "tokens": [...], "spans": [[start, end, label], ...]}.

    path (Path): The file.
    limit (int | None): Read the first ones only.
    RETURNS (list[Document]): Those with at least one token.
    RAISES (ValueError): P136 for a line that is something else.
    """
    documents: list[Document] = []
    with path.open("rb") as lines:
        for number, line in enumerate(lines, start=1):
            try:
                document = _document(json.loads(line.decode("utf8")))
            except (ValueError, TypeError, KeyError) as error:
                problem = f"{type(error).__name__}: {error}"
                raise ValueError(Errors.P136.format(path=path, line=number, problem=problem)) from error
            if document.text.borders:
                documents.append(document)
            if limit is not None and len(documents) == limit:
                break
    return documents


def _document(record: dict[str, Any]) -> Document:
    text, borders, place = record["text"], [], 0
    for token in record["tokens"]:
        start = text.index(token, place)
        place = start + len(token)
        if token.strip():
            borders.append((start, place))
    spans = sorted(record["spans"], key=lambda span: (span[0], -span[1]))
    gold = tuple(Mention(label, text[start:end], start=start) for start, end, label in spans)
    return Document(Text(text, borders), gold)


def labels_of(documents: list[Document]) -> dict[str, str]:
    """The labels that occur, each as its own words."""
    return {label: label for label in sorted({mention.label for doc in documents for mention in doc.gold})}
