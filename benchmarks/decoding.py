"""What decoding costs: steps, pieces and time per document.

    python -m benchmarks.decoding --docs FILE.jsonl --model tiny --scheme padellm --batch-size 1

Answers are replayed from gold, so every forward pass is paid for as if the model were perfect; `--answers model` takes
the model's own. Each line of FILE is {"text", "tokens", "spans": [[start, end, label], ...]}. The last line printed is
one JSON object. `benchmarks.latency` sets all schemes and other ways to decode beside each other.
"""

from __future__ import annotations

import argparse
import json
import statistics
from collections.abc import Sequence
from pathlib import Path
from typing import get_args

from benchmarks.arms import Forest, corpus_model, run_all
from benchmarks.corpora import Language, read_corpus
from benchmarks.schemes import SCHEMES
from benchmarks.surroundings import surroundings
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.engine.decoder import Decoding
from spacy_padellm.engine.drafting import Drafting


def measure(arguments: argparse.Namespace) -> dict[str, object]:
    """Decode the documents several times, after a warm-up, and take the median time."""
    corpus = read_corpus(
        arguments.docs,
        limit=arguments.limit,
        language=arguments.language,
        words="names",
        readings=arguments.readings,
    )
    lm = corpus_model(
        arguments.model, corpus, device=arguments.device, dtype=arguments.dtype, tokenizer=arguments.tokenizer
    )
    drafts = arguments.drafts
    drafting = Drafting(
        questions=drafts != "none", copies=arguments.copies if drafts != "none" else 0, counts=drafts == "all"
    )
    forest = Forest(
        lm,
        SCHEMES[arguments.scheme](corpus.prompt),
        corpus,
        replay=arguments.answers == "gold",
        decoding=Decoding(drafting=drafting),
    )
    run_all(forest, corpus.documents[: 2 * arguments.batch_size], arguments.batch_size)
    runs = [run_all(forest, corpus.documents, arguments.batch_size) for _ in range(arguments.runs)]
    counters, n_docs = runs[0][0], len(corpus.documents)
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
        "drafts_per_doc": counters.drafts / n_docs,
        "drafts_accepted_per_doc": counters.drafts_accepted / n_docs,
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
    parser.add_argument("--drafts", choices=["none", "some", "all"], default="some", help="some: all but counts")
    parser.add_argument("--copies", type=int, default=Drafting().copies, help="pieces drafted of a copied string")
    parser.add_argument("--tokenizer", help="a hub id, folder or tokenizer.json, for a model with random weights")
    parser.add_argument("--answers", choices=["gold", "model"], default="gold")
    parser.add_argument("--readings", type=int, default=1, help="how often the text stands in the trunk")
    parser.add_argument("--language", choices=get_args(Language), help="of the prompt; by default the data set's")
    parser.add_argument("--limit", type=int, help="the first documents only")
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--device", default="auto")
    parser.add_argument("--dtype", choices=["float32", "bfloat16", "float16"], default="float32")
    print(json.dumps(measure(parser.parse_args(argv))))


if __name__ == "__main__":
    with coded_errors():
        main()
