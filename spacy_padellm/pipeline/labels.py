"""Labels as a user gives them: names, or names with their words in the prompt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from spacy_padellm.engine.pieces import without_surrogates as clean
from spacy_padellm.errors import Errors

Labels = Sequence[str] | Mapping[str, str | None]


def check_label(label: object, words: object = None) -> None:
    """RAISES (ValueError): P015 if the name is no string, is blank or holds a lone surrogate; P016 the same of the
    words, unless there are none."""
    if not isinstance(label, str) or not label.strip() or label != clean(label):
        raise ValueError(Errors.P015.format(label=label))
    if words is not None and (not isinstance(words, str) or not words.strip() or words != clean(words)):
        raise ValueError(Errors.P016.format(got=f"{label!r}: {words!r}"))


def check_labels(labels: object) -> dict[str, str | None]:
    """Labels as names with their words, None for the prompt's own choice; each label once.

    RAISES (ValueError): P016 if the labels are neither a list nor a mapping; P015 or P016 for one that is none.
    """
    if isinstance(labels, str) or not isinstance(labels, (Sequence, Mapping)):
        raise ValueError(Errors.P016.format(got=type(labels).__name__))
    pairs = list(labels.items()) if isinstance(labels, Mapping) else [(label, None) for label in labels]
    for label, words in pairs:
        check_label(label, words)
    return dict(pairs)


def enumerated(labels: Sequence[str], most: int = 20) -> str:
    """Some labels for a message, the first few of very many."""
    names = ", ".join(labels[:most])
    return f"{names} and {len(labels) - most} more" if len(labels) > most else names
