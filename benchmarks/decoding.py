"""What decoding costs: steps, pieces and time per document.

    python -m benchmarks.decoding --docs FILE.jsonl --model tiny --scheme padellm --batch-size 1

Answers are replayed from gold, so every forward pass is paid for as if the model were perfect; `--answers model` takes
the model's own. Each line of FILE is {"text", "tokens", "spans": [[start, end, label], ...]}. The last line printed is
one JSON object.
"""

from __future__ import annotations

import argparse
import json
import statistics
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import torch

from benchmarks.documents import Document, labels_of, read_documents
from benchmarks.models import make_model
from benchmarks.surroundings import surroundings
from spacy_padellm.backends.local import answer_texts
from spacy_padellm.backends.replay import replay_texts
from spacy_padellm.engine.decoder import Counters, Decoding
from spacy_padellm.engine.language_model import LanguageModel
from spacy_padellm.prompts.english import build_english_prompt_v1
from spacy_padellm.schemes.augmented import AutoRegAug
from spacy_padellm.schemes.one_step import OneStep
from spacy_padellm.schemes.padellm import PaDeLLM
from spacy_padellm.schemes.structured import AutoRegStruct
from spacy_padellm.types import Scheme

SCHEMES: dict[str, Callable[[int], Scheme]] = {
    "padellm": lambda readings: PaDeLLM(build_english_prompt_v1(repeat_text=readings)),
    "one_step": lambda readings: OneStep(build_english_prompt_v1(repeat_text=readings)),
    "structured": lambda readings: AutoRegStruct(build_english_prompt_v1(repeat_text=readings)),
    "augmented": lambda readings: AutoRegAug(build_english_prompt_v1(repeat_text=readings)),
}


def decode_all(
    lm: LanguageModel, scheme: Scheme, documents: Sequence[Document], *, batch_size: int, replay: bool
) -> tuple[Counters, float]:
    """Decode all documents once. Returns what it cost and the seconds it took."""
    labels = labels_of(list(documents))
    counters = Counters()
    decoding = Decoding()
    start = time.perf_counter()
    for place in range(0, len(documents), batch_size):
        batch = documents[place : place + batch_size]
        texts = [doc.text for doc in batch]
        if replay:
            gold = [doc.gold for doc in batch]
            replay_texts(lm, scheme, labels, texts, gold, decoding=decoding, counters=counters)
        else:
            answer_texts(lm, scheme, labels, texts, decoding=decoding, counters=counters)
    if lm.device.type == "cuda":
        torch.cuda.synchronize()
    return counters, time.perf_counter() - start


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Decode the documents several times, after a warm-up, and take the median time."""
    documents = read_documents(arguments.docs, arguments.limit)
    texts = [doc.text.string for doc in documents]
    scheme = SCHEMES[arguments.scheme](arguments.readings)
    questions = [branch.question for branch in scheme.ask(labels_of(documents))]
    lm = make_model(arguments.model, texts, questions, device=arguments.device, dtype=arguments.dtype)
    settings = {"batch_size": arguments.batch_size, "replay": arguments.answers == "gold"}
    decode_all(lm, scheme, documents[: 2 * arguments.batch_size], **settings)
    runs = [decode_all(lm, scheme, documents, **settings) for _ in range(arguments.runs)]
    counters, n_docs = runs[0][0], len(documents)
    return {
        "docs": n_docs,
        "scheme": arguments.scheme,
        "model": arguments.model,
        "parameters": sum(weights.numel() for weights in lm.model.parameters()),
        "answers": arguments.answers,
        "batch_size": arguments.batch_size,
        "steps_per_doc": counters.document_steps / n_docs,
        "forward_passes": counters.steps,
        "pieces_per_doc": counters.pieces / n_docs,
        "answer_pieces_per_doc": counters.answer_pieces / n_docs,
        "peak_kv_pieces": counters.peak_kv_pieces,
        "ms_per_doc": 1000 * statistics.median(seconds for _, seconds in runs) / n_docs,
        "runs": arguments.runs,
        **surroundings(),
    }


def main(argv: Sequence[str] | None = None) -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--docs", type=Path, required=True)
    parser.add_argument(
        "--model", default="tiny", help="tiny, 8m, 40m (random weights), a pipeline's folder or a hub id"
    )
    parser.add_argument("--scheme", choices=sorted(SCHEMES), default="padellm")
    parser.add_argument("--batch-size", type=int, default=1)
    parser.add_argument("--answers", choices=["gold", "model"], default="gold")
    parser.add_argument("--readings", type=int, default=1, help="how often the text stands in the trunk")
    parser.add_argument("--limit", type=int, help="the first documents only")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    print(json.dumps(measure(parser.parse_args(argv))))


if __name__ == "__main__":
    main()
