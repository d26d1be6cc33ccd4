"""Figures of a trained pipeline on a test set, as JSON: spans, strings, counts, mistakes, speed. For any spaCy pipeline
that finds spans.

    python project/scripts/evaluate.py MODEL TEST.spacy METRICS.json --train TRAIN.spacy

Spans are compared by characters and label. `unseen` leaves out the test texts that stand in train. The rest is what
`spacy padellm evaluate` tells.
"""

from __future__ import annotations

import argparse
import platform
import time
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.data.doc_bins import read_docs
from spacy_padellm.data.splits import sameness
from spacy_padellm.metrics.pairs import labels_in
from spacy_padellm.metrics.report import Outcome, report
from spacy_padellm.pipeline.outcomes import labels_of, outcome_of

SAMPLES = 1000
"""Resamples of the test set that the intervals come from."""


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
    outcome = outcome_of(gold, predicted, spans_key)
    labels = sorted(labels_of(nlp) | labels_in(outcome.spans) | labels_in(outcome.ents))
    return {
        **report(outcome, labels, samples=SAMPLES),
        "unseen": report(unseen(outcome, seen), labels),
        "speed": {
            "docs": len(texts),
            "seconds": round(seconds, 4),
            "docs_per_second": round(len(texts) / seconds, 2) if texts else None,
            "tokens_per_second": round(sum(map(len, predicted)) / seconds, 2) if texts else None,
            "machine": platform.processor() or platform.machine(),
        },
    }


def unseen(outcome: Outcome, seen: set[str]) -> Outcome:
    """Without the texts that stand in train."""
    views = ([pair for pair in pairs if sameness(pair.text) not in seen] for pairs in (outcome.spans, outcome.ents))
    return Outcome(*map(tuple, views))


def show(metrics: dict[str, Any]) -> None:
    """Print the figures as a table."""
    spans = metrics["spans"]
    rows = [("all labels", *(spans[name] for name in ("p", "r", "f", "gold")))]
    rows += [(label, *(row[name] for name in ("p", "r", "f", "gold"))) for label, row in spans["per_label"].items()]
    msg.table(rows, header=("spans", "P", "R", "F", "gold"), divider=True, aligns=("l", "r", "r", "r", "r"))
    counts, new, speed = metrics["counts"], metrics["unseen"], metrics["speed"]
    msg.text(f"Counts right: {counts['all']}% of all (text, label) pairs, {counts['nonzero']}% of those with mentions")
    msg.text(f"Texts not in train: F {new['spans']['f']} on {new['docs']}")
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
    seen = {sameness(doc.text) for doc in read_docs(options.train, nlp.vocab)} if options.train else set()
    metrics = evaluate(nlp, list(read_docs(options.test, nlp.vocab)), seen=seen, spans_key=options.spans_key)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    srsly.write_json(options.output, metrics)
    show(metrics)
    msg.good(f"Saved to {options.output}")


if __name__ == "__main__":
    main()
