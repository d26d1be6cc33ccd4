"""Figures of a trained pipeline on a test set, as JSON: spans, counts, speed. For any spaCy pipeline that finds spans.

    python project/scripts/evaluate.py MODEL TEST.spacy METRICS.json --train TRAIN.spacy

Spans are compared by characters and label. `unseen` leaves out the test texts that stand in train.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import spacy
import srsly
from scoring import Pair, count_scores, pair_up, span_scores
from spacy.language import Language
from spacy.tokens import Doc, DocBin
from wasabi import msg

from spacy_padellm.data.splits import sameness


def evaluate(nlp: Language, gold: list[Doc], *, seen: set[str], spans_key: str = "sc") -> dict[str, Any]:
    """Annotate the texts of gold documents and compare.

    nlp (Language): The trained pipeline.
    gold (list[Doc]): The test set.
    seen (set[str]): Training texts, by `sameness`.
    spans_key (str): The span group with all mentions.
    RETURNS (dict[str, Any]): The figures.
    """
    texts = [doc.text for doc in gold]
    # What is set up on first use is not what a served document costs.
    list(nlp.pipe(texts[:8]))
    begun = time.perf_counter()
    predicted = list(nlp.pipe(texts))
    seconds = time.perf_counter() - begun
    pairs = pair_up(gold, predicted, spans_key)
    unseen = [pair for pair in pairs if sameness(pair.text) not in seen]
    labels = sorted({label for name in nlp.pipe_names for label in nlp.pipe_labels.get(name, [])})
    return {
        **figures(pairs, labels),
        "unseen": {"docs": len(unseen), **figures(unseen, labels)},
        "speed": {
            "docs": len(texts),
            "seconds": round(seconds, 4),
            "docs_per_second": round(len(texts) / seconds, 2) if texts else None,
            "tokens_per_second": round(sum(map(len, predicted)) / seconds, 2) if texts else None,
            "machine": platform.processor() or platform.machine(),
        },
    }


def figures(pairs: list[Pair], labels: list[str]) -> dict[str, Any]:
    """Spans and counts of some texts."""
    return {"spans": span_scores(pairs), "counts": count_scores(pairs, labels)}


def read(path: Path, nlp: Language) -> list[Doc]:
    """The documents of a .spacy file."""
    return list(DocBin().from_disk(path).get_docs(nlp.vocab))


def show(metrics: dict[str, Any]) -> None:
    """Print the figures as a table."""
    spans = metrics["spans"]
    rows = [("all labels", *(spans[name] for name in ("p", "r", "f", "gold")))]
    rows += [(label, *(row[name] for name in ("p", "r", "f", "gold"))) for label, row in spans["per_label"].items()]
    msg.table(rows, header=("spans", "P", "R", "F", "gold"), divider=True, aligns=("l", "r", "r", "r", "r"))
    counts, unseen, speed = metrics["counts"], metrics["unseen"], metrics["speed"]
    msg.text(f"Counts right: {counts['all']}% of all (text, label) pairs, {counts['nonzero']}% of those with mentions")
    msg.text(f"Texts not in train: F {unseen['spans']['f']} on {unseen['docs']}")
    msg.text(f"Speed: {speed['docs_per_second']} documents a second")


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate a trained pipeline: spans, counts, speed.")
    parser.add_argument("model", help="folder or package name of the pipeline")
    parser.add_argument("test", type=Path, help="gold documents")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--train", type=Path, help="training documents, to give figures without the texts seen there")
    parser.add_argument("--spans-key", default="sc")
    parser.add_argument("--gpu-id", type=int, default=-1)
    options = parser.parse_args()
    if options.gpu_id >= 0:
        spacy.require_gpu(options.gpu_id)
    nlp = spacy.load(options.model)
    seen = {sameness(doc.text) for doc in read(options.train, nlp)} if options.train else set()
    metrics = evaluate(nlp, read(options.test, nlp), seen=seen, spans_key=options.spans_key)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    srsly.write_json(options.output, metrics)
    show(metrics)
    msg.good(f"Saved to {options.output}")


if __name__ == "__main__":
    main()
