"""Rows of logits, and which of their pieces may be chosen."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor

from spacy_padellm.engine.attention import send


class Rows:
    """What is asked of the rows of some logits.

    All integers go to the device in one copy that nobody waits for: the device may still be computing the logits.

    held (Mapping[int, Sequence[int]]): For each row that is held to some pieces those pieces, at least one.
    looks (Sequence[int]): Rows whose likeliest pieces are wanted beside the best one.
    n_rows (int): Number of rows.
    device (torch.device): Where the logits are.
    """

    def __init__(
        self, held: Mapping[int, Sequence[int]], looks: Sequence[int], *, n_rows: int, device: torch.device
    ) -> None:
        # Shorter ones repeat their last piece.
        width = max(map(len, held.values()), default=0)
        columns = [[*allowed, *allowed[-1:] * (width - len(allowed))] for allowed in map(sorted, held.values())]
        place_of = {row: place for place, row in enumerate(held)}
        among = [place for place, row in enumerate(looks) if row in held]
        parts = {
            "held": [*held],
            "pieces": [piece for column in columns for piece in column],
            "free": [row for row in range(n_rows) if row not in held],
            "looks": looks,
            "looks_held": among,
            "looks_places": [place_of[looks[place]] for place in among],
        }
        numbers = np.array([number for part in parts.values() for number in part], dtype=np.int64)
        cut = dict(zip(parts, send(numbers, device).split([len(part) for part in parts.values()]), strict=True))
        self._held, self._free, self._looks = cut["held"], cut["free"], cut["looks"]
        self._pieces = cut["pieces"].view(len(held), width)
        self._looks_held, self._looks_places = cut["looks_held"], cut["looks_places"]

    def best_of(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """The largest logit of each row and its piece. Held rows have few pieces to choose from, so that most of the
        vocabulary is not looked at for them.

        logits (Tensor): [R, V].
        RETURNS (tuple[Tensor, Tensor]): [R] logits, and int64 [R] pieces.
        """
        if not len(self._held):
            return logits.max(dim=-1)
        largest, places = logits[self._held[:, None], self._pieces].max(dim=-1, keepdim=True)
        best, chosen = logits.new_empty(len(logits)), self._held.new_empty(len(logits))
        best[self._held], chosen[self._held] = largest[:, 0], self._pieces.gather(1, places)[:, 0]
        if len(self._free):
            best[self._free], chosen[self._free] = logits[self._free].max(dim=-1)
        return best, chosen

    def rank(self, logits: Tensor, totals: Tensor, further: int) -> tuple[Tensor, Tensor]:
        """The likeliest pieces of the rows that are looked at, and their log-probabilities, best first: two more than
        may be followed at most, the chosen piece itself and one of the two pieces that may end an answer.

        logits, totals (Tensor): [R, V], and [R] the logarithms of the sums of their exponentials.
        further (int): How many pieces may be followed beside the best one.
        RETURNS (tuple[Tensor, Tensor]): int64 [looks, n] and [looks, n].
        """
        rows = logits[self._looks]
        if len(self._looks_held):
            pieces = self._pieces[self._looks_places]
            allowed = torch.full_like(rows[self._looks_held], -torch.inf)
            rows[self._looks_held] = allowed.scatter(1, pieces, rows[self._looks_held].gather(1, pieces))
        ranked = rows.topk(min(further + 2, logits.shape[-1]))
        return ranked.indices, ranked.values - totals[self._looks][:, None]
