"""AutoRegStruct: pairs of labels and mentions in one answer."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.marks import escape, unescape
from spacy_padellm.schemes.structured import build_structured_v1
from spacy_padellm.types import Mention, Scheme
from tests.schemes.answers import LABELS, answer_all, entities, given_answer

SCHEME = build_structured_v1(prompt=build_english_prompt_v1())


def test_it_is_a_scheme():
    assert isinstance(SCHEME, Scheme)


def test_the_format_as_in_the_paper():
    labels = {"PER": "PER", "MISC": "MISC", "ORG": "ORG"}
    gold = [Mention("MISC", "1995 World Cup", 1), Mention("PER", "Cuttitta", 1)]
    (answered,) = answer_all(SCHEME, labels, "", gold)
    assert answered.answer.text == "((PER): (Cuttitta), (MISC): (1995 World Cup), (ORG): (NULL))"
    assert answered.branch.question == "entity types:\nPER, MISC, ORG\n\n<entities>"


def test_mentions_stand_label_by_label_in_text_order():
    gold = [Mention("LOC", "Japan"), Mention("PER", "Ann"), Mention("LOC", "Syria")]
    (answered,) = answer_all(SCHEME, LABELS, "", gold)
    assert answered.answer.text == "((person): (Ann), (place): (Japan), (place): (Syria), (club): (NULL))"


def test_one_question():
    (branch,) = SCHEME.ask(LABELS, "Ann")
    assert (branch.label, branch.ordinal, branch.parent, branch.copies) == ("", 0, None, False)
    assert branch.labels == tuple(LABELS.items())
    assert SCHEME.follow(branch, "9") == []
    assert SCHEME.ask({}, "Ann") == []


def test_gold_of_labels_that_are_not_asked_about_is_not_answered():
    (answered,) = answer_all(SCHEME, {"PER": "person"}, "", [Mention("LOC", "Japan")])
    assert answered.answer.text == "((person): (NULL))"


@given(entities())
def test_what_a_perfect_model_answers_is_read_as_gold(found):
    text, gold = found
    reading = SCHEME.read(answer_all(SCHEME, LABELS, text, gold))
    expected = [
        Mention(mention.label, mention.string, mention.ordinal, 0.5)
        for label in LABELS
        for mention in gold
        if mention.label == label
    ]
    assert list(reading.mentions) == expected
    assert (reading.counts, reading.unreadable, reading.over_limit) == ({}, (), ())
    assert SCHEME.left_out(gold) == []


@given(st.lists(st.text()), st.text(min_size=1))
@example(["NULL", "\\NULL", "(NULL)", ") (", "\\", "(", "a\\", "\ud83d", ""], "a) (b\\")
def test_any_strings_and_words_are_pairs_and_their_segments_are_the_answer(strings, words):
    gold = [Mention("LOC", string, ordinal) for ordinal, string in enumerate(strings, 1)]
    (answered,) = answer_all(SCHEME, {"LOC": words, "PER": words + "2"}, "", gold)
    reading = SCHEME.read([answered])
    assert [mention.string for mention in reading.mentions] == [string.strip() for string in strings]
    assert {mention.label for mention in reading.mentions} <= {"LOC"}
    assert reading.unreadable == ()
    segments = answered.branch.form.cut(answered.answer.text)
    assert "".join(segment.text for segment in segments) == answered.answer.text
    copied = [unescape(segment.text) for segment in segments if segment.copied]
    assert copied == [string for string in strings if string]


@pytest.mark.parametrize(
    "answer, strings, unreadable",
    [
        ("", [], 1),
        ("Japan", [], 1),
        ("(place): (Japan)", [], 1),
        ("((place): (Japan), (place): (Syr", ["Japan"], 1),
        ("((place): (Japan), ", ["Japan"], 1),
        ("((place): (Japan)", ["Japan"], 1),
        ("((place): (Japan), (place) (Syria))", ["Japan"], 1),
        ("((place): (Japan), (place): ((Syria)))", ["Japan"], 1),
        ("((place): (Japan)) and more", ["Japan"], 1),
        ("((place): (Japan), (planet): (Mars), (place): (Syria))", ["Japan", "Syria"], 1),
        ("((planet): (Mars), (place): (Japan)", ["Japan"], 2),
        ("((place): (NULL), (place): (Japan))", ["Japan"], 0),
        ("( ( place ) : ( Japan ) ,(club):(NULL) )", ["Japan"], 0),
        ("(" * 100_000, [], 1),
    ],
)
def test_damaged_answers_give_what_is_sound_and_are_counted(answer, strings, unreadable):
    (branch,) = SCHEME.ask(LABELS)
    reading = SCHEME.read([given_answer(branch, answer)])
    assert [(mention.label, mention.string) for mention in reading.mentions] == [("LOC", text) for text in strings]
    assert len(reading.unreadable) == unreadable
    assert {label for label, _ in reading.unreadable} <= {""}


@pytest.mark.parametrize("words", ["place", " place "])
def test_labels_with_the_same_words_are_refused_p017(words):
    with pytest.raises(ValueError, match=r"\[P017\].*'LOC' and 'GPE'.*place"):
        SCHEME.ask({"LOC": "place", "GPE": words})


@given(st.text(), st.sampled_from(["()", "[]|"]))
def test_escapes_come_off_again(string, marks):
    written = escape(string, marks)
    assert unescape(written) == string
    assert written.count("\\") >= sum(string.count(mark) for mark in marks)
    assert "".join(escape(char, marks) for char in string) == written
