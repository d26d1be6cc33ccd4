import json

from spacy_padellm.metrics.pairs import Pair
from spacy_padellm.metrics.report import Outcome, difference, report
from tests.metrics.makers import found, pair, said

A, B = "A", "B"


def flat(*pairs):
    return Outcome(pairs, pairs)


SOME = flat(
    pair([(0, 3, A), (8, 10, A)], [(0, 3, A, 1), (14, 18, A, 2)], said({A: 2})),
    pair([(0, 3, B)], [(0, 3, B, 1)], said({B: 1}, surplus=[(B, "Ann", 2)])),
    pair([], [(4, 7, A, 1)], said({A: 2}, unplaced=[(A, "Eve", 2)])),
)


def test_without_intervals():
    figures = report(SOME, [A, B, "C"])
    assert list(figures) == ["docs", "spans", "ents", "strings", "counts", "lost", "reliability"]
    assert figures["docs"] == 3
    assert (figures["spans"]["right"], figures["spans"]["predicted"], figures["spans"]["gold"]) == (2, 4, 3)
    assert figures["strings"]["set"]["f"] == 50.0
    assert figures["strings"]["multiset"] == {"p": 33.33, "r": 66.67, "f": 44.44, "right": 2, "predicted": 6, "gold": 3}
    assert (figures["counts"]["all"], figures["counts"]["pairs"]) == (88.89, 9)
    assert figures["lost"] == {"unplaced": 1, "surplus": 1, "below_threshold": 0, "filled": 0}
    assert figures["reliability"] == {"confidence": None, "score": None}
    assert figures["spans"]["mistakes"]["false"]["categories"]["count_over"] == 1
    assert figures["spans"] == figures["ents"]
    assert "interval" not in json.dumps(figures)


def test_intervals_stand_beside_their_figures():
    plain, figures = report(SOME, [A, B, "C"]), report(SOME, [A, B, "C"], samples=50, seed=1)
    assert figures.pop("bootstrap") == {"samples": 50, "seed": 1, "confidence": 95.0}
    seen = []

    def strip(block):
        for name, value in list(block.items()):
            if name == "interval":
                seen.append(sorted(value))
                for figure, (low, high) in block.pop(name).items():
                    assert low <= block[figure] <= high
            elif isinstance(value, dict):
                strip(value)

    strip(figures)
    assert figures == plain
    # Spans and entities: micro, macro, two labels; strings twice; counts.
    assert seen.count(["f", "p", "r"]) == 2 * 4 + 2 and seen.count(["all", "nonzero"]) == 1 and len(seen) == 11


def test_seed_and_samples_act():
    many = flat(*[pair([(0, 3, A)], [(0, 3, A)] if number % 3 else []) for number in range(20)])
    edges = [report(many, [A], samples=30, seed=seed)["spans"]["interval"]["f"] for seed in (0, 0, 1)]
    assert edges[0] == edges[1] != edges[2]
    assert report(many, [A], samples=31, seed=0)["spans"]["interval"]["f"] != edges[0]


def test_entities_are_judged_beside_all_mentions():
    nested = pair([(8, 10, A), (8, 18, B)], [(8, 10, A), (8, 18, B)])
    view = Pair(nested.text, found((8, 18, B)), found((8, 10, A)))
    figures = report(Outcome((nested,), (view,)), [A, B])
    assert (figures["spans"]["f"], figures["ents"]["f"]) == (100.0, 0.0)
    assert figures["ents"]["mistakes"]["missed"]["categories"]["overlap"] == 1
    assert figures["counts"]["all"] == 100.0


def test_without_documents_or_mentions():
    for outcome in (flat(), flat(pair([], []))):
        figures = report(outcome, [], samples=5)
        assert figures["spans"]["f"] == 0.0
        assert figures["counts"]["all"] is None
        json.dumps(figures, allow_nan=False)


def test_difference_stands_where_the_figures_stand():
    better = flat(*[pair([(0, 3, A), (8, 10, B)], [(0, 3, A), (8, 10, B)])] * 20)
    worse = flat(*[pair([(0, 3, A), (8, 10, B)], [(0, 3, A), (8, 10, A)])] * 20)
    found = difference(better, worse, [A, B], samples=99, seed=0)
    assert found["spans"]["f"] == {"difference": 50.0, "interval": [50.0, 50.0], "p": 0.02}
    assert found["spans"]["per_label"][A]["p"]["difference"] == 50.0
    assert found["spans"]["per_label"][B]["f"]["difference"] == 100.0
    assert found["counts"]["nonzero"]["difference"] == 100.0
    assert set(found) == {"spans", "ents", "strings", "counts"}
    json.dumps(found, allow_nan=False)


def test_difference_from_itself():
    found = difference(SOME, SOME, [A, B], samples=20, seed=0)
    leaves = []

    def collect(block):
        leaves.append(block) if "p" in block and not isinstance(block["p"], dict) else [*map(collect, block.values())]

    collect(found)
    assert len(leaves) == 2 * (3 * 4) + 6 + 2
    assert all(leaf == {"difference": 0.0, "interval": [0.0, 0.0], "p": 1.0} for leaf in leaves)
