"""A text with marks around its mentions: how it is written, and how it is read."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from spacy_padellm.schemes.marks import escape, unescape
from spacy_padellm.types import Move, Segment, State

MARKS = "[]|"
_SHOWN = 60
"""Characters that tell of a part that makes no sense: brackets within brackets would otherwise fill the memory."""

_CLOSER = re.compile(r"\|((?:[^\[\]|\\]|\\.)*)\]", re.DOTALL)
# White space behind a closing mark belongs to it, unless another closing mark follows; before an opening one to that.
_SEGMENT = re.compile(
    r"(?P<mark> \|(?:[^\[\]|\\]|\\.)*\](?:(?= \|)|\s*)|\s*\[)|(?:[^\[\]|\\\s]|\\.|\s(?!\s*\[|\|))+|.", re.DOTALL
)


class Marked(NamedTuple):
    """A stretch of a copied text with the words of a label: `end` is exclusive."""

    start: int
    end: int
    words: str


def read_marks(answer: str) -> tuple[str, list[Marked], list[str]]:
    """Take the marks out of an answer.

    RETURNS (tuple[str, list[Marked], list[str]]): The copied text; what was marked in it, in text order and the outer
        before the inner; and the parts of the answer whose marks make no sense, 60 characters of each at most.
    """
    copy, place = "", 0
    opened: list[tuple[int, int]] = []
    found: list[tuple[tuple[int, int], Marked]] = []
    broken: list[str] = []
    while place < len(answer):
        char = answer[place]
        closer = _CLOSER.match(answer, place) if opened else None
        if closer:
            start = opened.pop()
            found.append((start, Marked(start[0], len(copy), unescape(closer[1].strip()))))
            place = closer.end()
            continue
        if char == "[":
            opened.append((len(copy), place))
        elif char in "]|":
            begin = opened.pop()[1] if char == "]" and opened else place
            broken.append(answer[begin : min(place + 1, begin + _SHOWN)])
        else:
            place += char == "\\" and place + 1 < len(answer)
            copy += answer[place]
        place += 1
    broken += [answer[begin : begin + _SHOWN] for _, begin in opened]
    return copy, [marked for _, marked in sorted(found)], broken


@dataclass(frozen=True)
class MarkedForm:
    """The text with marks around its mentions: `[Japan | LOC], co-hosts of the [World Cup | MISC]`, nested ones as
    `[[Bank of [China | LOC] | ORG] shares | MISC]`.

    words (tuple[str, ...]): The words of the labels, escaped.
    max_nesting (int): How many mentions may stand around one place.
    """

    words: tuple[str, ...]
    max_nesting: int

    def escape(self, string: str) -> str:
        return escape(string, MARKS)

    def reserved(self) -> Mapping[str, str]:
        return {}

    def cut(self, answer: str) -> list[Segment]:
        return [Segment(part[0], copied=part["mark"] is None) for part in _SEGMENT.finditer(answer)]

    def start(self) -> State:
        return (1, 0)

    def moves(self, state: State, gaps: Sequence[str]) -> list[Move]:
        # (kind, *first tokens of the mentions that are open, token that comes next). Kind 0: some text was copied; 1:
        # text or an opening mark comes; 2: another closing mark comes.
        kind, *opened, token = state
        last = token + 1 == len(gaps)
        moves: list[Move] = []
        if kind != 1 and opened and opened[-1] < token:
            closers = [f" | {words}]" for words in self.words]
            rest = opened[:-1]
            if rest and rest[-1] < token:
                moves += [Move((2, *rest, token), closer) for closer in closers]
            if not last:
                moves += [Move((1, *rest, token), closer + self.escape(gaps[token])) for closer in closers]
            elif not rest:
                moves += [Move((0, token), closer) for closer in closers]
        if kind != 2 and not last and len(opened) < self.max_nesting:
            gap = self.escape(gaps[token]) if kind == 0 else ""
            moves.append(Move((1, *opened, token, token), f"{gap}["))
        if kind == 1:
            moves.append(Move((0, *opened), token=token))
        return moves
