"""Texts from files of each format, the broken ones in their places."""

from __future__ import annotations

import json

import pytest
import spacy
from spacy.tokens import DocBin

from spacy_padellm.data.entries import Broken, Entries, Entry


def read(path, on_error="stop", **settings):
    return list(Entries(path, **settings).read(on_error))


def write(path, content):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def test_one_text_a_line(tmp_path):
    path = write(tmp_path / "a.txt", "\ufeffAnn met  Bo \r\n\n \n\u4eac\u2028x\x0by\rz")
    assert read(path) == [
        Entry("a.txt", 1, "Ann met  Bo ", {"text": "Ann met  Bo "}),
        Entry("a.txt", 4, "\u4eac\u2028x\x0by\rz", {"text": "\u4eac\u2028x\x0by\rz"}),
    ]


def test_the_whole_file_is_one_text(tmp_path):
    write(tmp_path / "deep" / "b.txt", "Ann\n\nBo\n")
    write(tmp_path / "a.txt", "")
    assert read(tmp_path, whole_files=True) == [
        Entry("a.txt", 1, "", {"file": "a.txt", "text": ""}),
        Entry("deep/b.txt", 1, "Ann\n\nBo\n", {"file": "deep/b.txt", "text": "Ann\n\nBo\n"}),
    ]


def test_jsonl_keeps_all_fields(tmp_path):
    objects = [{"id": 1, "body": "Ann", "text": ["x"]}, {"body": "\ud83e\udd88 \ud800"}]
    path = write(tmp_path / "a.jsonl", "\n\n".join(map(json.dumps, objects)))
    first, second = read(path, field="body")
    assert first == Entry("a.jsonl", 1, "Ann", objects[0])
    # A lone surrogate is no character; a pair of them is one.
    assert second == Entry("a.jsonl", 3, "\U0001f988 \ufffd", {"body": "\U0001f988 \ufffd"})


def test_csv(tmp_path):
    content = '\ufeffid,text\r\n1,"Ann, ""Bo""\nand Eve"\r\n\r\n2,\r\n'
    assert read(write(tmp_path / "a.csv", content)) == [
        Entry("a.csv", 2, 'Ann, "Bo"\nand Eve', {"id": "1", "text": 'Ann, "Bo"\nand Eve'}),
        Entry("a.csv", 5, "", {"id": "2", "text": ""}),
    ]
    assert [entry.text for entry in read(tmp_path / "a.csv", field="id")] == ["1", "2"]


def test_a_long_cell(tmp_path):
    path = write(tmp_path / "a.csv", "text\n" + "x" * 200_000)
    assert [len(entry.text) for entry in read(path)] == [200_000]


def test_spacy_files(tmp_path):
    nlp = spacy.blank("en")
    DocBin(docs=[nlp("Ann"), nlp("Bo sat")]).to_disk(tmp_path / "a.spacy")
    entries = Entries(tmp_path / "a.spacy", vocab=nlp.vocab)
    assert entries.has_docs and not Entries(write(tmp_path / "b.txt", "x")).has_docs
    found = list(entries.read())
    assert [(one.line, one.text.text, one.fields) for one in found] == [
        (1, "Ann", {"text": "Ann"}),
        (2, "Bo sat", {"text": "Bo sat"}),
    ]
    assert all(one.text.vocab is nlp.vocab for one in found)


def test_a_folder_of_all_formats_in_the_order_of_their_paths(tmp_path):
    write(tmp_path / "b" / "a.txt", "three")
    write(tmp_path / "a.csv", "text\none")
    write(tmp_path / "a.jsonl", '{"text": "two"}')
    write(tmp_path / "notes.md", "left aside")
    (tmp_path / "z.txt").mkdir()
    assert [(one.file, one.text) for one in read(tmp_path)] == [
        ("a.csv", "one"),
        ("a.jsonl", "two"),
        ("b/a.txt", "three"),
    ]


BROKEN = {
    "a.txt": (b"Ann\n\xff\nBo", "P106", 2),
    "a.jsonl": (b'{"text": "Ann"}\n{"text": 1}\n{"text": "Bo"}', "P113", 2),
    "b.jsonl": (b'{"text": "Ann"}\n[1]\n{"text": "Bo"}', "P113", 2),
    "c.jsonl": (b'{"text": "Ann"}\n{"tex\n{"text": "Bo"}', "P113", 2),
    "a.csv": (b"n,text\n1,Ann\n2\n3,Bo", "P113", 3),
    "b.csv": (b'n,text\n1,Ann\n2,"x"y\n3,Bo', "P113", 3),
    "c.csv": (b'n,text\n1,Ann\n2,"x\n\xff\n"\n3,Bo', "P106", 4),
}


@pytest.mark.parametrize("name", BROKEN)
def test_a_broken_entry_stops_or_is_skipped(tmp_path, name):
    content, code, line = BROKEN[name]
    path = write(tmp_path / name, content)
    entries = Entries(path).read()
    assert next(entries).text == "Ann"
    with pytest.raises(ValueError, match=rf"\[{code}\].*line {line}\b"):
        next(entries)
    first, second, third = read(path, "skip")
    assert (first.text, third.text) == ("Ann", "Bo")
    assert isinstance(second, Broken) and str(second.error).startswith(f"[{code}]")


def test_a_quote_that_does_not_end(tmp_path):
    path = write(tmp_path / "a.csv", 'text\nAnn\n"x\nBo')
    first, second = read(path, "skip")
    assert first.text == "Ann" and str(second.error).startswith("[P113]")


def test_broken_files(tmp_path):
    write(tmp_path / "a.txt", b"\n\xff")
    write(tmp_path / "b.spacy", b"nothing of the kind")
    write(tmp_path / "c.txt", "Ann")
    found = read(tmp_path, "skip", whole_files=True)
    assert [str(one.error)[:6] for one in found[:2]] == ["[P106]", "[P109]"]
    assert "line 2" in str(found[0].error) and found[2].text == "Ann"
    with pytest.raises(ValueError, match=r"\[P109\]"):
        read(tmp_path / "b.spacy")


@pytest.mark.parametrize("content", ["", "id,body\n1,x", "text,text\n1,2", '"text'])
def test_columns_that_cannot_be_found_p157(tmp_path, content):
    """Whatever becomes of broken entries."""
    path = write(tmp_path / "a.csv", content)
    with pytest.raises(ValueError, match=r"\[P157\].*'text'|\[P113\]"):
        read(path, "skip")


def test_nothing_to_read_p156(tmp_path):
    for path, got in ((tmp_path, "a folder"), (tmp_path / "none.txt", "nothing"), (tmp_path / "a.md", "another file")):
        write(tmp_path / "a.md", "x")
        with pytest.raises(ValueError, match=rf"\[P156\].*got {got}"):
            Entries(path)
