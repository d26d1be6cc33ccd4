"""From what a model says about its own answers to how often such answers are right."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from spacy_padellm.errors import Errors

_EDGE = 1e-7
"""How close to 0 and 1 a probability is taken at its word."""

_ROUNDS = 100


@dataclass(frozen=True)
class Calibration:
    """A map of probabilities that never turns their order around: a straight line between log odds (Platt scaling),
    logit(out) = slope * logit(in) + offset. Two numbers, so that a few hundred mentions are enough to fit it.

    slope (float): Below 1 it takes certainty away. Above 0.
    offset (float): In nats; below 0 it makes everything less likely.
    """

    slope: float = 1.0
    offset: float = 0.0

    def __call__(self, probability: float) -> float:
        odds = self.slope * _logit(probability) + self.offset
        # Whichever form does not overflow.
        return 1 / (1 + math.exp(-odds)) if odds >= 0 else math.exp(odds) / (1 + math.exp(odds))


def fit_calibration(probabilities: Sequence[float], right: Sequence[bool]) -> Calibration:
    """The calibration under which it is likeliest that those answers are right that are.

    As Platt has it, what is right counts as 1 - 1/(right + 2) and what is wrong as 1/(wrong + 2), so that mentions
    whose probabilities part right from wrong exactly do not make an infinite slope. By Newton's method.

    probabilities (Sequence[float]): Of the mentions, between 0 and 1.
    right (Sequence[bool]): Whether gold has each.
    RETURNS (Calibration): The best one.
    RAISES (ValueError): P192 if none of the mentions is right or none is wrong, or those that are right have no higher
        probabilities.
    """
    rights = sum(right)
    wrongs = len(right) - rights
    if not rights or not wrongs:
        raise ValueError(Errors.P192.format(right=rights, wrong=wrongs, problem="there must be some of both"))
    odds = np.array([_logit(one) for one in probabilities])
    goal = np.where(np.array(right, dtype=bool), (rights + 1) / (rights + 2), 1 / (wrongs + 2))
    rows = np.stack([odds, np.ones_like(odds)], axis=1)
    theta = np.array([0.0, math.log((rights + 1) / (wrongs + 1))])
    for _ in range(_ROUNDS):
        step = _newton_step(rows, goal, theta)
        theta = theta + step
        if np.abs(step).max() < 1e-10:
            break
    if theta[0] <= 1e-9:
        problem = "those that are right are not the ones that the model is surer of"
        raise ValueError(Errors.P192.format(right=rights, wrong=wrongs, problem=problem))
    return Calibration(float(theta[0]), float(theta[1]))


def _newton_step(rows: np.ndarray, goal: np.ndarray, theta: np.ndarray) -> np.ndarray:
    """The step that lowers the loss, halved until it does: far from the minimum a whole one may leap over it."""
    before = 1 / (1 + np.exp(-rows @ theta))
    gradient = rows.T @ (before - goal)
    curvature = rows.T @ (rows * (before * (1 - before))[:, None]) + 1e-9 * np.eye(2)
    step = -np.linalg.solve(curvature, gradient)
    while _loss(rows, goal, theta + step) > _loss(rows, goal, theta) and np.abs(step).max() > 1e-12:
        step = step / 2
    return step


def _loss(rows: np.ndarray, goal: np.ndarray, theta: np.ndarray) -> float:
    odds = rows @ theta
    return float(np.sum(np.logaddexp(0.0, odds) - goal * odds))


def _logit(probability: float) -> float:
    kept = min(max(float(probability), _EDGE), 1 - _EDGE)
    return math.log(kept) - math.log1p(-kept)
