"""First weights that several schemes are trained from: a small decoder, and a tokenizer that knows the words of all of
their questions.

    python project/scripts/first_weights.py TRAIN.spacy LABELS.json FOLDER --seed 0

The folder is a base model for `spacy-padellm.CausalLM.v1`.
"""

from __future__ import annotations

import argparse
from dataclasses import dataclass
from pathlib import Path

import spacy
from spacy.util import registry
from train_schemes import SCHEMES
from wasabi import msg

from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.engine.checkpoint import save_model
from spacy_padellm.engine.fresh import FreshShape, build_decoder, train_tokenizer
from spacy_padellm.engine.pieces import Pieces
from spacy_padellm.pipeline.labels import check_labels, words_of
from spacy_padellm.schemes.segments import prompt_segments


@dataclass(frozen=True)
class FirstWeights:
    """What the decoder is made of.

    shape (FreshShape): Its shape.
    prompt (str): "English", "Chinese" or "Compact".
    limit (int): Train the tokenizer on so many texts, 0 for all.
    seed (int): Of the weights.
    """

    shape: FreshShape
    prompt: str
    limit: int
    seed: int


def make_first_weights(train: Path, labels: Path, folder: Path, first: FirstWeights) -> None:
    """Train a tokenizer and write it with a decoder of random weights.

    train (Path): Training documents.
    labels (Path): Names, or names with their words in the prompt.
    folder (Path): The folder to write to.
    """
    names = read_labels_v1(path=labels)
    segments: dict[str, None] = {}
    for name in SCHEMES.values():
        prompt = {"@misc": f"spacy-padellm.{first.prompt}Prompt.v1"}
        block = {"scheme": {"@misc": f"spacy-padellm.{name}.v1", "prompt": prompt}}
        scheme = registry.resolve(block)["scheme"]
        segments |= dict.fromkeys(prompt_segments(scheme, words_of(check_labels(names), scheme)))
    vocab = spacy.blank("xx").vocab
    texts = [doc.text for _, doc in zip(range(first.limit or 10**9), read_docs(train, vocab), strict=False)]
    tokenizer = train_tokenizer(texts, segments, first.shape.vocab_size)
    model = build_decoder(first.shape, tokenizer, seed=first.seed)
    save_model(model, Pieces(tokenizer, leading_blank=True), folder)
    n_weights = sum(weight.numel() for weight in model.parameters())
    msg.good(f"{n_weights:,} weights and {len(tokenizer):,} pieces: {folder}")


def add_shape(parser: argparse.ArgumentParser) -> None:
    """The options of a decoder's shape; the defaults are those of project/configs/fresh.cfg."""
    parser.add_argument("--hidden-size", type=int, default=128)
    parser.add_argument("--n-layers", type=int, default=4)
    parser.add_argument("--n-heads", type=int, default=4)
    parser.add_argument("--intermediate-size", type=int, default=256)
    parser.add_argument("--vocab-size", type=int, default=1200)
    parser.add_argument("--max-positions", type=int, default=1024)
    parser.add_argument("--rope-theta", type=float, default=1000.0)


def shape_of(options: argparse.Namespace) -> FreshShape:
    return FreshShape(**{name: getattr(options, name) for name in FreshShape.__dataclass_fields__})


def main() -> None:
    parser = argparse.ArgumentParser(description="Make the first weights that several schemes are trained from.")
    parser.add_argument("train", type=Path, help="training documents")
    parser.add_argument("labels", type=Path, help="JSON file of labels")
    parser.add_argument("output", type=Path, help="folder to write to")
    parser.add_argument("--prompt", default="English", help="English, Chinese or Compact")
    parser.add_argument("--limit", type=int, default=0, help="train the tokenizer on so many texts")
    parser.add_argument("--seed", type=int, default=0)
    add_shape(parser)
    options = parser.parse_args()
    first = FirstWeights(shape_of(options), options.prompt, options.limit, options.seed)
    make_first_weights(options.train, options.labels, options.output, first)


if __name__ == "__main__":
    main()
