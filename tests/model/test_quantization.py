"""Base models in 4 and 8 bits: what is kept in how many bytes, what is trained, what is saved."""

from __future__ import annotations

import shutil
from importlib.metadata import PackageNotFoundError
from pathlib import Path
from typing import Any

import pytest
import spacy
import torch
from safetensors import safe_open
from thinc.api import Adam
from torch import nn

from spacy_padellm.model.architectures import build_causal_lm_v1, shim_of
from spacy_padellm.model.lora import build_lora_v1
from tests.checkpoints import write_checkpoint
from tests.pipeline.makers import answers, blank, examples, ours

LORA = {"@misc": "spacy-padellm.LoRA.v1", "rank": 8, "alpha": 16.0}

FOUR = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": "nf4"}
EIGHT = {"quant_method": "bitsandbytes", "load_in_8bit": True}

pytestmark = pytest.mark.filterwarnings("ignore:MatMul8bitLt:UserWarning")


@pytest.fixture(scope="module")
def base(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Wide enough for a block of 64 weights that share a scale."""
    sizes = {"hidden_size": 128, "intermediate_size": 256, "num_attention_heads": 4, "num_key_value_heads": 4}
    return write_checkpoint(
        tmp_path_factory.mktemp("wide"), family="llama", tokenizer="qwen", initializer_range=0.08, **sizes
    )


def causal_lm(folder: Path, **settings: Any) -> dict[str, Any]:
    lora = {"lora": LORA, **settings}
    return {"@architectures": "spacy-padellm.CausalLM.v1", "name": str(folder), "device": "cpu", **lora}


def frozen_bytes(model: nn.Module) -> int:
    """Bytes of the linear layers of a base model."""
    return sum(
        weight.numel() * weight.element_size()
        for name, weight in model.named_parameters()
        if ".layers." in name and ".lora_" not in name and weight.ndim == 2
    )


@pytest.mark.parametrize(
    ("quantization", "dtype", "share"), [(FOUR, torch.uint8, 8), (EIGHT, torch.int8, 4)], ids=["4 bits", "8 bits"]
)
def test_a_quantised_base_learns_by_its_adapter(
    base: Path, tmp_path: Path, quantization: dict[str, Any], dtype: torch.dtype, share: int
):
    plain = blank(causal_lm(base))
    plain.initialize(lambda: examples(plain))
    nlp = blank(causal_lm(base, quantization=quantization))
    nlp.initialize(lambda: examples(nlp))
    model = shim_of(ours(nlp).model).lm.model
    frozen = {name: weight for name, weight in model.named_parameters() if not weight.requires_grad}
    trained = {name: weight for name, weight in model.named_parameters() if weight.requires_grad}
    assert all(".lora_" in name and weight.dtype == torch.float32 for name, weight in trained.items())
    assert {weight.dtype for name, weight in frozen.items() if "_proj." in name} == {dtype}
    assert frozen_bytes(model) * share == frozen_bytes(shim_of(ours(plain).model).lm.model)

    answers(nlp)  # on some CPUs bitsandbytes would lay 4-bit weights out anew, for kernels that have no gradient
    before = {name: weight.detach().clone() for name, weight in trained.items()}
    nlp.update(examples(nlp), sgd=Adam(0.01))
    moved = {name for name, weight in trained.items() if not torch.equal(weight, before[name])}
    assert moved == {name for name in trained if ".lora_B." in name}  # A stands before a matrix of zeros
    kept = {name: weight.clone() for name, weight in frozen.items()}
    losses = [nlp.update(examples(nlp), sgd=optimizer)["padellm_ner"] for optimizer in [Adam(0.01)] for _ in range(12)]
    assert losses[-1] < 0.9 * losses[0]
    assert all(torch.equal(weight, kept[name]) for name, weight in frozen.items())

    expected = answers(nlp)
    nlp.to_disk(tmp_path)
    saved = list(tmp_path.glob("**/*.safetensors"))
    assert [file.parent.name for file in saved] == ["adapter"]
    with safe_open(saved[0], "pt") as file:
        assert all(".lora_" in name for name in file.keys())
    loaded = spacy.load(tmp_path)
    again = shim_of(ours(loaded).model).lm.model
    assert {weight.dtype for name, weight in again.named_parameters() if "_proj." in name and "lora" not in name} == {
        dtype
    }
    assert answers(loaded) == expected
    # Training goes on where it stopped.
    losses.append(loaded.update(examples(loaded), sgd=Adam(0.001))["padellm_ner"])
    assert losses[-1] < losses[0]


@pytest.mark.parametrize(
    ("setting", "settings"),
    [
        ("quantization", {"quantization": {"load_in_4bit": True}, "lora": build_lora_v1()}),
        ("lora", {"quantization": FOUR}),
        ("self_contained", {"quantization": FOUR, "lora": build_lora_v1(), "self_contained": True}),
    ],
)
def test_settings_that_do_not_go_together_p001(setting: str, settings: dict[str, Any]):
    with pytest.raises(ValueError, match=rf"\[P001\] Setting '{setting}'"):
        build_causal_lm_v1(name="somewhere", **settings)


def test_a_base_quantised_before_needs_an_adapter_p001(base: Path, tmp_path: Path):
    from transformers import AutoModelForCausalLM, AutoTokenizer, BitsAndBytesConfig

    model = AutoModelForCausalLM.from_pretrained(
        base, quantization_config=BitsAndBytesConfig(load_in_4bit=True), device_map={"": "cpu"}
    )
    model.save_pretrained(tmp_path)
    AutoTokenizer.from_pretrained(base).save_pretrained(tmp_path)
    nlp = blank(causal_lm(tmp_path))
    nlp.initialize(lambda: examples(nlp))
    assert torch.uint8 in {weight.dtype for weight in shim_of(ours(nlp).model).lm.model.parameters()}
    whole = blank(causal_lm(tmp_path, lora=None))
    with pytest.raises(ValueError, match=r"\[P001\] Setting 'lora': expected an adapter.*quantised"):
        whole.initialize(lambda: examples(whole))


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"quant_method": "rounding"}, "rounding"),
        ({"quant_method": "bitsandbytes"}, "supported types are.*bitsandbytes_4bit"),
        ({**FOUR, "bnb_4bit_quant_type": 3}, "bnb_4bit_quant_type"),
        ({**FOUR, "bnb_4bit_quanttype": "fp4"}, "settings that BitsAndBytesConfig has, got 'bnb_4bit_quanttype'"),
    ],
)
def test_settings_that_transformers_does_not_have_p001(base: Path, settings: dict[str, Any], told: str):
    nlp = blank(causal_lm(base, quantization=settings))
    with pytest.raises(ValueError, match=rf"\[P001\] Setting 'quantization': expected.*{told}"):
        nlp.initialize(lambda: examples(nlp))


@pytest.mark.parametrize(
    ("where", "error"),
    [
        ("transformers.quantizers.auto.AutoQuantizationConfig.from_dict", PackageNotFoundError("bitsandbytes")),
        ("transformers.AutoModelForCausalLM.from_pretrained", ImportError("it requires bitsandbytes")),
    ],
    ids=["transformers 4.53", "transformers 5"],
)
def test_without_its_package_it_says_what_to_install_p001(
    where: str, error: Exception, base: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Looked up when the settings are made, or when the weights are."""
    # A base that another test's pipeline still holds would be shared, and nothing made.
    shutil.copytree(base, tmp_path / "unshared")

    def missing(*args: Any, **settings: Any) -> object:
        raise error

    nlp = blank(causal_lm(tmp_path / "unshared", quantization=FOUR))
    monkeypatch.setattr(where, missing)
    with pytest.raises(
        ValueError, match=r"\[P001\] Setting 'quantization'.*spacy-padellm\[quantization\].*bitsandbytes"
    ):
        nlp.initialize(lambda: examples(nlp))
