import numpy as np

from spacy_padellm.metrics.counts import BUCKETS, accuracy, count_row, count_scores
from tests.metrics.makers import pair, said

A, B = "A", "B"


def many(gold, predicted):
    """A text with so many gold and predicted mentions of A."""
    return pair([(place, place + 1, A) for place in range(gold)], [(place, place + 1, A) for place in range(predicted)])


def test_averages():
    # (gold, predicted) of A, B and C: (2, 1), (0, 0), (0, 0); (1, 1), (0, 1), (0, 0)
    pairs = [pair([(0, 1, A), (1, 2, A)], [(0, 1, A)]), pair([(0, 1, A)], [(1, 2, A), (2, 3, B)])]
    found = count_scores(pairs, [A, B, "C"])
    assert {name: found[name] for name in ("all", "nonzero", "pairs", "nonzero_pairs")} == {
        "all": 66.67,
        "nonzero": 50.0,
        "pairs": 6,
        "nonzero_pairs": 2,
    }
    assert count_scores([], [A])["all"] is None
    assert count_scores([pair([], [])], [A])["nonzero"] is None


def test_by_gold_count():
    sides = [(0, 0), (0, 1), (1, 1), (2, 3), (3, 3), (4, 4), (4, 5), (5, 5), (6, 5), (9, 9)]
    found = count_scores([many(*side) for side in sides], [A])["by_gold"]
    assert list(found) == list(BUCKETS)
    assert {name: (one["right"], one["pairs"], one["accuracy"]) for name, one in found.items()} == {
        "0": (1, 2, 50.0),
        "1": (1, 1, 100.0),
        "2": (0, 1, 0.0),
        "3": (1, 1, 100.0),
        "4": (1, 2, 50.0),
        "5+": (2, 3, 66.67),
    }
    assert count_scores([many(1, 1)], [A])["by_gold"]["5+"] == {"accuracy": None, "right": 0, "pairs": 0}


def test_the_models_own_count_counts():
    """Not what became of it: here two mentions were lost, and a label without a readable count counts 0."""
    lost = pair([(0, 1, A), (1, 2, A), (2, 3, A)], [(0, 1, A)], said({A: 3}))
    assert count_scores([lost], [A])["all"] == 100.0
    assert count_scores([pair([(0, 1, A)], [(0, 1, A)], said({}))], [A])["all"] == 0.0


def test_the_same_mention_twice_counts_once():
    assert count_scores([pair([(0, 1, A), (0, 1, A)], [(0, 1, A)])], [A])["all"] == 100.0


def test_rows_add_up():
    pairs = [many(0, 0), many(2, 1), many(7, 7)]
    rows = np.array([count_row(one, [A, B]) for one in pairs])
    assert rows.sum() == 6 + 5
    for which in ("all", "nonzero"):
        assert round(float(accuracy(which)(rows.sum(axis=0))), 2) == count_scores(pairs, [A, B])[which]
    assert np.isnan(accuracy("nonzero")(rows[:1])).all()
