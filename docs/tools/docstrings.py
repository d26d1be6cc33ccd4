"""Docstrings in spaCy's form, taken apart."""

from __future__ import annotations

import inspect
import re
from dataclasses import dataclass, field

_ARGUMENT = re.compile(r"^(?P<names>\*{0,2}\w+(?:, \*{0,2}\w+)*) \((?P<type>.+?)\): (?P<text>.*)$")
_OUTCOME = re.compile(r"^(?P<kind>RETURNS|YIELDS|RAISES)(?: \((?P<type>.+?)\))?: (?P<text>.*)$")


@dataclass(frozen=True)
class Argument:
    """An argument as a docstring describes it: its type and what is said about it."""

    type: str
    text: str


@dataclass(frozen=True)
class Outcome:
    """What comes of a call. `kind` is RETURNS, YIELDS or RAISES."""

    kind: str
    type: str
    text: str


@dataclass
class Docstring:
    """A docstring: text, arguments by name, outcomes in order."""

    text: str = ""
    arguments: dict[str, Argument] = field(default_factory=dict)
    outcomes: list[Outcome] = field(default_factory=list)


def docstring_of(thing: object) -> Docstring:
    """The docstring of a function or class, empty where it has none of its own."""
    return read_docstring(inspect.getdoc(thing) or "")


def read_docstring(text: str) -> Docstring:
    """Take a docstring apart. What is indented goes on with the argument or outcome above it."""
    found = Docstring()
    prose: list[str] = []
    for line in _entries(text):
        if outcome := _OUTCOME.match(line):
            found.outcomes.append(Outcome(outcome["kind"], outcome["type"] or "", outcome["text"]))
        elif argument := _ARGUMENT.match(line):
            for name in argument["names"].split(", "):
                found.arguments[name] = Argument(argument["type"], argument["text"])
        else:
            prose.append(line)
    found.text = "\n".join(prose).strip()
    return found


def _entries(text: str) -> list[str]:
    """The lines of a docstring, each argument or outcome on one."""
    lines: list[str] = []
    # A docstring of one line may end with what is returned.
    for line in re.sub(r"(?<=\S) (?=(?:RETURNS|YIELDS|RAISES) \()", "\n", text).splitlines():
        if line.startswith("    ") and lines and (_OUTCOME.match(lines[-1]) or _ARGUMENT.match(lines[-1])):
            lines[-1] = f"{lines[-1]} {line.strip()}"
        else:
            lines.append(line)
    return lines
