"""Every code block of the README and of docs/ does what it says: a page is run from top to bottom."""

from __future__ import annotations

import json
import re
import traceback
import warnings
from pathlib import Path
from typing import Any

import pytest
import spacy

from tests.docs.fragments import check_config
from tests.docs.ground import PIPELINE
from tests.docs.pages import Block, blocks_of, commands_of, page_names
from tests.docs.shell import Shell
from tests.docs.tables import NO_LANGUAGE, PYTHON, UNRUN, WARN

MANY = 2
"""A page with more commands is slow: each starts an interpreter that loads torch."""

DIRECTIVES = ("{toctree}", "{include}")
"""Blocks that are Sphinx's and not code."""


def _weight(page: str) -> list[pytest.MarkDecorator]:
    n_commands = sum(len(commands_of(block)) for block in blocks_of(page) if block.language == "bash")
    return [pytest.mark.slow] if n_commands > MANY else []


PAGES = [pytest.param(page, marks=_weight(page), id=page) for page in page_names() if blocks_of(page)]


@pytest.mark.parametrize("page", PAGES)
def test_blocks_run(page: str, folder: Path, shell: Shell) -> None:
    blocks = blocks_of(page)
    # What the text of a page takes for granted: a pipeline, and a text for it.
    names: dict[str, Any] = {"__name__": "__main__", "spacy": spacy, "report": "Show me Jaws in Paris. " * 60}
    if any(block.language == "python" for block in blocks):
        names["nlp"] = spacy.load(folder / PIPELINE)
    for block in blocks:
        run_block(block, names, shell)


def run_block(block: Block, names: dict[str, Any], shell: Shell) -> None:
    if block.language == "bash":
        for command in commands_of(block):
            if not is_unrun(block.page, command.text):
                run_at(command.place, shell.run, command.text)
    elif block.language == "python":
        if not is_unrun(block.page, block.code):
            run_at(block.place(), run_python, block, names, shell)
    elif block.language in ("ini", "cfg"):
        run_at(block.place(), check_config, block.code)
    elif block.language == "json":
        run_at(block.place(), json.loads, block.code)
    else:
        drawing = block.language == "text" or block.language in DIRECTIVES
        assert drawing or (not block.language and block.page in NO_LANGUAGE), (
            f"{block.place()}: nothing is known about blocks in {block.language!r}; drawings and output are ```text"
        )


def is_unrun(page: str, text: str) -> bool:
    return any(entry.page == page and text.startswith(entry.first) for entry in UNRUN)


def run_at(place: str, run: Any, *args: Any) -> None:
    """Call something that stands for a piece of a page, and fail with its place."""
    try:
        run(*args)
    except Exception as error:
        reason = "".join(traceback.format_exception_only(error)).strip()
        where = [frame.lineno for frame in traceback.extract_tb(error.__traceback__) if frame.filename == place]
        line = f" (line {where[-1]})" if where else ""
        pytest.fail(f"{place}{line}: {args[0] if isinstance(args[0], str) else args[0].code}\n{reason}", pytrace=False)


def run_python(block: Block, names: dict[str, Any], shell: Shell) -> None:
    code = block.code
    for change in PYTHON:
        code = re.sub(change.pattern, change.instead, code)
    # Blank lines in front, so that a traceback has the page's own line numbers.
    compiled = compile("\n" * (block.line - 1) + shell.with_port(code), block.place(), "exec")
    with warnings.catch_warnings():
        if block.page in WARN:
            warnings.filterwarnings("ignore", rf".*{WARN[block.page]}")
        exec(compiled, names)
