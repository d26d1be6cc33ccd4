"""Training that is interrupted ends as training that is not, bit by bit."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.training.runs import Runs

# A pipeline of some updates answers what cannot be read.
pytestmark = pytest.mark.filterwarnings("ignore:.*W001")

BEST, LAST = "model-best", "model-last"


def test_uninterrupted_as_spacy_train(tmp_path: Path):
    runs = Runs(tmp_path)
    runs.spacy("spacy")
    outcome = runs.run("ours")
    assert outcome.step == 14 and outcome.signal is None
    for which in (BEST, LAST):
        theirs, found = runs.files("spacy", which), runs.files("ours", which)
        assert theirs.keys() == found.keys() and len(found) > 10
        assert [name for name in theirs if theirs[name] != found[name]] == []


def test_cut(tmp_path: Path):
    runs = Runs(tmp_path)
    runs.run("whole")
    assert runs.stopped("cut", 6).signal == 15
    assert runs.files("whole") != runs.files("cut")
    assert runs.run("cut", resume=True).step == 14
    for which in (BEST, LAST):
        assert [name for name, content in runs.files("whole", which).items() if runs.files("cut", which)[name] != content] == []
