import random

import pytest

from spacy_padellm.metrics.calibration import Calibration, fit_calibration
from spacy_padellm.metrics.pairs import Pair
from spacy_padellm.metrics.reliability import judged, reliability
from spacy_padellm.metrics.report import Outcome, report
from tests.metrics.makers import TEXT, found


def drawn(calibration, number, seed=1):
    """Probabilities, and whether each mention is right as often as a calibration says."""
    source = random.Random(seed)
    said = [source.uniform(0.02, 0.98) for _ in range(number)]
    return said, [source.random() < calibration(one) for one in said]


def test_without_numbers_nothing_changes():
    for probability in (0.001, 0.25, 0.5, 0.9, 0.999):
        assert Calibration()(probability) == pytest.approx(probability)


def test_certainty_stays_finite():
    for calibration in (Calibration(), Calibration(50.0, 3.0), Calibration(50.0, -3.0)):
        assert 0 <= calibration(0.0) < 1e-6 and 1 - 1e-6 < calibration(1.0) <= 1


@pytest.mark.parametrize("true", [Calibration(0.5, -0.7), Calibration(1.0, 0.0), Calibration(2.5, 1.0)])
def test_the_numbers_are_found(true):
    fitted = fit_calibration(*drawn(true, 8000))
    assert fitted.slope == pytest.approx(true.slope, rel=0.12)
    assert fitted.offset == pytest.approx(true.offset, abs=0.12)


def test_it_never_turns_the_order_around():
    fitted = fit_calibration(*drawn(Calibration(0.4, -1.0), 300))
    mapped = [fitted(place / 100) for place in range(101)]
    assert mapped == sorted(mapped)


def test_it_lowers_the_error_on_other_mentions():
    true = Calibration(0.4, -1.0)
    fitted = fit_calibration(*drawn(true, 400))
    said, right = drawn(true, 4000, seed=2)
    before, after = reliability(said, right), reliability([fitted(one) for one in said], right)
    assert before["error"] > 15 > 5 > after["error"]
    assert before["brier"] > after["brier"]


def test_mentions_that_part_exactly_have_a_finite_slope():
    fitted = fit_calibration([0.9] * 20 + [0.2] * 10, [True] * 20 + [False] * 10)
    assert 1 < fitted.slope < 20
    assert fitted(0.9) == pytest.approx(21 / 22, abs=1e-6)
    assert fitted(0.2) == pytest.approx(1 / 12, abs=1e-6)


@pytest.mark.parametrize(
    ("said", "right", "told"),
    [
        ([], [], "0 are right and 0 are wrong"),
        ([0.5, 0.6], [True, True], "2 are right and 0 are wrong, and there must be some of both"),
        ([0.5, 0.6], [False, False], "0 are right and 2 are wrong"),
        ([0.9] * 9 + [0.2] * 9, [False] * 9 + [True] * 9, "not the ones that the model is surer of"),
        ([0.5] * 9, [True] * 4 + [False] * 5, "not the ones that the model is surer of"),
    ],
)
def test_what_cannot_be_fitted_p192(said, right, told):
    with pytest.raises(ValueError, match=rf"\[P192\].*{told}"):
        fit_calibration(said, right)


# The curve


def test_the_curve_and_its_error():
    figures = reliability([0.05, 0.1, 0.15, 0.95, 1.0], [False, True, False, True, True])
    assert figures["mentions"] == 5
    assert figures["curve"] == [
        {"from": 0.0, "to": 0.1, "mentions": 1, "said": 5.0, "right": 0.0},
        {"from": 0.1, "to": 0.2, "mentions": 2, "said": 12.5, "right": 50.0},
        {"from": 0.9, "to": 1.0, "mentions": 2, "said": 97.5, "right": 100.0},
    ]
    # One mention 5 points apart, two 37.5 and two 2.5.
    assert figures["error"] == pytest.approx((5 + 2 * 37.5 + 2 * 2.5) / 5)
    assert figures["brier"] == pytest.approx((0.05**2 + 0.9**2 + 0.15**2 + 0.05**2) / 5, abs=1e-4)


def test_bins_act():
    (half,) = reliability([0.1, 0.3], [True, False], bins=2)["curve"]
    assert (half["to"], half["mentions"]) == (0.5, 2)
    assert len(reliability([0.1, 0.3], [True, False], bins=10)["curve"]) == 2


def test_nothing_said_nothing_measured():
    assert reliability([], []) is None


def test_what_is_said_of_mentions_is_held_against_gold():
    said = found((0, 3, "A"), (8, 10, "A"), (14, 18, "B"))
    predicted = tuple(one._replace(score=0.5, confidence=0.25 * place) for place, one in enumerate(said, 1))
    pair = Pair(TEXT, said[:1], (*predicted[:2], said[2]))
    assert judged([pair], lambda one: one.confidence) == ([0.25, 0.5], [True, False])
    figures = report(Outcome((pair,), (pair,)), ["A", "B"])["reliability"]
    assert figures["confidence"]["error"] == pytest.approx(100 * (0.75 + 0.5) / 2)
    assert figures["score"]["error"] == 0.0
