"""OneStep: a JSON list for each label."""

import json

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.one_step import ListForm, build_one_step_v1, read_list
from spacy_padellm.types import Branch, Mention, Scheme
from tests.schemes.answers import LABELS, answer_all, entities, given_answer

SCHEME = build_one_step_v1(prompt=build_english_prompt_v1())
GOLD = [Mention("LOC", "Japan", 1, start=0), Mention("PER", "Ann", 1, start=9), Mention("LOC", "Japan", 2, start=20)]


def test_it_is_a_scheme():
    assert isinstance(SCHEME, Scheme)


def test_whole_sequences():
    start = "text:\nAnn left Japan\nentity type:\n"
    sequences = [
        "".join(SCHEME.trunk("Ann left Japan")) + branch.question + answer.text
        for branch, answer in answer_all(SCHEME, LABELS, "Ann left Japan", GOLD)
    ]
    assert sequences == [
        start + 'person\n\n<mentions>["Ann"]',
        start + 'place\n\n<mentions>["Japan", "Japan"]',
        start + "club\n\n<mentions>[]",
    ]


def test_questions():
    branches = SCHEME.ask(LABELS, "Ann")
    assert [branch.label for branch in branches] == list(LABELS)
    for branch in branches:
        assert (branch.ordinal, branch.parent, branch.copies, branch.closer) == (0, None, False, "")
        assert branch.form == ListForm()
        assert SCHEME.follow(branch, "2") == []
    assert SCHEME.ask({}, "Ann") == []


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
    assert reading.counts == {label: sum(mention.label == label for mention in gold) for label in LABELS}
    assert (reading.unreadable, reading.over_limit, SCHEME.left_out(gold)) == ((), (), [])


@given(st.lists(st.text()))
@example(["Acme, Inc.", '"Acme", "Inc."', "[]", '", "', "\\", "a\\", "\ud83d", "\n\u2028\x00", ""])
def test_any_strings_are_a_list_and_its_segments_are_the_answer(strings):
    branch = Branch("?", "LOC")
    answer = SCHEME.answer(branch, [Mention("LOC", string) for string in strings])
    assert json.loads(answer) == strings
    assert read_list(answer) == ([string.strip() for string in strings], True)
    segments = ListForm().cut(answer)
    assert "".join(segment.text for segment in segments) == answer
    copied = [segment.text for segment in segments if segment.copied]
    assert copied == [ListForm().escape(string) for string in strings if string]


def test_white_space_at_the_edges_is_all_that_is_lost():
    answered = answer_all(SCHEME, {"LOC": "place"}, "", [Mention("LOC", " Abu \t Dhabi\n")])
    assert [mention.string for mention in SCHEME.read(answered).mentions] == ["Abu \t Dhabi"]


@pytest.mark.parametrize(
    "answer, strings",
    [
        ("", []),
        ("Japan", []),
        ('"Japan"', []),
        ('["Japan", "Syr', ["Japan"]),
        ('["Japan", ', ["Japan"]),
        ('["Japan"', ["Japan"]),
        ('["Japan",]', ["Japan"]),
        ('["Japan" "Syria"]', []),
        ('["Japan", 3, "Syria"]', ["Japan"]),
        ('["Japan", ["Syria"]]', ["Japan"]),
        ('["Japan", "\\x", "Syria"]', ["Japan"]),
        ('["Japan"] and more', ["Japan"]),
        ("[", []),
        ("[" * 100_000, []),
        ('{"a": "b"}', []),
    ],
)
def test_damaged_lists_give_what_is_sound_and_are_counted(answer, strings):
    (branch, other), text = SCHEME.ask({"LOC": "place", "PER": "person"}), '["Ann"]'
    reading = SCHEME.read([given_answer(branch, answer), given_answer(other, text)])
    assert [mention.string for mention in reading.mentions] == [*strings, "Ann"]
    assert reading.unreadable == (("LOC", answer),)
    assert reading.counts == {"PER": 1}


@pytest.mark.parametrize("answer", [' ["Japan" , " Syria " ] ', '["\\u004aapan","Syria"]'])
def test_a_list_may_be_written_with_other_blanks_and_escapes(answer):
    assert read_list(answer) == (["Japan", "Syria"], True)


@given(st.text(alphabet='["],\\ a', max_size=12))
def test_any_answer_is_read_or_counted(answer):
    strings, sound = read_list(answer)
    try:
        parsed = json.loads(answer, strict=False)
    except ValueError:
        parsed = None
    expected = isinstance(parsed, list) and all(isinstance(part, str) for part in parsed)
    assert sound == expected
    if sound:
        assert strings == [part.strip() for part in parsed]


def test_scores_are_those_of_the_list():
    (branch,) = SCHEME.ask({"LOC": "place"})
    reading = SCHEME.read([given_answer(branch, '["Japan", "Syria"]', 0.25)])
    assert [(mention.score, mention.count_score) for mention in reading.mentions] == [(0.25, 1.0)] * 2
