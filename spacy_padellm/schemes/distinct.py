"""Mentions of one label, asked for apart from each other, so that no two of them take the same place in the text."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spacy_padellm.types import Answered


def distinct(options: Mapping[int, Sequence[Answered]], text: str) -> tuple[Answered, ...]:
    """One answer to each mention question of a label.

    The questions do not see each other's answers, so several may name the same mention. The surest of them keep it, as
    many as the text has occurrences. Then each that is left takes its next likeliest answer that stands somewhere in
    the text where no other does; where it has none it stays as it is, a repeat beyond the text's.

    options (Mapping[int, Sequence[Answered]]): Ordinal to the answers to its question, the model's own first, then the
        more probable ones.
    text (str): The text.
    RETURNS (tuple[Answered, ...]): By ordinal.
    """
    places: list[tuple[int, int]] = []
    kept = {ordinal: answers[0] for ordinal, answers in options.items()}
    left: list[int] = []
    for ordinal in sorted(kept, key=lambda ordinal: (-kept[ordinal].answer.probability, ordinal)):
        place = _free_place(kept[ordinal].answer.text.strip(), text, places, nested=True)
        if place is None:
            left.append(ordinal)
        else:
            places.append(place)
    for ordinal in left:
        for other in options[ordinal][1:]:
            place = _free_place(other.answer.text.strip(), text, places, nested=False)
            if place is not None:
                kept[ordinal] = other
                places.append(place)
                break
    return tuple(kept[ordinal] for ordinal in sorted(kept))


def _free_place(string: str, text: str, places: Sequence[tuple[int, int]], *, nested: bool) -> tuple[int, int] | None:
    """The first occurrence of a string that is not taken; None where there is none.

    nested (bool): It may lie within another mention or around one, but not be the same one.
    """
    start = text.find(string) if string else -1
    while start >= 0:
        place = start, start + len(string)
        if place not in places if nested else all(place[1] <= other[0] or other[1] <= place[0] for other in places):
            return place
        start = text.find(string, start + 1)
    return None
