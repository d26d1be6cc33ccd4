"""What a reader has, in a folder of each page's own."""

from __future__ import annotations

import logging
import shutil
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.ground import lay, trained
from tests.docs.shell import Shell


@pytest.fixture(scope="session")
def ground(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay(tmp_path_factory.mktemp("ground"), trained())


@pytest.fixture
def folder(ground: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A working directory of the page's own."""
    shutil.copytree(ground, tmp_path / "page", symlinks=True)
    monkeypatch.chdir(tmp_path / "page")
    return tmp_path / "page"


@pytest.fixture
def shell(folder: Path) -> Iterator[Shell]:
    one = Shell(folder)
    yield one
    one.stop()


@pytest.fixture(autouse=True)
def _levels() -> Iterator[None]:
    """A page about the log sets levels, and they are the process's own."""

    def levels() -> dict[str, int]:
        named = [name for name in logging.root.manager.loggerDict if name.startswith("spacy_padellm")]
        return {name: logging.getLogger(name).level for name in named}

    before = levels()
    yield
    for name in levels():
        logging.getLogger(name).setLevel(before.get(name, logging.NOTSET))
