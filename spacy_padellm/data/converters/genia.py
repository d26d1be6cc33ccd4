"""The GENIA corpus as its project publishes it (GENIAcorpus3.02.xml): <sentence> elements in which <cons sem="G#...">
elements, nested in each other, are the mentions.

**Labels** are the five that work on GENIA uses: DNA, RNA and protein take in their subtypes ("G#DNA_domain_or_region",
"G#DNA_N/A"), cell_line and cell_type stand for themselves. Other classes, and constituents that stand for a
coordination ("(AND G#... G#...)") or for nothing, are no mentions, as is usual; what stands in them is read
all the same.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree
from xml.etree.ElementTree import Element, ParseError

from spacy_padellm.data.records import Gold, OnError, Record, stop
from spacy_padellm.errors import Errors

LABEL = re.compile(r"G#(DNA|RNA|protein|cell_line|cell_type)(?:_[\w/]+)?")


def read_genia(path: Path, on_error: OnError = stop) -> Iterator[Record]:
    """Read one sentence at a time.

    Where the XML itself is broken nothing behind that place can be trusted: the rest of the file counts as broken.

    path (Path): The file.
    on_error (OnError): What becomes of a broken file.
    YIELDS (Record): The sentences of titles and abstracts in the order of the file, with their own white space.
    RAISES (ValueError): P114 for a broken file, unless `on_error` lets it pass.
    """
    with path.open("rb") as file:
        try:
            for _, element in ElementTree.iterparse(file):
                if element.tag == "sentence":
                    yield record_of(element)
                # What was read is let go, or the whole corpus would stay in memory.
                if element.tag in ("sentence", "article"):
                    element.clear()
        except ParseError as error:
            on_error(ValueError(Errors.P114.format(path=path, problem=error)))


def record_of(sentence: Element) -> Record:
    """One sentence's record: mentions in the order of their ends, inner ones first."""
    parts: list[str] = []
    golds: list[Gold] = []
    _walk(sentence, parts, golds, 0)
    return Record("".join(parts), tuple(golds))


def _walk(element: Element, parts: list[str], golds: list[Gold], start: int) -> int:
    """Add an element's text, which begins at `start`, and its mentions. Returns where its text ends."""
    parts.append(element.text or "")
    end = start + len(parts[-1])
    for child in element:
        end = _walk(child, parts, golds, end)
        parts.append(child.tail or "")
        end += len(parts[-1])
    label = LABEL.fullmatch(element.get("sem", "")) if element.tag == "cons" else None
    if label and end > start:
        golds.append(Gold(start, end, label[1]))
    return end
