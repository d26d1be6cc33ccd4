"""Causal LMs from and to folders. Weights are safetensors only; no code from a model folder runs."""

from __future__ import annotations

import inspect
import json
import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

import torch
import transformers
from huggingface_hub import hf_hub_download
from huggingface_hub.errors import EntryNotFoundError, RepositoryNotFoundError
from safetensors import SafetensorError
from torch import Tensor, nn
from transformers import (
    AutoConfig,
    AutoModelForCausalLM,
    AutoTokenizer,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)
from transformers.quantizers.auto import AutoQuantizationConfig
from transformers.utils.hub import cached_file, extract_commit_hash

from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.turns import Turns
from spacy_padellm.errors import Errors

WRITER = "spacy_padellm.json"
"""Beside a saved model: what wrote it."""

_BROKEN = (
    OSError,
    ValueError,
    RuntimeError,
    LookupError,
    TypeError,
    AttributeError,
    ImportError,
    SafetensorError,
)
"""What transformers raises at folders that hold no model, or a damaged one."""

_LAID_OUT_ANEW = "support_avx512bf16_for_cpu"
"""The attribute of a 4-bit layer of bitsandbytes that says so."""

AnyModule = TypeVar("AnyModule", bound=nn.Module)

_SPECIALS = ("bos_token", "eos_token", "unk_token", "pad_token")


@dataclass(frozen=True)
class Reference:
    """Where a pretrained model is.

    name (str): Hub id or local folder.
    revision (str | None): Commit, tag or branch on the hub.
    trust_remote_code (bool): Run code from the model's folder. Off unless asked for.
    """

    name: str
    revision: str | None = None
    trust_remote_code: bool = False


def choose_device(device: str) -> torch.device:
    """The device a setting names: "auto" is the GPU if there is one."""
    if device == "auto":
        device = "cuda" if torch.cuda.is_available() else "cpu"
    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ValueError(Errors.P026.format(device=device))
    return torch.device(device)


def commit_of(reference: Reference) -> str | None:
    """The commit of a hub model that its revision stands for now.

    RAISES (ValueError): P027 if there is no such model.
    """
    try:
        path = cached_file(reference.name, "config.json", revision=reference.revision)
    except _BROKEN as error:
        raise ValueError(
            Errors.P027.format(what="model", name=reference.name, reason=_why(reference, error))
        ) from error
    commit: str | None = extract_commit_hash(path, None)
    return commit


def _why(reference: Reference, error: Exception) -> Exception | str:
    """What is told of a model that cannot be loaded: of a path that is none the hub says that it is no id."""
    is_path = Path(reference.name).is_absolute() and not Path(reference.name).exists()
    return "there is no such folder" if is_path else error


def load_model(
    reference: Reference, *, dtype: torch.dtype, device: torch.device, quantization: Mapping[str, Any] | None = None
) -> PreTrainedModel:
    """A causal LM whose attention is the forest's.

    quantization (Mapping[str, Any] | None): Settings of transformers' quantisation, "quant_method" among them, for
        weights that are not quantised yet.
    RAISES (ValueError): P027 if there is no such model, it cannot be read, or some of its weights are missing; P001 if
        the quantisation cannot be used.
    """
    quantized = _quantized(quantization, device)
    try:
        config = AutoConfig.from_pretrained(
            reference.name, revision=reference.revision, trust_remote_code=reference.trust_remote_code
        )
        _restore_rope(config, _json_of(reference, "config.json"))
        model, told = AutoModelForCausalLM.from_pretrained(
            reference.name,
            config=config,
            revision=reference.revision,
            trust_remote_code=reference.trust_remote_code,
            use_safetensors=True,
            attn_implementation=FOREST,
            output_loading_info=True,
            **{_DTYPE: dtype},
            **quantized,
        )
    except _BROKEN as error:
        # transformers 5 looks for the package of a quantisation only when it makes the weights.
        if quantization is not None and isinstance(error, ImportError):
            raise _not_quantized(quantization, error) from error
        raise ValueError(
            Errors.P027.format(what="model", name=reference.name, reason=_why(reference, error))
        ) from error
    check_complete(told["missing_keys"], reference.name)
    _leave_as_quantized(model)
    return on_device(model, device).eval()


def _leave_as_quantized(model: nn.Module) -> None:
    """Keep bitsandbytes from laying 4-bit weights out anew for prediction on a CPU: the way there and back rounds their
    scales each time, and training would go on with weights that have no gradient."""
    for module in model.modules():
        if hasattr(module, _LAID_OUT_ANEW):
            setattr(module, _LAID_OUT_ANEW, False)


def _quantized(settings: Mapping[str, Any] | None, device: torch.device) -> dict[str, Any]:
    """What `from_pretrained` is told. Quantised weights stay on the device they are made on.

    RAISES (ValueError): P001 if the settings cannot be used.
    """
    if settings is None:
        return {}
    try:
        config = AutoQuantizationConfig.from_dict(dict(settings))
    except _BROKEN as error:
        raise _not_quantized(settings, error) from error
    # Most of these configs take any name, and drop what they do not know.
    known = {"quant_method", *inspect.signature(type(config)).parameters, *vars(config)}
    unknown = sorted({*settings} - known - {*getattr(config, "quant_type_kwargs", ())})
    if unknown:
        expected = f"settings that {type(config).__name__} has"
        raise ValueError(Errors.P001.format(name="quantization", expected=expected, got=", ".join(unknown)))
    return {"quantization_config": config, "device_map": {"": device}}


def _not_quantized(settings: Mapping[str, Any], error: Exception) -> ValueError:
    expected = (
        "settings of transformers' quantisation, and the package they need installed "
        f'(for bitsandbytes "spacy-padellm[quantization]"); transformers says: {error}'
    )
    return ValueError(Errors.P001.format(name="quantization", expected=expected, got=dict(settings)))


def is_quantized(model: nn.Module) -> bool:
    """Whether a model's weights are quantised, by this package or before."""
    return bool(getattr(model, "is_quantized", False))


def on_device(model: AnyModule, device: torch.device) -> AnyModule:
    """The model on a device. Some quantised ones refuse to be moved, even to where they are."""
    if is_quantized(model) and {weight.device for weight in model.parameters()} == {device}:
        return model
    return model.to(device)


def check_complete(missing: Iterable[str], name: str) -> None:
    """transformers gives weights that a file lacks random values, and says so in passing.

    RAISES (ValueError): P027 if any weight is missing.
    """
    names = sorted(missing)
    if names:
        more = f" and {len(names) - 3} more" if len(names) > 3 else ""
        reason = f"its files lack the weights {', '.join(names[:3])}{more}"
        raise ValueError(Errors.P027.format(what="model", name=name, reason=reason))


def load_pieces(reference: Reference) -> Pieces:
    """The tokenizer beside a model, read as the model was trained with it: `leading_blank` and `turns` come from the
    record that `save_pieces` wrote; models that something else wrote have neither.

    RAISES (ValueError): P027 if there is none or it cannot be read; P020 if it is of a kind that cannot be used.
    """
    record = _json_of(reference, WRITER)
    pieces = Pieces(
        _load_tokenizer(reference, record),
        leading_blank=record.get("leading_blank", False),
        name=reference.name,
        turns=Turns(**record["turns"]) if record.get("turns") else None,
    )
    if not pieces.encode(["text"])[0]:
        # transformers 5 makes an empty tokenizer where the files of one are missing.
        reason = "it has no pieces for any text"
        raise ValueError(Errors.P027.format(what="tokenizer", name=reference.name, reason=reason))
    return pieces


def _json_of(reference: Reference, name: str) -> dict[str, Any]:
    """What a JSON file beside a model says; nothing where there is no such file."""
    path = _file_of(reference, name)
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf8")) if path else {}
        return found
    except ValueError as error:
        reason = f"{name}: {error}"
        raise ValueError(Errors.P027.format(what="tokenizer", name=reference.name, reason=reason)) from error


def _file_of(reference: Reference, name: str) -> Path | None:
    folder = Path(reference.name)
    if folder.is_dir():
        return folder / name if (folder / name).is_file() else None
    try:
        return Path(hf_hub_download(reference.name, name, revision=reference.revision))
    except (OSError, ValueError, EntryNotFoundError, RepositoryNotFoundError):
        # Not on the hub, or the hub is out of reach. Whether the model itself is to be had, its own loading tells.
        return None


def _load_tokenizer(reference: Reference, record: dict[str, Any]) -> PreTrainedTokenizerFast:
    try:
        if record:
            file = _file_of(reference, "tokenizer.json")
            return PreTrainedTokenizerFast(tokenizer_file=str(file), **record["specials"])
        return AutoTokenizer.from_pretrained(
            reference.name, revision=reference.revision, trust_remote_code=reference.trust_remote_code
        )
    except Exception as error:  # tokenizers raises nothing more special
        raise ValueError(Errors.P027.format(what="tokenizer", name=reference.name, reason=error)) from error


def save_model(
    model: PreTrainedModel,
    pieces: Pieces,
    folder: Path,
    *,
    state: dict[str, Tensor] | None = None,
) -> None:
    """Write a whole model and its tokenizer so that every supported transformers version reads the same.

    Both transformers 4.53 and 5.x rename or drop settings the other looks for, so rotary settings and special tokens
    are written beside the published files.
    """
    folder.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(folder, state_dict=state)
    config = json.loads((folder / "config.json").read_text(encoding="utf8"))
    rope = config.get("rope_parameters") or {}
    if "rope_theta" in rope:
        config["rope_theta"] = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default":
        config["rope_scaling"] = {name: value for name, value in rope.items() if name != "rope_theta"}
    (folder / "config.json").write_text(json.dumps(config, indent=2, sort_keys=True) + "\n", encoding="utf8")
    save_pieces(pieces, folder)
    for weights in folder.glob("*.safetensors"):
        os.chmod(weights, 0o644)  # safetensors writes files only their owner can read


def save_pieces(pieces: Pieces, folder: Path) -> None:
    """Write a tokenizer and what is needed to read it with any supported transformers version."""
    folder.mkdir(parents=True, exist_ok=True)
    tokenizer = pieces.tokenizer
    tokenizer.save_pretrained(folder)
    record = {
        "transformers": transformers.__version__,
        "torch": torch.__version__,
        "leading_blank": pieces.leading_blank,
        "turns": pieces.turns and pieces.turns._asdict(),
        "specials": {name: getattr(tokenizer, name) for name in _SPECIALS if getattr(tokenizer, name) is not None},
    }
    (folder / WRITER).write_text(json.dumps(record, indent=2, sort_keys=True) + "\n", encoding="utf8")


def _restore_rope(config: Any, written: Mapping[str, Any]) -> None:
    """Take over rotary settings that transformers 4.53 would silently leave at their defaults: it does not read
    `rope_parameters`."""
    rope = written.get("rope_parameters") or {}
    if "rope_theta" in rope and hasattr(config, "rope_theta"):
        config.rope_theta = rope["rope_theta"]
    if rope.get("rope_type", "default") != "default" and getattr(config, "rope_scaling", rope) is None:
        config.rope_scaling = {name: value for name, value in rope.items() if name != "rope_theta"}


_DTYPE = "dtype" if int(transformers.__version__.split(".")[0]) >= 5 else "torch_dtype"
"""The name of the dtype argument: transformers 5 warns about the old one, 4.53 does not know the new one."""
