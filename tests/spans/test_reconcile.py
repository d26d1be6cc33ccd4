"""Mentions of windows that overlap, put together."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_padellm.spans.reconcile import reconcile
from spacy_padellm.types import Mention, Placed

steady = settings(max_examples=150, deadline=None, database=None, derandomize=True)

Spot = tuple[int, int, str]


def placed(start: int, end: int, label: str = "X", *, score: float = 1.0, ordinal: int = 1) -> Placed:
    return Placed(Mention(label, "x" * (end - start), ordinal, score, score / 2), start, end)


def spots(windows: list[tuple[int, int]], found: list[list[Placed]]) -> list[Spot]:
    return [(one.found.start, one.found.end, one.found.mention.label) for one in reconcile(windows, found)]


TWO = [(0, 60), (40, 100)]
"""The middle of the overlap is at 50."""


def test_places_are_those_in_the_text():
    assert spots(TWO, [[placed(3, 8)], [placed(30, 35)]]) == [(3, 8, "X"), (70, 75, "X")]


def test_found_twice_is_kept_once_with_the_best_score():
    (one,) = reconcile(TWO, [[placed(45, 48, score=0.25, ordinal=3)], [placed(5, 8, score=0.75, ordinal=1)]])
    assert (one.window, one.found.start, one.found.end) == (0, 45, 48)
    assert (one.found.mention.ordinal, one.found.mention.score, one.found.mention.count_score) == (3, 0.75, 0.375)


def test_labels_of_one_place_are_reconciled_apart():
    assert spots(TWO, [[placed(45, 48, "X"), placed(45, 48, "Y")], [placed(5, 8, "Y")]]) == [
        (45, 48, "X"),
        (45, 48, "Y"),
    ]


def test_a_place_belongs_to_the_window_that_sees_more_around_it():
    assert spots(TWO, [[placed(45, 48)], []]) == [(45, 48, "X")]
    assert spots(TWO, [[], [placed(5, 8)]]) == []
    assert spots(TWO, [[placed(55, 58)], []]) == []
    assert spots(TWO, [[], [placed(15, 18)]]) == [(55, 58, "X")]


def test_what_an_edge_cuts_loses_against_the_whole():
    """[56, 64) is whole in the second window only; the first one sees its beginning and takes it for a mention."""
    assert spots(TWO, [[placed(56, 60)], [placed(16, 24)]]) == [(56, 64, "X")]
    assert spots(TWO, [[placed(36, 44)], [placed(0, 4)]]) == [(36, 44, "X")]


def test_a_long_mention_is_kept_by_the_only_window_that_holds_it():
    assert spots(TWO, [[placed(10, 60)], []]) == [(10, 60, "X")]


def test_the_ends_of_the_text_are_no_edges():
    """A mention at the very beginning belongs to the first window, at the very end to the last one."""
    assert spots([(0, 50), (1, 90)], [[placed(0, 1), placed(1, 30)], []]) == [(0, 1, "X"), (1, 30, "X")]
    assert spots([(0, 99), (60, 100)], [[], [placed(39, 40), placed(25, 39)]]) == [(85, 99, "X"), (99, 100, "X")]


@st.composite
def perfect(draw: st.DrawFn) -> tuple[list[tuple[int, int]], set[Spot]]:
    """Windows over a text, and mentions of which each lies whole in one of them at least."""
    length, start = draw(st.integers(60, 300)), 0
    windows = [(0, draw(st.integers(20, 40)))]
    while windows[-1][1] < length:
        start, end = windows[-1]
        start = draw(st.integers(start + 1, end))
        windows.append((start, max(end + 1, start + draw(st.integers(20, 40)))))
    mentions: set[Spot] = set()
    for start, end in windows:
        for _ in range(draw(st.integers(0, 3))):
            begin = draw(st.integers(start, end - 1))
            mentions.add((begin, draw(st.integers(begin + 1, end)), draw(st.sampled_from("XY"))))
    return windows, mentions


@steady
@given(perfect())
def test_a_perfect_model_gets_every_mention_back_once(case: tuple[list[tuple[int, int]], set[Spot]]):
    windows, mentions = case
    found = [
        [
            placed(begin - start, stop - start, label)
            for begin, stop, label in mentions
            if start <= begin and stop <= end
        ]
        for start, end in windows
    ]
    assert sorted(spots(windows, found)) == sorted(mentions)
