import shutil
from pathlib import Path

import pytest

from spacy_padellm.data.converters.ace import read_ace
from spacy_padellm.data.converters.genia import read_genia
from spacy_padellm.data.records import Skip

SAMPLES = Path(__file__).parent / "samples"


def marked(record):
    return [(record.text[span.start : span.end], span.label) for span in record.spans]


@pytest.fixture
def ace(tmp_path):
    """A copy of ACE's sample in a folder below."""
    shutil.copytree(SAMPLES / "ace", tmp_path / "ace" / "deep")
    return tmp_path / "ace"


def test_ace_is_cut_at_blank_lines_and_keeps_nested_extents():
    title, meeting, weather = read_ace(SAMPLES / "ace" / "town.apf.xml")
    assert (title.text, marked(title)) == ("Mayor &amp; council", [("Mayor &amp; council", "PER")])
    assert meeting.text == "The mayor of\nBonn met Ann."
    assert marked(meeting) == [("The mayor of\nBonn", "PER"), ("Bonn", "GPE"), ("Ann", "PER")]
    assert (weather.text, weather.spans) == ("It rained.", ())


def test_ace_tags_are_whole_whatever_their_attributes_hold(ace):
    path = ace / "deep" / "town.sgm"
    path.write_text(path.read_text().replace("<TEXT>", '<TEXT POST="a > b\n<c> &quot;">').replace("* * *", "2 < 3"))
    apf = ace / "deep" / "town.apf.xml"
    assert [record.text for record in read_ace(apf)][1:] == ["The mayor of\nBonn met Ann.", "2 < 3", "It rained."]


def test_ace_folder(ace):
    assert len(list(read_ace(ace))) == 3


def test_ace_mention_in_front_of_the_body_is_kept(ace):
    path = ace / "deep" / "town.apf.xml"
    path.write_text(path.read_text().replace('START="57" END="59">Ann<', 'START="2" END="5">town<'))
    name, *_ = read_ace(ace)
    assert (name.text, marked(name)) == ("town-1", [("town", "PER")])


def test_ace_mention_over_a_blank_line_holds_the_blocks_together(ace):
    path = ace / "deep" / "town.apf.xml"
    long = "Ann.\n\n* * *\n\nIt"
    path.write_text(path.read_text().replace('END="59">Ann<', f'END="{56 + len(long)}">{long}<', 1))
    _, block = read_ace(ace)
    assert block.text.endswith("It rained.")
    assert marked(block)[-1] == (long, "PER")


BROKEN_ACE = {
    "not XML": ("<entity ", "<<", "not well-formed"),
    "another text": ("The mayor of", "A mayor of", "is not the text at"),
    "no number": ('START="', 'START="x', "no numbers START and END"),
    "no type": ('TYPE="GPE"', "", "no extent or its entity no type"),
    "no extent": ("extent>", "other>", "no extent or its entity no type"),
}


@pytest.mark.parametrize(("old", "new", "problem"), BROKEN_ACE.values(), ids=BROKEN_ACE.keys())
def test_broken_ace_document_is_named(ace, old, new, problem):
    path = ace / "deep" / "town.apf.xml"
    shutil.copy(path, ace / "town.apf.xml")
    shutil.copy(ace / "deep" / "town.sgm", ace)
    path.write_text(path.read_text().replace(old, new))
    with pytest.raises(ValueError, match=rf"\[P114\] .*deep/town\.apf\.xml: .*{problem}"):
        list(read_ace(ace))
    skip = Skip()
    assert len(list(read_ace(ace, skip))) == 3
    assert len(skip.messages) == 1


def test_ace_text_that_is_not_there(ace):
    (ace / "deep" / "town.sgm").unlink()
    with pytest.raises(ValueError, match=r"\[P114\] .*its text town\.sgm is not beside it"):
        list(read_ace(ace))


def test_genia():
    first, second = read_genia(SAMPLES / "genia.xml")
    assert first.text == "On the A1 gene."
    assert marked(first) == [("A1", "protein"), ("A1 gene", "DNA")]
    assert second.text == "x and y cells met z and P9, a virus & more."
    assert marked(second) == [("x", "cell_line"), ("P9", "protein")]


def test_genia_that_is_cut_off(tmp_path):
    path = tmp_path / "a.xml"
    path.write_text((SAMPLES / "genia.xml").read_text().partition("</abstract>")[0])
    records = read_genia(path)
    assert [next(records).text[:2] for _ in range(2)] == ["On", "x "]
    with pytest.raises(ValueError, match=r"\[P114\] .*a\.xml: no element found: line"):
        next(records)
    skip = Skip()
    assert len(list(read_genia(path, skip))) == 2
    assert len(skip.messages) == 1
