"""Cutting long texts: nothing is left out, nothing is too long, and no sentence is cut without need."""

from __future__ import annotations

from itertools import accumulate, pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from spacy_padellm.spans.windows import Measured, Window, cut

steady = settings(max_examples=150, deadline=None, database=None, derandomize=True)


def text_of(sizes: list[int], sentences: list[int], *, alone: int = 0) -> Measured:
    """A text whose tokens are as many letters as they have pieces, without anything between them.

    alone (int): How many pieces a string has more when it is cut into pieces alone.
    """
    behind = [*accumulate(sizes)]
    before = [0, *behind[:-1]]
    string = "x" * sum(sizes)
    borders = list(zip(before, behind, strict=True))
    return Measured(string, borders, sentences, before, behind, lambda part: len(part) + alone)


def pieces_of(text: Measured, window: Window) -> int:
    return text.measure(text.part(window))


@st.composite
def long_texts(draw: st.DrawFn) -> tuple[Measured, int, int]:
    sizes = draw(st.lists(st.integers(1, 6), min_size=1, max_size=60))
    sentences = draw(st.sets(st.integers(0, len(sizes) - 1)))
    alone = draw(st.integers(0, 2))
    limit = draw(st.integers(8, 40))
    return text_of(sizes, sorted(sentences), alone=alone), limit, draw(st.integers(0, limit // 2))


@steady
@given(long_texts())
def test_every_token_lies_in_a_window_and_no_window_is_too_long(case: tuple[Measured, int, int]):
    text, limit, overlap = case
    windows = list(cut(text, limit=limit, overlap=overlap))
    assert windows[0].start == 0 and windows[-1].stop == len(text.borders)
    assert all(pieces_of(text, window) <= limit for window in windows)
    for one, two in pairwise(windows):
        assert one.start < two.start <= one.stop < two.stop


@steady
@given(long_texts())
def test_windows_share_no_more_than_the_overlap(case: tuple[Measured, int, int]):
    text, limit, overlap = case
    for one, two in pairwise(cut(text, limit=limit, overlap=overlap)):
        assert text.behind[one.stop - 1] - text.before[two.start] <= overlap or two.start == one.stop


@steady
@given(long_texts())
def test_no_sentence_is_cut_that_fits_a_window(case: tuple[Measured, int, int]):
    text, limit, overlap = case
    windows = list(cut(text, limit=limit, overlap=overlap))
    borders = sorted({0, *text.sentences, len(text.borders)})
    for start, stop in pairwise(borders):
        if pieces_of(text, Window(start, stop)) <= limit:
            assert any(window.start <= start and stop <= window.stop for window in windows)


@steady
@given(long_texts())
def test_windows_begin_and_end_with_sentences_where_all_fit(case: tuple[Measured, int, int]):
    text, limit, overlap = case
    borders = sorted({0, *text.sentences, len(text.borders)})
    if all(pieces_of(text, Window(*pair)) <= limit for pair in pairwise(borders)):
        for window in cut(text, limit=limit, overlap=overlap):
            assert {window.start, window.stop} <= {*borders}


@steady
@given(st.lists(st.integers(1, 3), min_size=1, max_size=80), st.integers(8, 40))
def test_without_sentences_windows_are_full_and_overlaps_as_large_as_asked(sizes: list[int], limit: int):
    text, overlap = text_of(sizes, []), limit // 4
    windows = list(cut(text, limit=limit, overlap=overlap))
    for one, two in pairwise(windows):
        assert text.behind[one.stop] - text.before[one.start] > limit
        assert text.behind[one.stop - 1] - text.before[two.start - 1] > overlap


@steady
@given(st.lists(st.integers(1, 3), min_size=100, max_size=300))
def test_windows_are_no_more_than_the_length_calls_for(sizes: list[int]):
    """Each window but the last gets on by all it holds less the overlap, and a token that did not fit."""
    text = text_of(sizes, [])
    windows = list(cut(text, limit=40, overlap=10))
    assert len(windows) <= sum(sizes) / (40 - 10 - 2) + 1


def test_as_drawn():
    """Sentences of 6, 10, 4 and 12 pieces, then one of 30, then one of 5."""
    sizes = [1] * 67
    text = text_of(sizes, [0, 6, 16, 20, 32, 62])
    assert list(cut(text, limit=20, overlap=5)) == [(0, 20), (16, 32), (32, 52), (47, 67)]


def test_overlap_gives_way_to_a_whole_sentence():
    """The sentence behind the first window fits alone, but not with the one before it."""
    text = text_of([1] * 40, [0, 15, 20])
    assert list(cut(text, limit=20, overlap=5)) == [(0, 20), (20, 40)]
    text = text_of([1] * 35, [0, 15, 20])
    assert list(cut(text, limit=20, overlap=5)) == [(0, 20), (15, 35)]


def test_overlap_gives_way_to_a_large_token():
    text = text_of([1] * 10 + [10] + [1] * 3, [])
    assert list(cut(text, limit=10, overlap=4)) == [(0, 10), (10, 11), (11, 14)]


def test_gap_without_tokens():
    """A run of blanks larger than a window lies between windows."""
    borders = [(0, 4), (4, 8), (60, 64)]
    text = Measured("x" * 64, borders, [], [0, 4, 60], [4, 8, 64], len)
    assert list(cut(text, limit=10, overlap=2)) == [(0, 2), (2, 3)]


def test_token_larger_than_a_window_p180():
    with pytest.raises(ValueError, match=r"\[P180\].* 11 pieces.* 10 of.*'xxx"):
        list(cut(text_of([1, 1, 11, 1], []), limit=10, overlap=2))
