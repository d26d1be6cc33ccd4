"""AutoRegAug: the text with marks around its mentions."""

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.alignment import Alignment
from spacy_padellm.schemes.augmented import build_augmented_v1
from spacy_padellm.types import Mention, Scheme
from tests.schemes.answers import LABELS, answer_all, entities, given_answer

SCHEME = build_augmented_v1(prompt=build_english_prompt_v1())
TEXT = "Ann left Japan for the Bank of Japan"
LOC, ORG, PER = "LOC", "ORG", "PER"


def found_in(text: str, answer: str) -> tuple[list[tuple[str, str, int | None]], int]:
    (branch,) = SCHEME.ask(LABELS, text)
    reading = SCHEME.read([given_answer(branch, answer)])
    found = [(mention.label, mention.string, mention.start) for mention in reading.mentions]
    assert {label for label, _ in reading.unreadable} <= {""}
    return found, len(reading.unreadable)


def test_it_is_a_scheme():
    assert isinstance(SCHEME, Scheme)


def test_the_format_as_in_the_paper():
    text = "Japan, co-hosts of the World Cup in 2002"
    gold = [Mention("LOC", "Japan", 1, start=0), Mention("MISC", "World Cup", 1, start=23)]
    (answered,) = answer_all(SCHEME, {"LOC": "LOC", "MISC": "MISC"}, text, gold)
    assert answered.answer.text == "[Japan | LOC], co-hosts of the [World Cup | MISC] in 2002"
    assert answered.branch.question == "entity types:\nLOC, MISC\n\n<marked text>"


def test_nested_mentions_are_nested_brackets():
    gold = [Mention(ORG, "Bank of Japan", start=23), Mention(LOC, "Japan", start=31), Mention(PER, "Japan", start=31)]
    (answered,) = answer_all(SCHEME, LABELS, TEXT, gold)
    assert answered.answer.text == "Ann left Japan for the [Bank of [[Japan | person] | place] | club]"


def test_one_question():
    (branch,) = SCHEME.ask(LABELS, TEXT)
    assert (branch.label, branch.ordinal, branch.parent, branch.copies, branch.text) == ("", 0, None, False, TEXT)
    assert SCHEME.follow(branch, "9") == []
    assert SCHEME.ask({}, TEXT) == []


def test_there_is_room_for_a_long_text():
    text = "上海 Japan [] " * 300
    (branch,) = SCHEME.ask(LABELS, text)
    assert branch.limit > 2 * len(text)


def test_gold_of_labels_that_are_not_asked_about_is_not_marked():
    (answered,) = answer_all(SCHEME, {"PER": "person"}, TEXT, [Mention(LOC, "Japan", start=9)])
    assert answered.answer.text == TEXT


def test_a_gold_mention_without_a_place_is_refused_p018():
    with pytest.raises(ValueError, match=r"\[P018\].*'Japan' \(LOC\)"):
        answer_all(SCHEME, LABELS, TEXT, [Mention(LOC, "Japan")])


@given(entities(crossing=False))
def test_what_a_perfect_model_answers_is_read_as_gold(found):
    text, gold = found
    assert SCHEME.left_out(gold) == []
    answered = answer_all(SCHEME, LABELS, text, gold)
    reading = SCHEME.read(answered)
    expected = [
        Mention(mention.label, mention.string, mention.ordinal, 0.5, start=mention.start)
        for label in LABELS
        for mention in gold
        if mention.label == label
    ]
    assert list(reading.mentions) == expected
    assert (reading.counts, reading.unreadable, reading.over_limit) == ({}, (), ())
    segments = answered[0].branch.form.cut(answered[0].answer.text)
    assert "".join(segment.text for segment in segments) == answered[0].answer.text
    copies = [segment.text for segment in segments if segment.copied]
    assert [copy.strip() for copy in copies] == copies


@given(entities())
def test_crossing_mentions_are_all_that_is_left_out(found):
    text, gold = found
    left_out = SCHEME.left_out(gold)
    for mention in left_out:
        start, end = mention.start, mention.start + len(mention.string)
        assert any(o.start < start < o.start + len(o.string) < end for o in gold)
    reading = SCHEME.read(answer_all(SCHEME, LABELS, text, gold))
    found = sorted((m.label, m.string, m.start) for m in reading.mentions)
    assert sorted(found + [(m.label, m.string, m.start) for m in left_out]) == sorted(
        (m.label, m.string, m.start) for m in gold
    )


def test_mentions_inside_too_many_others_are_left_out():
    scheme = build_augmented_v1(prompt=build_english_prompt_v1(), max_nesting=2)
    gold = [Mention(LOC, "a b c d"[: 7 - 2 * k], start=0) for k in range(4)]
    assert scheme.left_out(gold) == gold[2:]
    assert len(build_augmented_v1(prompt=build_english_prompt_v1(), max_nesting=4).left_out(gold)) == 0
    (answered,) = answer_all(scheme, LABELS, "a b c d", gold)
    assert answered.answer.text == "[[a b c | place] d | place]"


@pytest.mark.parametrize("most", [0, -1])
def test_no_nesting_at_all_is_no_setting(most):
    with pytest.raises(ValueError, match=r"P001.*'max_nesting'.*at least 1"):
        build_augmented_v1(prompt=build_english_prompt_v1(), max_nesting=most)


@given(st.text(), st.text(min_size=1))
@example("[a | b] \\] | c]", "x | y]")
def test_any_text_and_words(text, words):
    gold = [Mention("A", text.strip(), 1, start=len(text) - len(text.lstrip()))] if text.strip() else []
    answered = answer_all(SCHEME, {"A": words, "B": words + "2"}, text, gold)
    reading = SCHEME.read(answered)
    assert [(m.label, m.string, m.start) for m in reading.mentions] == [(m.label, m.string, m.start) for m in gold]
    assert reading.unreadable == ()


@pytest.mark.parametrize(
    "answer, found, unreadable",
    [
        ("", [], 1),
        ("Ann left", [], 1),
        ("[Ann | person] left", [(PER, "Ann", 0)], 1),
        ("[Ann | person] left [Jap", [(PER, "Ann", 0)], 2),
        ("[Ann | person] left [Japan | pla", [(PER, "Ann", 0)], 3),
        ("[Ann | planet] left [Japan | place] for the Bank of Japan", [(LOC, "Japan", 9)], 1),
        ("[Ann] left [Japan | place] for the Bank of Japan", [(LOC, "Japan", 9)], 1),
        ("Ann] left [Japan | place] for the Bank of Japan", [(LOC, "Japan", 9)], 1),
        ("Ann | left [Japan | place] for the Bank of Japan", [(LOC, "Japan", 9)], 1),
        ("Ann left for the Bank of [Japan | place]", [(LOC, "Japan", 31)], 1),
        ("Ann has left [Japan | place] for the Bank of Japan", [(LOC, "Japan", 9)], 1),
        ("Bob left [Syria | place] for the Bank of Japan", [(LOC, "Syria", None)], 1),
        (" [ Ann|person]left[Japan |place ]for  the Bank of Japan ", [(PER, "Ann", 0), (LOC, "Japan", 9)], 0),
        ("Ann left Japan for the Bank of Japan\\", [], 1),
        ("[" * 5000, [], 5001),
    ],
)
def test_damaged_answers_give_what_is_sound_and_are_counted(answer, found, unreadable):
    assert found_in(TEXT, answer) == (found, unreadable)


def test_a_repeat_has_its_own_place():
    assert found_in(TEXT, "Ann left Japan for the Bank of [Japan | place]") == ([(LOC, "Japan", 31)], 0)


def test_characters_that_were_changed_in_copying_move_no_place():
    text = "İstanbul and cafe\u0301 in Japan"
    answer = "İstanbul and caf\u00e9 in [Japan | place]"
    assert found_in(text, answer) == ([(LOC, "Japan", 22)], 1)


@given(st.text("ab \n"), st.text("ab "))
def test_what_is_aligned_is_equal(copy, text):
    alignment = Alignment(copy, text)
    assert alignment.whole == ("".join(copy.split()) == "".join(text.split()))
    for start in range(len(copy)):
        for end in range(start, len(copy) + 1):
            place = alignment.find(start, end)
            if place:
                assert "".join(text[slice(*place)].split()) == "".join(copy[start:end].split()) != ""
            elif alignment.whole:
                assert not copy[start:end].strip()
