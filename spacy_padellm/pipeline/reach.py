"""Gold documents in a model's pieces: the longest, those that are read in windows, and the mentions that are cut."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import srsly
from spacy.tokens import Doc
from transformers.utils import cached_file

from spacy_padellm.engine.checkpoint import Reference, load_pieces
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.pipeline.examples import is_blank, sentence_starts, text_of
from spacy_padellm.pipeline.windows import Windowing, gold_parts, room_for
from spacy_padellm.types import Mention, Scheme, Words

_UNKNOWN_POSITIONS = 1 << 30
"""Of a model that does not say how many it has."""


class Length(NamedTuple):
    """A text that is among the longest: its pieces, and how it begins."""

    pieces: int
    begins: str


@dataclass
class Reach:
    """What was measured of one corpus.

    positions (int | None): The model's positions; None if it does not say.
    limit (int | None): The most pieces of a text that are read at once; None if the model has no room at all.
    longest (list[Length]): The longest texts.
    in_windows (int): Texts that will be read in windows.
    windows (int): How many windows these are.
    cut_off (int): Gold mentions that no window holds as a whole.
    too_long (int): Texts with a token that no window holds (P180).
    """

    positions: int | None = None
    limit: int | None = None
    longest: list[Length] = field(default_factory=list)
    in_windows: int = 0
    windows: int = 0
    cut_off: int = 0
    too_long: int = 0

    def figures(self) -> dict[str, Any]:
        """All of it, ready for JSON."""
        return {**vars(self), "longest": [text._asdict() for text in self.longest]}


@dataclass(frozen=True)
class Measuring:
    """How texts are measured.

    pieces (Pieces): The tokenizer.
    positions (int | None): The model's positions.
    scheme (Scheme): What is asked.
    window (int | None): The pipe's `window`.
    overlap (float): Its `window_overlap`.
    max_answer (int): Its `max_answer`.
    """

    pieces: Pieces
    positions: int | None
    scheme: Scheme
    window: int | None = None
    overlap: float = 0.125
    max_answer: int = 128

    @classmethod
    def of(cls, folder: Path, scheme: Scheme, settings: Mapping[str, Any]) -> Measuring:
        """With the tokenizer in a folder, and the positions that a config.json beside it names.

        settings (Mapping[str, Any]): Of the pipe; what they lack is as it is by default.
        RAISES (ValueError): P027 or P020 if there is no tokenizer that can be used.
        """
        config = srsly.read_json(folder / "config.json") if (folder / "config.json").is_file() else {}
        names = {"window": "window", "window_overlap": "overlap", "max_answer": "max_answer"}
        given = {field: settings[name] for name, field in names.items() if name in settings}
        return cls(load_pieces(Reference(str(folder))), config.get("max_position_embeddings"), scheme, **given)

    def measure(self, docs: Iterable[Doc], labels: Iterable[str], *, spans_key: str = "sc", keep: int = 5) -> Reach:
        """Measure gold documents that are asked about some labels.

        keep (int): How many of the longest texts to name.
        """
        words: dict[str, Words] = {label: self.scheme.words(label) for label in labels}
        positions = self.positions or _UNKNOWN_POSITIONS
        room = room_for(self.pieces, positions, self.scheme, words, max_answer=self.max_answer)
        limit = None if room < 1 else min(room, self.window or room)
        windowing = Windowing(self.pieces, limit, int((limit or 0) * self.overlap), strict=False)
        reach = Reach(self.positions, limit if self.positions or self.window else None)
        for doc in docs:
            if not is_blank(doc):
                self._measure(doc, windowing, reach, spans_key)
                # Sorting is stable: of equally long texts the first ones stay.
                reach.longest.sort(key=lambda text: -text.pieces)
                del reach.longest[keep:]
        return reach

    def _measure(self, doc: Doc, windowing: Windowing, reach: Reach, spans_key: str) -> None:
        golds = doc.spans[spans_key] if spans_key in doc.spans else doc.ents
        ordered = sorted(golds, key=lambda span: (span.start_char, -span.end_char))
        mentions = [Mention(span.label_, span.text, start=span.start_char) for span in ordered]
        reach.longest.append(Length(len(self.pieces.encode([doc.text])[0]), doc.text[:60]))
        try:
            parts = gold_parts(windowing, text_of(doc), sentence_starts(doc), mentions)
        except ValueError:
            reach.too_long += 1
            return
        if len(parts.parts) > 1:
            reach.in_windows += 1
            reach.windows += len(parts.parts)
            reach.cut_off += len(parts.lost)


def local_folder(name: str) -> Path | None:
    """Where a model's tokenizer lies on this machine: a folder, or what was downloaded before; None if nowhere. The
    network is not asked."""
    if Path(name).is_dir():
        return Path(name)
    try:
        found = cached_file(name, "tokenizer.json", local_files_only=True)
    except (OSError, ValueError):  # it is not there, or no name of the hub
        return None
    return Path(found).parent if found else None
