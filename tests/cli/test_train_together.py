"""`padellm train` under torchrun: two processes, one of which is killed, and a signal to the launcher."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import spacy
from spacy.cli._util import app
from typer.testing import CliRunner

import spacy_padellm.cli.train as train_command
from spacy_padellm.training import peers as peers_module
from spacy_padellm.training.peers import Peers
from tests.training.runs import Runs, meta
from tests.training.world import together

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

ROOT = Path(__file__).parents[2]

CODE = """
import os, signal
from tests.training import runs
from spacy_padellm.training.loop import Training

made = Training._update

def update(self, batch):
    made(self, batch)
    if self.progress.step == 5 and os.environ["RANK"] == "1":
        {act}

Training._update = update
"""
"""What stands in the file given with --code, so that it happens in the middle of a training."""


class Launch:
    """Trainings by two processes, in folders of one place."""

    def __init__(self, folder: Path) -> None:
        self.runs = Runs(folder, **{"training.max_steps": 8})

    def __call__(self, name: str, *more: str, act: str = "pass") -> subprocess.CompletedProcess[str]:
        code = self.runs.folder / "code.py"
        code.write_text(CODE.format(act=act))
        words = [word for setting, value in self.runs.overrides.items() for word in (f"--{setting}", str(value))]
        launcher = ["torch.distributed.run", "--standalone", "--local-addr", "127.0.0.1", "--nproc-per-node", "2"]
        out = ["--output", str(self.runs.folder / name), "--resume", "--checkpoint-every", "2", "--code", str(code)]
        return subprocess.run(
            [
                sys.executable,
                "-m",
                *launcher,
                "-m",
                "spacy",
                "padellm",
                "train",
                str(self.runs.path),
                *out,
                *words,
                *more,
            ],
            capture_output=True,
            text=True,
            timeout=200,
            cwd=ROOT,
            env={**os.environ, "OMP_NUM_THREADS": "1", "TOKENIZERS_PARALLELISM": "false"},
        )


@pytest.mark.slow
@pytest.mark.parametrize("shard", [(), ("--shard",)], ids=["whole", "parts"])
def test_killed(tmp_path: Path, shard: tuple[str, ...]):
    """The launcher ends the other one; the same command goes on from the last checkpoint, to the same end."""
    launch = Launch(tmp_path)
    together(lambda peers: launch.runs.run("whole", peers=peers, shard=bool(shard)))
    killed = launch("cut", *shard, act="os.kill(os.getpid(), signal.SIGKILL)")
    assert killed.returncode != 0 and "Saved pipeline" not in killed.stdout
    again = launch("cut", *shard)
    assert again.returncode == 0 and "Going on with 4 updates done" in again.stdout, again.stderr
    assert again.stdout.count("2 processes, each with a share of every batch") == 1
    assert again.stdout.count("Saved pipeline") == 1
    for which in ("model-best", "model-last"):
        assert launch.runs.files("whole", which) == launch.runs.files("cut", which)
    assert spacy.load(tmp_path / "cut" / "model-best")("Ada lives in Paris.").cats
    assert meta(tmp_path / "cut" / "model-last")["performance"]


@pytest.mark.slow
def test_signal_to_the_launcher(tmp_path: Path):
    """Both end behind the same update, with a checkpoint and the command that goes on, said once."""
    launch = Launch(tmp_path)
    stopped = launch("cut", act=f"os.kill(os.getppid(), {int(signal.SIGTERM)})")
    assert stopped.returncode != 0
    told = " ".join(stopped.stdout.split())
    assert told.count("updates done and a checkpoint written. To go on:") == 1, stopped.stderr
    assert "python -m spacy padellm train" in told
    again = launch("cut")
    assert again.returncode == 0 and "Going on with" in again.stdout, again.stderr
    together(lambda peers: launch.runs.run("whole", peers=peers))
    assert launch.runs.files("whole") == launch.runs.files("cut")


def test_gpu_of_this_process(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """Whatever number is given, it is the one the launcher counts for it; -1 stays the CPU."""
    runs, asked = Runs(tmp_path), []

    def stop(number: int, *, silent: bool) -> None:
        asked.append((number, silent))
        raise KeyboardInterrupt

    monkeypatch.setattr(train_command, "setup_gpu", stop)
    monkeypatch.setattr(peers_module, "join", lambda: Peers(1, 2, device=1))
    for given in ("0", "-1"):
        words = ["padellm", "train", str(runs.path), "--output", str(tmp_path / "out"), "--gpu-id", given]
        CliRunner().invoke(app, words)
    assert asked == [(1, True), (-1, True)] and not (tmp_path / "out").exists()


def test_shard_alone(tmp_path: Path):
    runs = Runs(tmp_path)
    words = ["padellm", "train", str(runs.path), "--output", str(tmp_path / "out"), "--shard"]
    done = subprocess.run([sys.executable, "-m", "spacy", *words], capture_output=True, text=True, timeout=100)
    assert done.returncode == 1 and "P056" in done.stdout
