"""Registered models: trees with targets in, loss out."""

import re
from collections.abc import Callable, Sequence
from typing import Any, Literal

import torch
from thinc.api import Model

from spacy_padellm.engine.checkpoint import Reference
from spacy_padellm.engine.fresh import FreshShape
from spacy_padellm.errors import Errors
from spacy_padellm.model.chat import ChatTemplate
from spacy_padellm.model.lora import LoRA
from spacy_padellm.model.shim import CausalLMShim
from spacy_padellm.model.sources import FreshSource, PretrainedSource, Source
from spacy_padellm.settings import check_number, check_whole
from spacy_padellm.training.targets import TargetTree

_BYTES_AND_END = 257
"""The smallest vocabulary: 256 bytes and the end of an answer."""

Dtype = Literal["float32", "bfloat16", "float16"]


def build_fresh_causal_lm_v1(
    *,
    hidden_size: int = 192,
    n_layers: int = 4,
    n_heads: int = 6,
    intermediate_size: int = 384,
    vocab_size: int = 900,
    max_positions: int = 1024,
    rope_theta: float = 1000.0,
    device: str = "auto",
    seed: int = 0,
    max_row: int = 8192,
    gradient_checkpointing: bool = False,
) -> Model[Sequence[TargetTree], float]:
    """A small Llama-type decoder; its byte-level tokenizer is trained on the training examples at `initialize`.

    hidden_size, n_layers, n_heads, intermediate_size (int): As in Llama.
    vocab_size (int): Pieces of the tokenizer, at least 257.
    max_positions (int): The longest path from a text's first piece to an answer's last.
    rope_theta (float): Base of the rotary positions.
    device (str): "auto" (the GPU if torch sees one), "cpu", "cuda" or "cuda:1" and so on.
    seed (int): Seed of the first weights.
    max_row (int): The most pieces in one pass of training; more are run one after the other.
    gradient_checkpointing (bool): Compute the layers again on the way back in place of keeping all they computed: less
        memory for a third more time. Gradients stay the same.
    RETURNS (Model[Sequence[TargetTree], float]): The model; its weights come with `initialize` or `from_disk`.
    RAISES (ValueError): P001 for a size that makes no decoder.
    """
    sizes = {
        "hidden_size": hidden_size,
        "n_layers": n_layers,
        "n_heads": n_heads,
        "intermediate_size": intermediate_size,
        "max_positions": max_positions,
    }
    for name, size in sizes.items():
        check_whole(name, size)
    if hidden_size % n_heads or (hidden_size // n_heads) % 2:
        expected = f"a multiple of n_heads ({n_heads}) with an even share for each head"
        raise ValueError(Errors.P001.format(name="hidden_size", expected=expected, got=hidden_size))
    check_whole("vocab_size", vocab_size, least=_BYTES_AND_END)
    check_number("rope_theta", rope_theta, least=1.0)
    check_whole("seed", seed, least=0)
    _check_device(device)
    shape = FreshShape(hidden_size, n_layers, n_heads, intermediate_size, vocab_size, max_positions, rope_theta)
    source = FreshSource(shape, device, seed)
    return forest_model(source, max_row=max_row, gradient_checkpointing=gradient_checkpointing)


def build_causal_lm_v1(
    *,
    name: str,
    revision: str | None = None,
    lora: LoRA | None = None,
    dtype: Dtype = "float32",
    quantization: dict[str, Any] | None = None,
    chat: ChatTemplate | None = None,
    device: str = "auto",
    self_contained: bool = False,
    frozen: bool = False,
    trust_remote_code: bool = False,
    max_row: int = 4096,
    gradient_checkpointing: bool = False,
) -> Model[Sequence[TargetTree], float]:
    """Any Hugging Face causal LM whose attention passes the load-time proof.

    name (str): Hub id or local folder.
    revision (str | None): Commit, tag or branch on the hub.
    lora (LoRA | None): The adapter, a block "spacy-padellm.LoRA.v1"; none to fine-tune all weights.
    dtype (str): Of the base model's weights. Adapters are float32; without an adapter it must be "float32", or the
        model frozen.
    quantization (dict[str, Any] | None): How the base model's weights are quantised when they are loaded: the settings
        of transformers' own quantisation config with its "quant_method", for instance {"quant_method":
        "bitsandbytes", "load_in_4bit": true}. Needs an adapter or a frozen model, and the package that does it.
    chat (ChatTemplate | None): For an instruct model: ask in its chat template, a block
        "spacy-padellm.ChatTemplate.v1"; none to ask in plain text.
    device (str): "auto" (the GPU if torch sees one), "cpu", "cuda" or "cuda:1" and so on.
    self_contained (bool): Save the base model with the pipeline, so that it loads without `name`.
    frozen (bool): Ask the model as it is and never train it. No adapter then; unless self-contained, the pipeline holds
        no weights.
    trust_remote_code (bool): Run code that lies beside the model. Only for models you trust.
    max_row (int): The most pieces in one pass of training; more are run one after the other.
    gradient_checkpointing (bool): Compute the layers again on the way back in place of keeping all they computed: less
        memory for a third more time. Gradients stay the same.
    RETURNS (Model[Sequence[TargetTree], float]): The model; its weights come with `initialize` or `from_disk`.
    RAISES (ValueError): P001 for full fine-tuning in half precision or of quantised weights, for an adapter of a frozen
        model, or for what is no adapter, no quantisation, no chat template or no device.
    """
    if lora is None and not frozen and dtype != "float32":
        expected = '"float32" without an adapter, unless the model is frozen'
        raise ValueError(Errors.P001.format(name="dtype", expected=expected, got=dtype))
    if lora is not None and frozen:
        raise ValueError(Errors.P001.format(name="frozen", expected="false with an adapter", got=frozen))
    if lora is not None and not isinstance(lora, LoRA):
        raise ValueError(Errors.P001.format(name="lora", expected='a block "spacy-padellm.LoRA.v1"', got=lora))
    if chat is not None and not isinstance(chat, ChatTemplate):
        raise ValueError(Errors.P001.format(name="chat", expected='a block "spacy-padellm.ChatTemplate.v1"', got=chat))
    if quantization is not None:
        _check_quantization(quantization, lora, self_contained, frozen)
    _check_device(device)
    reference = Reference(name, revision, trust_remote_code)
    source = PretrainedSource(
        reference, lora, getattr(torch, dtype), device, self_contained, quantization, frozen, chat
    )
    return forest_model(source, max_row=max_row, gradient_checkpointing=gradient_checkpointing)


def _check_quantization(quantization: dict[str, Any], lora: LoRA | None, self_contained: bool, frozen: bool) -> None:
    if "quant_method" not in quantization:
        expected = 'a block with "quant_method", for instance "bitsandbytes"'
        raise ValueError(Errors.P001.format(name="quantization", expected=expected, got=quantization))
    if lora is None and not frozen:
        expected = "an adapter or a frozen model, because quantised weights cannot be trained"
        raise ValueError(Errors.P001.format(name="lora", expected=expected, got=lora))
    if self_contained:
        expected = "false with quantised weights, which are made of the base model anew"
        raise ValueError(Errors.P001.format(name="self_contained", expected=expected, got=self_contained))


def _check_device(device: str) -> None:
    if not re.fullmatch(r"auto|cpu|cuda(:\d+)?", device):
        raise ValueError(Errors.P001.format(name="device", expected='"auto", "cpu", "cuda" or "cuda:1"', got=device))


def forest_model(
    source: Source, *, max_row: int, gradient_checkpointing: bool = False
) -> Model[Sequence[TargetTree], float]:
    """A thinc model around a source of causal LMs."""
    check_whole("max_row", max_row)
    attrs = {"dropout_rate": 0.0, "max_row": max_row}
    shim = CausalLMShim(source, gradient_checkpointing=gradient_checkpointing)
    return Model("padellm_causal_lm", forward, init=init, shims=[shim], attrs=attrs)


def is_forest_model(model: object) -> bool:
    """Whether a model is one of this package's architectures."""
    return isinstance(model, Model) and any(isinstance(shim, CausalLMShim) for shim in model.shims)


def shim_of(model: Model[Sequence[TargetTree], float]) -> CausalLMShim:
    """The shim that holds a model's causal LM."""
    shim = model.shims[0]
    assert isinstance(shim, CausalLMShim)
    return shim


def init(
    model: Model[Sequence[TargetTree], float],
    X: tuple[Sequence[str], Sequence[str]] | None = None,
    Y: object = None,
) -> None:
    """Make the causal LM, anew if there is one, as spaCy's own components do. `X` are training texts, and the segments
    of the prompt."""
    texts, questions = X or ((), ())
    shim_of(model).create(texts, questions)


def forward(
    model: Model[Sequence[TargetTree], float], trees: Sequence[TargetTree], is_train: bool
) -> tuple[float, Callable[[float], list[None]]]:
    """The mean loss over all targets of some trees.

    Gradients are added up row by row while the loss is computed, so that only one row's activations are alive at a
    time; nothing is left for `backprop` to do.
    """
    shim = shim_of(model)
    loss = shim.accumulate(trees, max_row=model.attrs["max_row"], dropout=model.attrs["dropout_rate"])

    def backprop(d_loss: float) -> list[None]:
        assert d_loss == 1.0, "the loss is the last thing computed: its own gradient is 1"
        return []

    return loss, backprop
