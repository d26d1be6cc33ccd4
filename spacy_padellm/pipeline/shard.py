"""The documents of one shard of output, as each format writes them."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from spacy.tokens import Doc, DocBin

from spacy_padellm.data.durable import json_line
from spacy_padellm.data.entries import Entry
from spacy_padellm.pipeline.outcomes import entities_of, mentions_of

REPLACED = "replaced"
"""Where a line keeps the fields of the input that bear the names of ours."""

FIELDS = "fields"
"""Where `doc.user_data` keeps the fields of the input, as JSON."""


class JsonLines:
    """Lines of JSON: the fields of the input, and `spans`, `scores` and `ents`.

    spans_key (str): The span group with all mentions.
    """

    suffix = ".jsonl"

    def __init__(self, spans_key: str) -> None:
        self.spans_key = spans_key
        self.lines: list[bytes] = []

    def __len__(self) -> int:
        return len(self.lines)

    def add(self, entry: Entry, doc: Doc) -> None:
        self.lines.append(json_line(line_of(entry, doc, self.spans_key)))

    def to_bytes(self) -> bytes:
        return b"".join(self.lines)


class SpacyDocs:
    """A `DocBin`, with everything a document holds. The fields of the input stand in `doc.user_data["fields"]`.

    spans_key (str): Is not needed: all span groups are kept.
    """

    suffix = ".spacy"

    def __init__(self, spans_key: str) -> None:
        self.docs = DocBin(store_user_data=True)

    def __len__(self) -> int:
        return len(self.docs)

    def add(self, entry: Entry, doc: Doc) -> None:
        if isinstance(entry.text, str):
            doc.user_data[FIELDS] = json.dumps(entry.fields)
        # A document that cannot be written must not leave half of itself among the others.
        self.docs.merge(DocBin(store_user_data=True, docs=[doc]))

    def to_bytes(self) -> bytes:
        content: bytes = self.docs.to_bytes()
        return content


AnyPart = JsonLines | SpacyDocs
PARTS: dict[str, Callable[[str], AnyPart]] = {"jsonl": JsonLines, "spacy": SpacyDocs}


def line_of(entry: Entry, doc: Doc, spans_key: str) -> dict[str, Any]:
    """What a line says about a document.

    RETURNS (dict[str, Any]): The fields of the input in their order; then `spans`, all mentions as [start, end, label]
        in characters, the end exclusive; `scores`, one a span, null where the pipeline gives none; `ents`, what stands
        in `doc.ents`. Fields of the input that have one of these names are in `replaced`.
    """
    mentions = mentions_of(doc, spans_key)
    ours = {
        "spans": [list(one.key) for one in mentions],
        "scores": [None if one.score is None else round(one.score, 6) for one in mentions],
        "ents": [list(one.key) for one in entities_of(doc)],
    }
    names = {*ours, REPLACED}
    replaced = {name: value for name, value in entry.fields.items() if name in names}
    kept = {name: value for name, value in entry.fields.items() if name not in names}
    return {**kept, **ours, REPLACED: replaced} if replaced else {**kept, **ours}
