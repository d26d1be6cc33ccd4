"""The formats of JSON beside the package's own and SNIPS: padellm, nested, standoff, conversations."""

import json
from pathlib import Path

import pytest

from spacy_padellm.data.converters import READERS, json_values, reader_for
from spacy_padellm.data.converters.conversations import occurrences
from spacy_padellm.data.converters.json_values import read_values
from spacy_padellm.data.records import Gold, Record, Skip, stop

SAMPLES = Path(__file__).parent / "samples"


def read(name, format):
    return list(reader_for(format)(SAMPLES / name, stop))


def marked(record):
    return [(record.text[span.start : span.end], span.label) for span in record.spans]


def test_padellm_english():
    first, second = read("padellm_en.json", "padellm")
    assert marked(first) == [("Ann", "PER"), ("Bo Cy", "PER"), ("Bonn", "LOC")]
    assert second == Record("Nobody came .", (), ("Nobody", "came", "."))


def test_padellm_chinese_counts_characters():
    record, _ = read("padellm_zh.json", "padellm_chars")
    assert marked(record) == [("安小明", "PER"), (" ", "PER"), ("波恩", "LOC")]
    assert record.tokens == tuple("安小明 在波恩")


def test_padellm_genia_ends_before_the_second_number():
    record, _ = read("padellm_genia.json", "padellm_genia")
    assert marked(record) == [("A1 receptor gene", "DNA"), ("A1 receptor", "protein")]


@pytest.mark.parametrize(("name", "format"), [("padellm_genia.json", "padellm"), ("padellm_en.json", "padellm_genia")])
def test_padellm_file_that_counts_otherwise_is_refused(name, format):
    with pytest.raises(ValueError, match=rf"\[P113\] .*{name}, line 1: "):
        read(name, format)


def test_nested():
    first, second = read("nested.json", "nested")
    assert marked(first) == [("The mayor of Bonn", "PER"), ("Bonn", "GPE")]
    assert second == Record("Rain .", (), ("Rain", "."))


def test_standoff():
    records = read("standoff.jsonl", "standoff")
    assert [marked(record) for record in records] == [[("Ann", "PER")], [("Bo", "PER")], [("Ann", "PER")], []]
    assert [record.tokens for record in records] == [("Ann", "met", "Bo"), None, None, None]


def test_standoff_pairs(tmp_path):
    path = tmp_path / "a.json"
    path.write_text(json.dumps([["Ann met Bo", {"entities": [[8, 10, "PER"]]}], ["Rain", {"entities": []}]]))
    assert [marked(record) for record in reader_for("standoff")(path, stop)] == [[("Bo", "PER")], []]


def test_conversations():
    first, second = read("conversations.json", "conversations")
    assert marked(first) == [("Ann", "person"), ("Ann", "person"), ("Bo", "person"), ("Annaberg", "town")]
    assert [span.start for span in first.spans] == [0, 20, 28, 7]
    assert first.unplaced == 2
    assert (marked(second), second.unplaced) == ([("小明", "person")], 0)


def test_occurrences():
    assert occurrences("a.b", "a.b aab xa.b") == [(0, 3)]
    assert occurrences("a.b", "xa.bx") == [(1, 4)]
    assert occurrences("(x)", "f(x)") == [(1, 4)]
    assert occurrences("a a", "a a a a b a") == [(0, 3), (4, 7)]
    assert occurrences("aa", "aaa aa") == [(4, 6)]
    assert occurrences("none", "text") == occurrences(" ", "a b") == []


GOOD = {
    "padellm": ["Ann met Bo", [0, 0, "Ann", "PER"]],
    "padellm_chars": ["Ann", [0, 2, "Ann", "PER"]],
    "padellm_genia": ["Ann met Bo", [0, 1, "Ann", "PER"]],
    "nested": {"tokens": ["Ann"], "entities": [{"start": 0, "end": 1, "type": "PER"}]},
    "standoff": {"text": "Ann", "spans": [[0, 3, "PER"]]},
    "conversations": {
        "conversations": [
            {"from": "human", "value": "Text: Ann"},
            {"from": "gpt", "value": "I've read this text."},
            {"from": "human", "value": "What describes PER in the text?"},
            {"from": "gpt", "value": '["Ann"]'},
        ]
    },
}
TURNS = GOOD["conversations"]["conversations"]
BROKEN = [
    ("padellm", {}),
    ("padellm", []),
    ("padellm", [3]),
    ("padellm", ["Ann", [0, 0, "Ann"]]),
    ("padellm", ["Ann", [0, 0, "Ann", " "]]),
    ("padellm", ["Ann", [0, 1, "Ann", "PER"]]),
    ("padellm", ["Ann Bo", [1, 0, "Ann", "PER"]]),
    ("padellm", ["Ann", [-1, 0, "Ann", "PER"]]),
    ("padellm", ["Ann", [0, 0, "Bo", "PER"]]),
    ("padellm_genia", ["Ann", [0, 0, "", "PER"]]),
    ("nested", []),
    ("nested", {"tokens": ["Ann"]}),
    ("nested", {"tokens": [1], "entities": []}),
    ("nested", {"tokens": ["Ann"], "entities": [{"start": 0, "end": 1}]}),
    ("nested", {"tokens": ["Ann"], "entities": [{"start": 0, "end": 2, "type": "PER"}]}),
    ("nested", {"tokens": ["Ann"], "entities": [{"start": 0, "end": 0, "type": "PER"}]}),
    ("standoff", 3),
    ("standoff", {"spans": []}),
    ("standoff", {"text": "Ann", "spans": 3}),
    ("standoff", {"text": "Ann", "spans": [{"start": 0, "end": 3}]}),
    ("standoff", {"text": "Ann", "spans": [[0, 4, "PER"]]}),
    ("standoff", {"text": "Ann", "spans": [[True, 3, "PER"]]}),
    ("standoff", {"text": "Ann", "spans": [[0, 3, ""]]}),
    ("standoff", {"text": "Ann", "tokens": ["Bo"]}),
    ("standoff", {"text": "Ann", "spans": [[0, 3, "PER"]], "answer": "reject"}),
    ("conversations", {}),
    ("conversations", {"conversations": TURNS[:3]}),
    ("conversations", {"conversations": [{"from": "human", "value": "Ann"}, *TURNS[1:]]}),
    ("conversations", {"conversations": [*TURNS[:2], TURNS[3], TURNS[2]]}),
    ("conversations", {"conversations": [*TURNS[:2], {"from": "human", "value": "Who?"}, TURNS[3]]}),
    ("conversations", {"conversations": [*TURNS[:3], {"from": "gpt", "value": "Ann"}]}),
    ("conversations", {"conversations": [*TURNS[:3], {"from": "gpt", "value": "[1]"}]}),
]


@pytest.mark.parametrize(("format", "record"), BROKEN, ids=[f"{name}-{at}" for at, (name, _) in enumerate(BROKEN)])
def test_broken_record_names_file_and_line(tmp_path, format, record):
    path = tmp_path / "a.json"
    path.write_text("\n".join(map(json.dumps, (GOOD[format], record, GOOD[format]))))
    with pytest.raises(ValueError, match=r"\[P113\] .*a\.json, line 2: .*Expected .*--on-error skip"):
        list(reader_for(format)(path, stop))
    skip = Skip()
    records = list(reader_for(format)(path, skip))
    assert sum(len(record.spans) for record in records) == 2
    assert len(skip.messages) == 1


@pytest.mark.parametrize("format", GOOD)
def test_line_that_is_not_json(tmp_path, format):
    path = tmp_path / "a.json"
    path.write_text("\n".join((json.dumps(GOOD[format]), "", '{"a', "[" * 100_000, json.dumps(GOOD[format]))))
    with pytest.raises(ValueError, match=r"\[P113\] .*a\.json, line 3: "):
        list(reader_for(format)(path, stop))
    skip = Skip()
    list(reader_for(format)(path, skip))
    assert len(skip.messages) == 2


@pytest.fixture(params=[1, 2, 7, 1 << 16])
def chunk(request, monkeypatch):
    """How much of a list is read at a time."""
    monkeypatch.setattr(json_values, "CHUNK", request.param)
    return request.param


@pytest.mark.parametrize(
    "values",
    [[], [1], [12345, -1e5, None, True, 'a\nb\\"]', {"é": ["🎵", {}]}], [{"long": "word " * 2000}, "安"]],
    ids=["none", "one", "all kinds", "long"],
)
@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("mark", ["", "\ufeff"])
def test_list_is_read_in_chunks(tmp_path, chunk, values, indent, mark):
    path = tmp_path / "a.json"
    text = json.dumps(values, indent=indent, ensure_ascii=False)
    path.write_text(f"{mark}\n {text} \n", encoding="utf-8")
    found = list(read_values(path, stop, ""))
    assert [value for _, value in found] == values
    lines = [number for number, _ in found]
    assert lines == sorted(lines) and all(number >= 2 for number in lines)


def test_lines_of_a_list_are_counted(tmp_path, chunk):
    path = tmp_path / "a.json"
    path.write_text('[\n{"a":\n1},\n\n2, 3]')
    assert list(read_values(path, stop, "")) == [(2, {"a": 1}), (5, 2), (5, 3)]


def test_surrogates_written_one_by_one(tmp_path, chunk):
    path = tmp_path / "a.json"
    halves = "\ud83c".encode("utf-8", "surrogatepass") + "\udfb5".encode("utf-8", "surrogatepass")
    path.write_bytes(b'["' + halves + b'"]')
    assert list(read_values(path, stop, "")) == [(1, "🎵")]


BROKEN_LISTS = {
    "cut off": (b'[1,\n{"a": "b', 1, r"\[P101\] .*a\.json, line 2, column 7"),
    "no comma": (b"[1\n 2]", 1, r"\[P101\] .*a\.json, line 2, column 1: not JSON: expected '\]'"),
    "comma before the end": (b"[1,\n]", 1, r"\[P101\] .*a\.json, line 2, column 1"),
    "text behind": (b"[1]\n[", 1, r"\[P101\] .*line 2.*more text behind the list"),
    "too deep": (b"[1, " + b"[" * 100_000, 1, r"\[P101\] .*brackets within brackets"),
    "not UTF-8": (b'[1,\n"\xff a"]', 1, r"\[P106\] .*a\.json, line 2"),
}


@pytest.mark.parametrize(("content", "good", "message"), BROKEN_LISTS.values(), ids=BROKEN_LISTS.keys())
def test_broken_list(tmp_path, content, good, message):
    path = tmp_path / "a.json"
    path.write_bytes(content)
    with pytest.raises(ValueError, match=message):
        list(read_values(path, stop, ""))
    skip = Skip()
    assert len(list(read_values(path, skip, ""))) <= good
    assert len(skip.messages) == 1


def test_error_of_whoever_takes_the_values_is_not_the_files(tmp_path):
    path = tmp_path / "a.json"
    path.write_text("[1, 2]")
    values = read_values(path, Skip(), "")
    next(values)
    with pytest.raises(ValueError, match="mine"):
        values.throw(ValueError("mine"))


@pytest.mark.parametrize("format", [name for name in READERS if name not in ("ace", "genia", "jsonl", "snips")])
def test_readers_yield_one_record_at_a_time(tmp_path, format):
    path = tmp_path / "a.txt"
    path.write_text("")
    assert list(reader_for(format)(path, stop)) == []


def test_gold_is_a_place_and_a_label():
    assert read("padellm_en.json", "padellm")[0].spans[1] == Gold(8, 13, "PER")
