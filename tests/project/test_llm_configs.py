"""The shipped configs for pretrained LLMs, on a tiny checkpoint of each family in the layout of the hub."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import spacy
import srsly
from spacy.cli.debug_config import debug_config
from spacy.cli.init_config import fill_config
from spacy.cli.train import train
from spacy.tokens import DocBin

from spacy_padellm.model.architectures import shim_of
from tests.checkpoints import TEMPLATES, write_checkpoint
from tests.pipeline.makers import DATA, TEXTS, answers, blank, examples, ours

CONFIGS = Path(__file__).parents[2] / "project" / "configs"

FAMILIES: dict[str, dict[str, Any]] = {
    "Qwen3": {"family": "qwen3", "tokenizer": "qwen", "tie_word_embeddings": True},
    "Llama-3.1": {"family": "llama", "tokenizer": "qwen", "tie_word_embeddings": False},
    "Mistral": {"family": "mistral", "tokenizer": "llama", "tie_word_embeddings": False},
    "Gemma": {"family": "llama", "model_type": "gemma", "tokenizer": "llama", "tie_word_embeddings": True},
}
"""What each has: its attention, the kind of its tokenizer, one matrix of embeddings or two."""

WIDE = {"hidden_size": 128, "intermediate_size": 256, "head_dim": 32, "initializer_range": 0.08}
"""Wide enough for a block of 64 weights that share a scale."""


@pytest.fixture
def corpus(tmp_path: Path) -> dict[str, Path]:
    nlp = blank({"@architectures": "spacy-padellm.FreshCausalLM.v1"})
    docs = DocBin(docs=[example.reference for example in examples(nlp)], store_user_data=True)
    docs.to_disk(tmp_path / "train.spacy")
    srsly.write_json(tmp_path / "labels.json", sorted({label for _, ents in DATA for *_, label in ents}))
    return {"train": tmp_path / "train.spacy", "dev": tmp_path / "train.spacy", "labels": tmp_path / "labels.json"}


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore:.*W001:UserWarning")
@pytest.mark.parametrize(
    ("config", "family"),
    [*(("lora", name) for name in FAMILIES), ("qlora", "Qwen3"), ("qlora", "Gemma"), ("instruct", "Qwen3")],
)
def test_a_config_is_complete_and_trains(
    config: str, family: str, corpus: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    base = write_checkpoint(tmp_path / "base", shard="30KB", **FAMILIES[family], **WIDE)
    about = base / "tokenizer_config.json"
    about.write_text(json.dumps({**json.loads(about.read_text()), "chat_template": TEMPLATES["thinking"]}))
    assert (base / "model.safetensors.index.json").is_file() and len(list(base.glob("*.safetensors"))) > 1
    overrides: dict[str, Any] = {f"paths.{name}": str(path) for name, path in corpus.items()}
    overrides |= {"paths.base": str(base), "training.max_steps": 2, "training.eval_frequency": 1}
    overrides["training.logger.progress_bar"] = False
    fill_config(tmp_path / "config.cfg", CONFIGS / f"{config}.cfg")
    debug_config(tmp_path / "config.cfg", overrides=overrides)
    train(tmp_path / "config.cfg", tmp_path / "out", overrides=overrides)
    nlp = spacy.load(tmp_path / "out" / "model-last")
    lm = shim_of(ours(nlp).model).lm
    assert lm.family == FAMILIES[family].get("model_type", FAMILIES[family]["family"])
    turns = lm.pieces.turns
    assert (turns is not None and "</think>" in turns.closing) == (config == "instruct")
    trained = [weight for name, weight in lm.model.named_parameters() if ".lora_B." in name]
    assert trained and any(weight.abs().sum() > 0 for weight in trained)
    assert all(answers(nlp, TEXTS))
