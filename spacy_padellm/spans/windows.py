"""A text that is too long to be read at once, cut into windows that overlap.

sentences   |-------|-----------|-----|---------------------------------|------|
windows     |===================|
                          |===========|                  cut at sentence ends
                                      |===============|
                                                 |======================|   ... else at tokens
"""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spacy_padellm.errors import Errors


class Window(NamedTuple):
    """Tokens that are read at once.

    start (int): The first one.
    stop (int): The one behind the last.
    """

    start: int
    stop: int


@dataclass(frozen=True)
class Measured:
    """A text with what it takes to cut it. Sizes are pieces of the model, as it is those that a model has room for.

    string (str): The text.
    borders (Sequence[tuple[int, int]]): Start and end (exclusive) of each token that is not blank, in characters.
    sentences (Sequence[int]): The tokens that begin a sentence, ascending; empty where nothing is known of sentences.
    before (Sequence[int]): For each token the pieces in front of it, when the text is cut into pieces as a whole.
    behind (Sequence[int]): For each token the pieces up to its end.
    measure (Callable[[str], int]): The pieces of a string alone, which may be others than within the text.
    """

    string: str
    borders: Sequence[tuple[int, int]]
    sentences: Sequence[int]
    before: Sequence[int]
    behind: Sequence[int]
    measure: Callable[[str], int]

    def part(self, window: Window) -> str:
        return self.string[self.borders[window.start][0] : self.borders[window.stop - 1][1]]


def cut(text: Measured, *, limit: int, overlap: int) -> Iterator[Window]:
    """Cut a text into windows, one after the other, each as large as it may be.

    A window ends at the last sentence end that it reaches. The next one begins with as many of its last sentences as
    `overlap` holds, as long as the sentence behind them still fits whole. Where a window reaches no sentence end,
    because there are none or a sentence is longer than a window, it ends at a token, and the next one begins with its
    last tokens. So no sentence is cut that fits a window.

    text (Measured): The text; it has one token at least.
    limit (int): The most pieces of a window.
    overlap (int): The most pieces that a window shares with the one before it, at most half of `limit`.
    YIELDS (Window): In text order; both starts and stops ascend, and every token lies in one of them at least.
    RAISES (ValueError): P180 if a single token has more pieces than a window may have.
    """
    n_tokens = len(text.borders)
    window = _grown(text, 0, 0, limit)
    yield window
    while window.stop < n_tokens:
        at_sentence = _is_sentence(text, window.stop)
        wanted = _next_sentence(text, window.stop) if at_sentence else window.stop + 1
        for start in (_sentence_starts if at_sentence else _token_starts)(text, window, overlap):
            # Most that do not fit are told without being measured.
            if text.behind[wanted - 1] - text.before[start] > limit:
                continue
            grown = _grown(text, start, window.stop, limit)
            if grown.stop >= wanted:
                break
        else:
            grown = _grown(text, window.stop, window.stop, limit)
        window = grown
        yield window


def _grown(text: Measured, start: int, done: int, limit: int) -> Window:
    """The largest window from a token on. It ends at a sentence end behind `done` if it reaches one.

    done (int): Where the window before ended; a window that does not get beyond that may be returned.
    """
    window = _fitting(text, Window(start, bisect_right(text.behind, text.before[start] + limit)), limit)
    if window.stop == len(text.borders):
        return window
    place = bisect_right(text.sentences, window.stop) - 1
    if place >= 0 and text.sentences[place] > max(start, done):
        return _fitting(text, Window(start, text.sentences[place]), limit)
    return window


def _fitting(text: Measured, window: Window, limit: int) -> Window:
    """A window, less the last tokens that are too much: alone it may have more pieces than within the text."""
    start, stop = window.start, max(window.start + 1, window.stop)
    while (size := text.measure(text.part(Window(start, stop)))) > limit:
        if stop == start + 1:
            token = text.part(Window(start, stop))
            raise ValueError(Errors.P180.format(token=token[:60], got=size, limit=limit))
        target = text.behind[stop - 1] - (size - limit)
        stop = max(start + 1, min(stop - 1, bisect_right(text.behind, target)))
    return Window(start, stop)


def _sentence_starts(text: Measured, window: Window, overlap: int) -> Sequence[int]:
    """The sentences that the next window may begin with, the first of them first."""
    first = bisect_left(text.sentences, _lowest(text, window, overlap))
    return text.sentences[first : bisect_left(text.sentences, window.stop)]


def _token_starts(text: Measured, window: Window, overlap: int) -> Sequence[int]:
    lowest = _lowest(text, window, overlap)
    return (lowest,) if lowest < window.stop else ()


def _lowest(text: Measured, window: Window, overlap: int) -> int:
    """The first token from which on a window's end holds no more than the overlap; never the window's own first."""
    least = text.behind[window.stop - 1] - overlap
    return max(window.start + 1, bisect_left(text.before, least, hi=window.stop))


def _is_sentence(text: Measured, token: int) -> bool:
    place = bisect_left(text.sentences, token)
    return place < len(text.sentences) and text.sentences[place] == token


def _next_sentence(text: Measured, token: int) -> int:
    """Where the sentence behind a token's own begins, or the text's end."""
    place = bisect_right(text.sentences, token)
    return text.sentences[place] if place < len(text.sentences) else len(text.borders)
