"""What a server completed, as the answer that the engine would have given."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

from spacy_padellm.backends.dialects import Completion, Unit
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.types import Answer, Branch, Finish


def read_answer(completion: Completion, branch: Branch, pieces: Pieces) -> tuple[Answer, tuple[int, ...]]:
    """An answer as the engine would have given it, and its pieces.

    Where the server tells the pieces, it ends where the engine ends it. Where it tells text only, it is cut where the
    question that it opens begins, and cut into pieces here.

    RETURNS (tuple[Answer, tuple[int, ...]]): The answer, with NaN as its probability if the server tells none.
    """
    closer = pieces.question(branch.closer)[0] if branch.closer else None
    units = completion.units
    finish = Finish.LIMIT if completion.is_full else Finish.END
    if units is not None and all(unit.piece is not None for unit in units):
        kept = 0
        for kept, unit in enumerate(units):
            if unit.piece == pieces.end or (unit.piece == closer and kept):
                finish = Finish.END if unit.piece == pieces.end else Finish.FOLLOWED
                break
        else:
            kept = len(units)
            # A piece that ends answers there and is none here spells nothing.
            if units and not completion.is_full and not units[-1].text and completion.text:
                kept -= 1
        numbers = tuple(unit.piece for unit in units[:kept] if unit.piece is not None)
        return Answer(pieces.decode(numbers), _probability(units[:kept]), finish, len(numbers)), numbers
    text, is_cut = _cut(completion.text, branch.closer, pieces)
    probability = math.nan
    if units is not None:
        begins = itertools.accumulate((len(unit.text) for unit in units), initial=0)
        probability = _probability([unit for unit, begin in zip(units, begins, strict=False) if begin < len(text)])
    text = text.removeprefix(" ")
    numbers = pieces.question(text)
    return Answer(text, probability, Finish.FOLLOWED if is_cut else finish, len(numbers)), numbers


def _probability(units: Sequence[Unit]) -> float:
    total = 0.0
    for unit in units:
        if unit.log_probability is None:
            return math.nan
        total += unit.log_probability
    return math.exp(total)


def _cut(text: str, closer: str, pieces: Pieces) -> tuple[str, bool]:
    """Text in front of the question that an answer opens, and whether there is one."""
    if not closer:
        return text, False
    first = pieces.decode(pieces.question(closer)[:1]).strip(" ")
    for place in range(1, len(text)):
        rest = text[place:]
        if not text[:place].strip(" "):
            continue
        if (first and rest.startswith(first)) or rest.startswith(closer) or closer.startswith(rest.lstrip(" ")):
            return text[:place], True
    return text, False
