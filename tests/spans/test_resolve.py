import re

import pytest

from spacy_padellm.spans.occurrences import Borders
from spacy_padellm.spans.resolve import POLICIES, flat, one_label_per_string, place
from spacy_padellm.types import Mention, Placed

A, B, C = "A B C".split()


def mentions(*given):
    """("PER", "Ann", 0.9) -> Mention; ordinals count per label."""
    seen = {}
    out = []
    for label, string, *score in given:
        seen[label] = seen.get(label, 0) + 1
        out.append(Mention(label, string, seen[label], score[0] if score else 1.0))
    return out


def placed(text, given, policy="ordered"):
    borders = Borders.from_tokens(text, [match.span() for match in re.finditer(r"\S+", text)])
    return place(mentions(*given), text, borders, policy)


def offsets(spans):
    return [(span.start, span.end, span.mention.label) for span in spans]


def span(start, end, label="X", score=1.0):
    return Placed(Mention(label, "s", score=score), start, end)


REPEATS = "a b a b a"
# What each policy does with: fewer mentions than occurrences, equally many, more; one label and two.
CASES = [
    ("ordered", [(A, "a")], [(0, 1, A), (4, 5, A), (8, 9, A)], 0, 2),
    ("strict", [(A, "a")], [(0, 1, A)], 0, 0),
    ("first", [(A, "a")], [(0, 1, A)], 0, 0),
    ("all", [(A, "a")], [(0, 1, A), (4, 5, A), (8, 9, A)], 0, 2),
    ("ordered", [(A, "b")] * 2, [(2, 3, A), (6, 7, A)], 0, 0),
    ("strict", [(A, "b")] * 2, [(2, 3, A), (6, 7, A)], 0, 0),
    ("first", [(A, "b")] * 2, [(2, 3, A)], 1, 0),
    ("all", [(A, "b")] * 2, [(2, 3, A), (6, 7, A)], 0, 0),
    ("ordered", [(A, "b")] * 3, [(2, 3, A), (6, 7, A)], 1, 0),
    ("strict", [(A, "b")] * 3, [(2, 3, A), (6, 7, A)], 1, 0),
    ("first", [(A, "b")] * 3, [(2, 3, A)], 2, 0),
    ("all", [(A, "b")] * 3, [(2, 3, A), (6, 7, A)], 1, 0),
    # "b" under two labels: its left-over occurrence is only filled by "all"; k counts per label.
    ("ordered", [(A, "b"), (A, "b"), (B, "b")], [(2, 3, A), (2, 3, B), (6, 7, A)], 0, 0),
    ("strict", [(A, "b"), (A, "b"), (B, "b")], [(2, 3, A), (2, 3, B), (6, 7, A)], 0, 0),
    ("first", [(A, "b"), (A, "b"), (B, "b")], [(2, 3, A), (2, 3, B)], 1, 0),
    ("all", [(A, "b"), (A, "b"), (B, "b")], [(2, 3, A), (2, 3, B), (6, 7, A), (6, 7, B)], 0, 1),
    # One string is ambiguous, the other is filled all the same.
    ("ordered", [(A, "a"), (A, "b"), (B, "b")], [(0, 1, A), (2, 3, A), (2, 3, B), (4, 5, A), (8, 9, A)], 0, 2),
]


@pytest.mark.parametrize("policy, given, expected, surplus, filled", CASES)
def test_policies(policy, given, expected, surplus, filled):
    placement = placed(REPEATS, given, policy)
    assert offsets(placement.spans) == expected
    assert (len(placement.surplus), placement.filled, placement.unplaced) == (surplus, filled, ())


def test_the_default_policy_is_ordered():
    assert POLICIES[0] == "ordered"
    text = "a a"
    borders = Borders.from_tokens(text, [(0, 1), (2, 3)])
    assert len(place(mentions((A, "a")), text, borders).spans) == 2


def test_an_unknown_policy_is_refused():
    with pytest.raises(ValueError, match=r"\[P130\].*'greedy'.*ordered, first, all, strict"):
        placed("a", [], "greedy")


@pytest.mark.parametrize("policy", POLICIES)
def test_mentions_without_a_place_are_returned(policy):
    placement = placed("Annabel met Bob", [(A, "Ann"), (A, "Bob"), (A, ""), (B, " \n"), (B, "bob")], policy)
    assert [mention.string for mention in placement.unplaced] == ["Ann", "", " \n", "bob"]
    assert offsets(placement.spans) == [(12, 15, A)]


@pytest.mark.parametrize("policy", POLICIES)
def test_no_mentions_no_spans(policy):
    placement = placed("Annabel met Bob", [], policy)
    assert (placement.spans, placement.unplaced, placement.surplus, placement.filled) == ((), (), (), 0)


def test_blank_edges_make_no_other_string():
    placement = placed("a b a", [(A, "a"), (A, " a"), (B, "b\n")], "strict")
    assert offsets(placement.spans) == [(0, 1, A), (2, 3, B), (4, 5, A)]
    # " b" under another label makes "b" ambiguous.
    assert placed("b b", [(A, "b"), (B, " b")]).filled == 0


def test_each_span_keeps_its_own_mention_and_a_filled_one_the_best():
    placement = placed("a a a", [(A, "a", 0.5), (A, "a", 0.9)])
    assert [(span.start, span.mention.ordinal, span.mention.score) for span in placement.spans] == [
        (0, 1, 0.5),
        (2, 2, 0.9),
        (4, 2, 0.9),
    ]


def test_nested_and_overlapping_spans_stay_and_are_in_text_order():
    placement = placed("Bank of China Sea", [(A, "China"), (A, "China Sea"), (B, "Bank of China"), (C, "Bank")])
    assert offsets(placement.spans) == [(0, 13, B), (0, 4, C), (8, 17, A), (8, 13, A)]
    assert offsets(flat(placement.spans)) == [(0, 13, B)]


def test_the_alone_standing_string_is_found_behind_the_nested_one():
    # One "China" was predicted. Its first occurrence is inside a longer mention: filling in finds the one meant.
    placement = placed("Bank of China left China", [(A, "China"), (B, "Bank of China")])
    assert offsets(flat(placement.spans)) == [(0, 13, B), (19, 24, A)]


@pytest.mark.parametrize(
    "given, chosen",
    [
        ([], []),
        ([span(0, 3), span(3, 5)], [0, 1]),
        # The longest, whatever the score.
        ([span(0, 2, score=0.9), span(0, 3, score=0.1)], [1]),
        ([span(0, 3), span(2, 6), span(5, 8)], [1]),
        ([span(0, 9), span(1, 2), span(4, 5), span(8, 10)], [0]),
        # Then the higher score.
        ([span(0, 2, score=0.1), span(1, 3, score=0.9)], [1]),
        # Then the earlier start.
        ([span(1, 3), span(0, 2)], [1]),
        # Then the order given.
        ([span(0, 2, "X"), span(0, 2, "Y")], [0]),
        ([span(0, 2, "Y"), span(0, 2, "X")], [0]),
        # A score beats the order given.
        ([span(0, 2, "X", 0.1), span(0, 2, "Y", 0.2)], [1]),
        # What a dropped span covered is free again.
        ([span(0, 4), span(3, 6, score=0.9), span(4, 6, score=0.1)], [0, 2]),
    ],
)
def test_flat(given, chosen):
    assert flat(given) == tuple(given[i] for i in chosen)


def test_flat_asks_the_counts_where_two_labels_claim_a_string():
    sure = Placed(Mention("X", "ab", score=0.97, count_score=0.9), 0, 2)
    doubtful = Placed(Mention("Y", "ab", score=0.99, count_score=0.6), 0, 2)
    assert flat([doubtful, sure]) == (sure,)


def test_flat_is_in_text_order():
    assert [span.start for span in flat([span(9, 10), span(0, 1), span(4, 8)])] == [0, 4, 9]


@pytest.mark.parametrize(
    "given, dropped",
    [
        ([], []),
        ([(A, "a"), (A, "a"), (B, "b")], []),
        ([(A, "a", 0.4), (B, "a", 0.6)], [0]),
        ([(A, "a", 0.6), (B, "a", 0.4), (B, "b", 0.1)], [1]),
        # All repeats under the best-scored label stay, also the low-scored.
        ([(A, "a", 0.9), (A, "a", 0.1), (B, "a", 0.5), (B, "a", 0.5)], [2, 3]),
        # The label asked first among equals.
        ([(B, "a", 0.5), (A, "a", 0.5), (C, "a", 0.5)], [1, 2]),
        ([(A, "a ", 0.4), (B, "a", 0.6)], [0]),
        ([(A, "a", 0.4), (B, "A", 0.6)], []),
    ],
)
def test_one_label_per_string(given, dropped):
    before = mentions(*given)
    kept, gone = one_label_per_string(before)
    assert gone == tuple(before[i] for i in dropped)
    assert kept == tuple(mention for i, mention in enumerate(before) if i not in dropped)


# Mentions that say where they begin


def test_an_empty_mention_has_no_place_between_tokens_that_touch():
    borders = Borders.from_tokens("ab", [(0, 1), (1, 2)])
    assert place([Mention(A, "", start=1)], "ab", borders).unplaced == (Mention(A, "", start=1),)


def located(*given, policy="strict", text=REPEATS):
    borders = Borders.from_tokens(text, [match.span() for match in re.finditer(r"\S+", text)])
    return place([Mention(label, string, start=start) for label, string, start in given], text, borders, policy)


@pytest.mark.parametrize("policy", POLICIES)
def test_a_place_that_is_known_is_taken_and_nothing_is_filled_in(policy):
    placement = located((A, "a", 8), (B, "b a b", 2), policy=policy)
    assert offsets(placement.spans) == [(2, 7, B), (8, 9, A)]
    assert (placement.filled, placement.unplaced, placement.surplus) == (0, (), ())


@pytest.mark.parametrize("policy", POLICIES)
@pytest.mark.parametrize("string, start", [("a", 2), ("a", 1), ("a ", 0), ("ab", 0), ("a", 99), ("", 0), ("a", -1)])
def test_a_mention_that_does_not_stand_where_it_says_is_unplaced(policy, string, start):
    placement = located((A, string, start), policy=policy)
    assert (placement.spans, placement.surplus) == ((), ())
    assert placement.unplaced == (Mention(A, string, start=start),)


def test_a_place_that_is_said_twice_is_surplus():
    placement = located((A, "a", 4), (A, "a", 4), (B, "a", 4))
    assert offsets(placement.spans) == [(4, 5, A), (4, 5, B)]
    assert placement.surplus == (Mention(A, "a", start=4),)


@pytest.mark.parametrize(
    "policy, expected", [("strict", [0, 4]), ("first", [0, 4]), ("ordered", [0, 4, 8]), ("all", [0, 4, 8])]
)
def test_others_take_the_occurrences_that_are_left(policy, expected):
    placement = located((A, "a", 0), (A, "a", None), policy=policy)
    assert [span.start for span in placement.spans] == expected
    assert placement.unplaced == placement.surplus == ()


def test_others_find_no_occurrence_left():
    placement = located((A, "b", 2), (A, "b", 6), (A, "b", None))
    assert placement.surplus == (Mention(A, "b"),)
    assert placement.unplaced == ()


def test_a_string_with_two_labels_is_not_filled_in_whoever_is_located():
    assert offsets(located((A, "a", 8), (B, "a", None), policy="ordered").spans) == [(0, 1, B), (8, 9, A)]
