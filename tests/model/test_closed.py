"""Loading and predicting: no network unless a hub id was given, and nothing pickled, whatever lies in the folder."""

from __future__ import annotations

import pickle
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from huggingface_hub import constants
from spacy.language import Language

from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import DATA, TEXTS, answers, blank, entities, examples

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 2}

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")


@pytest.fixture
def reached(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What was asked of the network; nothing gets there."""
    met: list[str] = []

    def forbidden(what: str) -> Callable[..., Any]:
        def call(*args: Any, **_: Any) -> Any:
            met.append(what)
            raise OSError(f"no network: {what}")

        return call

    for name in ("connect", "connect_ex", "sendto"):
        monkeypatch.setattr(socket.socket, name, forbidden(name))
    for name in ("getaddrinfo", "gethostbyname", "create_connection"):
        monkeypatch.setattr(socket, name, forbidden(name))
    yield met


@pytest.fixture
def no_pickle(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """What was unpickled; nothing is."""
    met: list[str] = []

    def forbidden(*args: Any, **_: Any) -> Any:
        met.append(repr(args)[:80])
        raise AssertionError("something is unpickled")

    for name in ("load", "loads", "Unpickler"):
        monkeypatch.setattr(pickle, name, forbidden)
    monkeypatch.setattr(torch, "load", forbidden)
    return met


def base(folder: Path) -> Path:
    return write_checkpoint(folder, family="qwen2", tokenizer="qwen", initializer_range=0.05)


def pretrained(name: Path, **settings: Any) -> Language:
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(name), "device": "cpu", **settings}
    nlp = blank(model)
    nlp.initialize(lambda: examples(nlp))
    return nlp


def test_a_fresh_pipeline_loads_and_predicts_closed(
    trained: Callable[..., Language], tmp_path: Path, reached: list[str], no_pickle: list[str]
):
    trained().to_disk(tmp_path / "saved")
    nlp = spacy.load(tmp_path / "saved")
    assert [entities(doc) for doc in nlp.pipe(TEXTS)] == [ents for _, ents in DATA]
    assert (reached, no_pickle) == ([], [])


@pytest.mark.parametrize(("lora", "self_contained"), [(None, False), (LORA, False), (LORA, True)])
def test_a_local_model_loads_and_predicts_closed(
    tmp_path: Path, reached: list[str], no_pickle: list[str], lora: Any, self_contained: bool
):
    """From the base model's folder, then from the pipeline's."""
    nlp = pretrained(base(tmp_path / "base"), lora=lora, self_contained=self_contained)
    nlp.to_disk(tmp_path / "saved")
    assert answers(spacy.load(tmp_path / "saved")) == answers(nlp)
    assert (reached, no_pickle) == ([], [])


@pytest.mark.skipif(constants.HF_HUB_OFFLINE, reason="the hub is switched off")
def test_a_hub_id_leads_to_the_network(reached: list[str], monkeypatch: pytest.MonkeyPatch):
    """Or the tests above would see nothing."""
    monkeypatch.setattr(time, "sleep", lambda seconds: None)
    with pytest.raises(ValueError, match=r"\[P027\]"):
        pretrained(Path("nobody/nothing"))
    assert reached


def test_a_pickled_adapter_is_refused_p027(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, reached: list[str]):
    """peft would read it where no other is there, and would ask the hub where there is none at all."""
    pretrained(base(tmp_path / "base"), lora=LORA).to_disk(tmp_path / "saved")
    (adapter,) = (tmp_path / "saved").rglob("adapter_model.safetensors")
    adapter.unlink()
    loaded: list[object] = []
    monkeypatch.setattr(torch, "load", lambda *args, **_: loaded.append(args))
    for pickled in (False, True):
        if pickled:
            adapter.with_name("adapter_model.bin").write_bytes(pickle.dumps({}))
        with pytest.raises(ValueError, match=r"\[P027\].*no adapter_model\.safetensors"):
            spacy.load(tmp_path / "saved")
    assert loaded == [] and reached == []


@pytest.mark.parametrize("part", ["base", "tokenizer"])
def test_a_pickled_model_is_refused_p027(tmp_path: Path, no_pickle: list[str], part: str):
    """Whole models, and what transformers may find beside a tokenizer."""
    folder = base(tmp_path / "base")
    (folder / "model.safetensors").unlink()
    (folder / "pytorch_model.bin").write_bytes(b"\x80\x04cos\nsystem\n.")
    if part == "tokenizer":
        (folder / "tokenizer.json").unlink()
        (folder / "tokenizer.pkl").write_bytes(b"\x80\x04cos\nsystem\n.")
    with pytest.raises(ValueError, match=r"\[P027\]"):
        pretrained(folder)
    assert no_pickle == []
