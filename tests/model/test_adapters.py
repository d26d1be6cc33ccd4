"""Adapters that are there already: what training starts from, and which are refused."""

from __future__ import annotations

import json
import pickle
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from peft import IA3Config, LoraConfig, get_peft_model
from safetensors.torch import load_file, save_file
from spacy.language import Language
from thinc.api import Adam
from torch import nn
from transformers import AutoModelForCausalLM

from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.lora import build_lora_v1
from spacy_padellm.pipeline.export import export_adapter
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import answers, blank, examples, ours, same_weights, weights

SIZES = {"hidden_size": 64, "intermediate_size": 96, "initializer_range": 0.08}

pytestmark = pytest.mark.filterwarnings("ignore:.*W001")


@pytest.fixture
def base(tmp_path: Path) -> Path:
    return write_checkpoint(tmp_path / "published", family="llama", tokenizer="qwen", **SIZES)


def made(base: Path, *, learn: int = 0, lora: dict[str, Any] | None = None, **settings: Any) -> Language:
    block = {"@misc": "spacy-padellm.LoRA.v1", **(lora or {})}
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(base), "device": "cpu", "lora": block}
    nlp = blank({**model, **settings})
    nlp.initialize(lambda: examples(nlp))
    optimizer = Adam(0.01)
    for _ in range(learn):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp


def by_peft(base: Path, folder: Path, config: Any = None, dtype: torch.dtype = torch.float32) -> Path:
    """An adapter with random weights, as somebody else would publish it."""
    model = AutoModelForCausalLM.from_pretrained(base)
    torch.manual_seed(1)
    target = ["q_proj", "down_proj"]
    adapted = get_peft_model(model, config or LoraConfig(r=5, lora_alpha=7, lora_dropout=0.4, target_modules=target))
    with torch.no_grad():
        for weight in (one for one in adapted.parameters() if one.requires_grad):
            weight.normal_(std=0.1)
    adapted.to(dtype).save_pretrained(folder)
    return folder


def adapter_of(nlp: Language) -> dict[str, torch.Tensor]:
    return {name: weight for name, weight in weights(nlp).items() if ".lora_" in name}


def test_training_starts_from_it(base: Path, tmp_path: Path):
    first = made(base, learn=5, lora={"rank": 3})
    export_adapter(first, tmp_path / "adapter")
    nlp = made(base, lora={"adapter": str(tmp_path / "adapter")})
    assert same_weights(weights(nlp), weights(first)) and answers(nlp) == answers(first)
    assert answers(nlp) != answers(made(base))
    before = adapter_of(nlp)
    nlp.update(examples(nlp), sgd=Adam(0.01))
    moved = {name for name, weight in adapter_of(nlp).items() if not torch.equal(weight, before[name])}
    assert moved == before.keys()
    # The pipeline does not need that folder again.
    nlp.to_disk(tmp_path / "saved")
    shutil.rmtree(tmp_path / "adapter")
    assert answers(spacy.load(tmp_path / "saved")) == answers(nlp)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
def test_it_brings_its_own_shape(base: Path, tmp_path: Path, dtype: torch.dtype):
    folder = by_peft(base, tmp_path / "adapter", dtype=dtype)
    nlp = made(base, lora={"adapter": str(folder), "rank": 9})
    found = adapter_of(nlp)
    assert {min(weight.shape) for weight in found.values()} == {5}
    assert {name.split(".lora_")[0].split(".")[-1] for name in found} == {"q_proj", "down_proj"}
    assert {weight.dtype for weight in found.values()} == {torch.float32}
    model = shim_of(ours(nlp).model).lm.model
    assert {module.scaling["default"] for module in model.modules() if hasattr(module, "lora_A")} == {7 / 5}
    published = load_file(folder / "adapter_model.safetensors")
    assert len(published) == len(found)
    for name, weight in published.items():
        assert torch.equal(found[name.replace(".weight", ".default.weight")], weight.float())


def test_dropout_is_the_pipelines_own(base: Path, tmp_path: Path):
    """An adapter's config says with which dropout it was trained."""
    folder = str(by_peft(base, tmp_path / "adapter"))

    def rates(nlp: Language) -> set[float]:
        return {one.p for one in shim_of(ours(nlp).model).lm.model.modules() if isinstance(one, nn.Dropout)}

    assert rates(made(base, lora={"adapter": folder, "dropout": 0.2})) == {0.2}
    nlp = made(base, lora={"adapter": folder})
    nlp.update(examples(nlp), drop=0.3, sgd=False)
    assert rates(nlp) == {0.3}


# Adapters that are refused


def other_config(**settings: Any) -> LoraConfig:
    return LoraConfig(r=4, target_modules=["q_proj"], **settings)


REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "weights of another kind": (lambda: other_config(use_dora=True), "use_dora = True"),
    "biases": (lambda: other_config(bias="all"), "bias = 'all'"),
    "whole modules": (lambda: other_config(modules_to_save=["lm_head"]), "modules_to_save"),
    "another base weight": (lambda: other_config(init_lora_weights="pissa"), "init_lora_weights = 'pissa'"),
    "layers of its own": (lambda: other_config(layer_replication=[(0, 2), (1, 2)]), "layer_replication"),
    "no LoRA": (
        lambda: IA3Config(target_modules=["q_proj", "down_proj"], feedforward_modules=["down_proj"]),
        "of the kind.*IA3",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_more_than_lora_p035(base: Path, tmp_path: Path, name: str):
    make, told = REFUSED[name]
    folder = by_peft(base, tmp_path / "adapter", make())
    with pytest.raises(ValueError, match=rf"\[P035\] The adapter '.*' cannot be used with.*published.*{told}"):
        made(base, lora={"adapter": str(folder)})


@pytest.mark.parametrize(
    ("sizes", "told"),
    [
        ({"hidden_size": 32}, "size mismatch"),
        ({"num_hidden_layers": 3}, r"same layers.*layers\.2"),
        ({"num_hidden_layers": 1}, r"missing adapter keys"),
    ],
    ids=["width", "deeper", "shallower"],
)
def test_of_another_base_model_p035(base: Path, tmp_path: Path, sizes: dict[str, Any], told: str):
    other = write_checkpoint(tmp_path / "other", family="llama", tokenizer="qwen", **{**SIZES, **sizes})
    folder = by_peft(other, tmp_path / "adapter")
    with pytest.raises(ValueError, match=rf"(?s)\[P035\].*{told}"):
        made(base, lora={"adapter": str(folder)})


@pytest.mark.parametrize("how", ["nowhere", "pickled", "cut", "no config", "config cut", "other names"])
def test_broken_p035(base: Path, tmp_path: Path, how: str):
    folder = by_peft(base, tmp_path / "adapter")
    weights_file, config = folder / "adapter_model.safetensors", folder / "adapter_config.json"
    if how == "nowhere":
        shutil.rmtree(folder)
    elif how == "pickled":
        weights_file.unlink()
        (folder / "adapter_model.bin").write_bytes(pickle.dumps({}))
    elif how == "cut":
        weights_file.write_bytes(weights_file.read_bytes()[:100])
    elif how == "no config":
        config.unlink()
    elif how == "config cut":
        config.write_text(config.read_text()[:50])
    else:
        save_file({f"more.{name}": one for name, one in load_file(weights_file).items()}, weights_file)
    with pytest.raises(ValueError, match=r"\[P035\].*adapter"):
        made(base, lora={"adapter": str(folder)})


def test_layers_that_are_not_there_p035(base: Path, tmp_path: Path):
    folder = by_peft(base, tmp_path / "adapter")
    config = json.loads((folder / "adapter_config.json").read_text())
    (folder / "adapter_config.json").write_text(json.dumps({**config, "target_modules": ["c_attn"]}))
    with pytest.raises(ValueError, match=r"\[P035\].*c_attn"):
        made(base, lora={"adapter": str(folder)})


def test_revision_of_no_adapter_p001():
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'lora\.revision'.*'main'"):
        build_lora_v1(revision="main")
    assert build_lora_v1(adapter="some/adapter", revision="main").revision == "main"
