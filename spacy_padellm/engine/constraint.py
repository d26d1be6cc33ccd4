"""The copy constraint: a mention may only be a string that stands in the text from a token's start to a token's end."""

from __future__ import annotations

import unicodedata
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, Protocol

from spacy_padellm.engine.pieces import Pieces

LONGEST_MENTION = 64
"""Tokens a copied mention may have at most."""


class Path(NamedTuple):
    """One spelling of a piece of text: `pieces[:k]` may stand as an answer for each k in `ends`, which gives the
    character behind it."""

    start: int
    pieces: tuple[int, ...]
    ends: dict[int, int]


class Constraint(Protocol):
    """What an answer may be, piece by piece. Its states are its own: they are handed back as they came."""

    start: Any

    def allowed(self, state: Any) -> tuple[list[int], bool]:
        """What may come next: the pieces, and whether the answer may end here."""
        ...

    def likely(self, state: Any) -> list[int]:
        """What is worth a draft: of what may come next, the pieces that go on with a string of the text."""
        ...

    def advance(self, state: Any, piece: int) -> Any:
        """The state after one more piece."""
        ...

    def string(self, state: Any) -> str:
        """The answer that a state stands for, in the text's own characters."""
        ...


class CopyState(NamedTuple):
    """How far an answer has come: the paths it may still be on, and how many pieces it has."""

    paths: tuple[int, ...]
    length: int


class CopyConstraint:
    """The strings of one text that an answer may spell, as pieces.

    From every token's start runs one path: the text from there on, cut into pieces as a segment of its own. An answer
    may follow a path and end wherever a piece's end is a token's end. A mention tokenised alone is cut as the path is,
    with one exception: where a token ends inside a piece, or inside a run of letters or of marks ("don't", and Chinese
    unless the tokenizer sets its characters apart), the tokenizer may cut the mention otherwise than the text that runs
    on. Those mentions get a path of their own, so every mention can be spelled exactly as training spelled it.

    text (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end (exclusive) of each token, in characters, blank tokens left out.
    pieces (Pieces): The tokenizer.
    """

    def __init__(self, text: str, borders: Sequence[tuple[int, int]], pieces: Pieces) -> None:
        self._text = text
        self._paths = spell_paths(text, borders, pieces)
        self.start = CopyState(tuple(range(len(self._paths))), 0)

    def allowed(self, state: CopyState) -> tuple[list[int], bool]:
        """What may come next: the pieces, and whether the answer may end here."""
        place = state.length
        following: dict[int, None] = {}
        may_end = False
        for index in state.paths:
            path = self._paths[index]
            may_end = may_end or place in path.ends
            if place < len(path.pieces):
                following[path.pieces[place]] = None
        return list(following), may_end

    def likely(self, state: CopyState) -> list[int]:
        """All that may come next."""
        return self.allowed(state)[0]

    def advance(self, state: CopyState, piece: int) -> CopyState:
        """The state after one more piece."""
        place = state.length
        paths = tuple(
            index
            for index in state.paths
            if place < len(self._paths[index].pieces) and self._paths[index].pieces[place] == piece
        )
        return CopyState(paths, place + 1)

    def string(self, state: CopyState) -> str:
        """The text's own characters that a finished answer stands for: whatever a tokenizer's normaliser changed."""
        for index in state.paths:
            path = self._paths[index]
            if state.length in path.ends:
                return self._text[path.start : path.ends[state.length]]
        raise AssertionError("an answer ended where no mention can end")


def spell_paths(
    text: str,
    borders: Sequence[tuple[int, int]],
    pieces: Pieces,
    *,
    tokens: Sequence[int] | None = None,
    longest: int = LONGEST_MENTION,
    reserved: Mapping[str, str] | None = None,
) -> list[Path]:
    """The paths of a text.

    tokens (Sequence[int] | None): The tokens that strings may begin with; None for all.
    longest (int): Tokens a string may have at most.
    reserved (Mapping[str, str] | None): Strings that are spelled otherwise than they stand in the text.
    """
    reserved = reserved or {}
    tokens = range(len(borders)) if tokens is None else tokens
    starts = [borders[token][0] for token in tokens]
    lasts = [min(token + longest, len(borders)) - 1 for token in tokens]
    spellings = pieces.spell_within(
        text, [(start, borders[last][1]) for start, last in zip(starts, lasts, strict=True)]
    )
    # Once a border: a border is looked at from every token before it.
    clean_ends = {end for _, end in borders if _cuts_cleanly(text, end, pieces)}
    paths: list[Path] = []
    awkward: list[tuple[int, int]] = []
    for token, start, last, spelling in zip(tokens, starts, lasts, spellings, strict=True):
        place_of_end = {start + end: place + 1 for place, end in enumerate(spelling.ends) if end > 0}
        ends: dict[int, int] = {}
        for _, end in borders[token : last + 1]:
            place = place_of_end.get(end)
            clean = end == borders[last][1] or end in clean_ends
            if place is not None and clean and not (reserved and text[start:end] in reserved):
                ends[place] = end
            else:
                awkward.append((start, end))
        if ends:  # pieces behind the last possible end would lead nowhere
            paths.append(Path(start, spelling.pieces[: max(ends)], ends))
    alone = pieces.encode([reserved.get(text[start:end], text[start:end]) for start, end in awkward])
    paths += [Path(start, cut, {len(cut): end}) for (start, end), cut in zip(awkward, alone, strict=True) if cut]
    return paths


def _cuts_cleanly(text: str, end: int, pieces: Pieces) -> bool:
    """Whether a tokenizer cuts at `end` whatever follows: at the text's end, before a blank, and between a letter or
    digit and anything that is neither; beside Chinese characters where it sets them apart. A combining mark may become
    one character with the letter before it."""
    if end >= len(text) or text[end].isspace():
        return True
    if pieces.sets_han_apart and (_is_chinese(text[end - 1]) or _is_chinese(text[end])):
        return True
    if unicodedata.category(text[end]).startswith("M"):
        return False
    return text[end - 1].isalnum() != text[end].isalnum()


def _is_chinese(char: str) -> bool:
    """Whether it surely is one of the tokenizer's Han characters: there are more, in rarer blocks."""
    return "\u4e00" <= char <= "\u9fa5"
