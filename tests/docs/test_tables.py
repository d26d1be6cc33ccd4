"""The tables of what a test does otherwise than a page says have no dead entries, and leave little out."""

from __future__ import annotations

import re

import pytest

from tests.docs.ground import BASES
from tests.docs.pages import ROOT, Block, Command, blocks_of, commands_of, page_names, read_blocks
from tests.docs.shell import changed, check_arguments, check_project, check_requirements
from tests.docs.tables import COMMANDS, NO_LANGUAGE, PARSED, PYTHON, SHARE_UNRUN, UNRUN, WARN, Change, Unrun

BLOCKS = [block for page in page_names() for block in blocks_of(page)]
SHELL = [command for block in BLOCKS if block.language == "bash" for command in commands_of(block)]
CODE = [block for block in BLOCKS if block.language == "python"]


@pytest.mark.parametrize("change", COMMANDS, ids=lambda change: change.pattern)
def test_change_of_commands_changes_one(change: Change):
    assert any(re.search(change.pattern, command.text) for command in SHELL)


@pytest.mark.parametrize("change", PYTHON, ids=lambda change: change.pattern)
def test_change_of_python_changes_a_block(change: Change):
    assert any(re.search(change.pattern, block.code) for block in CODE)


@pytest.mark.parametrize("pattern", PARSED)
def test_what_is_only_parsed_is_there(pattern: str):
    assert any(re.match(pattern, command.text) for command in SHELL)


@pytest.mark.parametrize("entry", UNRUN, ids=lambda entry: f"{entry.page}: {entry.first[:40]}")
def test_what_is_not_run_is_there(entry: Unrun):
    texts = [command.text for command in SHELL if command.block.page == entry.page]
    texts += [block.code for block in CODE if block.page == entry.page]
    assert any(text.startswith(entry.first) for text in texts)
    assert entry.reason


def test_little_is_not_run():
    places = [(command.block.page, command.text) for command in SHELL] + [(block.page, block.code) for block in CODE]
    n_unrun = sum(page == entry.page and text.startswith(entry.first) for page, text in places for entry in UNRUN)
    assert n_unrun <= SHARE_UNRUN * len(places)


@pytest.mark.parametrize("page", WARN)
def test_pages_that_may_warn_have_python(page: str):
    assert any(block.page == page for block in CODE)


@pytest.mark.parametrize("page", NO_LANGUAGE)
def test_pages_with_drawings_are_there(page: str):
    assert (ROOT / page).is_file()


@pytest.mark.parametrize("base", BASES)
def test_pages_speak_of_the_bases(base: str):
    assert any(base in command.text for command in SHELL)


def _shell(code: str) -> list[Command]:
    return commands_of(Block("page.md", 3, "bash", code))


def test_blocks_are_found_with_their_lines():
    text = "a\n```bash\nls\n```\n* b\n\n  ```python\n  x = 1\n    y\n  ```\n````text\n```\n````\n"
    assert list(read_blocks("p", text)) == [
        Block("p", 3, "bash", "ls"),
        Block("p", 8, "python", "x = 1\n  y"),
        Block("p", 12, "text", "```"),
    ]


def test_open_block_is_named():
    with pytest.raises(ValueError, match="p:2: the block is not closed"):
        list(read_blocks("p", "a\n```bash\nls\n"))


def test_commands_are_joined_and_without_comments():
    found = _shell("# nothing\nls '#a' \\\n    b  # c\n\nfor x in 1; do\n    echo $x\ndone\nx#y")
    assert [(one.place, one.text) for one in found] == [
        ("page.md:4", "ls '#a' b"),
        ("page.md:7", "for x in 1; do\n    echo $x\ndone"),
        ("page.md:10", "x#y"),
    ]


def test_command_that_does_not_end_is_named():
    with pytest.raises(ValueError, match=r"page\.md:3: the command does not end"):
        _shell("ls \\")


def test_commands_are_changed():
    assert changed("python -m spacy train a.cfg --gpu-id 0").endswith(
        "a.cfg --training.max_steps 2 --training.eval_frequency 1 --gpu-id -1"
    )


@pytest.mark.parametrize("arguments", ['"spacy-padellm[serve]"', "-e '.[dev]'", '"torch>=2.4"', "--no-deps x==1"])
def test_requirements_pass(arguments: str):
    check_requirements(arguments)


@pytest.mark.parametrize("arguments", ['"spacy-padellm[srve]"', "'.[no]'", "'torch>>2'", "-q"])
def test_wrong_requirements_fail(arguments: str):
    with pytest.raises((AssertionError, ValueError)):
        check_requirements(arguments)


@pytest.mark.parametrize(
    "command",
    [
        "python -m spacy project run al .",
        "python -m spacy project run all . --vars.datset x",
        "python -m spacy project run all . --vars.config lra",
    ],
)
def test_wrong_project_commands_fail(command: str):
    with pytest.raises(AssertionError, match=r"project\.yml|project/configs"):
        check_project(command)


@pytest.mark.parametrize("arguments", ["--dcs a.jsonl --model 8m", "--docs a.jsonl --batch-size none"])
def test_wrong_arguments_fail(arguments: str):
    check_arguments("python -m benchmarks.decoding --docs a.jsonl --model 8m")
    with pytest.raises(AssertionError, match="argument"):
        check_arguments(f"python -m benchmarks.decoding {arguments}")
