"""A model of the hub that was fetched before, with the hub out of reach: other processes, since the hub's library reads
its settings when it is imported."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from tests.checkpoints import write_checkpoint

NAME = "someone/tiny"

ASK = """
import sys, json, spacy
from spacy_padellm.model.architectures import shim_of
model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": sys.argv[1], "device": "cpu",
         "lora": {"@misc": "spacy-padellm.LoRA.v1", "rank": 2}}
if sys.argv[2]:
    model["revision"] = sys.argv[2]
nlp = spacy.blank("en")
pipe = nlp.add_pipe("padellm_ner", config={"model": model})
pipe.add_label("city")
nlp.initialize()
nlp.to_disk(sys.argv[3])
for pipeline in (nlp, spacy.load(sys.argv[3])):
    lm = shim_of(pipeline.get_pipe("padellm_ner").model).lm
    weight = next(value for name, value in lm.model.named_parameters() if "embed_tokens" in name)
    print(json.dumps([float(weight.double().sum()), lm.config.rope_theta if hasattr(lm.config, "rope_theta")
                      else lm.config.rope_parameters["rope_theta"], lm.pieces.leading_blank]))
"""


def fetched(home: Path) -> Path:
    """Lay two revisions of a model out as the hub's library keeps what it fetched."""
    folder = home / "hub" / f"models--{NAME.replace('/', '--')}"
    for number, revision in enumerate(("main", "v2"), 1):
        commit = str(number) * 40
        write_checkpoint(folder / "snapshots" / commit, seed=number)
        (folder / "refs").mkdir(exist_ok=True)
        (folder / "refs" / revision).write_text(commit)
    return folder


def ask(home: Path, output: Path, *, name: str = NAME, revision: str = "") -> subprocess.CompletedProcess[str]:
    environ = {**os.environ, "HF_HOME": str(home), "HF_HUB_OFFLINE": "1", "OMP_NUM_THREADS": "1"}
    command = [sys.executable, "-c", ASK, name, revision, str(output)]
    return subprocess.run(command, env=environ, capture_output=True, text=True, cwd=Path(__file__).parents[2])


def told(done: subprocess.CompletedProcess[str]) -> list[list[float]]:
    assert done.returncode == 0, done.stderr[-2000:]
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.mark.slow
def test_revisions_without_the_hub(tmp_path: Path):
    fetched(tmp_path)
    main = told(ask(tmp_path, tmp_path / "a"))
    second = told(ask(tmp_path, tmp_path / "b", revision="v2"))
    commit = told(ask(tmp_path, tmp_path / "c", revision="2" * 40))
    # Each pipeline that was saved loads the revision that it was made with.
    assert main[0] == main[1] and second[0] == second[1]
    assert second == commit and main[0][0] != second[0][0]
    assert '"v2"' in (tmp_path / "b" / "config.cfg").read_text()


@pytest.mark.slow
def test_what_was_not_fetched(tmp_path: Path):
    fetched(tmp_path)
    for name, revision in ((NAME, "v3"), ("someone/else", "")):
        done = ask(tmp_path, tmp_path / "pipeline", name=name, revision=revision)
        assert done.returncode != 0 and "[P027]" in done.stderr and name in done.stderr


@pytest.mark.slow
def test_what_was_written_beside_a_model_is_read(tmp_path: Path):
    """Rotary settings as transformers 5 writes them, and this package's own record."""
    folder = fetched(tmp_path)
    for snapshot in (folder / "snapshots").iterdir():
        config = json.loads((snapshot / "config.json").read_text())
        config.pop("rope_theta", None)
        config["rope_parameters"] = {"rope_theta": 1234.0, "rope_type": "default"}
        (snapshot / "config.json").write_text(json.dumps(config))
    (folder / "snapshots" / ("2" * 40) / "spacy_padellm.json").write_text(
        json.dumps({"leading_blank": True, "specials": {"eos_token": "</s>", "bos_token": "<s>"}})
    )
    assert [line[1:] for line in told(ask(tmp_path, tmp_path / "a"))] == [[1234.0, False]] * 2
    assert [line[1:] for line in told(ask(tmp_path, tmp_path / "b", revision="v2"))] == [[1234.0, True]] * 2
