"""A model as one set of plain weights: an adapter merged into a base model that stays as it is."""

from __future__ import annotations

import copy
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import torch
from peft import PeftModel
from peft.tuners.tuners_utils import BaseTunerLayer
from torch import Tensor, nn
from transformers import GenerationConfig, PreTrainedModel

from spacy_padellm.engine.checkpoint import is_quantized, save_model
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.errors import Errors

_LAYER = ".base_layer"
"""Where peft's layers keep the layer they stand around."""

DEQUANTIZED = ("bitsandbytes",)
"""Quantisations whose weights can be brought back."""


def save_merged(
    lm: LanguageModel, folder: Path, *, name: str, dtype: torch.dtype | None = None, dequantize: bool = False
) -> torch.dtype:
    """Write a model as transformers' own folder, its adapter merged into its weights. The model stays as it is.

    The merging is done in float32, layer by layer, so that beside the model there is only what is written.

    lm (LanguageModel): The model, with or without an adapter.
    folder (Path): Where to; it is made.
    name (str): What to call it in messages.
    dtype (torch.dtype | None): Of the weights; None for that of the base model.
    dequantize (bool): Write quantised weights as the numbers they stand for.
    RETURNS (torch.dtype): Of the weights that were written.
    RAISES (ValueError): P030 if the base model is quantised and is not to be, or cannot be, brought back.
    """
    base = lm.model.get_base_model() if isinstance(lm.model, PeftModel) else lm.model
    if is_quantized(base):
        _check_method(base, name, dequantize)
    dtype = dtype or kept_dtype(base)
    state = merged_state(base, dtype)
    # Settings are changed below, and the model that is in use has the same config.
    plain = copy.copy(base)
    plain.config = copy.deepcopy(base.config)
    plain.generation_config = _greedy(lm)
    if is_quantized(base):
        plain.is_quantized, plain.hf_quantizer = False, None
        for setting in ("quantization_config", "_pre_quantization_dtype"):
            if hasattr(plain.config, setting):
                delattr(plain.config, setting)
    separate = _apart(base, state)
    if separate:
        plain.config.tie_word_embeddings = False
    save_model(plain, lm.pieces, folder, state=state)
    _complete_config(folder / "config.json", dtype)
    return dtype


def merged_state(base: PreTrainedModel, dtype: torch.dtype) -> dict[str, Tensor]:
    """The weights of a model by the names they have without an adapter. Tensors that were one stay one.

    base (PreTrainedModel): A model, with peft's layers in it or without.
    dtype (torch.dtype): What they are cast to.
    """
    cast: dict[int, Tensor] = {}
    state: dict[str, Tensor] = {}
    for place, module in base.named_modules():
        if isinstance(module, BaseTunerLayer) or ".lora_" in place:
            continue
        owner = place.removesuffix(_LAYER)
        layer = base.get_submodule(owner) if owner != place else None
        for part, weight in _persistent(module):
            name = f"{owner}.{part}" if owner else part
            if part == "weight" and layer is not None:
                state[name] = _merged(layer, module, dtype)
            else:
                if id(weight) not in cast:
                    cast[id(weight)] = _plain(weight, module, dtype)
                state[name] = cast[id(weight)]
    return state


def kept_dtype(base: PreTrainedModel) -> torch.dtype:
    """The dtype of the weights that are no adapter's, quantised ones left aside."""
    weights = (weight for name, weight in base.named_parameters() if ".lora_" not in name)
    return next(weight.dtype for weight in weights if weight.is_floating_point())


def _persistent(module: nn.Module) -> Iterator[tuple[str, Tensor]]:
    kept = {**module._parameters, **module._buffers}
    passing = module._non_persistent_buffers_set
    yield from ((name, one) for name, one in kept.items() if one is not None and name not in passing)


@torch.no_grad()
def _merged(layer: Any, module: nn.Module, dtype: torch.dtype) -> Tensor:
    whole = _plain(module.weight, module, torch.float32)
    for adapter in layer.active_adapters:
        whole = whole + layer.get_delta_weight(adapter).to(whole)
    return whole.to(dtype)


def _plain(weight: Any, module: Any, dtype: torch.dtype) -> Tensor:
    """A weight as numbers. Whole numbers that belong to no quantisation stay what they are."""
    kind = type(weight).__name__
    if kind in ("Params4bit", "Int8Params"):
        from bitsandbytes import functional

        if kind == "Params4bit":
            told: Tensor = functional.dequantize_4bit(weight.data, weight.quant_state)
        else:
            # Until the first forward pass the scales are the weight's.
            scales = weight.SCB if weight.SCB is not None else module.state.SCB
            told = functional.int8_vectorwise_dequant(weight.data, scales)
        return told.to(dtype)
    plain: Tensor = weight.detach()
    return plain.to(dtype) if plain.is_floating_point() else plain


def _apart(base: PreTrainedModel, state: dict[str, Tensor]) -> bool:
    """Whether one matrix of embeddings has become two: an adapter was on one side of it only."""
    names = {id(module): name for name, module in base.named_modules()}
    ends = (base.get_input_embeddings(), base.get_output_embeddings())
    sides = [state.get(f"{names[id(end)].removesuffix(_LAYER)}.weight") for end in ends if end is not None]
    tied = bool(getattr(base.config.get_text_config(), "tie_word_embeddings", False))
    return tied and len(sides) == 2 and sides[0] is not sides[1]


def _greedy(lm: LanguageModel) -> GenerationConfig:
    """How the model answers: the likeliest piece each time, up to the end piece."""
    tokenizer = lm.pieces.tokenizer
    return GenerationConfig(
        do_sample=False, bos_token_id=tokenizer.bos_token_id, eos_token_id=lm.pieces.end, pad_token_id=lm.pieces.end
    )


def _check_method(base: PreTrainedModel, name: str, dequantize: bool) -> None:
    settings = base.config.quantization_config
    told = settings if isinstance(settings, dict) else settings.to_dict()
    method = str(getattr(told["quant_method"], "value", told["quant_method"]))
    if method not in DEQUANTIZED:
        advice = "Export the adapter (--adapter), or train it over a base model that is not quantised."
    elif not dequantize:
        advice = "Give --dequantize to write the numbers that the quantised weights stand for."
    else:
        return
    raise ValueError(Errors.P030.format(name=name, method=method, advice=advice))


def _complete_config(path: Path, dtype: torch.dtype) -> None:
    """The dtype is that of the weights, under the names that both transformers 4 and 5 look for."""
    config = json.loads(path.read_text(encoding="utf8"))
    config["dtype"] = config["torch_dtype"] = str(dtype).removeprefix("torch.")
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf8")
