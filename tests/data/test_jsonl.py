import json

import pytest

from spacy_padellm.data.converters.jsonl import read_jsonl
from spacy_padellm.data.records import Gold, Record, Skip

GOOD = {"text": "Ann met Bo .", "tokens": ["Ann", "met", "Bo", "."], "spans": [[0, 3, "PER"], [8, 10, "PER"]]}


def write(path, *lines):
    path.write_bytes(b"\n".join(line if isinstance(line, bytes) else json.dumps(line).encode() for line in lines))
    return path


def test_reads_lines_in_order(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, b"", b"  ", {"text": "", "id": 7})
    assert list(read_jsonl(path)) == [
        Record("Ann met Bo .", (Gold(0, 3, "PER"), Gold(8, 10, "PER")), ("Ann", "met", "Bo", ".")),
        Record(""),
    ]


def test_reads_one_line_at_a_time(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, b"{broken")
    records = read_jsonl(path)
    assert next(records).text == GOOD["text"]
    with pytest.raises(ValueError, match="P100"):
        next(records)


def test_offsets_count_whole_characters(tmp_path):
    raw = '{"text": "🎵 Ann", "spans": [[2, 5, "PER"]]}'.encode("utf-16-be")
    halves = [chr(int.from_bytes(raw[at : at + 2], "big")) for at in range(0, len(raw), 2)]
    path = write(tmp_path / "a.jsonl", "".join(halves).encode("utf-8", "surrogatepass"))
    (record,) = read_jsonl(path)
    assert record.text[2:5] == "Ann"


def test_lone_surrogate_becomes_replacement(tmp_path):
    path = write(tmp_path / "a.jsonl", b'{"text": "a\\ud83c Ann", "spans": [[3, 6, "PER"]]}')
    (record,) = read_jsonl(path)
    assert (record.text, record.text[3:6]) == ("a\ufffd Ann", "Ann")


def test_long_line(tmp_path):
    path = write(tmp_path / "a.jsonl", {"text": "word " * 10_000, "spans": [[0, 4, "X"]]})
    (record,) = read_jsonl(path)
    assert len(record.text) == 50_000


BROKEN = {
    "cut off": b'{"text": "a"',
    "no object": b'["a"]',
    "no text": {"spans": []},
    "text no string": {"text": 3},
    "spans no list": {"text": "a", "spans": "a"},
    "span too short": {"text": "abc", "spans": [[0, 1]]},
    "offset no number": {"text": "abc", "spans": [["0", 1, "X"]]},
    "offset a truth value": {"text": "abc", "spans": [[True, 2, "X"]]},
    "label no string": {"text": "abc", "spans": [[0, 1, None]]},
    "label blank": {"text": "abc", "spans": [[0, 1, " "]]},
    "end beyond text": {"text": "abc", "spans": [[0, 4, "X"]]},
    "end before start": {"text": "abc", "spans": [[2, 1, "X"]]},
    "start below zero": {"text": "abc", "spans": [[-1, 1, "X"]]},
    "tokens no strings": {"text": "a b", "tokens": [1, 2]},
    "tokens of another text": {"text": "a b", "tokens": ["a", "c"]},
    "nested too deep": b"[" * 100_000,
}


@pytest.mark.parametrize("line", BROKEN.values(), ids=BROKEN.keys())
def test_broken_line_names_file_and_line(tmp_path, line):
    path = write(tmp_path / "a.jsonl", GOOD, line, GOOD)
    with pytest.raises(ValueError, match=r"\[P100\] .*a\.jsonl, line 2: "):
        list(read_jsonl(path))
    skip = Skip()
    assert len(list(read_jsonl(path, skip))) == 2
    assert len(skip.messages) == 1


def test_line_that_is_not_utf_8(tmp_path):
    path = write(tmp_path / "a.jsonl", GOOD, '{"text": "café"}'.encode("latin-1"), GOOD)
    with pytest.raises(ValueError, match=r"\[P106\] .*a\.jsonl, line 2: "):
        list(read_jsonl(path))
    assert len(list(read_jsonl(path, Skip()))) == 2
