"""The page of errors and warnings."""

from __future__ import annotations

import re
from pathlib import Path

import srsly

from docs.tools.markdown import page
from spacy_padellm.errors import Errors, Message, Warnings


def messages() -> dict[str, Message]:
    """Every message by its code, errors first."""
    return {
        code: message
        for owner in (Errors, Warnings)
        for code, message in vars(owner).items()
        if isinstance(message, Message)
    }


def errors_page(texts: Path) -> str:
    """The page about every code.

    texts (Path): YAML with what causes a code and what to do about it, by code.
    RETURNS (str): Markdown.
    RAISES (ValueError): For a code without a text, or a text without a code.
    """
    said, known = srsly.read_yaml(texts), messages()
    assert isinstance(said, dict)
    lacking, dead = sorted(set(known) - set(said)), sorted(set(said) - set(known))
    if lacking or dead:
        raise ValueError(f"{texts.name} has no line for {lacking}, and lines for {dead}, which are no codes")
    parts = [
        "# Errors and warnings",
        "Each says what was expected, what came and what to do, and begins with its code. `P` stands for an error, `W` "
        "for a warning: the work goes on, and what was lost or changed is counted. Words in braces stand for what the "
        "message names.",
    ]
    for code, message in known.items():
        parts += [f"## {code}", _quoted(message), said[code]]
    return page(*parts)


def _quoted(message: str) -> str:
    plain = message.replace("{{", "{").replace("}}", "}")
    plain = re.sub(r"\{(\w+)!r\}", r"{\1}", plain)
    return "```text\n" + plain + "\n```"
