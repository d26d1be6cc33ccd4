"""What every converter yields: a text with its gold mentions, as plain values."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import NamedTuple


class Gold(NamedTuple):
    """A gold mention: character offsets into the text, `end` exclusive."""

    start: int
    end: int
    label: str


@dataclass(frozen=True)
class Record:
    """One text with its gold mentions, as a file has them: nothing is trimmed, sorted or dropped yet.

    text (str): The text with its own white space. It holds no lone surrogates.
    spans (tuple[Gold, ...]): All mentions, overlapping ones too. Offsets lie within the text.
    tokens (tuple[str, ...] | None): The file's own tokens: the text but for white space. None where it has none.
    unplaced (int): How many mentions the file names only as strings that the text does not have.
    """

    text: str
    spans: tuple[Gold, ...] = ()
    tokens: tuple[str, ...] | None = None
    unplaced: int = 0


OnError = Callable[[ValueError], None]
"""What becomes of a broken record: the callable raises the error, or returns to leave the record out."""


def stop(error: ValueError) -> None:
    """End at the first broken record."""
    raise error


@dataclass
class Skip:
    """Leaves broken records out and keeps what was said about each."""

    messages: list[str] = field(default_factory=list)

    def __call__(self, error: ValueError) -> None:
        self.messages.append(str(error))


def decode(raw: bytes) -> str:
    """Read UTF-8, and the two oddities that published files have.

    Characters outside the basic plane written as two encoded surrogates (CESU-8) become the character that was
    meant; a byte order mark goes.

    RAISES (UnicodeDecodeError): If it is not UTF-8 in any other way.
    """
    return whole_characters(raw.decode("utf-8", "surrogatepass").removeprefix("\ufeff"))


def whole_characters(text: str) -> str:
    """Join pairs of surrogates; one without its partner becomes U+FFFD, because no spaCy text can hold it."""
    if text.isascii():
        return text
    return text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")


def same_but_for_blanks(tokens: tuple[str, ...], text: str) -> bool:
    """Whether the tokens are the text, white space aside."""
    return "".join("".join(tokens).split()) == "".join(text.split())
