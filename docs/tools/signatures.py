"""Functions as tables of their arguments: types and defaults from the signature, text from the docstring."""

from __future__ import annotations

import inspect
import re
from collections.abc import Callable, Mapping
from typing import Any

from docs.tools.docstrings import Docstring, docstring_of
from docs.tools.markdown import code, page, table

_OWN = ("self", "cls")

_OF_SPACY = ("nlp", "name")
"""What spaCy gives a factory; no setting."""

_STARS: dict[Any, str] = {inspect.Parameter.VAR_POSITIONAL: "*", inspect.Parameter.VAR_KEYWORD: "**"}


def describe(function: Callable[..., Any], *, defaults: Mapping[str, Any] | None = None) -> str:
    """A function's docstring, arguments and outcomes.

    defaults (Mapping[str, Any] | None): Given for what a config names: defaults of arguments that have none in the
        signature. Each argument must then be described.
    RETURNS (str): Markdown without a heading.
    RAISES (ValueError): For an argument of such a function that neither its docstring nor that of what it returns
        describes.
    """
    said, beside = docstring_of(function), _beside(function)
    rows = []
    for parameter in inspect.signature(function).parameters.values():
        name = _STARS.get(parameter.kind, "") + parameter.name
        argument = said.arguments.get(name) or beside.arguments.get(name)
        if name in _OWN or (defaults is not None and name in _OF_SPACY and argument is None):
            continue
        if defaults is not None and argument is None:
            raise ValueError(f"{function.__qualname__}: the argument {name!r} has no line in the docstring")
        type_ = _type(parameter, argument.type if argument else "")
        rows.append([code(name), code(type_), _default(parameter, defaults or {}), argument.text if argument else ""])
    return page(said.text, table(("name", "type", "default", ""), rows), outcomes(said)).rstrip()


def outcomes(said: Docstring) -> str:
    """What a call returns, yields or raises."""
    return table(("", "type", ""), [[f"**{one.kind.lower()}**", code(one.type), one.text] for one in said.outcomes])


def _type(parameter: inspect.Parameter, said: str) -> str:
    """The type in the docstring, which is written to be read; else that of the signature."""
    if said:
        return said
    if parameter.annotation is inspect.Parameter.empty:
        return ""
    return inspect.formatannotation(parameter.annotation).replace("typing.", "").replace("collections.abc.", "")


def _default(parameter: inspect.Parameter, given: Mapping[str, Any]) -> str:
    if parameter.name in given:
        return as_config(given[parameter.name])
    return "" if parameter.default is inspect.Parameter.empty else as_config(parameter.default)


def as_config(value: Any) -> str:
    """A value as a config has it; a block by the name of its function."""
    if isinstance(value, dict):
        names = [name for key, name in value.items() if key.startswith("@")]
        return code(names[0]) if names else code(value)
    words = {None: "null", True: "true", False: "false"}
    if value is None or isinstance(value, bool):
        return code(words[value])
    return code(f'"{value}"' if isinstance(value, str) else value)


def _beside(function: Callable[..., Any]) -> Docstring:
    """The docstring of the class that a function's own names (`LabelDraw`) or that it returns, else an empty one."""
    owner = inspect.getmodule(function)
    names = re.findall(r"`(\w+)`", inspect.getdoc(function) or "")
    returned = inspect.signature(function).return_annotation
    found = [getattr(owner, name, None) for name in names] + [returned]
    for one in found:
        if inspect.isclass(one) and one.__module__.startswith("spacy_padellm"):
            return docstring_of(one)
    return Docstring()
