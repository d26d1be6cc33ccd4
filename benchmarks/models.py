"""Models to measure on: random weights in named shapes, or a pretrained one."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import spacy
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedTokenizerFast

from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.checkpoint import Reference, choose_device, load_model, load_pieces
from spacy_padellm.engine.fresh import FreshShape, build_decoder, train_tokenizer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.proof import prove
from spacy_padellm.errors import Errors
from spacy_padellm.model.architectures import shim_of

POSITIONS = 16_384
"""Positions of a model with random weights. They are rotary and take no memory."""

SHAPES = {
    "tiny": FreshShape(64, 2, 2, 128, 1000, POSITIONS, 10_000.0),
    "8m": FreshShape(256, 8, 8, 768, 4000, POSITIONS, 10_000.0),
    "40m": FreshShape(512, 12, 8, 1408, 8000, POSITIONS, 10_000.0),
    "150m": FreshShape(768, 18, 12, 2048, 16_000, POSITIONS, 10_000.0),
    "500m": FreshShape(1280, 24, 20, 3456, 32_000, POSITIONS, 10_000.0),
    "1b": FreshShape(2048, 22, 16, 5632, 32_000, POSITIONS, 10_000.0),
    "3b": FreshShape(3072, 28, 24, 8192, 32_000, POSITIONS, 10_000.0),
    "7b": FreshShape(4096, 32, 32, 11008, 32_000, POSITIONS, 10_000.0),
}
"""Shapes with random weights, by about how many parameters they have; the last is that of Llama-2-7B."""


def weights_of(shape: FreshShape) -> int:
    """How many weights a shape has at the most, biases and norms left out."""
    embeddings = shape.vocab_size * shape.hidden_size
    layer = shape.hidden_size * (4 * shape.hidden_size + 3 * shape.intermediate_size)
    return embeddings + shape.n_layers * layer


def random_llama(
    name: str,
    texts: Sequence[str],
    questions: Sequence[str],
    *,
    device: torch.device,
    dtype: torch.dtype,
    tokenizer: str | None = None,
) -> LanguageModel:
    """A shape of `SHAPES` as Llama has it (no biases, two embeddings, the whole vocabulary), made on the device itself:
    no second of a large model's start is spent on the CPU. Its weights are noise."""
    shape = SHAPES[name]
    pieces = _pieces(texts, questions, shape, tokenizer)
    config = LlamaConfig(
        vocab_size=max(shape.vocab_size, len(pieces)),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        max_position_embeddings=shape.max_positions,
        tie_word_embeddings=False,
        bos_token_id=None,
        eos_token_id=pieces.end,
        pad_token_id=None,
    )
    before = torch.get_default_dtype()
    torch.set_default_dtype(dtype)
    try:
        with device:
            torch.manual_seed(0)
            model = AutoModelForCausalLM.from_config(config, attn_implementation=FOREST)
    finally:
        torch.set_default_dtype(before)
    found = {(weight.device.type, weight.dtype) for weight in model.parameters()}
    assert found == {(device.type, dtype)}, found
    return LanguageModel(model.eval(), pieces, device, name)


_ENDS = ("</s>", "<|endoftext|>", "<|im_end|>", "<|end_of_text|>", "<eos>")
"""End pieces of common tokenizers: a tokenizer.json does not say which one it has."""


def read_tokenizer(name: str) -> Pieces:
    """A tokenizer from a hub id, a folder or a tokenizer.json.

    RAISES (ValueError): P027 if there is none; P020 if it is no fast one or has no known end piece.
    """
    if not Path(name).is_file():
        return load_pieces(Reference(name))
    try:
        tokenizer = PreTrainedTokenizerFast(tokenizer_file=name)
    except Exception as error:  # tokenizers raises nothing more special
        raise ValueError(Errors.P027.format(what="tokenizer", name=name, reason=error)) from error
    tokenizer.eos_token = next((end for end in _ENDS if end in tokenizer.get_vocab()), None)
    return Pieces(tokenizer, name=name)


def _pieces(texts: Sequence[str], questions: Sequence[str], shape: FreshShape, tokenizer: str | None) -> Pieces:
    if tokenizer is not None:
        return read_tokenizer(tokenizer)
    return Pieces(train_tokenizer(texts, questions, shape.vocab_size), leading_blank=True)


def shaped_model(name: str, pieces: Pieces, *, device: torch.device, dtype: str) -> LanguageModel:
    """A shape of `SHAPES` as the fresh decoder has it, with random weights and a tokenizer that is there already."""
    model = build_decoder(SHAPES[name], pieces.tokenizer, seed=0).to(device, getattr(torch, dtype))
    return LanguageModel(model, pieces, device, name)


def make_model(
    name: str, texts: Sequence[str], questions: Sequence[str], *, device: str, dtype: str, tokenizer: str | None = None
) -> LanguageModel:
    """A model by name: a shape of `SHAPES`, a folder of a saved pipeline, or a hub id or folder of a causal LM.

    texts, questions (Sequence[str]): What the tokenizer of a random model is trained on.
    tokenizer (str | None): A tokenizer for it in place of that, as `read_tokenizer` takes it.
    RETURNS (LanguageModel): In evaluation mode.
    """
    chosen = choose_device(device)
    if name in SHAPES:
        return shaped_model(name, _pieces(texts, questions, SHAPES[name], tokenizer), device=chosen, dtype=dtype)
    if (Path(name) / "meta.json").is_file():
        nlp = spacy.load(name)
        pipe = next(pipe for kind, pipe in nlp.pipeline if nlp.get_pipe_meta(kind).factory == "padellm_ner")
        return shim_of(pipe.model).lm  # type: ignore[attr-defined]
    reference = Reference(name)
    model = load_model(reference, dtype=getattr(torch, dtype), device=chosen)
    lm = LanguageModel(model, load_pieces(reference), chosen, name)
    prove(lm)
    return lm
