"""A model as the one file that llama.cpp and its kin read. Written with the `gguf` package."""

from __future__ import annotations

import json
import warnings
from collections.abc import Iterator, Mapping
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple

import numpy as np
import torch
from safetensors import safe_open
from torch import Tensor
from transformers import AutoConfig, PretrainedConfig
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS

from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.errors import Errors, Warnings

FILE = "model.gguf"

_FILE_TYPES = {"float32": "ALL_F32", "bfloat16": "MOSTLY_BF16", "float16": "MOSTLY_F16", "q8_0": "MOSTLY_Q8_0"}
"""By what matrices are written in, what GGUF calls such a file."""

GGUF_DTYPES = tuple(_FILE_TYPES)
"""What matrices may be written in; vectors are float32 always, as llama.cpp has them."""


class _Family(NamedTuple):
    """How a family of transformers is called in GGUF, and whether its queries and keys are laid out anew: llama.cpp
    turns pairs of neighbours there, transformers pairs half a head apart."""

    name: str
    is_laid_out_anew: bool


FAMILIES: Mapping[str, _Family] = {
    "llama": _Family("llama", True),
    "mistral": _Family("llama", True),
    "qwen2": _Family("qwen2", False),
    "qwen3": _Family("qwen3", False),
}
"""By transformers' `model_type`."""

_GPT_2 = "gpt-2"
"""How llama.cpp calls the way in which GPT-2 cuts words, which is also `ByteLevel`'s own."""

_CUTS: Mapping[str, str] = {
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "llama-bpe",
    r"(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*"
    r"|\s*[\r\n]+|\s+(?!\S)|\s+": "qwen2",
}
"""llama.cpp's names for the expressions by which tokenizers cut words."""

_UNUSED = "[UNUSED{number}]"


def load_gguf() -> ModuleType:
    """The package that writes the file.

    RAISES (ValueError): P070 if it is not installed.
    """
    try:
        import gguf
    except ImportError as error:
        raise ValueError(Errors.P070.format(what="--gguf", extra="gguf", problem=error)) from error
    found: ModuleType = gguf
    return found


def write_gguf(folder: Path, pieces: Pieces, path: Path, *, name: str, dtype: str) -> None:
    """Write the model of a plain folder of transformers as one GGUF file.

    folder (Path): As `merging.save_merged` writes it.
    pieces (Pieces): Its tokenizer.
    path (Path): The file.
    name (str): What the model is called in the file.
    dtype (str): One of `GGUF_DTYPES`, for matrices. What does not go into blocks of 32 stays float16 under "q8_0".
    RAISES (ValueError): P070 without the package; P071 for a model of another family, with rotary settings or a
        tokenizer that this does not know.
    """
    gguf = load_gguf()
    config = AutoConfig.from_pretrained(folder)
    family = FAMILIES.get(config.model_type)
    if family is None:
        known = ", ".join(FAMILIES)
        raise ValueError(Errors.P071.format(name=name, problem=f"its family is '{config.model_type}', not {known}"))
    window = getattr(config, "sliding_window", None) if getattr(config, "use_sliding_window", True) else None
    if window and window < config.max_position_embeddings:
        raise ValueError(Errors.P071.format(name=name, problem=f"its attention sees {window} pieces at a time"))
    written = json.loads((folder / "config.json").read_text(encoding="utf8"))
    factors = _rope_factors(config, written, name)
    # Weights of more than 256 MB wait in a file until the head is written.
    writer = gguf.GGUFWriter(path, family.name, use_temp_file=True)
    writer.add_name(name)
    writer.add_file_type(getattr(gguf.LlamaFileType, _FILE_TYPES[dtype]))
    _add_shape(writer, config, written)
    _add_vocabulary(gguf, writer, pieces, n_rows=config.vocab_size, name=name)
    names = gguf.get_tensor_name_map(getattr(gguf.MODEL_ARCH, family.name.upper()), config.num_hidden_layers)
    if factors is not None:
        writer.add_tensor("rope_freqs.weight", factors)
    for weight, tensor in _weights(folder):
        ours = names.get_name(weight, try_suffixes=(".weight", ".bias"))
        if ours is None:
            raise ValueError(Errors.P071.format(name=name, problem=f"GGUF has no place for its weight '{weight}'"))
        if family.is_laid_out_anew:
            tensor = _laid_out_anew(weight, tensor, config)
        _add_weight(gguf, writer, ours, tensor, dtype)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()


def _weights(folder: Path) -> Iterator[tuple[str, Tensor]]:
    """The weights one by one, in float32."""
    for file in sorted(folder.glob("*.safetensors")):
        with safe_open(file, framework="pt") as weights:
            for name in weights.keys():
                yield name, weights.get_tensor(name).float()


def _add_shape(writer: Any, config: PretrainedConfig, written: Mapping[str, Any]) -> None:
    size = _head_size(config)
    writer.add_context_length(config.max_position_embeddings)
    writer.add_embedding_length(config.hidden_size)
    writer.add_block_count(config.num_hidden_layers)
    writer.add_feed_forward_length(config.intermediate_size)
    writer.add_head_count(config.num_attention_heads)
    writer.add_head_count_kv(config.num_key_value_heads)
    writer.add_key_length(size)
    writer.add_value_length(size)
    writer.add_layer_norm_rms_eps(config.rms_norm_eps)
    writer.add_rope_dimension_count(size)
    writer.add_rope_freq_base(_rope(written).get("rope_theta", 10000.0))
    writer.add_vocab_size(config.vocab_size)


def _head_size(config: PretrainedConfig) -> int:
    return int(getattr(config, "head_dim", None) or config.hidden_size // config.num_attention_heads)


def _rope(written: Mapping[str, Any]) -> dict[str, Any]:
    """Rotary settings as transformers 5 names them, whatever wrote them."""
    theta = {"rope_theta": written["rope_theta"]} if "rope_theta" in written else {}
    return {**theta, **(written.get("rope_scaling") or {}), **(written.get("rope_parameters") or {})}


def _rope_factors(config: PretrainedConfig, written: Mapping[str, Any], name: str) -> np.ndarray | None:
    """By what each rotary frequency is divided; None if they are as they come."""
    rope = _rope(written)
    kind = rope.get("rope_type", rope.get("type", "default"))
    if kind == "default":
        return None
    if kind not in ("llama3", "linear"):
        raise ValueError(Errors.P071.format(name=name, problem=f"its rotary positions are scaled by '{kind}'"))
    size = _head_size(config)
    plain = 1.0 / rope["rope_theta"] ** (torch.arange(0, size, 2, dtype=torch.float32) / size)
    scaled, _ = ROPE_INIT_FUNCTIONS[kind](config, torch.device("cpu"))
    factors: np.ndarray = (plain / scaled.float()).numpy()
    return factors


def _laid_out_anew(name: str, weight: Tensor, config: PretrainedConfig) -> Tensor:
    """Rows of queries and keys so that what rotates together lies side by side."""
    heads = {"q_proj": config.num_attention_heads, "k_proj": config.num_key_value_heads}.get(name.split(".")[-2])
    if heads is None:
        return weight
    halves = weight.reshape(heads, 2, weight.shape[0] // heads // 2, *weight.shape[1:])
    return halves.transpose(1, 2).reshape(weight.shape)


def _add_weight(gguf: ModuleType, writer: Any, name: str, weight: Tensor, dtype: str) -> None:
    kinds = gguf.GGMLQuantizationType
    if weight.ndim < 2 or dtype == "float32":
        writer.add_tensor(name, weight.numpy())
    elif dtype == "float16" or (dtype == "q8_0" and weight.shape[-1] % 32):
        writer.add_tensor(name, weight.half().numpy())
    else:
        kind = kinds.BF16 if dtype == "bfloat16" else kinds.Q8_0
        writer.add_tensor(name, gguf.quants.quantize(weight.numpy(), kind), raw_dtype=kind)


def _add_vocabulary(gguf: ModuleType, writer: Any, pieces: Pieces, *, n_rows: int, name: str) -> None:
    backend = json.loads(pieces.tokenizer.backend_tokenizer.to_str())
    model, kinds = backend["model"], gguf.TokenType
    by_bytes = model["type"] == "BPE" and not model.get("byte_fallback")
    if model["type"] != "BPE":
        raise ValueError(Errors.P071.format(name=name, problem=f"its tokenizer is of the kind {model['type']}"))
    vocabulary: dict[int, str] = {number: piece for piece, number in model["vocab"].items()}
    special = {one["id"]: one for one in backend["added_tokens"]}
    tokens, types, scores = [], [], []
    for number in range(n_rows):
        piece, kind = vocabulary.get(number, _UNUSED.format(number=number)), kinds.NORMAL
        if number in special:
            piece = special[number]["content"]
            kind = kinds.CONTROL if special[number]["special"] else kinds.USER_DEFINED
        elif number not in vocabulary:
            kind = kinds.UNUSED
        elif not by_bytes and piece.startswith("<0x") and len(piece) == len("<0x00>"):
            kind = kinds.BYTE
        tokens.append(piece)
        types.append(kind)
        # SentencePiece numbers the pieces in the order in which it merges them, and that is all a score is for.
        scores.append(-float(number))
    writer.add_tokenizer_model("gpt2" if by_bytes else "llama")
    writer.add_tokenizer_pre(_cut(backend, name) if by_bytes else "default")
    writer.add_token_list(tokens)
    writer.add_token_types(types)
    if by_bytes:
        merges = [one if isinstance(one, str) else " ".join(one) for one in model["merges"]]
        writer.add_token_merges(merges)
    else:
        writer.add_token_scores(scores)
        writer.add_add_space_prefix(True)
    writer.add_eos_token_id(pieces.end)
    if pieces.tokenizer.bos_token_id is not None:
        writer.add_bos_token_id(pieces.tokenizer.bos_token_id)
    writer.add_add_bos_token(pieces.tokenizer.bos_token_id in pieces.start)
    if pieces.tokenizer.chat_template:
        writer.add_chat_template(pieces.tokenizer.chat_template)


def _cut(backend: Mapping[str, Any], name: str) -> str:
    """llama.cpp's name for how a byte-level tokenizer (its own JSON) cuts words."""
    first = backend.get("pre_tokenizer") or {}
    steps = first.get("pretokenizers", [first])
    patterns = [step["pattern"].get("Regex") for step in steps if step.get("type") == "Split"]
    by_bytes = [step for step in steps if step.get("type") == "ByteLevel"]
    if not patterns and len(steps) == 1 and by_bytes and by_bytes[0].get("use_regex", True):
        return _GPT_2
    found = _CUTS.get(patterns[0]) if len(patterns) == 1 else None
    if found is None:
        warnings.warn(Warnings.W080.format(name=name), stacklevel=2)
    return found or _GPT_2
