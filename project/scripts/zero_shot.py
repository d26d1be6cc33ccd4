"""Figures of a pipeline on labels that it was not trained on: all labels of a data set, those that training asked about
too, and those that it never asked about.

    python project/scripts/zero_shot.py MODEL TEST.spacy METRICS.json --labels LABELS.json --train-labels TRAINED.json

Two labels are the same if their words in the prompt are, upper and lower case aside.
"""

from __future__ import annotations

import argparse
from dataclasses import replace
from pathlib import Path
from typing import Any

import spacy
import srsly
from spacy.language import Language
from spacy.tokens import Doc
from wasabi import msg

from spacy_padellm.cli.evaluate import ask_about, read_gold
from spacy_padellm.cli.root import coded_errors
from spacy_padellm.data.labels import read_labels_v1
from spacy_padellm.metrics.pairs import Pair, Said, labels_in
from spacy_padellm.metrics.report import Outcome, report
from spacy_padellm.pipeline.label_spec import LabelSpec
from spacy_padellm.pipeline.labels import check_labels
from spacy_padellm.pipeline.outcomes import outcome_of

SAMPLES = 1000
"""Resamples of the test set that the intervals come from."""

VIEWS = {"all": "all labels", "seen": "seen in training", "unseen": "never seen"}


def evaluate(nlp: Language, gold: list[Doc], *, labels: Any, trained: Any, spans_key: str = "sc") -> dict[str, Any]:
    """Ask a pipeline about labels, and compare.

    nlp (Language): The trained pipeline. Its padellm_ner pipes are asked about `labels` from now on.
    gold (list[Doc]): The test set.
    labels (Any): What is asked about, names or names with words.
    trained (Any): What training asked about.
    spans_key (str): The span group with all mentions.
    RETURNS (dict[str, Any]): `docs`; `labels`, the names that are `seen` and `unseen`; the figures of `all`, of those
        `seen` and of those `unseen`, each as `metrics.report.report` gives them.
    RAISES (ValueError): P155 for a pipeline without a padellm_ner pipe; P011, P015 to P017 or P190 for labels that are
            none.
    """
    ask_about(nlp, labels)
    outcome = outcome_of(gold, nlp.pipe(doc.text for doc in gold), spans_key)
    words, known = words_of(labels), {one.casefold() for one in words_of(trained).values()}
    # A gold label that is not asked about was missed, and counts as what its name says.
    names = sorted({*words, *labels_in(outcome.spans), *labels_in(outcome.ents)})
    seen = [name for name in names if words.get(name, name).casefold() in known]
    parts = {"all": names, "seen": seen, "unseen": [name for name in names if name not in seen]}
    figures = {view: report(only(outcome, part), part, samples=SAMPLES) for view, part in parts.items()}
    return {"docs": len(gold), "labels": {view: parts[view] for view in ("seen", "unseen")}, **figures}


def words_of(labels: Any) -> dict[str, str]:
    """Words of each label; a name without words stands for itself."""
    specs = {name: LabelSpec.of(name, given) for name, given in check_labels(labels).items()}
    return {name: (spec.words or name).strip() for name, spec in specs.items()}


def only(outcome: Outcome, labels: list[str]) -> Outcome:
    """What concerns some labels."""

    def part(pair: Pair) -> Pair:
        gold, predicted = (
            tuple(found for found in side if found.label in labels) for side in (pair.gold, pair.predicted)
        )
        return replace(pair, gold=gold, predicted=predicted, said=said_about(pair.said, labels))

    return Outcome(tuple(map(part, outcome.spans)), tuple(map(part, outcome.ents)))


def said_about(said: Said | None, labels: list[str]) -> Said | None:
    if said is None:
        return None
    unplaced, surplus = (
        tuple(mention for mention in side if mention.label in labels) for side in (said.unplaced, said.surplus)
    )
    counts = {label: count for label, count in said.counts.items() if label in labels}
    below = tuple(found for found in said.below if found.label in labels)
    return Said(counts, unplaced, surplus, below)


def show(metrics: dict[str, Any]) -> None:
    """Print the figures as tables."""
    figures = ("p", "r", "f", "gold")
    rows = [(name, *(metrics[view]["spans"][figure] for figure in figures)) for view, name in VIEWS.items()]
    aligns = ("l", "r", "r", "r", "r")
    msg.table(rows, header=("spans", "P", "R", "F", "gold"), divider=True, aligns=aligns)
    per_label = metrics["all"]["spans"]["per_label"]
    rows = [
        (label, *(per_label[label][figure] for figure in figures), "" if label in metrics["labels"]["seen"] else "new")
        for label in per_label
    ]
    msg.table(rows, header=("spans", "P", "R", "F", "gold", ""), divider=True, aligns=(*aligns, "l"))


def main() -> None:
    parser = argparse.ArgumentParser(description="Evaluate a pipeline on labels that it was not trained on.")
    parser.add_argument("model", help="folder or package name of the pipeline")
    parser.add_argument("test", type=Path, help="gold documents")
    parser.add_argument("output", type=Path, help="JSON file to write")
    parser.add_argument("--labels", type=Path, required=True, help="what is asked about")
    parser.add_argument("--train-labels", type=Path, required=True, help="what training asked about")
    parser.add_argument("--spans-key", default="sc")
    parser.add_argument("--gpu-id", type=int, default=-1)
    options = parser.parse_args()
    if options.gpu_id >= 0:
        spacy.require_gpu(options.gpu_id)
    with coded_errors():
        labels, trained = (read_labels_v1(path=path) for path in (options.labels, options.train_labels))
        gold = read_gold(options.test, spans_key=options.spans_key)
        nlp = spacy.load(options.model)
        metrics = evaluate(nlp, gold, labels=labels, trained=trained, spans_key=options.spans_key)
    options.output.parent.mkdir(parents=True, exist_ok=True)
    srsly.write_json(options.output, metrics)
    show(metrics)
    msg.good(f"Saved to {options.output}")


if __name__ == "__main__":
    main()
