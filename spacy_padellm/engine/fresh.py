"""A small Llama-type decoder and a tokenizer trained on the user's texts, where no pretrained model is at hand."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import torch
from tokenizers import Regex, Tokenizer, decoders, models, pre_tokenizers, trainers
from transformers import AutoModelForCausalLM, LlamaConfig, PreTrainedModel, PreTrainedTokenizerFast

from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.induction import start_copying
from spacy_padellm.engine.pieces import HAN

END = "</s>"


@dataclass(frozen=True)
class FreshShape:
    """The shape of a fresh decoder.

    hidden_size, n_layers, n_heads, intermediate_size (int): As in Llama.
    vocab_size (int): Pieces of the tokenizer, at most; at least 257 (bytes and the end piece).
    max_positions (int): The longest path from a text's first piece to an answer's last.
    rope_theta (float): Base of the rotary positions; small, since the paths are short.
    """

    hidden_size: int
    n_layers: int
    n_heads: int
    intermediate_size: int
    vocab_size: int
    max_positions: int
    rope_theta: float


def train_tokenizer(texts: Iterable[str], questions: Iterable[str], vocab_size: int) -> PreTrainedTokenizerFast:
    """A byte-level BPE tokenizer, to be used with `Pieces(..., leading_blank=True)`.

    It is trained on the distinct words of the texts, each with a blank in front, so that rare words, too, are cut into
    pieces that other words share. Words of the questions stand in every tree, so they are kept whole. Chinese
    characters never share a piece: where words are not set apart, a mention is cut as the text around it only so.

    texts (Iterable[str]): Training texts.
    questions (Iterable[str]): The segments of the prompt.
    vocab_size (int): The most pieces.
    RETURNS (PreTrainedTokenizerFast): The tokenizer; its end-of-sequence piece is "</s>".
    """
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence(
        [
            pre_tokenizers.Split(Regex(HAN), behavior="isolated"),
            pre_tokenizers.ByteLevel(add_prefix_space=False),
        ]
    )
    tokenizer.decoder = decoders.ByteLevel()
    words = list(dict.fromkeys(f" {word}" for text in texts for word in text.split()))
    # Digits are counts and ordinals.
    questions = (question if question.startswith("\n") else f" {question}" for question in questions)
    asked = [*questions, *(f" {digit}" for digit in range(10))]
    trainer = trainers.BpeTrainer(
        vocab_size=vocab_size,
        special_tokens=[END],
        initial_alphabet=sorted(pre_tokenizers.ByteLevel.alphabet()),
        show_progress=False,
    )
    tokenizer.train_from_iterator([*words, *asked * (1 + len(words) // len(asked))], trainer)
    return PreTrainedTokenizerFast(tokenizer_object=tokenizer, eos_token=END)


def build_decoder(shape: FreshShape, tokenizer: PreTrainedTokenizerFast, *, seed: int) -> PreTrainedModel:
    """A Llama decoder with random weights that begins able to copy; input and output embeddings are tied.

    RETURNS (PreTrainedModel): In float32, on the CPU, in evaluation mode.
    """
    config = LlamaConfig(
        vocab_size=len(tokenizer),
        hidden_size=shape.hidden_size,
        intermediate_size=shape.intermediate_size,
        num_hidden_layers=shape.n_layers,
        num_attention_heads=shape.n_heads,
        num_key_value_heads=shape.n_heads,
        max_position_embeddings=shape.max_positions,
        rope_theta=shape.rope_theta,
        attention_bias=True,
        initializer_range=0.03,
        tie_word_embeddings=True,
        bos_token_id=None,
        eos_token_id=tokenizer.eos_token_id,
        pad_token_id=None,
    )
    with torch.random.fork_rng(devices=[]):
        torch.manual_seed(seed)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=FOREST)
        start_copying(model, rope_theta=shape.rope_theta)
    return model.eval()
