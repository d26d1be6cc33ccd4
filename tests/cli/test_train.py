"""The command: what it says and how it exits, and a training that is killed again and again."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from spacy.cli._util import app
from typer.testing import CliRunner, Result

import spacy_padellm.cli  # noqa: F401  the commands attach themselves
from spacy_padellm.training.checkpoint import FOLDER
from tests.training import runs as makers
from tests.training.runs import Runs

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

ROOT = Path(__file__).parents[2]


@pytest.fixture
def command(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[..., Result]:
    """Runs `spacy padellm train` in the folder "out", with a stop after so many updates if one is wanted."""
    runs = Runs(tmp_path)

    def run(*more: str, stop_at: int = -1, how: str = "SIGTERM") -> Result:
        words = ["padellm", "train", str(runs.path), "--output", str(tmp_path / "out"), *more]
        paths = [word for name, value in runs.overrides.items() for word in (f"--{name}", value)]
        stop = ["--training.logger.stop_at", str(stop_at), "--training.logger.how", how]
        monkeypatch.setattr(sys, "argv", ["spacy", *words])
        return CliRunner().invoke(app, [*words, *paths, *stop])

    return run


@pytest.mark.parametrize(("how", "code"), [("SIGTERM", 143), ("SIGINT", 130)])
def test_signal(tmp_path: Path, command: Callable[..., Result], how: str, code: int):
    done = command(stop_at=2, how=how)
    assert done.exit_code == code
    assert "with 3 updates done" in done.output
    written = " ".join(done.output.split())
    assert f"python -m spacy padellm train {tmp_path}/config.cfg --output {tmp_path}/out --resume" in written


def test_goes_on_and_ends(tmp_path: Path, command: Callable[..., Result]):
    short = ("--training.max_steps", "4")
    first = command("--resume", *short, "--checkpoint-every", "2", stop_at=1)
    assert "nothing to go on from" in " ".join(first.output.split())
    refused = command(*short)
    assert refused.exit_code == 1 and "P199" in refused.output
    other = command("--resume", "--training.dropout", "0.3", *short)
    assert other.exit_code == 1 and "P195" in other.output and "training.dropout" in other.output
    second = command("--resume", *short)
    assert second.exit_code == 0, second.output
    assert "Going on with 2 updates done" in second.output and "Saved pipeline" in second.output
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "model-last").rglob("*")}
    again = command("--resume", *short)
    assert again.exit_code == 0 and "This training is finished" in again.output
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "out" / "model-last").rglob("*")} == before


def test_settings(tmp_path: Path, command: Callable[..., Result]):
    refused = command("--checkpoint-every", "-1")
    assert refused.exit_code == 1 and "P001" in refused.output
    missing = command("--code", str(tmp_path / "none.py"))
    assert missing.exit_code == 1 and "none.py" in missing.output


def test_one_at_a_time(tmp_path: Path, command: Callable[..., Result]):
    from spacy_padellm.data.lock import Lock

    (tmp_path / "out" / FOLDER).mkdir(parents=True)
    lock = Lock(tmp_path / "out" / FOLDER / "lock")
    lock.take()
    refused = command()
    lock.release()
    assert refused.exit_code == 1 and "P185" in refused.output


DRIVER = """
import os, random, signal, sys, time
from pathlib import Path

import torch
torch.set_num_threads(1)
from spacy.cli._util import app
import spacy_padellm.cli
from spacy_padellm.training import loop

out, kills, words = Path(sys.argv[1]), int(sys.argv[2]), sys.argv[3:]


def newest():
    folders = (out / "checkpoint").glob("*") if (out / "checkpoint").exists() else ()
    return max((int(path.name) for path in folders if path.name.isdecimal()), default=0)


def life():
    child = os.fork()
    if not child:
        sink = os.open(os.devnull, os.O_WRONLY)
        os.dup2(sink, 1)
        app(words, standalone_mode=False)
        os._exit(0)
    return child


draw = random.Random(5)
for number in range(kills):
    before, child = newest(), life()
    while newest() == before:
        assert os.waitpid(child, os.WNOHANG) == (0, 0), "it ended by itself"
        time.sleep(0.01)
    time.sleep(draw.uniform(0, 0.6))
    os.kill(child, signal.SIGKILL)
    assert os.WIFSIGNALED(os.waitpid(child, 0)[1]), f"it was done before the {number + 1}th time"
print(os.waitstatus_to_exitcode(os.waitpid(life(), 0)[1]))
"""


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked")
def test_killed_again_and_again(tmp_path: Path):
    """At random moments behind a checkpoint, also while the next one or a pipeline is written."""
    runs = Runs(tmp_path, **{"training.max_steps": 24, "training.eval_frequency": 6})
    driver = tmp_path / "driver.py"
    driver.write_text(DRIVER)
    options = [word for name, value in runs.overrides.items() for word in (f"--{name}", str(value))]

    def drive(name: str, kills: int) -> None:
        out = str(tmp_path / name)
        words = ["padellm", "train", str(runs.path), "--output", out, "--resume", "--checkpoint-every", "2"]
        done = subprocess.run(
            [sys.executable, str(driver), out, str(kills), *words, "--code", makers.__file__, *options],
            capture_output=True,
            text=True,
            timeout=600,
            env={**os.environ, "PYTHONPATH": str(ROOT), "OMP_NUM_THREADS": "1"},
        )
        assert done.returncode == 0 and done.stdout.split()[-1] == "0", done.stdout + done.stderr

    drive("whole", 0)
    drive("killed", 5)
    for which in ("model-best", "model-last"):
        assert runs.files("whole", which) == runs.files("killed", which)
