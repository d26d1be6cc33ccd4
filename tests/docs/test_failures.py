"""A block that fails is named by page and line, and a server that a page starts is stopped."""

from __future__ import annotations

import json
import socket
from pathlib import Path

import pytest

from tests.docs.fragments import check_config
from tests.docs.pages import Block
from tests.docs.shell import Shell
from tests.docs.test_blocks import run_block


@pytest.mark.parametrize(
    ("language", "code", "message"),
    [
        ("python", "x = 1\n\nx.y", r"page\.md:7 \(line 9\).*AttributeError"),
        ("python", "import warnings\nwarnings.warn('old')", r"page\.md:7.*UserWarning: old"),
        ("bash", "true\nfalse  # no\n", r"page\.md:8: false.*exit code 1"),
        ("bash", "ls nowhere | cat", r"page\.md:7.*exit code"),
        ("bash", "make nothing-of-the-kind", r"page\.md:7.*No rule to make"),
        ("json", "{1: 2}", r"page\.md:7.*JSONDecodeError"),
        ("ini", '[components.padellm_ner]\nplacing = "nowhere"', r"page\.md:7.*placing"),
        ("ini", "[components.padellm_ner]\nno_such_setting = 1", r"page\.md:7.*no_such_setting"),
        ("ini", '[training]\nmax_steps = "many"', r"page\.md:7.*max_steps"),
        ("ini", '[initialize.components.padellm_ner.labels.MOVIE]\nwrods = "film"', r"page\.md:7.*P190"),
        ("sh", "ls", r"page\.md:7: nothing is known about blocks in 'sh'"),
        ("", "ls", r"page\.md:7: nothing is known about blocks in ''"),
    ],
)
def test_failure_names_page_and_line(language: str, code: str, message: str, tmp_path: Path):
    block = Block("docs/page.md", 7, language, code)
    with pytest.raises((pytest.fail.Exception, AssertionError), match=f"(?s){message}"):
        run_block(block, {}, Shell(tmp_path))


@pytest.mark.parametrize("language", ["text", "{toctree}"])
def test_drawings_are_left_alone(language: str, tmp_path: Path):
    run_block(Block("docs/page.md", 7, language, "what ever"), {}, Shell(tmp_path))


def test_fragments_of_other_architectures_replace_the_base():
    check_config('[components.padellm_ner.model]\n@architectures = "spacy-padellm.FreshCausalLM.v1"\nvocab_size = 300')


@pytest.mark.slow
@pytest.mark.parametrize("port", ["", " --port 8123"])
def test_server_is_started_asked_and_stopped(port: str, shell: Shell):
    shell.run(f"python -m spacy padellm serve MODEL{port} &")
    at = f"http://localhost:{port.split()[-1] if port else 8000}"
    body = json.dumps({"text": "Show me Jaws in Paris"})
    shell.run(f"curl -sf {at}/annotate -H 'Content-Type: application/json' -d '{body}' > answer.json")
    assert "movie" in (shell.folder / "answer.json").read_text(encoding="utf-8")
    shell.stop()
    # Its port is free again.
    with pytest.raises(OSError):
        socket.create_connection(("127.0.0.1", shell.port), timeout=1)
