import json

import pytest

from spacy_padellm.data.converters import format_of, reader_for
from spacy_padellm.data.converters.snips import read_snips
from spacy_padellm.data.records import Gold, Record, Skip

QUERY = {"data": [{"text": "Rain in "}, {"text": "Bonn", "entity": "city"}, {"text": " \n?"}]}


def write(path, content):
    path.write_bytes(content if isinstance(content, bytes) else json.dumps(content).encode())
    return path


def test_text_keeps_its_white_space(tmp_path):
    path = write(tmp_path / "a.json", {"GetWeather": [QUERY, {"data": []}]})
    assert list(read_snips(path)) == [Record("Rain in Bonn \n?", (Gold(8, 12, "city"),)), Record("")]


def test_reads_all_intents(tmp_path):
    path = write(tmp_path / "a.json", {"A": [QUERY], "B": [QUERY, QUERY]})
    assert len(list(read_snips(path))) == 3


def test_surrogates_written_one_by_one(tmp_path):
    high, low = ("\ud83c".encode("utf-8", "surrogatepass"), "\udfb5".encode("utf-8", "surrogatepass"))
    raw = b'{"A": [{"data": [{"text": "Play ' + high + low + b' "}, {"text": "Zo\xc3\xab", "entity": "artist"}]}]}'
    (record,) = read_snips(write(tmp_path / "a.json", raw))
    assert record == Record("Play 🎵 Zoë", (Gold(7, 10, "artist"),))


BROKEN_QUERIES = {
    "no object": "a",
    "no data": {},
    "data no list": {"data": "a"},
    "part no object": {"data": ["a"]},
    "part without text": {"data": [{"entity": "city"}]},
    "label no string": {"data": [{"text": "a", "entity": 3}]},
    "label blank": {"data": [{"text": "a", "entity": ""}]},
}


@pytest.mark.parametrize("query", BROKEN_QUERIES.values(), ids=BROKEN_QUERIES.keys())
def test_broken_query_names_file_and_number(tmp_path, query):
    path = write(tmp_path / "a.json", {"A": [QUERY, query, QUERY]})
    with pytest.raises(ValueError, match=r"\[P102\] .*a\.json, query 2: "):
        list(read_snips(path))
    skip = Skip()
    assert len(list(read_snips(path, skip))) == 2
    assert len(skip.messages) == 1


BROKEN_FILES = {
    "cut off": (b'{"A": [\n{"data": [', r"\[P101\] .*a\.json, line 2, column \d+"),
    "empty": (b"", r"\[P101\] .*a\.json, line 1"),
    "a list": (b"[]", r"\[P103\] .*a\.json: .*got list"),
    "no queries": (b'{"A": {}}', r"\[P103\] .*a\.json: .*got 'A': dict"),
    "not UTF-8": (b'{"A":\n["\xff"]}', r"\[P106\] .*a\.json, line 2"),
}


@pytest.mark.parametrize(("content", "message"), BROKEN_FILES.values(), ids=BROKEN_FILES.keys())
def test_broken_file(tmp_path, content, message):
    path = write(tmp_path / "a.json", content)
    with pytest.raises(ValueError, match=message):
        list(read_snips(path))
    skip = Skip()
    assert list(read_snips(path, skip)) == []
    assert len(skip.messages) == 1


def test_formats(tmp_path):
    assert reader_for("snips") is read_snips
    assert format_of(tmp_path / "a.json") == "snips"
    assert format_of(tmp_path / "A.JSONL") == "jsonl"
    with pytest.raises(ValueError, match=r"\[P104\].*'\.txt'.*jsonl.*snips"):
        reader_for(format_of(tmp_path / "a.txt"))
