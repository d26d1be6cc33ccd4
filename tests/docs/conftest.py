"""What a reader has, in a folder of each page's own."""

from __future__ import annotations

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
