"""Several counts of one label: which is kept, and what is read then."""

import math
from collections.abc import Sequence
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.padellm import PaDeLLM, build_padellm_v1
from spacy_padellm.schemes.second_look import Candidate, choose, score, surplus
from spacy_padellm.types import Answer, Answered, Branch, Finish, Mention

PROMPT = build_english_prompt_v1()
SCHEME = build_padellm_v1(prompt=PROMPT, second_look=2, look_weight=1.0, look_absent=1.0)
TEXT = "Japan beat Syria in Japan"

Strings = Sequence[tuple[str, float]]


def answer_of(text: str, probability: float) -> Answer:
    return Answer(text, probability, Finish.END, 1)


def candidate(probability: float, *found: tuple[str, float]) -> Candidate:
    mentions = [
        Answered(Branch("!", "LOC", ordinal), answer_of(string, how))
        for ordinal, (string, how) in enumerate(found, start=1)
    ]
    counted = Answered(Branch("?", "LOC"), answer_of(str(len(found)), probability))
    return Candidate(len(found), counted, tuple(mentions))


def given_to(scheme: PaDeLLM, counts: Sequence[tuple[str, float, Strings]], text: str = TEXT) -> list[Answered]:
    """What a model answered about one label: each count with its mentions."""
    (branch,) = scheme.ask({"LOC": "place"}, text)
    answered = []
    for count, probability, strings in counts:
        answered.append(Answered(branch, answer_of(count, probability)))
        opened = scheme.follow(branch, count)
        assert len(opened) == len(strings)
        answered += [Answered(ask, answer_of(*found)) for ask, found in zip(opened, strings, strict=True)]
    return answered


ONE = ("1", 0.6, [("Japan", 0.1)])
TWO = ("2", 0.4, [("Japan", 0.9), ("Syria", 0.9)])
THREE = ("3", 0.1, [("Japan", 1.0), ("Syria", 1.0), ("Syria", 1.0)])


# What a count is worth


def test_score_by_hand():
    of = candidate(0.5, ("a", 0.25), ("b", 1.0))
    assert score(of, weight=1.0, absent=1.0) == pytest.approx(math.log(0.5) + math.log(0.25) / 2)
    assert score(of, weight=0.5, absent=1.0) == pytest.approx(math.log(0.5) + math.log(0.25) / 4)
    assert score(of, weight=0.0, absent=1.0) == math.log(0.5)
    assert score(candidate(0.5), weight=2.0, absent=0.1) == pytest.approx(math.log(0.5) + 2 * math.log(0.1))


def test_what_is_impossible_is_worth_nothing():
    assert score(candidate(0.0), weight=1.0, absent=1.0) == -math.inf
    assert score(candidate(0.5, ("a", 0.0)), weight=1.0, absent=1.0) == -math.inf
    assert score(candidate(0.5, ("a", 0.0)), weight=0.0, absent=1.0) == math.log(0.5)


@given(st.floats(0.01, 1.0), st.floats(0.01, 1.0), st.integers(1, 9), st.floats(0.0, 4.0))
def test_longer_lists_are_not_punished(count, mention, size, weight):
    """Of mentions that are equally probable any number is worth the same."""
    one, many = candidate(count, ("a", mention)), candidate(count, *[("a", mention)] * size)
    assert score(one, weight=weight, absent=1.0) == pytest.approx(score(many, weight=weight, absent=1.0))


@pytest.mark.parametrize(
    ("strings", "expected"),
    [
        ([], 0),
        (["Japan", "Syria", "Japan"], 0),
        (["Japan", "Japan", "Japan"], 1),
        (["Syria", " Syria ", "Syria"], 2),
        (["China", "China"], 1),
        (["China"], 0),
        (["", ""], 0),
    ],
)
def test_surplus(strings: list[str], expected: int):
    assert surplus(candidate(1.0, *[(string, 1.0) for string in strings]).mentions, TEXT) == expected


def test_a_list_with_surplus_repeats_is_impossible():
    right, surplus_one = candidate(0.1, ("Syria", 0.5)), candidate(0.9, ("Syria", 1.0), ("Syria", 1.0))
    assert choose([surplus_one, right], TEXT, weight=1.0, absent=1.0) is right
    assert choose([surplus_one, right], TEXT + " Syria", weight=1.0, absent=1.0) is surplus_one
    assert choose([surplus_one], TEXT, weight=1.0, absent=1.0) is surplus_one


PROBABILITIES = st.lists(st.tuples(st.floats(0.01, 1.0), st.lists(st.floats(0.01, 1.0), max_size=3)), min_size=1)


@given(PROBABILITIES, st.floats(0.0, 4.0))
def test_the_chosen_one_is_worth_most_and_of_equal_ones_the_first(parts, weight):
    text = " ".join("abc")
    candidates = [candidate(count, *zip("abc", found, strict=False)) for count, found in parts]
    chosen = choose(candidates, text, weight=weight, absent=1.0)
    scores = [score(one, weight=weight, absent=1.0) for one in candidates]
    assert chosen is candidates[scores.index(max(scores))]


# What is asked


def test_without_a_look_nothing_else_is_asked():
    plain = PaDeLLM(PROMPT)
    (branch,) = plain.ask({"LOC": "place"}, TEXT)
    assert (branch.further, branch.floor, branch.text, branch.under) == (0, 0.0, "", "")
    assert {mention.under for mention in plain.follow(branch, "2")} == {""}


def test_a_look_asks_for_further_counts():
    scheme = replace(SCHEME, look_floor=0.25)
    (branch,) = scheme.ask({"LOC": "place"}, TEXT)
    assert (branch.further, branch.floor, branch.text) == (2, 0.25, TEXT)
    one, two = scheme.follow(branch, "1"), scheme.follow(branch, "2")
    assert (one[0].under, two[0].under) == ("1", "2")
    assert not set(one) & set(two)
    assert scheme.follow(two[0], "2") == []


# What is read


def test_the_count_is_kept_that_goes_with_its_mentions():
    answered = given_to(SCHEME, [ONE, TWO, THREE])
    reading = SCHEME.read(answered)
    assert reading.counts == {"LOC": 2}
    assert reading.mentions == (Mention("LOC", "Japan", 1, 0.9, 0.4), Mention("LOC", "Syria", 2, 0.9, 0.4))
    assert list(reading.passed_over) == [*answered[:2], *answered[5:]]
    assert (reading.unreadable, reading.over_limit) == ((), ())


def test_look_weight():
    assert replace(SCHEME, look_weight=0.0).read(given_to(SCHEME, [ONE, TWO])).counts == {"LOC": 1}
    assert replace(SCHEME, look_weight=0.5).read(given_to(SCHEME, [ONE, TWO])).counts == {"LOC": 2}


def test_look_absent():
    answered = given_to(SCHEME, [("0", 0.6, []), ("1", 0.4, [("Japan", 0.9)])])
    assert SCHEME.read(answered).counts == {"LOC": 0}
    assert replace(SCHEME, look_absent=0.5).read(answered).counts == {"LOC": 1}


@pytest.mark.parametrize("broken", ["", "two", "01"])
def test_other_counts_that_are_none_are_dropped_silently(broken: str):
    reading = SCHEME.read(given_to(SCHEME, [ONE, (broken, 0.5, [])]))
    assert (reading.counts, reading.unreadable) == ({"LOC": 1}, ())
    assert [one.answer.text for one in reading.passed_over] == [broken]


def test_another_count_stands_in_for_one_that_cannot_be_used():
    scheme = replace(SCHEME, max_mentions=3)
    for broken in ("two", "4"):
        reading = scheme.read(given_to(scheme, [(broken, 0.9, []), ONE]))
        assert (reading.counts, reading.unreadable, reading.over_limit) == ({"LOC": 1}, (), ())
        assert len(reading.mentions) == 1


def test_without_a_usable_count_the_first_is_reported():
    scheme = replace(SCHEME, max_mentions=3)
    reading = scheme.read(given_to(scheme, [("two", 0.9, []), ("three", 0.1, [])]))
    assert (reading.counts, reading.unreadable) == ({}, (("LOC", "two"),))
    reading = scheme.read(given_to(scheme, [("5", 0.3, []), ("4", 0.9, [])]))
    assert (reading.counts, reading.over_limit) == ({"LOC": 5}, (("LOC", 5),))


def test_labels_are_chosen_each_for_itself():
    place, person = SCHEME.ask({"LOC": "place", "PER": "person"}, TEXT)
    answered = [
        Answered(place, answer_of("0", 0.5)),
        Answered(place, answer_of("1", 0.4)),
        Answered(SCHEME.follow(place, "1")[0], answer_of("Japan", 0.1)),
        Answered(person, answer_of("1", 0.5)),
        Answered(SCHEME.follow(person, "1")[0], answer_of("Syria", 0.9)),
        Answered(person, answer_of("0", 0.3)),
    ]
    reading = SCHEME.read(answered)
    assert reading.counts == {"LOC": 0, "PER": 1}
    assert [mention.string for mention in reading.mentions] == ["Syria"]


# Surplus repeats


@pytest.mark.parametrize(("strings", "count"), [(["Syria", "Syria"], 1), (["Japan", "Japan"], 2), (["Syria"] * 4, 1)])
def test_drop_surplus_lowers_the_count(strings: list[str], count: int):
    """The mentions themselves stay: whoever places them says what became of them."""
    found = (str(len(strings)), 0.9, [(string, 0.9) for string in strings])
    scheme = PaDeLLM(PROMPT, drop_surplus=True)
    reading = scheme.read(given_to(scheme, [found]))
    assert reading.counts == {"LOC": count}
    assert [mention.string for mention in reading.mentions] == strings
    assert PaDeLLM(PROMPT).read(given_to(PaDeLLM(PROMPT), [found])).counts == {"LOC": len(strings)}


def test_drop_surplus_and_a_second_look():
    """Where every count has surplus repeats, the best is kept and lowered."""
    scheme = replace(SCHEME, drop_surplus=True)
    two, three = ((str(size), 0.5, [("Syria", 0.9)] * size) for size in (2, 3))
    assert scheme.read(given_to(scheme, [two, three])).counts == {"LOC": 1}
    assert SCHEME.read(given_to(SCHEME, [two, three])).counts == {"LOC": 2}


@pytest.mark.parametrize(
    ("setting", "value"),
    [("second_look", -1), ("look_floor", 1.5), ("look_floor", -0.5), ("look_weight", -1.0), ("look_absent", 2.0)],
)
def test_numbers_out_of_range_p001(setting: str, value: float):
    with pytest.raises(ValueError, match=rf"P001.*'{setting}'.*{value}"):
        build_padellm_v1(prompt=PROMPT, **{setting: value})
