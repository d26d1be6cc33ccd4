"""Mentions of one label that must not be the same one."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.distinct import distinct
from spacy_padellm.schemes.padellm import build_padellm_v1
from spacy_padellm.types import Answer, Answered, Branch, Finish

TEXT = "Ann met Ann Lee and Bo"


def answered(ordinal: int, string: str, probability: float) -> Answered:
    return Answered(Branch("!", "PER", ordinal), Answer(string, probability, Finish.END, 1))


def kept(*questions: list[tuple[str, float]], text: str = TEXT) -> list[str]:
    options = {
        ordinal: [answered(ordinal, *found) for found in answers] for ordinal, answers in enumerate(questions, start=1)
    }
    return [answer.text for _, answer in distinct(options, text)]


@pytest.mark.parametrize(
    ("questions", "expected"),
    [
        # As often as the text has it, nothing changes.
        ([[("Ann", 0.9), ("Bo", 0.1)], [("Ann", 0.8), ("Bo", 0.2)]], ["Ann", "Ann"]),
        # The surest answer keeps it, whichever question gave it.
        ([[("Bo", 0.9), ("met", 0.1)], [("Bo", 0.5), ("Ann", 0.2)]], ["Bo", "Ann"]),
        ([[("Bo", 0.5), ("Ann", 0.2)], [("Bo", 0.9), ("met", 0.1)]], ["Ann", "Bo"]),
        # Of the others the likeliest that is free; one that lies in another mention is not.
        ([[("Ann Lee", 0.9)], [("Ann Lee", 0.5), ("Lee", 0.4), ("Bo", 0.1)]], ["Ann Lee", "Bo"]),
        ([[("Ann Lee", 0.9)], [("Ann Lee", 0.5), ("Ann", 0.4)]], ["Ann Lee", "Ann"]),
        # None is free: the repeat stays, and is counted as surplus later.
        ([[("Bo", 0.9)], [("Bo", 0.5), ("Bo", 0.4)]], ["Bo", "Bo"]),
        ([[("Bo", 0.9)], [("Bo", 0.5)]], ["Bo", "Bo"]),
        # A model's own answer may lie within another one: labels may be nested.
        ([[("Ann Lee", 0.9), ("Bo", 0.1)], [("Lee", 0.8), ("Bo", 0.1)]], ["Ann Lee", "Lee"]),
        # What stands nowhere takes no place, and gives way to what does.
        ([[("Zoe", 0.9), ("Bo", 0.1)]], ["Bo"]),
        ([[("Zoe", 0.9)], [("", 0.9)]], ["Zoe", ""]),
        # A further answer takes no place that is some question's own, however unsure that is.
        ([[("Bo", 0.9)], [("Bo", 0.9), ("met", 0.9)], [("met", 0.1)]], ["Bo", "Bo", "met"]),
        # Equal probabilities: the first question chooses first.
        ([[("Bo", 0.5), ("met", 0.1)], [("Bo", 0.5), ("Ann", 0.1)]], ["Bo", "Ann"]),
        ([], []),
    ],
)
def test_by_hand(questions, expected):
    assert kept(*questions) == expected


@given(st.lists(st.lists(st.tuples(st.sampled_from(TEXT.split()), st.floats(0.01, 1.0)), min_size=1, max_size=4)))
def test_each_question_keeps_one_of_its_answers_and_repeats_only_rise_where_nothing_is_free(questions):
    found = kept(*questions)
    assert len(found) == len(questions)
    for string, answers in zip(found, questions, strict=True):
        assert string in [text for text, _ in answers]
    for string in set(found):
        # A repeat beyond the text's is some question's own answer.
        own = sum(answers[0][0] == string for answers in questions)
        assert found.count(string) <= max(TEXT.split().count(string), own)


def test_the_scheme_asks_for_choices_only_where_there_are_several_mentions():
    scheme = build_padellm_v1(prompt=build_english_prompt_v1(), mention_choices=2, choice_floor=0.25)
    (count,) = scheme.ask({"PER": "person"}, TEXT)
    assert (count.further, count.text) == (0, TEXT)
    assert [(one.further, one.floor) for one in scheme.follow(count, "2")] == [(2, 0.25)] * 2
    assert [(one.further, one.floor) for one in scheme.follow(count, "1")] == [(0, 0.0)]
    plain = build_padellm_v1(prompt=build_english_prompt_v1())
    assert [(one.further, one.floor, one.under) for one in plain.follow(count, "2")] == [(0, 0.0, "")] * 2


def test_what_is_read():
    scheme = build_padellm_v1(prompt=build_english_prompt_v1(), mention_choices=1, drop_surplus=True)
    (count,) = scheme.ask({"PER": "person"}, TEXT)
    first, second, third = scheme.follow(count, "3")

    def given(branch: Branch, string: str, probability: float) -> Answered:
        return Answered(branch, Answer(string, probability, Finish.END, 1))

    answers = [
        given(count, "3", 0.9),
        given(first, "Bo", 0.9),
        given(second, "Bo", 0.5),
        given(second, "Ann", 0.25),
        given(third, "Bo", 0.75),
    ]
    reading = scheme.read(answers)
    assert [(mention.string, mention.ordinal, mention.score) for mention in reading.mentions] == [
        ("Bo", 1, 0.9),
        ("Ann", 2, 0.25),
        ("Bo", 3, 0.75),
    ]
    assert reading.counts == {"PER": 2}, "one repeat is left, and is dropped"
    assert reading.passed_over == (answers[2],)
