"""Labels as a user gives them: names, or names with their words in the prompt or all there is to them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from spacy_padellm.engine.pieces import without_surrogates as clean
from spacy_padellm.errors import Errors
from spacy_padellm.pipeline.label_spec import Kept, LabelSpec
from spacy_padellm.types import Scheme, Words

Labels = Sequence[str] | Mapping[str, str | Mapping[str, Any] | None]


def check_label(label: object, given: object = None) -> Kept:
    """One label as it is kept.

    label (object): Its name.
    given (object): Its words, or a mapping with any of the fields of `LabelSpec`; None for nothing.
    RETURNS (Kept): What is given as plain values.
    RAISES (ValueError): P015 if the name is no string, is blank or holds a lone surrogate; P016 the same of the
        words, unless there are none; P190 for a field that there is not, or a value that it cannot have.
    """
    if not isinstance(label, str) or not label.strip() or label != clean(label):
        raise ValueError(Errors.P015.format(label=label))
    return LabelSpec.of(label, given).kept()


def check_labels(labels: object) -> dict[str, Kept]:
    """Labels as they are kept: names with their words, None for the prompt's own choice, or with all that is given;
    each label once.

    RAISES (ValueError): P016 if the labels are neither a list nor a mapping; P015, P016 or P190 for one that is none.
    """
    if isinstance(labels, str) or not isinstance(labels, (Sequence, Mapping)):
        raise ValueError(Errors.P016.format(got=type(labels).__name__))
    pairs = labels.items() if isinstance(labels, Mapping) else ((label, None) for label in labels)
    return {label: check_label(label, given) for label, given in pairs}


def words_of(labels: Mapping[str, Kept], scheme: Scheme) -> dict[str, Words]:
    """What stands for each label in the prompts of a scheme."""
    # Specs are looked into only where there are any: a corpus of open types has thousands of labels.
    return {
        label: LabelSpec.of(label, given).wording(scheme.words(label))
        if isinstance(given, dict)
        else given or scheme.words(label)
        for label, given in labels.items()
    }


def thresholds_of(labels: Mapping[str, Kept]) -> dict[str, float]:
    """The thresholds of the labels that have their own."""
    specs = {label: given for label, given in labels.items() if isinstance(given, dict)}
    return {label: float(given["threshold"]) for label, given in specs.items() if given.get("threshold") is not None}


def enumerated(labels: Sequence[str], most: int = 20) -> str:
    """Some labels for a message, the first few of very many."""
    names = ", ".join(labels[:most])
    return f"{names} and {len(labels) - most} more" if len(labels) > most else names
