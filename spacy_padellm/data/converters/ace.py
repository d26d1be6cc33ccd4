"""ACE 2005 as the Linguistic Data Consortium distributes it: a text `NAME.sgm` and beside it its annotation
`NAME.apf.xml`.

**Places** count the characters of the text without its SGML tags; the end is inclusive. Each mention's string is
compared with the text at its place, white space aside, so a text of another edition is not read wrongly.

**Mentions** are those of entities, in their full extent, nested ones too; the label is the entity's type.

**Records.** A document is cut at blank lines, but not within a mention, and each block with a letter or digit in it is
a record, so that a block fits a model. White space at the block's edges goes, and so do blocks in front of <BODY> (the
document's name, its date) that have no mention.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from html import unescape
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError

from spacy_padellm.data.docs import trim
from spacy_padellm.data.records import Gold, OnError, Record, decode, same_but_for_blanks, stop
from spacy_padellm.errors import Errors

SUFFIX = ".apf.xml"
TAG = re.compile(r"""<[/!?A-Za-z][^<>"]*(?:"[^"]*"[^<>"]*)*>""")
BLANK_LINES = re.compile(r"\n[^\S\n]*\n\s*")


def read_ace(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read one document at a time.

    path (Path): An .apf.xml file, or a folder: all of them in it and below, in the order of their names.
    on_error (OnError): What becomes of a broken document.
    YIELDS (Record): The blocks of each document, in order.
    RAISES (ValueError): P114 for a broken document, unless `on_error` lets it pass.
    """
    for file in sorted(path.rglob(f"*{SUFFIX}")) if path.is_dir() else [path]:
        try:
            records = records_of(file)
        except (ValueError, ParseError) as error:
            on_error(ValueError(Errors.P114.format(path=file, problem=error)))
            continue
        yield from records


def records_of(path: Path) -> list[Record]:
    """One document's records.

    RAISES (ValueError): Saying what is wrong with the document, without a code. `ParseError` if it is not XML.
    """
    source = path.with_name(path.name.removesuffix(SUFFIX) + ".sgm")
    if not source.is_file():
        raise ValueError(f"its text {source.name} is not beside it")
    marked = decode(source.read_bytes()).replace("\r\n", "\n")
    text = TAG.sub("", marked)
    front = len(TAG.sub("", marked[: max(marked.find("<BODY>"), 0)]))
    root = ElementTree.fromstring(path.read_bytes())
    golds = [
        _gold(mention, entity, text) for entity in root.iter("entity") for mention in entity.iter("entity_mention")
    ]
    records: list[Record] = []
    for start, end in _blocks(text, golds):
        inside = [gold for gold in golds if start <= gold.start < end]
        spans = tuple(Gold(gold.start - start, gold.end - start, gold.label) for gold in inside)
        if spans or start >= front:
            records.append(Record(text[start:end], spans))
    return records


def _gold(mention: Element, entity: Element, text: str) -> Gold:
    place = mention.find("extent/charseq")
    label = entity.get("TYPE", "").strip()
    if place is None or not label:
        raise ValueError(f"the mention {mention.get('ID')!r} has no extent or its entity no type")
    try:
        start, end = int(place.get("START", "")), int(place.get("END", "")) + 1
    except ValueError as error:
        raise ValueError(f"the mention {mention.get('ID')!r} has no numbers START and END") from error
    string = "".join(place.itertext())
    if not 0 <= start < end <= len(text) or not same_but_for_blanks((unescape(text[start:end]),), unescape(string)):
        raise ValueError(f"the mention {mention.get('ID')!r}, {string!r}, is not the text at {start} to {end}")
    return Gold(start, end, label)


def _blocks(text: str, golds: list[Gold]) -> Iterator[tuple[int, int]]:
    """The stretches between blank lines that no mention reaches over, without blank edges."""
    cuts = [gap.span() for gap in BLANK_LINES.finditer(text)]
    cuts = [cut for cut in cuts if not any(gold.start < cut[1] and cut[0] < gold.end for gold in golds)]
    starts = [0, *(end for _, end in cuts)]
    ends = [*(start for start, _ in cuts), len(text)]
    for start, end in zip(starts, ends, strict=True):
        first, last = trim(text, start, end)
        if any(character.isalnum() for character in text[first:last]):
            yield first, last
