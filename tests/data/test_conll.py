from functools import partial
from pathlib import Path

import pytest

from spacy_padellm.data.converters import reader_for
from spacy_padellm.data.converters.conll import Columns, mentions_of, read_conll
from spacy_padellm.data.records import Gold, Record, Skip, stop

SAMPLES = Path(__file__).parent / "samples"


def read(name, format="conll", **columns):
    return list(reader_for(format, **columns)(SAMPLES / name, stop))


def marked(record):
    return [(record.text[span.start : span.end], span.label) for span in record.spans]


def test_iob1_with_docstart_mark_of_byte_order_and_carriage_returns():
    first, second = read("iob1.conll")
    assert first.text == "Ann met Bo Cy in New Bonn"
    assert marked(first) == [("Ann", "PER"), ("Bo", "PER"), ("Cy", "PER"), ("New Bonn", "LOC")]
    assert second == Record("Rain", (), ("Rain",))


def test_columns_can_be_chosen_and_comments_are_passed_over():
    first, second = read("ids.iob2", token_column=1, tag_columns=[2])
    assert (first.text, marked(first)) == ("Ann lives in Bonn", [("Ann", "PER"), ("Bonn", "LOC")])
    assert (second.text, marked(second)) == ("# Bonn USA", [("Bonn", "LOC"), ("USA", "LOC")])
    assert marked(read("iob1.conll", tag_columns=[2])[1]) == [("Rain", "NP")]


def test_bioes():
    (record,) = read("bioes.txt")
    assert marked(record) == [("red owls", "TEAM"), ("Bonn", "LOC"), ("Trier", "LOC")]


def test_bmes_of_characters_with_a_blank_token():
    first, second = read("sentences.char.bmes", "conll_chars")
    assert first == Record("安小明， 男", (Gold(0, 3, "NAME"), Gold(5, 6, "SEX")), tuple("安小明， 男"))
    assert second == Record("波恩", (Gold(0, 2, "LOC"),), ("波", "恩"))


def test_numbered_characters():
    (record,) = read("weibo.txt", "weibo")
    assert (record.text, marked(record)) == ("去1波恩", [("1波恩", "LOC.NAM")])


@pytest.mark.parametrize(
    ("name", "format", "mentions"),
    [
        ("germeval.tsv", "germeval", [[("Uni Bonn", "ORG"), ("Bonn", "LOC")], [("Trierer", "LOCderiv")]]),
        ("genia.iob2", "genia_iob2", [[("A1 receptor gene", "DNA"), ("A1 receptor", "protein")]]),
    ],
)
def test_levels(name, format, mentions):
    assert [marked(record) for record in read(name, format)] == mentions


@pytest.mark.parametrize(
    ("tags", "mentions"),
    [
        ("", []),
        ("I-X I-X I-Y", [(0, 1, "X"), (2, 2, "Y")]),
        ("I-X B-X I-X", [(0, 0, "X"), (1, 2, "X")]),
        ("O I-X O I-X", [(1, 1, "X"), (3, 3, "X")]),
        ("B-X B-X O", [(0, 0, "X"), (1, 1, "X")]),
        ("B-X M-X E-X E-X", [(0, 2, "X"), (3, 3, "X")]),
        ("S-X S-X B-X", [(0, 0, "X"), (1, 1, "X"), (2, 2, "X")]),
        ("U-X B-X L-X", [(0, 0, "X"), (1, 2, "X")]),
        ("S-X I-X", [(0, 0, "X"), (1, 1, "X")]),
        ("B-creative-work I-creative-work", [(0, 1, "creative-work")]),
    ],
)
def test_one_rule_for_all_tags(tags, mentions):
    assert mentions_of(tags.split()) == mentions


BROKEN = {
    "no tag": (b"Bo", "1 columns"),
    "another tag": (b"Bo X-PER", "'X-PER' is no tag"),
    "tag without label": (b"Bo B-", "'B-' is no tag"),
    "small letters": (b"Bo o", "'o' is no tag"),
}


@pytest.mark.parametrize(("line", "problem"), BROKEN.values(), ids=BROKEN.keys())
def test_broken_line_names_file_and_line_and_costs_its_sentence(tmp_path, line, problem):
    path = tmp_path / "a.conll"
    path.write_bytes(b"Ann B-PER\n\nmet O\n" + line + b"\nCy B-PER\n\nRain O\n")
    with pytest.raises(ValueError, match=rf"\[P113\] .*a\.conll, line 4: .*{problem}.*a token in column 0.*skip"):
        list(read_conll(path))
    skip = Skip()
    assert [record.text for record in read_conll(path, skip)] == ["Ann", "Rain"]
    assert len(skip.messages) == 1


def test_line_that_is_not_utf_8(tmp_path):
    path = tmp_path / "a.conll"
    path.write_bytes(b"Ann B-PER\n\ncaf\xe9 O\nBo B-PER\n\nRain O\n")
    with pytest.raises(ValueError, match=r"\[P106\] .*a\.conll, line 3: "):
        list(read_conll(path))
    assert [record.text for record in read_conll(path, Skip())] == ["Ann", "Rain"]


def test_column_beyond_the_line(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("Ann O\n")
    for columns in (Columns(token=2), Columns(tags=(-3,)), Columns(tags=(0,)), Columns(tags=(1, -1))):
        with pytest.raises(ValueError, match=r"\[P113\] .*2 columns in 'Ann O'"):
            list(read_conll(path, columns=columns))


def test_reads_one_sentence_at_a_time(tmp_path):
    path = tmp_path / "a.conll"
    path.write_text("Ann B-PER\n\nbroken\n")
    records = read_conll(path)
    assert next(records).text == "Ann"
    with pytest.raises(ValueError, match="P113"):
        next(records)


def test_odd_white_space_is_no_end_of_line_and_no_column(tmp_path):
    path = tmp_path / "a.conll"
    path.write_bytes("a\u2028b\tO\n\u3000\tO\n\u3000 O \n\tB-X\t\n".encode())
    (record,) = partial(read_conll, columns=Columns(joint=""))(path)
    assert record == Record("a\u2028b   ", (Gold(5, 6, "X"),), ("a\u2028b", " ", " ", " "))


def test_format_without_columns():
    with pytest.raises(ValueError, match=r"\[P001\] .*'format': expected a format with columns .*conll.*got 'snips'"):
        reader_for("snips", token_column=1)
