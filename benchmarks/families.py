"""Which model families can be used: each passes the load-time proof on a tiny random model, or says why not.

    python -m benchmarks.families --output results/families.json

Every family of causal LMs in transformers that can be made small from its config alone is tried. Run it on another
release of transformers for that release's table.
"""

from __future__ import annotations

import argparse
import sys
import warnings
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from transformers import AutoConfig, AutoModelForCausalLM, PretrainedConfig
from transformers.models.auto.modeling_auto import MODEL_FOR_CAUSAL_LM_MAPPING_NAMES
from transformers.utils import logging

from benchmarks.results import table, tell
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.attention import FOREST
from spacy_padellm.engine.fresh import train_tokenizer
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.engine.proof import prove

SIZES = {
    "vocab_size": 300,
    "hidden_size": 64,
    "intermediate_size": 96,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "num_key_value_heads": 2,
    "head_dim": 16,
    "max_position_embeddings": 256,
    # Larger than usual, so that a wrong mask or position changes logits by far more than rounding does.
    "initializer_range": 0.3,
    # Mixtures of experts: few.
    "num_experts": 4,
    "num_local_experts": 4,
    "n_routed_experts": 4,
    "num_experts_per_tok": 2,
    "moe_intermediate_size": 32,
    # Names that older families have for the same.
    "n_embd": 64,
    "n_layer": 2,
    "n_head": 4,
    "n_positions": 256,
    "n_ctx": 256,
    "word_embed_proj_dim": 64,
    "ffn_dim": 96,
    "decoder_layers": 2,
    "decoder_attention_heads": 4,
    "d_model": 64,
    "bos_token_id": 1,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
"""What a family is made small with. A config keeps what it does not know as an attribute that nobody reads."""

LARGEST = 20_000_000
"""Weights of a model that is tried, at most: a family that needs more cannot be made small by these settings."""


def try_family(family: str, pieces: Pieces) -> str:
    """Try one family.

    RETURNS (str): "passes", or what is in the way.
    """
    try:
        config = _config(family)
        with torch.device("meta"):
            size = sum(w.numel() for w in AutoModelForCausalLM.from_config(config).parameters())
        if size > LARGEST:
            return f"not tried: {size / 1e6:.0f} million weights at the least"
        torch.manual_seed(0)
        model = AutoModelForCausalLM.from_config(config, attn_implementation=FOREST).float().eval()
    except KeyError as error:
        return "its attention cannot be exchanged" if FOREST in str(error) else f"not tried: {_short(error)}"
    except Exception as error:  # each family has its own way to say that it cannot be made like this
        return f"not tried: {_short(error)}"
    try:
        prove(LanguageModel(model, pieces, torch.device("cpu"), family))
    except ValueError as error:
        return _short(error)
    return "passes"


def _config(family: str) -> PretrainedConfig:
    try:
        return AutoConfig.for_model(family, **SIZES)
    except AttributeError:  # some compute the size of a head and let nobody set it
        return AutoConfig.for_model(family, **{name: size for name, size in SIZES.items() if name != "head_dim"})


def _short(error: Exception) -> str:
    text = " ".join(str(error).split())
    start = text.find("run alone: ")
    text = text[start + len("run alone: ") :] if start >= 0 else f"{type(error).__name__}: {text}"
    return text.split(". Choose a model")[0][:160]


def measure(arguments: argparse.Namespace) -> dict[str, Any]:
    families = arguments.families or sorted(MODEL_FOR_CAUSAL_LM_MAPPING_NAMES)
    pieces = Pieces(train_tokenizer(["a text"], [], 257))
    logging.set_verbosity(logging.CRITICAL)
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        for family in families:
            found[family] = try_family(family, pieces)
            print(f"{family}: {found[family]}", file=sys.stderr, flush=True)
    return {
        "passing": sorted(family for family, told in found.items() if told == "passes"),
        "refused": {family: told for family, told in found.items() if told != "passes" and "not tried" not in told},
        "not_tried": {family: told for family, told in found.items() if "not tried" in told},
        **surroundings(),
    }


def tables(figures: dict[str, Any]) -> Iterator[str]:
    yield f"{len(figures['passing'])} families pass: {', '.join(figures['passing'])}."
    yield table(["refused", "why"], [[family, why] for family, why in figures["refused"].items()])
    yield table(["not tried", "why"], [[family, why] for family, why in figures["not_tried"].items()])


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--families", nargs="+", help="model types; by default all that transformers has")
    parser.add_argument("--output", type=Path, help="a JSON file; beside it a table is written")
    arguments = parser.parse_args(argv)
    figures = measure(arguments)
    tell(figures, list(tables(figures)), arguments.output)


if __name__ == "__main__":
    with coded_errors():
        main()
