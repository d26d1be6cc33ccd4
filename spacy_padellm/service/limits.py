"""What one request may ask for."""

from __future__ import annotations

from dataclasses import dataclass

from spacy_padellm.errors import Errors
from spacy_padellm.service.bodies import AnnotateBody


class TooMuch(Exception):
    """A request is larger than it may be."""


@dataclass(frozen=True)
class Limits:
    """The most that a request may have.

    body (int): Bytes.
    texts (int): Texts.
    characters (int): Characters of a text.
    labels (int): Labels.
    seconds (float): Seconds that its answer may take.
    """

    body: int = 10_000_000
    texts: int = 1_000
    characters: int = 1_000_000
    labels: int = 500
    seconds: float = 60.0

    def check(self, body: AnnotateBody) -> None:
        """RAISES (TooMuch): P179 for a request that has more."""
        texts = body.texts if body.texts is not None else [body.text or ""]
        found = {
            "texts": (len(texts), self.texts),
            "characters in a text": (max(map(len, texts), default=0), self.characters),
            "labels": (len(body.labels or ()), self.labels),
        }
        for what, (got, limit) in found.items():
            if got > limit:
                raise too_much(what, got, limit)


def too_much(what: str, got: int, limit: int) -> TooMuch:
    return TooMuch(Errors.P179.format(what=what, got=got, limit=limit))
