"""Whatever the mentions, a file in any of the schemes gives them back."""

import json
import tempfile
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.data.converters import reader_for
from spacy_padellm.data.records import stop

LABELS = st.sampled_from(["PER", "ORG", "creative-work", "PER.NAM"])
TOKEN = st.text(st.characters(exclude_categories=("C", "Z")), min_size=1, max_size=4).filter(lambda t: t[0] != "#")


@st.composite
def sentences(draw):
    """Tokens, and mentions that do not overlap as (first, last, label)."""
    tokens = draw(st.lists(TOKEN, min_size=1, max_size=12))
    mentions, at = [], 0
    while at < len(tokens):
        length = draw(st.integers(0, 3))
        if length and at + length <= len(tokens):
            mentions.append((at, at + length - 1, draw(LABELS)))
        at += max(length, 1)
    return tokens, mentions


def tags(tokens, mentions, scheme):
    marks = ["O"] * len(tokens)
    before = None
    for first, last, label in mentions:
        for at in range(first, last + 1):
            marks[at] = f"{mark(at, first, last, scheme)}-{label}"
        if scheme == "IOB1" and before != (first - 1, label):
            marks[first] = f"I-{label}"
        before = (last, label)
    return marks


def mark(at, first, last, scheme):
    begin, inside, end, single = {"IOB1": "BIIB", "IOB2": "BIIB", "BIOES": "BIES", "BMES": "BMES", "BILOU": "BILU"}[
        scheme
    ]
    if first == last:
        return single
    return begin if at == first else end if at == last else inside


def read(content, format):
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "a"
        path.write_text(content, encoding="utf-8", newline="")
        return [
            (list(record.tokens), sorted((record.text[span.start : span.end], *span) for span in record.spans))
            for record in reader_for(format)(path, stop)
        ]


def expected(found, joint):
    records = []
    for tokens, mentions in found:
        starts = [len(joint.join(tokens[:at])) + (len(joint) if at else 0) for at in range(len(tokens))]
        spans = [(starts[first], starts[last] + len(tokens[last]), label) for first, last, label in mentions]
        text = joint.join(tokens)
        records.append((tokens, sorted((text[start:end], start, end, label) for start, end, label in spans)))
    return records


@pytest.mark.parametrize("scheme", ["IOB1", "IOB2", "BIOES", "BMES", "BILOU"])
@given(found=st.lists(sentences(), max_size=3), column=st.sampled_from("\t "), line=st.sampled_from(["\n", "\r\n"]))
def test_columns(scheme, found, column, line):
    blocks = [
        "".join(
            f"{token}{column}{tag}{line}" for token, tag in zip(tokens, tags(tokens, mentions, scheme), strict=True)
        )
        for tokens, mentions in found
    ]
    assert read(line.join(blocks), "conll") == expected(found, " ")
    assert read(line.join(blocks), "conll_chars") == expected(found, "")


@pytest.mark.parametrize("format", ["padellm", "padellm_genia", "nested"])
@given(found=st.lists(sentences(), max_size=3))
def test_json(format, found):
    behind = {"padellm": 0, "padellm_genia": 1, "nested": 1}[format]
    lines = []
    for tokens, mentions in found:
        places = [(first, last + behind, " ".join(tokens[first : last + 1]), label) for first, last, label in mentions]
        if format == "nested":
            entities = [{"start": first, "end": last, "type": label} for first, last, _, label in places]
            lines.append({"tokens": tokens, "entities": entities})
        else:
            lines.append([" ".join(tokens), *places])
    assert read("\n".join(map(json.dumps, lines)), format) == expected(found, " ")
