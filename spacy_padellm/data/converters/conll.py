"""Columns, one token a line and a blank line after each sentence, as CoNLL's shared tasks have them.

**Tags.** IOB1, IOB2, BIOES, BILOU and BMES are read by one rule: B, S and U begin a mention; I, M, E and L go on with
the mention before if it has the same label and begin one otherwise; E, L, S and U end it. A file may have several
columns of tags, one for each level of nesting.

**Lines.** Columns stand between tabs where the line has one, else between blanks. `-DOCSTART-` ends a sentence as a
blank line does. Comments as CoNLL-U and GermEval have them ("# text = ...", "#<tab>https://...") are passed over. A
token that is nothing but white space stays one blank.

**Broken lines.** Without one of its lines a sentence would be another text, so it is left out as a whole.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from spacy_padellm.data.converters.lines import broken, decode_line
from spacy_padellm.data.records import Gold, OnError, Record, stop

Lines = list[tuple[int, bytes]]

BOM = "\ufeff".encode()
COMMENT = re.compile(r"#\s*(?:[\w.:]+\s*=\s|newdoc|newpar|https?://)")
TAG = re.compile(r"O|[BIMELSU]-\S.*")


@dataclass(frozen=True)
class Columns:
    """Where the lines of a file have what; a column is counted from 0, or from -1 at the line's end.

    token (int): The column of the token.
    tags (tuple[int, ...]): The columns of tags.
    joint (str): What stands between two tokens of the text: a blank, or nothing where tokens are characters.
    numbered (bool): Whether a token is one character and a number, its place in its word, as in Weibo's files.
    """

    token: int = 0
    tags: tuple[int, ...] = (-1,)
    joint: str = " "
    numbered: bool = False

    @property
    def expected(self) -> str:
        return f"a token in column {self.token} and a tag, O or B-LABEL, in column {', '.join(map(str, self.tags))}"


WORDS = Columns()


def read_conll(path: Path, on_error: OnError = stop, *, columns: Columns = WORDS) -> Iterator[Record]:
    """Read one sentence at a time.

    path (Path): The file.
    on_error (OnError): What becomes of a sentence with a broken line.
    columns (Columns): Where the lines have token and tags.
    YIELDS (Record): In the order of the file; the text is the tokens with `columns.joint` between them.
    RAISES (ValueError): P113 for a broken line, P106 for one that is not UTF-8, unless `on_error` lets it pass.
    """
    for lines in _sentences(path):
        try:
            record = record_of(lines, path, columns)
        except ValueError as error:
            on_error(error)
            continue
        if record is not None:
            yield record


def record_of(lines: Lines, path: Path, columns: Columns) -> Record | None:
    """One sentence's record, or None if all its lines are comments.

    RAISES (ValueError): P113 or P106, naming file and line.
    """
    tokens: list[str] = []
    rows: list[list[str]] = []
    for number, raw in lines:
        line = decode_line(raw, path, number).rstrip(" \t\r\n")
        if COMMENT.match(line):
            continue
        try:
            token, tags = _cells(line, columns)
        except ValueError as error:
            raise broken(path, number, error, columns.expected) from error
        tokens.append(token)
        rows.append(tags)
    if not tokens:
        return None
    starts = [0]
    for token in tokens:
        starts.append(starts[-1] + len(token) + len(columns.joint))
    spans = [
        Gold(starts[first], starts[last] + len(tokens[last]), label)
        for level in zip(*rows, strict=True)
        for first, last, label in mentions_of(level)
    ]
    return Record(columns.joint.join(tokens), tuple(spans), tuple(tokens))


def mentions_of(tags: Sequence[str]) -> list[tuple[int, int, str]]:
    """The mentions that a sentence's tags mark: number of the first token, of the last one, and label."""
    mentions: list[tuple[int, int, str]] = []
    goes_on = False
    for number, tag in enumerate(tags):
        kind, _, label = tag.partition("-")
        if kind == "O":
            goes_on = False
            continue
        if goes_on and kind in "IMEL" and mentions[-1][2] == label:
            mentions[-1] = (mentions[-1][0], number, label)
        else:
            mentions.append((number, number, label))
        goes_on = kind in "BIM"
    return mentions


def _sentences(path: Path) -> Iterator[Lines]:
    """The numbered lines between blank lines."""
    lines: Lines = []
    with path.open("rb") as file:
        for number, raw in enumerate(file, start=1):
            seen = raw.removeprefix(BOM).strip()
            if seen and not seen.startswith(b"-DOCSTART-"):
                lines.append((number, raw))
                continue
            if lines:
                yield lines
            lines = []
    if lines:
        yield lines


def _cells(line: str, columns: Columns) -> tuple[str, list[str]]:
    """Token and tags of a line.

    RAISES (ValueError): Saying what is wrong with the line, without a code.
    """
    cells = line.split("\t") if "\t" in line else re.split(" +", line)
    places = [place if place >= 0 else len(cells) + place for place in (columns.token, *columns.tags)]
    if len(set(places)) < len(places) or not all(0 <= place < len(cells) for place in places):
        raise ValueError(f"{len(cells)} columns in {line!r}")
    token, *tags = (cells[place] for place in places)
    tags = [tag.strip() for tag in tags]
    for tag in tags:
        if not TAG.fullmatch(tag):
            raise ValueError(f"{tag!r} is no tag")
    if columns.numbered:
        token = token[:1]
    return token if token.strip() else " ", tags
