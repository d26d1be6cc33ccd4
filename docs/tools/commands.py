"""The page of the command line."""

from __future__ import annotations

import inspect
import typing
from typing import Any

from typer.models import ArgumentInfo, CommandInfo, OptionInfo

from docs.tools.markdown import code, page, table
from docs.tools.signatures import as_config
from spacy_padellm.cli import app


def command_line_page() -> str:
    """The page about every `spacy padellm` command.

    RETURNS (str): Markdown.
    """
    parts = ["# Command line", "Made from the code: what `python -m spacy padellm COMMAND --help` says, too."]
    for command in sorted(app.registered_commands, key=_name):
        parts += [f"## padellm {_name(command)}", *_describe(command)]
    return page(*parts)


def _name(command: CommandInfo) -> str:
    assert command.callback is not None
    return command.name or command.callback.__name__.removesuffix("_cli").replace("_", "-")


def _describe(command: CommandInfo) -> list[str]:
    assert command.callback is not None
    parameters = inspect.signature(command.callback).parameters
    types = typing.get_type_hints(command.callback)
    infos = {
        name: parameter.default
        for name, parameter in parameters.items()
        if isinstance(parameter.default, (ArgumentInfo, OptionInfo)) and not parameter.default.hidden
    }
    arguments = {name: info for name, info in infos.items() if isinstance(info, ArgumentInfo)}
    words = " ".join(name.upper() if _is_required(info) else f"[{name.upper()}]" for name, info in arguments.items())
    options = {name: info for name, info in infos.items() if isinstance(info, OptionInfo)}
    return [
        code(f"python -m spacy padellm {_name(command)} {words}"),
        command.help or inspect.getdoc(command.callback) or "",
        table(("argument", "type", "default", ""), [_row(n.upper(), types[n], info) for n, info in arguments.items()]),
        table(
            ("option", "type", "default", ""), [_row(_flags(n, info), types[n], info) for n, info in options.items()]
        ),
    ]


def _flags(name: str, info: OptionInfo) -> str:
    return ", ".join(info.param_decls or ["--" + name.replace("_", "-")])


def _is_required(info: Any) -> bool:
    return info.default is ...


def _row(name: str, type_: Any, info: ArgumentInfo | OptionInfo) -> list[str]:
    shown = inspect.formatannotation(type_).replace("pathlib.", "").replace("typing.", "")
    default = "" if _is_required(info) or info.default in (None, [], ()) else as_config(_plain(info.default))
    return [code(name), code(shown), default, info.help or ""]


def _plain(value: Any) -> Any:
    """A default as it is typed: of an enum, its value."""
    return getattr(value, "value", value)
