"""What a user may say about one label."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from typing import Any

from spacy_padellm.engine.pieces import without_surrogates as clean
from spacy_padellm.errors import Errors
from spacy_padellm.types import Wording, Words

Kept = str | dict[str, Any] | None
"""A spec as plain values, as it is saved: None where only the name is given, the words where there is nothing else."""

_COLOUR = re.compile(r"[\w#%.,()+ -]+")
"""What displaCy may put into a style: no quote, semicolon or bracket of HTML."""


@dataclass(frozen=True)
class LabelSpec:
    """All there is to a label beside its name.

    words (str | None): Its words in the prompt; None for the prompt's own choice.
    description (str | None): What it means, for the question about it.
    examples (tuple[str, ...]): Mentions of it, for the question about it.
    colour (str | None): What displaCy draws it in, as CSS has it: "#ffd966"; None for one of the pipe's choice.
    threshold (float | None): How sure a mention of it must be; None for the pipe's threshold.
    """

    words: str | None = None
    description: str | None = None
    examples: tuple[str, ...] = ()
    colour: str | None = None
    threshold: float | None = None

    @classmethod
    def of(cls, label: str, given: object) -> LabelSpec:
        """A spec as a user gives it: None, words, or a mapping with any of the fields.

        RAISES (ValueError): P016 for words that are none; P190 for a field that is none, or has a value that it cannot
            have.
        """
        if isinstance(given, Mapping):
            known = [field.name for field in fields(cls)]
            for name, value in given.items():
                if name not in known:
                    raise ValueError(_wrong(label, f"there is no {name!r}, choose of {', '.join(known)}"))
                if not _CHECKS[name](value):
                    raise ValueError(_wrong(label, f"{name!r} is {value!r}"))
            values: dict[str, Any] = {**given, "examples": tuple(given.get("examples", ()))}
            return cls(**values)
        if given is not None and not _is_text(given):
            raise ValueError(Errors.P016.format(got=f"{label!r}: {given!r}"))
        return cls(words=given)  # type: ignore[arg-type]

    def kept(self) -> Kept:
        """The spec as plain values, without what is not given."""
        given = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {name: list(value) if name == "examples" else value for name, value in given.items() if _given(value)}
        return None if not values else self.words if list(values) == ["words"] else values

    def wording(self, words: str) -> Words:
        """What stands for the label in a prompt.

        words (str): The prompt's own words for it, for a spec that has none.
        """
        if not self.description and not self.examples:
            return self.words or words
        return Wording(self.words or words, self.description or "", self.examples)


def _wrong(label: str, problem: str) -> str:
    return Errors.P190.format(label=label, problem=problem)


def _given(value: object) -> bool:
    return value is not None and value != ()


def _is_text(value: object) -> bool:
    return isinstance(value, str) and bool(value.strip()) and value == clean(value)


def _is_list(value: object) -> bool:
    return isinstance(value, Sequence) and not isinstance(value, str) and all(map(_is_text, value))


def _is_colour(value: object) -> bool:
    return isinstance(value, str) and _COLOUR.fullmatch(value) is not None


def _is_share(value: object) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool) and 0 <= value <= 1


_CHECKS = {
    "words": lambda value: value is None or _is_text(value),
    "description": lambda value: value is None or _is_text(value),
    "examples": _is_list,
    "colour": lambda value: value is None or _is_colour(value),
    "threshold": lambda value: value is None or _is_share(value),
}
