"""What a checkpoint holds comes back as it was, and what cannot come back is refused."""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import spacy
import torch
from spacy.language import Language
from spacy.training import Example
from thinc.api import Adam, Config, Optimizer, fix_random_seed, warmup_linear

from spacy_padellm.data.durable import place_folder
from spacy_padellm.training import start
from spacy_padellm.training.chance import packed, random_states, set_random_states, unpacked
from spacy_padellm.training.checkpoint import Checkpoint, Checkpoints
from spacy_padellm.training.fingerprint import differences, fingerprint
from spacy_padellm.training.moments import moments_of, set_moments
from spacy_padellm.training.order import Order
from spacy_padellm.training.progress import Progress


def pipeline() -> Language:
    """A text classifier with its first weights, always the same."""
    fix_random_seed(0)
    nlp = spacy.blank("en")
    model = {"@architectures": "spacy.TextCatBOW.v3", "exclusive_classes": True, "ngram_size": 1, "length": 64}
    nlp.add_pipe("textcat", config={"model": {**model, "no_output_layer": False, "nO": None}})
    nlp.initialize(lambda: examples(nlp))
    return nlp


def examples(nlp: Language) -> list[Example]:
    texts = {"yes yes": 1.0, "no": 0.0}
    return [Example.from_dict(nlp.make_doc(text), {"cats": {"A": a, "B": 1 - a}}) for text, a in texts.items()]


def optimizer() -> Optimizer:
    return Adam(warmup_linear(0.1, 2, 20))


def write(folder: Path, *, updates: int = 3) -> tuple[Language, Optimizer]:
    """A checkpoint after some updates, with what it is of."""
    nlp, adam = pipeline(), optimizer()
    for _ in range(updates):
        nlp.update(examples(nlp), sgd=adam)
        adam.step_schedules()
    progress = Progress(updates - 1, results=[(0.5, 0)], losses={"textcat": 0.25})
    Checkpoints(folder).write(nlp, adam, order=Order([]), progress=progress, fingerprint={"a": 1})
    return nlp, adam


def latest(folder: Path) -> Checkpoint:
    found = Checkpoints(folder).latest()
    assert found is not None
    return found


def test_optimizer_comes_back(tmp_path: Path):
    """In a pipeline whose layers have other numbers, where the same further updates have the same effect."""
    nlp, adam = write(tmp_path)
    checkpoint = latest(tmp_path)
    other, fresh = pipeline(), optimizer()
    assert moments_of(adam, nlp).updates and not fresh.mom1
    other.from_disk(checkpoint.pipeline, exclude=["config"])
    set_moments(fresh, other, checkpoint.moments, steps=3)
    assert fresh.learn_rate == adam.learn_rate != 0.0
    assert set(fresh.mom1).isdisjoint(adam.mom1)
    for pipe, sgd in ((nlp, adam), (other, fresh)):
        pipe.update(examples(pipe), sgd=sgd)
    first, second = moments_of(adam, nlp), moments_of(fresh, other)
    assert first.updates == second.updates and first.rates == second.rates
    assert first.arrays.keys() == second.arrays.keys() and any("averages:" in name for name in first.arrays)
    assert all(np.array_equal(first.arrays[name], second.arrays[name]) for name in first.arrays)


def test_weights_go_on_without_a_gradient(tmp_path: Path):
    """An update for which there was no gradient moves weights by their moments, before and after a break."""
    nlp, adam = write(tmp_path)
    other, fresh = pipeline(), optimizer()
    checkpoint = latest(tmp_path)
    other.from_disk(checkpoint.pipeline, exclude=["config"])
    before = other.get_pipe("textcat").to_bytes()
    set_moments(fresh, other, checkpoint.moments, steps=3)
    for pipe, sgd in ((nlp, adam), (other, fresh)):
        pipe.get_pipe("textcat").finish_update(sgd)
    assert nlp.get_pipe("textcat").to_bytes() == other.get_pipe("textcat").to_bytes() != before


def test_other_weights(tmp_path: Path):
    _, adam = write(tmp_path)
    with pytest.raises(ValueError, match="P197"):
        moments_of(adam, spacy.blank("en"))
    with pytest.raises(ValueError, match="P197"):
        set_moments(optimizer(), spacy.blank("en"), latest(tmp_path).moments, steps=3)


def test_progress_comes_back(tmp_path: Path):
    write(tmp_path)
    assert latest(tmp_path).progress == Progress(2, results=[(0.5, 0)], losses={"textcat": 0.25})
    assert latest(tmp_path).fingerprint == {"a": 1}


@pytest.mark.parametrize("name", ["run.json", "optimizer.safetensors", "draws.safetensors"])
def test_damaged(tmp_path: Path, name: str):
    write(tmp_path)
    (tmp_path / "1" / name).write_bytes(b"{")
    with pytest.raises(ValueError, match="P198"):
        Checkpoints(tmp_path).latest()


def test_only_whole_ones_count(tmp_path: Path):
    """What was not renamed is not there, and goes with the next one."""
    assert Checkpoints(tmp_path / "none").latest() is None
    write(tmp_path)
    (tmp_path / "2.tmp").mkdir()
    (tmp_path / "2.tmp" / "run.json").write_text("{")
    assert latest(tmp_path).pipeline.parent.name == "1"
    write(tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["2"]
    Checkpoints(tmp_path).clear()
    assert list(tmp_path.iterdir()) == []


def test_folder_takes_the_place_of_another(tmp_path: Path):
    for name in ("draft", "place"):
        (tmp_path / name / "deep").mkdir(parents=True)
        (tmp_path / name / "deep" / "file").write_text(name)
    (tmp_path / "place" / "old").write_text("old")
    place_folder(tmp_path / "draft", tmp_path / "place")
    assert [path.name for path in tmp_path.iterdir()] == ["place"]
    assert [path.name for path in (tmp_path / "place").iterdir()] == ["deep"]
    assert (tmp_path / "place" / "deep" / "file").read_text() == "draft"


def test_versions_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path)
    monkeypatch.setattr(start, "versions", lambda: {**latest(tmp_path).versions, "torch": "9.9"})
    with pytest.warns(UserWarning, match=r"W071.*torch .*, now 9\.9"):
        start._warn_of_versions(latest(tmp_path))


def test_random_states():
    fix_random_seed(4)
    random.gauss(0, 1)
    np.random.normal()
    states = random_states()
    drawn = (random.random(), random.gauss(0, 1), np.random.normal(), np.random.random(), torch.rand(2).tolist())
    fix_random_seed(5)
    set_random_states(states)
    again = (random.random(), random.gauss(0, 1), np.random.normal(), np.random.random(), torch.rand(2).tolist())
    assert drawn == again
    for draws in (random.getstate(), (random.gauss(0, 1), random.getstate())[1]):
        assert unpacked(*packed(draws)) == draws


# Order


def batches(nlp: Language, *, draws: bool) -> Any:
    """Twelve batches, every third of which is drawn."""
    drawn: float | int = 0
    for number in range(12):
        drawn = drawn if number % 3 else random.random() if draws else number
        yield number // 6, [Example.from_dict(nlp.make_doc(f"{number} {drawn}"), {})]


def test_order_is_found_again():
    nlp = spacy.blank("en")
    order = Order(batches(nlp, draws=True))
    read = []
    for _ in range(8):
        epoch, batch = next(order)
        read.append((epoch, batch[0].text))
        random.random()  # as components do
    place, state = order.place, random.getstate()
    assert place.drew.tolist() == [0, 3, 6] and place.words.shape == (3, 625)
    rest = [(epoch, batch[0].text) for epoch, batch in order]
    random.seed(99)
    again = Order(batches(nlp, draws=True))
    again.go_to(place)
    random.setstate(state)
    assert [(epoch, batch[0].text) for epoch, batch in again] == rest and len(rest) == 4


def test_order_that_is_another():
    nlp = spacy.blank("en")
    order = Order(batches(nlp, draws=False))
    for _ in range(3):
        next(order)
    Order(batches(nlp, draws=False)).go_to(order.place)
    with pytest.raises(ValueError, match="P196"):
        Order(batches(nlp, draws=True)).go_to(order.place)
    with pytest.raises(ValueError, match="P196"):
        Order([(0, batch) for _, batch in [*batches(nlp, draws=False)][:2]]).go_to(order.place)


# Fingerprint

SETTINGS = """
[paths]
train = "a.txt"

[corpora]

[corpora.train]
path = ${paths.train}

[training]
max_steps = 10
max_epochs = 0
dropout = 0.1
total = ${training.max_steps}
"""


def of(**overrides: Any) -> dict[str, Any]:
    return fingerprint(Config().from_str(SETTINGS, overrides=overrides, interpolate=False))


def test_fingerprint(tmp_path: Path):
    here, there = tmp_path / "here", tmp_path / "there"
    here.write_text("one")
    there.write_text("one")
    first = of(**{"paths.train": str(here)})
    assert set(first) == {"corpora.train.path", "training.dropout", "training.max_epochs (-1 or not)"}
    assert of(**{"paths.train": str(there), "training.max_steps": 20, "training.max_epochs": 2}) == first
    assert differences(first, of(**{"paths.train": str(here), "training.dropout": 0.2})) == [
        "training.dropout (0.1 then, 0.2 now)"
    ]
    there.write_text("two")
    assert [told.split()[0] for told in differences(first, of(**{"paths.train": str(there)}))] == ["corpora.train.path"]
    assert differences(first, {**first, "new": 1}) == ["new (nothing then, 1 now)"]
