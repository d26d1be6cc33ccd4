"""Where a string stands in a text, from a token's start to a token's end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Borders:
    """The character offsets at which a span may begin and end. Built once per document, because every mention
    of the document is looked up against the same tokens.

    starts (frozenset[int]): Start of each token that is not white space.
    ends (frozenset[int]): End of each such token, exclusive.
    """

    starts: frozenset[int]
    ends: frozenset[int]

    @classmethod
    def from_tokens(cls, text: str, tokens: Iterable[tuple[int, int]]) -> Borders:
        """Collect the borders of a text's tokens.

        Tokens that hold nothing but white space (spaCy makes one of each run of extra blanks) give no borders: a
        span may hold such a token, but may not begin or end with it.

        text (str): The text of the document.
        tokens (Iterable[tuple[int, int]]): Start and exclusive end of each token, in characters.
        RETURNS (Borders): The borders.
        """
        worded = [(start, end) for start, end in tokens if text[start:end].strip()]
        return cls(starts=frozenset(start for start, _ in worded), ends=frozenset(end for _, end in worded))


def occurrences(text: str, borders: Borders, string: str) -> list[tuple[int, int]]:
    """Find every place where `string` stands in `text`, character for character, on token borders.

    Nothing is lower-cased or normalised: both can change the length of a text and so move its offsets ("İ" becomes
    two characters). White space at the edges of `string` is trimmed first, because no span may begin or end with
    it; a string with nothing else finds no place.

    Places are counted from left to right and do not overlap each other, as in `str.count`: two equal strings that
    share characters are never nested in one another, only two readings of one place, and no gold annotation holds
    both. A match off the token borders takes nothing away from the matches after it:

        text "banana", one token a character    string "ana"    (1, 4) only
        text "aaa", tokens "a" and "aa"         string "aa"     (1, 3)

    text (str): The text to search.
    borders (Borders): The token borders of `text`.
    string (str): The string to find.
    RETURNS (list[tuple[int, int]]): Start and exclusive end of each place, in text order.
    """
    wanted = string.strip()
    places: list[tuple[int, int]] = []
    if not wanted:
        return places
    start = text.find(wanted)
    while start != -1:
        end = start + len(wanted)
        on_borders = start in borders.starts and end in borders.ends
        if on_borders:
            places.append((start, end))
        start = text.find(wanted, end if on_borders else start + 1)
    return places
