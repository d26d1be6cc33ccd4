"""Pages and their fenced blocks, and the commands of a shell block."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]

_FENCE = re.compile(r"^(?P<indent> *)(?P<mark>`{3,})(?P<language>[^`]*)$")


@dataclass(frozen=True)
class Block:
    """A fenced block.

    page (str): Path of its page from the root, with slashes.
    line (int): Line of the page on which its first line of code stands, from 1.
    language (str): What stands behind the fence; empty where nothing does.
    code (str): What it holds, without the indentation of the fence.
    """

    page: str
    line: int
    language: str
    code: str

    def place(self, further: int = 0) -> str:
        """Page and line of one of its lines, as messages name it. `further` counts from its first line."""
        return f"{self.page}:{self.line + further}"


@dataclass(frozen=True)
class Command:
    """A command of a shell block, without comments, continued lines joined.

    block (Block): Where it stands.
    further (int): Its first line within the block, from 0.
    text (str): The command.
    """

    block: Block
    further: int
    text: str

    @property
    def place(self) -> str:
        return self.block.place(self.further)


def page_names() -> list[str]:
    """README.md and every page under docs/, but for what a build writes there."""
    pages = [path.relative_to(ROOT).as_posix() for path in sorted((ROOT / "docs").rglob("*.md"))]
    return ["README.md", *(page for page in pages if not any(part.startswith("_") for part in page.split("/")))]


def blocks_of(page: str) -> list[Block]:
    """The fenced blocks of a page, in order."""
    return list(read_blocks(page, (ROOT / page).read_text(encoding="utf-8")))


def read_blocks(page: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a text.

    RAISES (ValueError): For a block that is not closed.
    """
    lines = iter(enumerate(text.splitlines(), 1))
    for number, line in lines:
        fence = _FENCE.match(line)
        if not fence:
            continue
        indent, mark, code = len(fence["indent"]), fence["mark"], []
        for _, inner in lines:
            if inner.strip() == mark:
                break
            code.append(inner[indent:])
        else:
            raise ValueError(f"{page}:{number}: the block is not closed")
        yield Block(page, number + 1, fence["language"].strip(), "\n".join(code))


def commands_of(block: Block) -> list[Command]:
    """The commands of a shell block. A loop is one command, and so is what a backslash continues."""
    commands: list[Command] = []
    pending: list[str] = []
    first = depth = 0
    for further, raw in enumerate(block.code.split("\n")):
        line = _without_comment(raw).rstrip()
        if not line and not pending:
            continue
        first = further if not pending else first
        pending.append(line)
        depth += bool(re.match(r"\s*for\b", line)) - bool(re.match(r"\s*done\b", line))
        if depth or line.endswith("\\"):
            continue
        commands.append(Command(block, first, re.sub(r"\\\n\s*", "", "\n".join(pending))))
        pending = []
    if pending:
        raise ValueError(f"{block.place(first)}: the command does not end")
    return commands


def _without_comment(line: str) -> str:
    """A line of shell without the comment at its end: "#" at its start or behind a blank, outside of quotes."""
    quote = ""
    for place, character in enumerate(line):
        if quote:
            quote = "" if character == quote else quote
        elif character in "\"'":
            quote = character
        elif character == "#" and (place == 0 or line[place - 1].isspace()):
            return line[:place]
    return line
