import numpy as np
import pytest

from spacy_padellm.metrics.bootstrap import Measure, compare, interval, resample
from spacy_padellm.metrics.prf import f_score, ratio


def share(sums):
    return ratio(sums[..., 0], sums[..., 1], empty=np.nan)


def hits(*rows):
    """A share as a measure: each document adds (right, all)."""
    return Measure(np.array(rows, dtype="float64"), share)


def f_of(rows):
    return Measure(np.asarray(rows, dtype="float64"), f_score)


def test_value_is_that_of_all_documents():
    assert hits((1, 2), (0, 2)).value == 25.0
    assert np.isnan(hits((0, 0)).value)


def test_resamples_by_hand():
    """Two documents, one all right and one all wrong: a quarter of the resamples have the one twice, a quarter the
    other."""
    values = resample({"a": hits((1, 1), (0, 1))}, samples=4000, seed=0)["a"]
    assert values.shape == (4000,)
    shares = [float((values == value).mean()) for value in (0, 50, 100)]
    assert shares == pytest.approx([0.25, 0.5, 0.25], abs=0.03)
    assert interval(values) == (0.0, 100.0)
    assert interval(np.arange(101.0)) == (2.5, 97.5)


def test_one_document_has_nothing_to_vary():
    values = resample({"a": hits((1, 4))}, samples=7, seed=0)["a"]
    assert values.tolist() == [25.0] * 7
    assert interval(values) == (25.0, 25.0)


def test_a_seed_gives_the_same_draws_and_measures_share_them():
    one, other = hits((1, 1), (0, 1), (1, 2)), f_of([(1, 1, 1), (0, 1, 1), (1, 2, 2)])
    both = resample({"a": one, "b": other, "again": one}, samples=50, seed=3)
    assert list(both) == ["a", "b", "again"]
    assert both["a"].tolist() == both["b"].tolist() == both["again"].tolist()
    assert resample({"a": one}, samples=50, seed=3)["a"].tolist() == both["a"].tolist()
    assert resample({"a": one}, samples=50, seed=4)["a"].tolist() != both["a"].tolist()


def test_undefined_resamples_are_left_out():
    values = resample({"a": hits((1, 1), (0, 0))}, samples=100, seed=0)["a"]
    assert 0 < np.isnan(values).sum() < 100
    assert interval(values) == (100.0, 100.0)
    assert np.isnan(interval(np.array([np.nan]))).all()


def test_intervals_cover_the_figure_of_the_population():
    """Documents of which each has its own difficulty: the F of endlessly many lies within 19 of 20 intervals."""
    generator = np.random.default_rng(0)

    def documents(number):
        gold = generator.poisson(2.0, size=number)
        skill = generator.beta(4, 2, size=number)
        right = generator.binomial(gold, skill)
        return np.stack([right, right + generator.poisson(0.5, size=number), gold], axis=1)

    truth = f_of(documents(400_000)).value
    covered = 0
    for seed in range(200):
        low, high = interval(resample({"f": f_of(documents(150))}, samples=300, seed=seed)["f"])
        covered += low <= truth <= high
    assert 0.90 <= covered / 200 <= 0.99


def test_a_pipeline_against_itself():
    one = {"f": f_of([(1, 1, 1), (0, 1, 1), (1, 2, 2)]), "c": hits((1, 1), (0, 1), (0, 1))}
    for difference in compare(one, one, samples=200, seed=0).values():
        assert difference == (0.0, 0.0, 0.0, 1.0)


def test_a_clear_difference_and_its_direction():
    good, bad = f_of([(9, 10, 10)] * 30), f_of([(1, 10, 10), (2, 10, 10)] * 15)
    better = compare({"f": good}, {"f": bad}, samples=199, seed=0)["f"]
    worse = compare({"f": bad}, {"f": good}, samples=199, seed=0)["f"]
    assert (better.value, better.p) == (75.0, 0.01)
    assert 70 <= better.low <= 75 <= better.high <= 80
    assert (worse.value, worse.low, worse.high, worse.p) == (-75.0, -better.high, -better.low, 0.01)


def test_pairing_sees_what_two_intervals_do_not():
    """Documents differ much from each other, the pipelines differ by little on nearly each: the intervals of their
    figures overlap, the interval of the difference excludes 0."""
    generator = np.random.default_rng(0)
    gold = np.full(100, 20)
    right = generator.integers(0, 20, size=100)
    one = f_of(np.stack([right + 1, gold, gold], axis=1))
    other = f_of(np.stack([right, gold, gold], axis=1))
    (_, high), (low, _) = (interval(resample({"f": each}, samples=300, seed=0)["f"]) for each in (other, one))
    assert low < high
    difference = compare({"f": one}, {"f": other}, samples=300, seed=0)["f"]
    assert difference.low > 0 and difference.p < 0.05


def test_chance_is_seldom_called_a_difference():
    """Two pipelines of the same skill: p below 0.05 in about one of 20 comparisons."""
    generator = np.random.default_rng(1)
    called = 0
    for seed in range(150):
        one, other = (f_of([(n, 4, 4) for n in generator.binomial(4, 0.7, size=80)]) for _ in range(2))
        called += compare({"f": one}, {"f": other}, samples=300, seed=seed)["f"].p < 0.05
    assert called / 150 <= 0.11


def test_only_figures_that_both_have_are_compared():
    one = hits((1, 1), (0, 1))
    assert list(compare({"a": one, "b": one}, {"b": one, "c": one}, samples=3, seed=0)) == ["b"]


@pytest.mark.parametrize(("samples", "seed", "name"), [(0, 0, "samples"), (-1, 0, "samples"), (3, -1, "seed")])
def test_numbers_out_of_range(samples, seed, name):
    with pytest.raises(ValueError, match=rf"\[P001\].*'{name}'"):
        resample({"a": hits((1, 1))}, samples=samples, seed=seed)
