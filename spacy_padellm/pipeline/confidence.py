"""How sure a mention is, and which are sure enough."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from typing import NamedTuple

from spacy_padellm.metrics.calibration import Calibration
from spacy_padellm.types import Mention, Placed


class Judged(NamedTuple):
    """A mention in its place with its confidence, between 0 and 1."""

    placed: Placed
    confidence: float


@dataclass(frozen=True)
class Bar:
    """What mentions must reach.

    A mention's confidence is the probability of its count times that of its pieces: of the two answers that it rests
    on. A calibration turns it into how often such mentions are right.

    calibration (Calibration | None): Fitted on dev documents; None to take the model at its word.
    threshold (float): The least confidence of a mention that stays.
    by_label (Mapping[str, float]): In place of it, for the labels that have their own.
    """

    calibration: Calibration | None = None
    threshold: float = 0.0
    by_label: Mapping[str, float] = field(default_factory=dict)

    @property
    def is_set(self) -> bool:
        """Whether probabilities make a difference."""
        return self.calibration is not None or any(least > 0 for least in (self.threshold, *self.by_label.values()))

    def confidence(self, mention: Mention) -> float:
        return self.calibration(mention.joint_score) if self.calibration else mention.joint_score

    def for_labels(self, thresholds: Mapping[str, float]) -> Bar:
        """The same for a document whose labels have thresholds of their own."""
        return replace(self, by_label=thresholds)

    def judge(self, spans: Iterable[Placed]) -> tuple[list[Judged], list[Judged]]:
        """Those that stay, and those below their threshold, both in the order given."""
        kept: list[Judged] = []
        below: list[Judged] = []
        for placed in spans:
            judged = Judged(placed, self.confidence(placed.mention))
            least = self.by_label.get(placed.mention.label, self.threshold)
            (kept if judged.confidence >= least else below).append(judged)
        return kept, below
