import re

import pytest
import spacy

from spacy_padellm.spans.occurrences import Borders, occurrences


def words(text: str) -> Borders:
    """Every run of characters between blanks is a token."""
    return Borders.from_tokens(text, [match.span() for match in re.finditer(r"\S+", text)])


def characters(text: str) -> Borders:
    """Every character is a token, a blank too."""
    return Borders.from_tokens(text, [(i, i + 1) for i in range(len(text))])


@pytest.mark.parametrize(
    "text, string, expected",
    [
        ("Japan beat Syria", "Syria", [(11, 16)]),
        ("Japan beat Japan B", "Japan", [(0, 5), (11, 16)]),
        ("the Asian Cup of Asian Cup winners", "Asian Cup", [(4, 13), (17, 26)]),
        # A string is found only where tokens begin and end.
        ("Annabel met Ann", "Ann", [(12, 15)]),
        ("Joann met Ann", "Ann", [(10, 13)]),
        ("Annabel", "Ann", []),
        # Letter case is kept: "İ".lower() is two characters long and would move every place after it.
        ("İİİ İstanbul is Ankara", "Ankara", [(16, 22)]),
        ("İstanbul", "İstanbul", [(0, 8)]),
        ("japan", "Japan", []),
        ("straße STRASSE", "STRASSE", [(7, 14)]),
        # Full-width forms are other characters than the narrow ones.
        ("ＮＡＴＯ NATO", "NATO", [(5, 9)]),
        ("ＮＡＴＯ NATO", "ＮＡＴＯ", [(0, 4)]),
        # Characters outside the basic plane count one each.
        ("😀 😀 Bob 𝔹ob", "Bob", [(4, 7)]),
        ("😀 😀 Bob 𝔹ob", "𝔹ob", [(8, 11)]),
        ("👩‍🚀 flew", "👩", []),
        # A letter with a combining mark is neither the bare letter nor the composed one.
        ("Cafe\u0301 Cafe", "Cafe", [(6, 10)]),
        ("Cafe\u0301", "Caf\u00e9", []),
        ("Cafe\u0301", "Cafe\u0301", [(0, 5)]),
        # White space at the edges of the string is trimmed; inside it must be the text's own.
        ("in  New York", " New York\n", [(4, 12)]),
        ("New  York", "New York", []),
        ("New  York", "New  York", [(0, 9)]),
        # Nothing to find, nothing to find it in.
        ("Japan", "", []),
        ("Japan  x", "  ", []),
        ("", "Japan", []),
        ("", "", []),
        ("Japan", "Japan is longer", []),
    ],
)
def test_occurrences_in_words(text, string, expected):
    assert occurrences(text, words(text), string) == expected


@pytest.mark.parametrize(
    "text, string, expected",
    [
        ("李开复感动李开复", "李开复", [(0, 3), (5, 8)]),
        ("北京大学在北京", "北京", [(0, 2), (5, 7)]),
        ("banana", "an", [(1, 3), (3, 5)]),
        # Places do not overlap each other.
        ("banana", "ana", [(1, 4)]),
        ("哈哈哈哈哈", "哈哈", [(0, 2), (2, 4)]),
        # A blank is a token here, but no span begins or ends on it.
        ("本为 手机", "本为 ", [(0, 2)]),
        ("本为 手机", "为 手", [(1, 4)]),
    ],
)
def test_occurrences_in_characters(text, string, expected):
    assert occurrences(text, characters(text), string) == expected


def test_a_text_without_spaces_is_one_token():
    text = "北京大学"
    assert occurrences(text, words(text), "北京") == []
    assert occurrences(text, words(text), "北京大学") == [(0, 4)]


def test_a_match_off_the_borders_does_not_hide_the_next():
    text = "aaa"
    assert occurrences(text, Borders.from_tokens(text, [(0, 1), (1, 3)]), "aa") == [(1, 3)]


def test_white_space_and_empty_tokens_give_no_borders():
    text = "a \n\n b"
    borders = Borders.from_tokens(text, [(0, 1), (2, 4), (5, 5), (5, 6)])
    assert borders == Borders(starts=frozenset({0, 5}), ends=frozenset({1, 6}))


def test_borders_of_a_doc():
    doc = spacy.blank("en")("Ann  met Ann's  friend.")
    borders = Borders.from_tokens(doc.text, [(token.idx, token.idx + len(token)) for token in doc])
    assert occurrences(doc.text, borders, "Ann") == [(0, 3), (9, 12)]
    assert occurrences(doc.text, borders, "met Ann") == [(5, 12)]
