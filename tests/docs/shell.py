"""Commands of the pages, run or checked as far as a test can."""

from __future__ import annotations

import argparse
import ast
import contextlib
import os
import re
import runpy
import shlex
import socket
import subprocess
import sys
import time
import warnings
from pathlib import Path

import pytest
import srsly
from packaging.requirements import Requirement

from tests.docs.pages import ROOT
from tests.docs.tables import COMMANDS, PARSED

_SECONDS = 240
"""How long a command may take before it counts as hanging."""

_PIP = re.compile(r"(?:\S*python3? -m )?pip install (?P<what>.*)")


def changed(command: str) -> str:
    """A command in the form that is run here."""
    for change in COMMANDS:
        command = re.sub(change.pattern, change.instead, command)
    return command


class Shell:
    """Runs the commands of one page in its folder, and stops the servers among them.

    folder (Path): Where the commands run.
    RAISES (AssertionError): From `run`, with what a command that failed wrote.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.port = _free_port()
        self._written_port = "8000"
        self._servers: list[subprocess.Popen[str]] = []
        paths = os.pathsep.join([str(ROOT), *filter(None, [os.environ.get("PYTHONPATH")])])
        self.environment = {**os.environ, "OMP_NUM_THREADS": "1", "HF_HUB_OFFLINE": "1", "PYTHONPATH": paths}
        self.environment["RAY_USAGE_STATS_ENABLED"] = "0"

    def run(self, command: str) -> None:
        """Run a command of a page, or check it."""
        command = changed(command).strip()
        if pip := _PIP.fullmatch(command):
            check_requirements(pip["what"])
        elif re.match(r"make\b", command):
            self._call(f"make -n {command.removeprefix('make')}", cwd=ROOT)
        elif re.search(r"spacy project run\b", command):
            check_project(command)
        elif any(re.match(pattern, command) for pattern in PARSED):
            check_arguments(command)
        elif "padellm serve" in command:
            self._serve(command)
        else:
            self._call(self.with_port(command))

    def with_port(self, text: str) -> str:
        """A text that speaks of the server at the port the page gives it, with the port that it has here."""
        return re.sub(rf"(localhost|127\.0\.0\.1):{self._written_port}\b", rf"\1:{self.port}", text)

    def stop(self) -> None:
        for server in self._servers:
            server.terminate()
        for server in self._servers:
            server.communicate(timeout=60)
        self._servers.clear()

    def _call(self, command: str, cwd: Path | None = None) -> None:
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", _PYTHON + command],
            cwd=cwd or self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
        )
        assert done.returncode == 0, f"exit code {done.returncode}\n{done.stdout[-2000:]}\n{done.stderr[-3000:]}"

    def _serve(self, command: str) -> None:
        words = shlex.split(command.rstrip("& "))
        if "--port" in words:
            place = words.index("--port") + 1
            self._written_port, words[place] = words[place], str(self.port)
        else:
            words += ["--port", str(self.port)]
        assert words[0] == "python"
        server = subprocess.Popen(
            [sys.executable, *words[1:]],
            cwd=self.folder,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._servers.append(server)
        end = time.monotonic() + 120
        while not _answers(self.port):
            assert server.poll() is None, f"the server ended\n{server.communicate()[0][-3000:]}"
            assert time.monotonic() < end, "the server does not listen"
            time.sleep(0.2)


_PYTHON = f'python() {{ {shlex.quote(sys.executable)} "$@"; }}; python3() {{ python "$@"; }}; '


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _answers(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port), timeout=1).close()
    except OSError:
        return False
    return True


def check_arguments(command: str) -> None:
    """A Python program takes the arguments of a command: it parses them, and is stopped there."""
    words = shlex.split(command)[1:]
    module, path = (words[1], None) if words[0] == "-m" else (None, ROOT / words[0])
    arguments = words[2:] if module else words[1:]
    parse = argparse.ArgumentParser.parse_known_args

    def stop(self: argparse.ArgumentParser, *_: object) -> None:
        _, rest = parse(self, arguments)
        # Only programs that hand the rest on, as overrides of a config, ask for it.
        if rest and not all(one.startswith("--") for one in rest[::2]):
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        raise _Parsed

    def stop_at_rest(self: argparse.ArgumentParser, *_: object) -> None:
        _, rest = parse(self, arguments)
        if rest:
            self.error(f"unrecognized arguments: {' '.join(rest)}")
        raise _Parsed

    found: list[str] = []
    with pytest.MonkeyPatch.context() as patch, warnings.catch_warnings():
        # runpy warns of modules that were imported already.
        warnings.simplefilter("ignore", RuntimeWarning)
        patch.setattr(argparse.ArgumentParser, "parse_args", stop_at_rest)
        patch.setattr(argparse.ArgumentParser, "parse_known_args", stop)
        patch.setattr(argparse.ArgumentParser, "error", lambda self, message: found.append(message))
        patch.setattr(sys, "argv", [words[0], *arguments])
        patch.setattr(sys, "path", [str(ROOT / "project" / "scripts"), *sys.path])
        with contextlib.suppress(_Parsed):
            runpy.run_module(module, run_name="__main__") if module else runpy.run_path(str(path), run_name="__main__")
            found.append("the program did not parse its arguments")
    assert not found, found[0]


class _Parsed(Exception):
    """A program has parsed its arguments."""


def extras() -> set[str]:
    """The extras of setup.py."""
    for node in ast.walk(ast.parse((ROOT / "setup.py").read_text(encoding="utf-8"))):
        if isinstance(node, ast.keyword) and node.arg == "extras_require":
            assert isinstance(node.value, ast.Dict)
            return {ast.literal_eval(key) for key in node.value.keys if key is not None}
    raise AssertionError("setup.py has no extras_require")


def check_requirements(arguments: str) -> None:
    """What `pip install` is given are requirements, and extras of this package are in setup.py."""
    # Flags are passed over. Options with a value are not known: the value would have to be a requirement.
    words = [word for word in shlex.split(arguments) if not word.startswith("-")]
    assert words, "nothing to install"
    for word in (word for word in words if not word.endswith(".whl")):
        requirement = Requirement(re.sub(r"^\.(?=$|\[)", "spacy-padellm", word))
        if requirement.name == "spacy-padellm":
            assert requirement.extras <= extras(), f"no such extra: {requirement.extras - extras()}"


def check_project(command: str) -> None:
    """`spacy project run` names a command or workflow of project.yml, and sets variables that it has."""
    words = shlex.split(command)
    _, name, *rest = words[words.index("project") + 1 :]
    project = srsly.read_yaml(ROOT / "project.yml")
    names = {one["name"] for one in project["commands"]} | set(project["workflows"])
    assert name in names, f"project.yml has neither a command nor a workflow {name!r}"
    for word in rest:
        if word.startswith("--vars."):
            variable = word.removeprefix("--vars.").partition("=")[0]
            assert variable in project["vars"], f"project.yml has no variable {variable!r}"
    for option in ("--vars.config", "--vars.compare_config", "--vars.zero_shot_config"):
        if option in rest:
            config = ROOT / "project" / "configs" / f"{rest[rest.index(option) + 1]}.cfg"
            assert config.is_file(), f"there is no {config.name} in project/configs"
