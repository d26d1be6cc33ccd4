"""Adapters from and to folders, and around base models."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

from peft import LoraConfig, PeftConfig, PeftModel, TaskType, get_peft_model, get_peft_model_state_dict
from safetensors import SafetensorError, safe_open
from transformers import PreTrainedModel
from transformers.utils.hub import cached_file

from spacy_padellm.errors import Errors
from spacy_padellm.model.lora import LoRA

_FOLLOWS_TRAINING = 1e-6
"""Adapter dropout that a training run sets anew; peft builds no dropout layer at exactly 0."""

WEIGHTS, CONFIG = "adapter_model.safetensors", "adapter_config.json"
"""An adapter's files."""

_BROKEN = (OSError, ValueError, TypeError, RuntimeError, KeyError, UserWarning, SafetensorError)
"""What peft raises at what is no adapter, or one of another base model."""

_PLAIN = frozenset(
    (
        "r lora_alpha lora_dropout target_modules exclude_modules rank_pattern alpha_pattern use_rslora "
        "layers_to_transform layers_pattern fan_in_fan_out init_lora_weights task_type inference_mode "
        "base_model_name_or_path revision auto_mapping peft_version"
    ).split()
)
"""Settings that an adapter may have. Others change the base model's weights or train some of them (biases, whole
modules), which other pipes use, too, or are not a sum of weights that can be merged."""

_FIRST_WEIGHTS = (True, False, "gaussian", "orthogonal")
"""Ways to make first weights that leave the base model's as they are."""


def add_adapter(model: PreTrainedModel, lora: LoRA, name: str) -> PeftModel:
    """Put an adapter around a base model: a new one, or one that is there already.

    name (str): The base model's, for messages.
    RAISES (ValueError): P001 if there are no layers of that name; P035 if the adapter does not fit.
    """
    if lora.adapter is not None:
        return _published(model, lora, name)
    config = LoraConfig(
        task_type=TaskType.CAUSAL_LM,
        r=lora.rank,
        lora_alpha=lora.alpha,
        lora_dropout=_dropout(lora),
        target_modules=lora.target_modules,
    )
    try:
        return get_peft_model(model, config)
    except ValueError as error:
        expected = f"names of linear layers of the model ({error})"
        message = Errors.P001.format(name="lora.target_modules", expected=expected, got=lora.target_modules)
        raise ValueError(message) from error


def load_adapter(model: PreTrainedModel, folder: Path) -> PeftModel:
    """A base model with an adapter that `save_adapter` wrote. RAISES (ValueError): P027 if it is missing or broken."""
    if not (folder / WEIGHTS).is_file():
        # peft would read a pickled file in its place, or ask the hub for one.
        reason = f"it has no {WEIGHTS}"
        raise ValueError(Errors.P027.format(what="adapter", name=folder, reason=reason))
    try:
        return _read(model, folder)
    except _BROKEN as error:
        raise ValueError(Errors.P027.format(what="adapter", name=folder, reason=error)) from error


def save_adapter(model: PeftModel, folder: Path) -> None:
    """Write an adapter as peft has it."""
    # save_embedding_layers=False: otherwise peft may ask the hub for the base model's config.
    model.save_pretrained(folder, save_embedding_layers=False)
    for weights in folder.glob("*.safetensors"):
        weights.chmod(0o644)


def _published(model: PreTrainedModel, lora: LoRA, base: str) -> PeftModel:
    try:
        # Nothing else is looked for: peft would take a pickled file, too.
        found = [Path(cached_file(lora.adapter, file, revision=lora.revision)) for file in (CONFIG, WEIGHTS)]
        config = PeftConfig.from_pretrained(str(found[0].parent))
        _check_plain(config)
        config.lora_dropout = _dropout(lora)
        adapted = _read(model, found[1].parent, config=config)
        with safe_open(found[1], "pt") as file:
            differ = {*file.keys()} ^ {*get_peft_model_state_dict(adapted, save_embedding_layers=False)}
        if differ:
            raise ValueError(f"it and the base model do not have the same layers, for instance {min(differ)}")
    except _BROKEN as error:
        problem = " ".join(str(error).split()).rstrip(".")
        raise ValueError(Errors.P035.format(name=lora.adapter, base=base, problem=problem)) from error
    return adapted


def _check_plain(config: Any) -> None:
    """RAISES (ValueError): If an adapter is more than LoRA, or something else."""
    if not isinstance(config, LoraConfig):
        raise ValueError(f"it is of the kind {config.peft_type}")
    usual = LoraConfig().to_dict()
    settings = {name: value for name, value in config.to_dict().items() if value or usual.get(name)}
    odd = [name for name, value in settings.items() if name not in _PLAIN and value != usual.get(name)]
    if config.init_lora_weights not in _FIRST_WEIGHTS:
        odd.append("init_lora_weights")
    if odd:
        told = ", ".join(f"{name} = {settings[name]!r}" for name in odd)
        raise ValueError(f"it has settings beyond plain LoRA: {told}")


def _read(model: PreTrainedModel, folder: Path, **settings: Any) -> PeftModel:
    with warnings.catch_warnings():
        # peft only warns of weights that the file lacks.
        warnings.filterwarnings("error", message="Found missing adapter keys")
        return PeftModel.from_pretrained(model, str(folder), is_trainable=True, **settings)


def _dropout(lora: LoRA) -> float:
    return _FOLLOWS_TRAINING if lora.dropout is None else lora.dropout
