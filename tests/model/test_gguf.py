"""GGUF files say what the model says, as llama.cpp reads them."""

from __future__ import annotations

import warnings
from pathlib import Path
from typing import Any

import httpx
import pytest
import torch

from benchmarks.serving import llama_cpp
from spacy_padellm.engine.proof import own_attention
from spacy_padellm.model.gguf import FILE, GGUF_DTYPES, write_gguf
from spacy_padellm.model.merging import save_merged
from tests.checkpoints import build_lm, pieces_of

pytestmark = pytest.mark.filterwarnings("ignore:.*W080")

PROMPT = ("text:\n", "Japan beat Syria, 2-1.", "\nentity type:\nperson\n\n<num>")

LLAMA3 = {
    "rope_type": "llama3",
    "factor": 8.0,
    "low_freq_factor": 1.0,
    "high_freq_factor": 4.0,
    "original_max_position_embeddings": 32,
}
"""Every frequency of a small head is scaled by its own factor."""


def written(tmp_path: Path, family: str, tokenizer: str = "qwen", dtype: str = "float32", **settings: Any) -> Any:
    lm = build_lm(family, pieces_of(tokenizer), **settings)
    save_merged(lm, tmp_path / "merged", name="tiny")
    write_gguf(tmp_path / "merged", lm.pieces, tmp_path / FILE, name="tiny", dtype=dtype)
    return lm


def expected(lm: Any, prompt: list[int], n_pieces: int) -> list[tuple[int, float]]:
    """The likeliest pieces with their log-probabilities, by transformers' own attention."""
    told: list[tuple[int, float]] = []
    with torch.inference_mode(), own_attention(lm):
        while len(told) < n_pieces and lm.pieces.end not in [piece for piece, _ in told]:
            row = torch.tensor([[*prompt, *(piece for piece, _ in told)]])
            scores = lm.model(row, use_cache=False).logits[0, -1].float().log_softmax(dim=-1)
            told.append((int(scores.argmax()), float(scores.max())))
    return told


def said(url: str, prompt: list[int], n_pieces: int) -> tuple[list[int], list[tuple[int, float]]]:
    """What llama.cpp says: all pieces, and those with their log-probabilities that are no bytes of a character."""
    body = {"prompt": prompt, "n_predict": n_pieces, "temperature": 0, "n_probs": 1, "return_tokens": True}
    found = httpx.post(f"{url.removesuffix('/v1')}/completion", json=body, timeout=60).json()
    return found["tokens"], [(one["id"], one["logprob"]) for one in found["completion_probabilities"]]


def prompt_of(lm: Any) -> list[int]:
    return [*lm.pieces.start, *(piece for part in lm.pieces.encode(PROMPT) for piece in part)]


FORMS: list[tuple[str, str, dict[str, Any]]] = [
    ("llama", "fresh", {"attention_bias": True, "tie_word_embeddings": True}),
    ("llama", "llama", {}),
    ("llama", "gpt2", {"rope_theta": 500.0}),
    ("llama", "qwen", {"rope_scaling": LLAMA3}),
    ("llama", "qwen", {"rope_scaling": {"rope_type": "linear", "factor": 4.0}}),
    ("mistral", "llama", {"head_dim": 16}),
    ("qwen2", "qwen", {}),
    ("qwen3", "qwen", {"tie_word_embeddings": True}),
]


@pytest.mark.parametrize(("family", "tokenizer", "settings"), FORMS, ids=lambda one: str(one)[:20])
def test_llama_cpp_says_what_transformers_says(family: str, tokenizer: str, settings: dict[str, Any], tmp_path: Path):
    lm = written(tmp_path, family, tokenizer, **settings)
    prompt = prompt_of(lm)
    with llama_cpp(tmp_path / FILE) as url:
        pieces, found = said(url, prompt, 12)
    told = expected(lm, prompt, 12)
    assert pieces == [piece for piece, _ in told if piece != lm.pieces.end]
    assert found
    rest = iter(told)
    for piece, score in found:
        assert score == pytest.approx(next(its for other, its in rest if other == piece), abs=1e-3)


@pytest.mark.parametrize("dtype", GGUF_DTYPES)
def test_dtype(dtype: str, tmp_path: Path):
    lm = written(tmp_path, "llama", dtype=dtype, hidden_size=64, intermediate_size=96)
    size = (tmp_path / FILE).stat().st_size
    with llama_cpp(tmp_path / FILE) as url:
        pieces, _ = said(url, prompt_of(lm), 3)
    told = expected(lm, prompt_of(lm), 3)
    assert pieces[0] == told[0][0]
    if dtype == "float32":
        assert pieces == [piece for piece, _ in told]
    n_weights = sum(weight.numel() for weight in lm.model.parameters())
    bytes_each = {"float32": 4, "bfloat16": 2, "float16": 2, "q8_0": 34 / 32}[dtype]
    assert size == pytest.approx(n_weights * bytes_each, abs=40_000)


@pytest.mark.parametrize(
    ("family", "settings", "told"),
    [
        ("gpt_neox", {}, "gpt_neox"),
        ("mistral-window", {}, "5 pieces at a time"),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}, "dynamic"),
    ],
)
def test_what_cannot_be_written_p071(family: str, settings: dict[str, Any], told: str, tmp_path: Path):
    if family == "gpt_neox":
        from transformers import GPTNeoXConfig, GPTNeoXForCausalLM

        config = GPTNeoXConfig(vocab_size=600, hidden_size=32, num_hidden_layers=1, num_attention_heads=2)
        GPTNeoXForCausalLM(config).save_pretrained(tmp_path / "merged")
        with pytest.raises(ValueError, match=f"P071.*{told}"):
            write_gguf(tmp_path / "merged", pieces_of("qwen"), tmp_path / FILE, name="tiny", dtype="float32")
        return
    with pytest.raises(ValueError, match=f"P071.*{told}"):
        written(tmp_path, family, **settings)


@pytest.mark.parametrize(
    ("tokenizer", "is_told"), [("gpt2", False), ("qwen", False), ("llama", False), ("fresh", True)]
)
def test_a_cut_that_llama_cpp_does_not_know_w080(tokenizer: str, is_told: bool, tmp_path: Path):
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        written(tmp_path, "llama", tokenizer)
    assert any("W080" in str(one.message) for one in told) == is_told


@pytest.mark.parametrize("tokenizer", ["gpt2", "llama"])
def test_llama_cpp_cuts_and_writes_text_as_the_tokenizer_does(tokenizer: str, tmp_path: Path):
    lm = written(tmp_path, "llama", tokenizer)
    text = "Japan beat São Paulo, 2-1."
    with llama_cpp(tmp_path / FILE) as url:
        root = url.removesuffix("/v1")
        asked = {"content": text, "add_special": False}
        cut = httpx.post(f"{root}/tokenize", json=asked, timeout=60).json()["tokens"]
        back = httpx.post(f"{root}/detokenize", json={"tokens": cut}, timeout=60).json()["content"]
    assert tuple(cut) == lm.pieces.encode([text])[0]
    assert back.strip() == text
