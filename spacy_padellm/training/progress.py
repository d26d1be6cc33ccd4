"""How far a training is."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Progress:
    """How far a training is, between two updates.

    step (int): The last update, from 0; -1 before the first one.
    epoch (int): Passes over the corpus that were completed.
    results (list[tuple[float, int]]): Score of each evaluation and the update it came after.
    losses (dict[str, float]): Sums since the last evaluation, by pipe.
    words (int): Words seen.
    seconds (float): Time taken.
    exhausted (int | None): The `max_epochs` at which the batches came to an end, if they did.
    done (bool): Whether the training ended and everything it leaves is written.
    """

    step: int = -1
    epoch: int = 0
    results: list[tuple[float, int]] = field(default_factory=list)
    losses: dict[str, float] = field(default_factory=dict)
    words: int = 0
    seconds: float = 0.0
    exhausted: int | None = None
    done: bool = False

    def is_over(self, training: Mapping[str, Any]) -> bool:
        """Whether these settings let a training end here, by the rules of `spacy train`: `max_steps` is the number of
        the last update, and of equal scores the first one counts for `patience`."""
        if self.step < 0:
            return False
        if training["max_steps"] and self.step >= training["max_steps"]:
            return True
        if self.exhausted is not None and self.exhausted == training["max_epochs"]:
            return True
        _, best = max((score, -step) for score, step in self.results)
        return bool(training["patience"]) and self.step + best >= training["patience"]

    def values(self) -> dict[str, Any]:
        """As JSON can hold it."""
        plain = asdict(self)
        return {**plain, "losses": {name: float(loss) for name, loss in self.losses.items()}}

    @classmethod
    def of(cls, values: Mapping[str, Any]) -> Progress:
        results = [(float(score), int(step)) for score, step in values["results"]]
        return cls(**{**values, "results": results})
