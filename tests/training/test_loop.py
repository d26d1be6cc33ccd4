"""Training that is interrupted ends as training that is not, bit by bit."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from spacy.training.loop import DIR_MODEL_BEST as BEST
from spacy.training.loop import DIR_MODEL_LAST as LAST

from spacy_padellm.training.checkpoint import FOLDER, Checkpoints
from spacy_padellm.training.start import Origin
from tests.checkpoints import write_checkpoint
from tests.training.runs import Runs, Stop, meta, write_corpora

# A pipeline of some updates answers what cannot be read.
pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

STREAMED = {"training.max_epochs": -1, "corpora.train.augmenter": {"@augmenters": "tests.Restless.v1"}}


def lora(folder: Path) -> dict[str, Any]:
    """Overrides to a pretrained model with an adapter that has dropout."""
    return {
        "components.padellm_ner.model": {
            "@architectures": "spacy-padellm.CausalLM.v1",
            "name": str(write_checkpoint(folder / "base", initializer_range=0.05)),
            "lora": {"@misc": "spacy-padellm.LoRA.v1", "rank": 2},
            "device": "cpu",
        }
    }


def assert_same(runs: Runs, one: str, two: str) -> None:
    """All files of both pipelines, and the optimizer."""
    for which in (BEST, LAST):
        these, those = runs.files(one, which), runs.files(two, which)
        assert these.keys() == those.keys() and len(these) > 10
        assert [name for name in these if these[name] != those[name]] == [], which
    first, second = runs.arrays(one), runs.arrays(two)
    assert first.keys() == second.keys() and len(first) > 20
    assert all(np.array_equal(first[name], second[name]) for name in first)


def test_uninterrupted_as_spacy_train(tmp_path: Path):
    runs = Runs(tmp_path)
    runs.spacy("spacy")
    outcome = runs.run("ours", every=4)
    assert (outcome.step, outcome.signal, outcome.last) == (14, None, tmp_path / "ours" / LAST)
    for which in (BEST, LAST):
        theirs, found = runs.files("spacy", which), runs.files("ours", which)
        assert theirs.keys() == found.keys() and len(found) > 10
        assert [name for name in theirs if theirs[name] != found[name]] == []
        config = (tmp_path / "spacy" / which / "config.cfg").read_text()
        assert config == (tmp_path / "ours" / which / "config.cfg").read_text()
    assert sorted(path.name for path in (tmp_path / "ours").iterdir()) == [FOLDER, BEST, LAST]
    assert len(list((tmp_path / "ours" / FOLDER).iterdir())) == 1


@pytest.mark.parametrize(
    "changes",
    [
        pytest.param({}, id="averages, held"),
        pytest.param({"training.optimizer.use_averages": False, "training.max_epochs": 3}, id="three epochs"),
        pytest.param(STREAMED, id="streamed"),
        pytest.param(
            {"training.batcher": {"@batchers": "spacy-padellm.batch_by_pieces.v1", "size": 300}},
            id="batches by pieces",
            marks=pytest.mark.slow,
        ),
        pytest.param({"training.optimizer.@optimizers": "RAdam.v1"}, id="RAdam", marks=pytest.mark.slow),
        pytest.param("lora", id="LoRA"),
    ],
)
def test_cut_twice_in_the_middle_of_an_epoch(tmp_path: Path, changes: Any):
    settings = lora(tmp_path) if changes == "lora" else changes
    runs = Runs(tmp_path, **{**settings, "training.max_steps": 20})
    last = runs.run("whole").step
    first = runs.stopped("cut", 3)
    assert (first.step, first.signal) == (3, 15)
    assert runs.files("cut") != runs.files("whole")
    second = runs.stopped("cut", 5, resume=True, how="SIGINT")
    assert (second.step, second.signal) == (9, 2)
    assert runs.run("cut", resume=True).step == last > 12
    assert_same(runs, "whole", "cut")


def test_killed_between_checkpoints(tmp_path: Path):
    """An error leaves the checkpoint of the last evaluation, here after update 5: what came behind is done again."""
    runs = Runs(tmp_path)
    runs.run("whole")
    with pytest.raises(Stop):
        runs.stopped("cut", 8, how="error")
    checkpoint = Checkpoints(tmp_path / "cut" / FOLDER).latest()
    assert checkpoint is not None and checkpoint.progress.step == 5
    runs.run("cut", resume=True)
    assert_same(runs, "whole", "cut")


def test_checkpoint_every(tmp_path: Path):
    runs = Runs(tmp_path)
    with pytest.raises(Stop):
        runs.stopped("cut", 9, how="error", every=4)
    checkpoint = Checkpoints(tmp_path / "cut" / FOLDER).latest()
    assert checkpoint is not None and checkpoint.progress.step == 7


def test_longer_than_first_meant(tmp_path: Path):
    """A finished training goes on with more steps, or with more epochs, and ends as a long one."""
    held = {"training.max_steps": 0}
    runs = Runs(tmp_path)
    runs.run("whole", **{"training.max_steps": 18})
    assert runs.run("cut", **held, **{"training.max_epochs": 1}).step < 12
    assert runs.run("cut", resume=True, **{"training.max_epochs": 2, "training.max_steps": 12}).step == 12
    assert runs.run("cut", resume=True, **{"training.max_steps": 18}).step == 18
    assert_same(runs, "whole", "cut")


def test_finished(tmp_path: Path):
    """Resumed, it changes nothing; begun anew, it leaves the checkpoint of the new training alone."""
    runs = Runs(tmp_path)
    runs.run("done", **{"training.max_steps": 2})
    before = {path: path.stat().st_mtime_ns for path in (tmp_path / "done").rglob("*")}
    begun = runs.begin("done", resume=True, **{"training.max_steps": 2})
    assert begun.origin is Origin.NOTHING_LEFT
    assert {path: path.stat().st_mtime_ns for path in (tmp_path / "done").rglob("*")} == before
    assert runs.begin("done", **{"training.max_steps": 2}).origin is Origin.BEGINNING
    with pytest.raises(Stop):
        runs.stopped("done", 0, how="error", **{"training.seed": 8})
    assert runs.begin("done", resume=True, **{"training.seed": 8}).origin is Origin.CHECKPOINT


def test_patience_counts_on(tmp_path: Path):
    """Eleven updates without a better score, whether they are counted by one run or by two."""
    never_better = {"training.patience": 11, "training.score_weights": {"ents_f": 0.0}, "training.max_steps": 40}
    runs = Runs(tmp_path, **never_better)
    whole = runs.run("whole").step
    assert 11 <= whole < 40
    runs.stopped("cut", 6)
    assert runs.run("cut", resume=True).step == whole


def test_from_model_last_alone(tmp_path: Path):
    """What `spacy train` left: the weights are taken, and the better pipeline is kept until it is surpassed."""
    runs = Runs(tmp_path)
    runs.spacy("plain")
    last = runs.files("plain")
    performance = meta(tmp_path / "plain" / BEST)["performance"]
    marked = tmp_path / "plain" / BEST / "meta.json"
    marked.write_text(marked.read_text().replace(f'"ents_f":{performance["ents_f"]}', '"ents_f":9.5'))
    assert meta(tmp_path / "plain" / BEST)["performance"]["ents_f"] == 9.5
    with pytest.warns(UserWarning, match="W070"):
        begun = runs.begin("plain", resume=True)
    assert begun.origin is Origin.LAST
    begun.nlp.to_disk(tmp_path / "plain" / "taken")
    taken = runs.files("plain", "taken")
    assert [name for name in last if name != "meta.json" and last[name] != taken[name]] == []
    with pytest.warns(UserWarning, match="W070"):
        runs.run("plain", resume=True, **{"training.max_steps": 5})
    assert meta(tmp_path / "plain" / BEST)["performance"]["ents_f"] == 9.5
    assert runs.begin("plain", resume=True).origin is Origin.CHECKPOINT


def test_nothing_to_go_on_from(tmp_path: Path):
    runs = Runs(tmp_path)
    assert runs.begin("new", resume=True).origin is Origin.BEGINNING


def test_without_a_seed(tmp_path: Path):
    """It is given one, another each time, which goes on with it."""
    runs = Runs(tmp_path, **{"training.seed": None})
    seeds = {runs.begin(name).nlp.config["training"]["seed"] for name in ("a", "b")}
    assert len(seeds) == 2
    runs.stopped("cut", 3)
    first = runs.begin("cut", resume=True)
    assert first.checkpoint is not None
    assert first.nlp.config["training"]["seed"] == first.checkpoint.fingerprint["training.seed"]


# What is refused


def test_unfinished_training_is_not_overwritten(tmp_path: Path):
    runs = Runs(tmp_path)
    runs.stopped("cut", 1)
    with pytest.raises(ValueError, match=r"P199.*2 updates"):
        runs.begin("cut")


def test_other_settings_and_corpus(tmp_path: Path):
    runs = Runs(tmp_path)
    runs.stopped("cut", 1)
    free = {"training.patience": 7, "training.eval_frequency": 2, "training.max_steps": 50, "training.max_epochs": 9}
    assert runs.begin("cut", resume=True, **free).origin is Origin.CHECKPOINT
    with pytest.raises(ValueError, match=r"P195.*training\.dropout \(0\.1 then, 0\.2 now\)"):
        runs.begin("cut", resume=True, **{"training.dropout": 0.2})
    with pytest.raises(ValueError, match=r"P195.*max_epochs \(-1 or not\) \(false then, true now\)"):
        runs.begin("cut", resume=True, **{"training.max_epochs": -1})
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    moved = write_corpora(elsewhere)
    assert runs.begin("cut", resume=True, **moved).origin is Origin.CHECKPOINT
    moved = write_corpora(elsewhere, first=1)
    with pytest.raises(ValueError, match=r"P195.*corpora\.train\.path"):
        runs.begin("cut", resume=True, **moved)


def test_corpus_that_cannot_be_repeated(tmp_path: Path):
    runs = Runs(tmp_path, **{"corpora.train.augmenter": {"@augmenters": "tests.Unseeded.v1"}})
    runs.stopped("cut", 3)
    with pytest.raises(ValueError, match="P196"):
        runs.run("cut", resume=True)
