"""Each setting of the label draw in its effect, and a pool that is exact and quick whatever its size."""

from __future__ import annotations

import random
from collections import Counter
from itertools import permutations

import pytest

from spacy_padellm.training.label_draw import LabelDraw, LabelPool, build_label_draw_v1

WORDS = {"city": "a city", "movie": "a movie", "time": "time", "person": "person", "genre": "genre"}
OFTEN = {"city": 50, "movie": 30, "time": 16, "person": 4}
"""How many texts have a label; none has a genre."""


@pytest.fixture(autouse=True)
def seeded():
    random.seed(7)


def draws(present: list[str], times: int = 2000, **settings) -> list[dict[str, str]]:
    draw = LabelDraw(**settings)
    pool = draw.pool(WORDS, OFTEN)
    return [draw.draw(present, pool) for _ in range(times)]


# The pool


def probability_of(order: tuple[str, ...], weights: dict[str, int]) -> float:
    """Of drawing labels in this order, computed as the definition says."""
    left, probability = dict(weights), 1.0
    for label in order:
        probability *= left[label] / sum(left.values())
        del left[label]
    return probability


@pytest.mark.parametrize("without", [[], ["city"], ["movie", "genre"], ["genre", "unheard_of", "genre"]])
def test_sample_is_one_label_after_the_other_by_weight(without: list[str]):
    weights = {"city": 5, "movie": 1, "time": 3, "person": 2, "genre": 1}
    pool = LabelPool(WORDS, weights)
    times = 20_000
    found = Counter(tuple(pool.sample(2, without=without)) for _ in range(times))
    left = {label: weight for label, weight in weights.items() if label not in without}
    expected = {pair: probability_of(pair, left) for pair in permutations(left, 2)}
    assert found.keys() == expected.keys()
    for pair, probability in expected.items():
        # Five standard deviations.
        assert abs(found[pair] / times - probability) < 5 * (probability / times) ** 0.5, pair


def test_sample_takes_what_is_left():
    pool = LabelPool(WORDS, OFTEN)
    assert sorted(pool.sample(99, without=["city"])) == ["genre", "movie", "person", "time"]
    assert pool.sample(1, without=WORDS) == []
    assert LabelPool({}, {}).sample(3, without=[]) == []


def test_labels_that_no_text_has_are_drawn_too():
    pool = LabelPool(WORDS, {"city": 3, "movie": 0})
    found = Counter(pool.sample(1, without=["time", "person", "genre"])[0] for _ in range(4000))
    assert 0.70 < found["city"] / 4000 < 0.80 and found.keys() == {"city", "movie"}


def test_ordered_is_the_pools_order():
    pool = LabelPool(WORDS, {})
    assert pool.ordered(["genre", "unheard_of", "city", "genre"]) == ["city", "genre"]


def test_drawing_costs_no_more_with_many_labels():
    """Operations on weights are counted, not seconds."""

    class Counting(LabelPool):
        looked = 0

        def _weight(self, place: int) -> int:
            Counting.looked += 1
            return super()._weight(place)

    costs = []
    for size in (50, 13_000):
        pool = Counting({f"label {number}": "words" for number in range(size)}, {"label 3": 10**6})
        Counting.looked = 0
        draw = LabelDraw(absent=5)
        for _ in range(100):
            assert len(draw.draw(["label 3", "label 7"], pool)) == 7
        costs.append(Counting.looked)
    assert max(costs) <= 100 * 5 * 2 * (2 + 5)


# The draw


def test_present_labels_are_kept_in_the_pools_order():
    for asked in draws(["time", "city", "time"], absent=1):
        assert {"city", "time"} <= asked.keys() and len(asked) == 3
        assert list(asked) == [label for label in WORDS if label in asked]
        assert asked["city"] == "a city"


def test_labels_outside_the_pool_are_not_asked_about():
    assert draws(["unheard_of"], 1, absent=0) == [{}]


@pytest.mark.parametrize("absent", [0, 1, 3])
def test_absent_is_how_many(absent: int):
    assert {len(asked) for asked in draws(["city", "movie"], 50, absent=absent)} == {2 + absent}


def test_absent_beyond_what_there_is():
    assert draws(["city"], 1, absent=99) == [WORDS]


@pytest.mark.parametrize(
    ("present", "absent", "ratio", "expected"),
    [(1, 0, 1.0, 1), (2, 0, 1.0, 2), (1, 0, 0.5, 1), (2, 0, 0.5, 1), (1, 2, 1.0, 2), (2, 1, 1.5, 3), (0, 2, 9.0, 2)],
)
def test_ratio_is_how_many_for_each_present_one(present: int, absent: int, ratio: float, expected: int):
    labels = list(WORDS)[:present]
    assert {len(asked) - present for asked in draws(labels, 20, absent=absent, ratio=ratio)} == {expected}


def test_sampling_by_frequency_or_all_alike():
    found = Counter(label for asked in draws(["time"], absent=1) for label in asked if label != "time")
    # 50, 30 and 4 of the texts have them, and one label in no text weighs as one in a single text.
    assert [found[label] / 2000 for label in ("city", "movie", "person", "genre")] == pytest.approx(
        [50 / 85, 30 / 85, 4 / 85, 1 / 85], abs=0.04
    )
    found = Counter(label for asked in draws(["time"], absent=1, sampling="uniform") for label in asked)
    assert [found[label] / 2000 for label in ("city", "movie", "person", "genre")] == pytest.approx(
        [0.25] * 4, abs=0.04
    )


def test_dropout_leaves_present_labels_out_and_never_asks_them_as_absent():
    asked = draws(["city", "movie"], dropout=0.25, absent=99)
    for label in ("city", "movie"):
        assert sum(label in one for one in asked) / len(asked) == pytest.approx(0.75, abs=0.04)
    assert all({"time", "person", "genre"} <= one.keys() for one in asked)
    assert all(one == {} for one in draws(["city", "movie"], 20, dropout=1.0, absent=0, ratio=3.0))
    assert all(len(one) == 1 for one in draws(["city", "movie"], 20, dropout=1.0, absent=1, ratio=3.0))


def test_shuffle_asks_in_any_order():
    orders = Counter(tuple(asked) for asked in draws(["city", "movie", "time"], absent=0, shuffle=True))
    assert orders.keys() == set(permutations(["city", "movie", "time"]))
    assert min(orders.values()) > 2000 / 6 * 0.75
    assert draws(["city"], 1, absent=99, shuffle=True)[0] == WORDS


def test_the_same_seed_draws_the_same():
    settings = {"absent": 2, "dropout": 0.3, "shuffle": True}
    found = []
    for seed in (1, 1, 2):
        random.seed(seed)
        found.append([list(asked) for asked in draws(["movie", "city"], 50, **settings)])
    assert found[0] == found[1] != found[2]


@pytest.mark.parametrize(
    ("setting", "value"),
    [
        ("absent", -1),
        ("absent", 1.5),
        ("absent", True),
        ("ratio", -0.5),
        ("ratio", "1"),
        ("dropout", 1.5),
        ("dropout", -0.1),
        ("sampling", "fair"),
    ],
)
def test_settings_out_of_range_p001(setting: str, value: object):
    with pytest.raises(ValueError, match=rf"\[P001\] Setting '{setting}'.*{value}"):
        build_label_draw_v1(**{setting: value})


def test_every_setting_is_passed_on():
    settings = {"absent": 5, "ratio": 1.5, "sampling": "uniform", "dropout": 0.5, "shuffle": True}
    assert build_label_draw_v1(**settings) == LabelDraw(**settings)
    assert build_label_draw_v1() == LabelDraw()
