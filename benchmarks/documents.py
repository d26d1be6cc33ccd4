"""Documents with gold mentions, as benchmarks read them."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

from spacy_padellm.backends.local import Text
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
    """
    documents = []
    with path.open(encoding="utf8") as lines:
        for line in lines:
            record = json.loads(line)
            borders, place = [], 0
            for token in record["tokens"]:
                start = record["text"].index(token, place)
                place = start + len(token)
                if token.strip():
                    borders.append((start, place))
            spans = sorted(record["spans"], key=lambda span: (span[0], -span[1]))
            gold = tuple(Mention(label, record["text"][start:end], start=start) for start, end, label in spans)
            if borders:
                documents.append(Document(Text(record["text"], borders), gold))
            if limit is not None and len(documents) == limit:
                break
    return documents


def labels_of(documents: list[Document]) -> dict[str, str]:
    """The labels that occur, each as its own words."""
    return {label: label for label in sorted({mention.label for doc in documents for mention in doc.gold})}
