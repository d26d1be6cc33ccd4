import numpy as np
import pytest

from spacy_padellm.metrics.pairs import Found, Pair, labels_in
from spacy_padellm.metrics.prf import (
    PRF,
    Tally,
    label_rows,
    macro,
    multiset_tally,
    span_scores,
    span_tally,
    string_set_tally,
    total,
)
from tests.metrics.makers import pair, said

A, B = "A", "B"


@pytest.mark.parametrize(
    ("predicted", "gold", "row", "p", "r", "f"),
    [
        (set(), set(), (0, 0, 0), 0.0, 0.0, 0.0),
        ({1, 2, 3}, {1, 2}, (2, 3, 2), 66.67, 100.0, 80.0),
        ({1}, set(), (0, 1, 0), 0.0, 0.0, 0.0),
        (set(), {1}, (0, 0, 1), 0.0, 0.0, 0.0),
        # Things that repeat are right as often as both sides have them.
        ([1, 1, 1, 2], [1, 1, 3], (2, 4, 3), 50.0, 66.67, 57.14),
    ],
)
def test_tally(predicted, gold, row, p, r, f):
    tally = Tally.of(predicted, gold)
    assert tally.row == row
    assert tally.figures() == {"p": p, "r": r, "f": f, "right": row[0], "predicted": row[1], "gold": row[2]}


def test_tallies_add_up():
    assert total([Tally(1, 2, 3), Tally(1, 0, 1)]) == Tally(2, 2, 4)
    assert total([]) == Tally()
    assert Tally(1, 3, 7).figures(digits=4)["p"] == 33.3333


def test_figures_of_many_sums_at_once_equal_those_of_each():
    rows = np.random.default_rng(0).integers(0, 5, size=(4, 6, 3)).astype("float64")
    for name, of in PRF.items():
        assert of(rows).shape == (4, 6)
        assert float(of(rows)[2, 3]) == pytest.approx(float(of(rows[2, 3])))
        assert np.isfinite(of(rows)).all(), name


def test_spans_overall_and_by_label():
    gold = [(0, 1, A), (2, 3, A), (4, 5, A)]
    pairs = [pair(gold, [(0, 1, A), (2, 4, A), (4, 5, B)]), pair([], [])]
    scores = span_scores(pairs, [A, B, "C"])
    assert (scores["p"], scores["r"], scores["f"]) == (33.33, 33.33, 33.33)
    assert scores["per_label"] == {
        A: {"p": 50.0, "r": 33.33, "f": 40.0, "right": 1, "predicted": 2, "gold": 3},
        B: {"p": 0.0, "r": 0.0, "f": 0.0, "right": 0, "predicted": 1, "gold": 0},
    }
    # Gold has no B, so only A counts.
    assert scores["macro"] == {"p": 50.0, "r": 33.33, "f": 40.0}
    assert span_scores([], [])["f"] == 0.0
    assert span_scores([], [])["macro"] == {"p": None, "r": None, "f": None}


def test_macro_counts_each_label_alike():
    pairs = [pair([(0, 1, A), (2, 3, A), (4, 5, A), (6, 7, B)], [(0, 1, A), (2, 3, A), (4, 5, A), (0, 1, B)])]
    scores = span_scores(pairs, [A, B])
    assert (scores["f"], scores["macro"]["f"]) == (75.0, 50.0)
    sums = np.array([[3.0, 3, 3, 0, 1, 1], [1, 1, 2, 0, 5, 0], [0, 1, 0, 0, 0, 0]])
    assert macro(PRF["r"])(sums).tolist()[:2] == [50.0, 50.0]
    assert np.isnan(macro(PRF["r"])(sums)[2])


def test_a_mention_is_its_place_and_its_label():
    one, scored = Found(0, 1, A), Found(0, 1, A, 0.1, 3)
    assert span_tally(Pair("", (one,), (scored,))) == Tally(1, 1, 1)
    assert label_rows([Pair("", (one,), (scored,))], [B, A]).tolist() == [[[0, 0, 0], [1, 1, 1]]]


def test_strings_without_what_the_model_said():
    # Gold: Bo twice. Predicted: one Bo, at the other place, and Rome.
    both = pair([(8, 10, A), (22, 24, A)], [(22, 24, A), (14, 18, A)])
    assert span_tally(both) == Tally(1, 2, 2)
    assert string_set_tally(both) == Tally(1, 2, 1)
    assert multiset_tally(both) == Tally(1, 2, 2)
    # The same string under another label is another thing.
    assert string_set_tally(pair([(8, 10, A)], [(8, 10, B)])) == Tally(0, 1, 1)
    # The wrong occurrence is the right string.
    assert string_set_tally(pair([(8, 10, A)], [(22, 24, A)])) == Tally(1, 1, 1)


def test_strings_are_what_the_model_said():
    """Lost mentions count, occurrences filled in do not."""
    lost = said({A: 4}, unplaced=[(A, "Bob ", 3)], surplus=[(A, "Rome", 4)])
    one = pair([(8, 10, A), (22, 24, A)], [(8, 10, A, 1), (22, 24, A, 0), (14, 18, A, 2)], lost)
    assert dict(one.predicted_strings) == {(A, "Bo"): 1, (A, "Rome"): 2, (A, "Bob"): 1}
    assert string_set_tally(one) == Tally(1, 3, 1)
    assert multiset_tally(one) == Tally(1, 4, 2)
    assert span_tally(one) == Tally(2, 3, 2)


def test_labels_in():
    assert labels_in([pair([(0, 1, A)], [(2, 3, B)]), pair([], [])]) == {A, B}
