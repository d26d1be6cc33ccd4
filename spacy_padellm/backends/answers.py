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

    Where the server tells all pieces, it ends where the engine ends it. Where it does not, the text is cut where the
    question that it opens begins, and cut into pieces here.

    RETURNS (tuple[Answer, tuple[int, ...]]): The answer, with NaN as its probability if the server tells none.
    """
    units = completion.units
    closer = pieces.question(branch.closer)[0] if branch.closer else None
    kept, finish = _until_end(units or (), pieces.end, closer)
    if finish is None:
        finish = Finish.LIMIT if completion.is_full else Finish.END
    if units is not None and not completion.n_untold and all(unit.piece is not None for unit in kept):
        # A piece that ends answers there and is none here spells nothing.
        if kept == units and kept and not completion.is_full and not kept[-1].text and completion.text:
            kept = kept[:-1]
        numbers = tuple(unit.piece for unit in kept if unit.piece is not None)
        return Answer(pieces.decode(numbers), _probability(kept), finish, len(numbers)), numbers
    text, is_cut = _cut(completion.text, branch.closer, pieces)
    if is_cut:
        finish = Finish.FOLLOWED
        begins = itertools.accumulate((len(unit.text) for unit in kept), initial=0)
        kept = tuple(unit for unit, begin in zip(kept, begins, strict=False) if begin < len(text))
    text = text.removeprefix(" ")
    numbers = pieces.question(text) if text else ()
    return Answer(text, math.nan if units is None else _probability(kept), finish, len(numbers)), numbers


def _until_end(units: Sequence[Unit], end: int, closer: int | None) -> tuple[tuple[Unit, ...], Finish | None]:
    """The units in front of the end, and what the end was, if it is among them."""
    for place, unit in enumerate(units):
        if unit.piece == end:
            return tuple(units[:place]), Finish.END
        if place and closer is not None and unit.piece == closer:
            return tuple(units[:place]), Finish.FOLLOWED
    return tuple(units), None


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
