"""Adapters merged into copies of their base models' weights, against peft's own merging and the models in use."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import LoraConfig, get_peft_model
from spacy.language import Language
from thinc.api import Adam
from transformers import AutoConfig, AutoModelForCausalLM, AutoTokenizer

from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.model.architectures import shim_of
from spacy_padellm.model.merging import merged_state, save_merged
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import TEXTS, answers, blank, examples, ours, same_weights, weights

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 4, "alpha": 8.0}

FOUR = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
EIGHT = {"quant_method": "bitsandbytes", "load_in_8bit": True}

SIZES = {"hidden_size": 64, "intermediate_size": 96, "initializer_range": 0.08}

pytestmark = [
    pytest.mark.filterwarnings("ignore:.*W001"),
    pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning"),
]


def made(folder: Path, *, learn: int = 3, lora: Any = LORA, **settings: Any) -> Language:
    model = {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder), "device": "cpu", "lora": lora}
    nlp = blank({**model, **settings})
    nlp.initialize(lambda: examples(nlp))
    optimizer = Adam(0.02)
    for _ in range(learn):
        nlp.update(examples(nlp), sgd=optimizer)
    return nlp


def lm_of(nlp: Language) -> LanguageModel:
    return shim_of(ours(nlp).model).lm


@torch.no_grad()
def logits_in_use(lm: LanguageModel) -> torch.Tensor:
    """Of the model in the pipeline, through its own attention."""
    with own_attention(lm):
        return lm.model(input_ids=probe(lm)).logits.float()


@torch.no_grad()
def logits_of(folder: Path, lm: LanguageModel, **settings: Any) -> torch.Tensor:
    """Of a folder, as anybody would load it."""
    model = AutoModelForCausalLM.from_pretrained(folder, **settings).eval()
    return model(input_ids=probe(lm)).logits.float()


def probe(lm: LanguageModel) -> torch.Tensor:
    return torch.tensor([[*lm.pieces.start, *sum(lm.pieces.encode(TEXTS), start=())]])


def off(one: torch.Tensor, two: torch.Tensor) -> float:
    return float((one - two).abs().max())


@pytest.mark.parametrize("tied", [True, False])
@pytest.mark.parametrize(("family", "tokenizer"), [("llama", "llama"), ("qwen2", "qwen"), ("mistral", "gpt2")])
def test_anybody_loads_the_same_model(tmp_path: Path, family: str, tokenizer: str, tied: bool):
    base = write_checkpoint(tmp_path / "base", family=family, tokenizer=tokenizer, tie_word_embeddings=tied, **SIZES)
    nlp = made(base)
    lm, before, said = lm_of(nlp), weights(nlp), answers(nlp)
    expected = logits_in_use(lm)
    with torch.no_grad(), own_attention(lm), lm.model.disable_adapter():
        assert off(lm.model(input_ids=probe(lm)).logits, expected) > 1e-2
    assert save_merged(lm, tmp_path / "merged", name="ours") == torch.float32
    assert off(logits_of(tmp_path / "merged", lm), expected) < 1e-4
    assert {path.name for path in (tmp_path / "merged").iterdir()} >= {
        "config.json",
        "generation_config.json",
        "model.safetensors",
        "tokenizer.json",
        "tokenizer_config.json",
    }
    config = AutoConfig.from_pretrained(tmp_path / "merged")
    assert config.tie_word_embeddings == tied and getattr(config, "quantization_config", None) is None
    size = sum(weight.numel() for name, weight in lm.model.named_parameters() if ".lora_" not in name)
    assert abs((tmp_path / "merged" / "model.safetensors").stat().st_size - 4 * size) < 6000
    tokenizer_of = AutoTokenizer.from_pretrained(tmp_path / "merged")
    assert tokenizer_of(TEXTS[0], add_special_tokens=False).input_ids == list(lm.pieces.encode(TEXTS[:1])[0])
    # The pipeline's own model is as it was.
    assert same_weights(weights(nlp), before) and answers(nlp) == said


def test_other_pipes_over_the_base_are_as_they_were(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", family="qwen2", tokenizer="qwen", **SIZES)
    one, two = made(base), made(base, learn=5)
    before, said = weights(two), answers(two)
    save_merged(lm_of(one), tmp_path / "merged", name="ours")
    assert same_weights(weights(two), before) and answers(two) == said


@pytest.mark.parametrize("dtype", [torch.bfloat16, torch.float16])
def test_merging_is_in_float32_and_rounded_once(tmp_path: Path, dtype: torch.dtype):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen", **SIZES)
    lm = lm_of(made(base, dtype=str(dtype).removeprefix("torch.")))
    slow = copy.deepcopy(lm.model).float().merge_and_unload().to(dtype).state_dict()
    assert save_merged(lm, tmp_path / "merged", name="ours") == dtype
    config = json.loads((tmp_path / "merged" / "config.json").read_text())
    assert config["torch_dtype"] == config["dtype"] == str(dtype).removeprefix("torch.")
    loaded = AutoModelForCausalLM.from_pretrained(tmp_path / "merged", torch_dtype="auto")
    assert {weight.dtype for weight in loaded.parameters()} == {dtype}
    assert same_weights(loaded.state_dict(), slow)
    assert save_merged(lm, tmp_path / "wider", name="ours", dtype=torch.float32) == torch.float32
    assert off(logits_of(tmp_path / "wider", lm, torch_dtype="auto"), logits_in_use(lm)) < 0.1
    assert json.loads((tmp_path / "wider" / "config.json").read_text())["dtype"] == "float32"


TARGETS = {
    "llama": ["q_proj", "down_proj"],
    "gpt2": ["c_attn", "c_proj"],
    "opt": ["fc1", "v_proj"],
    "llama-embeddings": ["embed_tokens", "q_proj"],
}


@pytest.mark.parametrize("family", TARGETS)
def test_layers_of_all_kinds_against_peft(family: str):
    """Linear layers with and without biases, GPT-2's, whose matrices stand the other way round, and embeddings."""
    sizes = {"vocab_size": 60, "hidden_size": 32, "num_hidden_layers": 2, "num_attention_heads": 4}
    sizes |= {"ffn_dim": 48, "word_embed_proj_dim": 32} if family == "opt" else {}
    torch.manual_seed(0)
    config = AutoConfig.for_model(family.split("-")[0], **sizes, tie_word_embeddings=False)
    model = AutoModelForCausalLM.from_config(config).eval()
    before = {name: weight.clone() for name, weight in model.state_dict().items()}
    lora = LoraConfig(r=3, target_modules=TARGETS[family], fan_in_fan_out=family == "gpt2", init_lora_weights=False)
    adapted = get_peft_model(model, lora)
    state = merged_state(adapted.get_base_model(), torch.float32)
    slow = copy.deepcopy(adapted).merge_and_unload().state_dict()
    assert state.keys() == slow.keys() == before.keys()
    assert all(torch.allclose(state[name], slow[name], atol=1e-6) for name in slow)
    changed = {name for name in slow if not torch.equal(slow[name], before[name])}
    assert changed and all(any(target in name for target in TARGETS[family]) for name in changed)


@pytest.mark.filterwarnings("ignore:.*tie.*:UserWarning")
@pytest.mark.parametrize("target", ["lm_head", "embed_tokens"])
def test_an_adapter_on_one_side_of_tied_embeddings_unties_them(tmp_path: Path, target: str):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen", tie_word_embeddings=True, **SIZES)
    nlp = made(base, lora={**LORA, "target_modules": [target, "q_proj"]})
    save_merged(lm_of(nlp), tmp_path / "merged", name="ours")
    assert not AutoConfig.from_pretrained(tmp_path / "merged").tie_word_embeddings
    assert off(logits_of(tmp_path / "merged", lm_of(nlp)), logits_in_use(lm_of(nlp))) < 1e-4
    assert lm_of(nlp).config.tie_word_embeddings


def test_models_without_an_adapter(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen", **SIZES)
    fresh = blank()
    fresh.initialize(lambda: examples(fresh))
    for number, nlp in enumerate([made(base, lora=None), fresh]):
        save_merged(lm_of(nlp), tmp_path / f"whole{number}", name="ours")
        assert off(logits_of(tmp_path / f"whole{number}", lm_of(nlp)), logits_in_use(lm_of(nlp))) < 1e-4


# Quantised bases


@pytest.mark.parametrize("used", [False, True], ids=["at once", "after use"])
@pytest.mark.parametrize("quantization", [FOUR, EIGHT], ids=["4 bits", "8 bits"])
def test_a_quantised_base_is_brought_back_if_asked(tmp_path: Path, quantization: dict[str, Any], used: bool):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen", tie_word_embeddings=True, **SIZES)
    nlp = made(base, quantization=quantization, learn=3 if used else 0)
    lm = lm_of(nlp)
    with pytest.raises(ValueError, match=r"\[P030\].*'ours'.*bitsandbytes.*--dequantize"):
        save_merged(lm, tmp_path / "merged", name="ours")
    assert not (tmp_path / "merged").exists()
    before = weights(nlp)
    save_merged(lm, tmp_path / "merged", name="ours", dequantize=True)
    assert "quantization_config" not in json.loads((tmp_path / "merged" / "config.json").read_text())
    assert same_weights(weights(nlp), before)
    assert lm.config.quantization_config is not None
    expected = logits_in_use(lm)
    # In 8 bits activations are rounded, too.
    assert off(logits_of(tmp_path / "merged", lm), expected) < (1e-3 if quantization is FOUR else 0.1)
    with torch.no_grad():
        unquantised = AutoModelForCausalLM.from_pretrained(base).eval()(input_ids=probe(lm)).logits
    assert off(unquantised, expected) > (1e-2 if quantization is FOUR else 1e-3)


def test_other_quantisations_cannot_be_brought_back_p030(tmp_path: Path):
    base = write_checkpoint(tmp_path / "base", family="llama", tokenizer="qwen", **SIZES)
    lm = lm_of(made(base, learn=0))
    bare = lm.model.get_base_model()
    bare.is_quantized = True
    bare.config.quantization_config = {"quant_method": "gptq", "bits": 4}
    with pytest.raises(ValueError, match=r"\[P030\].*gptq.*--adapter"):
        save_merged(lm, tmp_path / "merged", name="ours", dequantize=True)
