"""The files that PaDeLLM-NER's authors published (Lu et al., NeurIPS 2024): JSON lines of a text and its mentions,
["Ann met Bo .", [0, 0, "Ann", "PER"], [2, 2, "Bo", "PER"]].

A mention is its first token, its last one, its string and its label. Tokens are counted from 0. In the English files
they stand between blanks, in the Chinese ones they are characters. The last token belongs to the mention, except in
GENIA's files, which name the one behind it. Each mention's string is compared with the text at that place, so a file
that counts otherwise is not read wrongly.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from spacy_padellm.data.converters.lines import broken, read_lines
from spacy_padellm.data.records import Gold, OnError, Record, stop, whole_characters

EXPECTED = "[text, [first token, last token, mention, label], ...] on each line"


@dataclass(frozen=True)
class Counting:
    """How a file counts.

    token (str): Pattern of a token: what stands between blanks, or one character.
    behind (int): 1 if the second number names the mention's last token, 0 if it names the one behind it.
    """

    token: str = "[^ ]+"
    behind: int = 1


WORDS = Counting()
CHARACTERS = Counting(token="(?s:.)")
WORDS_END_OUTSIDE = Counting(behind=0)


def read_padellm(path: Path, on_error: OnError = stop, *, counting: Counting = WORDS) -> Iterator[Record]:
    """Read one line at a time; blank lines are passed over.

    path (Path): The file.
    on_error (OnError): What becomes of a broken line.
    counting (Counting): How the file counts.
    YIELDS (Record): In the order of the lines.
    RAISES (ValueError): P113 for a broken line, P106 for one that is not UTF-8, unless `on_error` lets it pass.
    """
    for number, line in read_lines(path, on_error):
        try:
            record = record_of(line, counting)
        except ValueError as error:
            on_error(broken(path, number, error, EXPECTED))
            continue
        yield record


def record_of(line: str, counting: Counting) -> Record:
    """One line's record.

    RAISES (ValueError): Saying what is wrong with the line, without a code: the caller knows file and line.
    """
    try:
        found = json.loads(line)
    except RecursionError as error:
        raise ValueError("brackets within brackets without end") from error
    match found:
        case [str() as text, *mentions]:
            text = whole_characters(text)
        case _:
            raise ValueError("the line is no list that begins with a text")
    borders = [match.span() for match in re.finditer(counting.token, text)]
    golds = tuple(_gold(mention, text, borders, counting.behind) for mention in mentions)
    return Record(text, golds, tuple(text[start:end] for start, end in borders))


def _gold(mention: object, text: str, borders: list[tuple[int, int]], behind: int) -> Gold:
    match mention:
        case [int() as first, int() as last, str() as string, str() as label] if label.strip():
            pass
        case _:
            raise ValueError(f"{mention!r} is no [first token, last token, mention, label]")
    last += behind - 1
    if not 0 <= first <= last < len(borders):
        raise ValueError(f"{mention!r} does not lie among {len(borders)} tokens")
    start, end = borders[first][0], borders[last][1]
    if text[start:end] != whole_characters(string):
        raise ValueError(f"{mention!r} has {text[start:end]!r} in its place")
    return Gold(start, end, whole_characters(label))
