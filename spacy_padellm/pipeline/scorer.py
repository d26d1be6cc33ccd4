"""Scores of a padellm_ner pipe: flat entities as spaCy scores them, and all spans with nested ones."""

from collections.abc import Callable, Iterable
from typing import Any

from spacy.scorer import Scorer, get_ner_prf
from spacy.training import Example

from spacy_padellm.pipeline.examples import gold_mentions, gold_spans


def score_mentions(examples: Iterable[Example], *, spans_key: str = "sc", **_: Any) -> dict[str, Any]:
    """Score flat entities, spans and counts.

    examples (Iterable[Example]): Predicted and gold documents.
    spans_key (str): The span group that holds all mentions.
    RETURNS (dict[str, Any]): `ents_p`, `ents_r`, `ents_f`, `ents_per_type` as `spacy.ner_scorer.v1`;
        `spans_{key}_p` and so on where gold documents have that group; `ents_count_acc`, the share of (document,
        label) pairs with as many mentions predicted as there are in gold, over labels that occur in either, in
        documents that are annotated.
    """
    examples = list(examples)
    scores: dict[str, Any] = dict(get_ner_prf(examples))
    group = f"spans_{spans_key}"
    scores.update(
        Scorer.score_spans(
            examples,
            group,
            getter=lambda doc, _: doc.spans.get(spans_key, ()),
            has_annotation=lambda doc: spans_key in doc.spans,
            allow_overlap=True,
            labeled=True,
        )
    )
    scores["ents_count_acc"] = _count_accuracy(examples, spans_key)
    return scores


def _count_accuracy(examples: Iterable[Example], spans_key: str) -> float | None:
    right = asked = 0
    for example in examples:
        if gold_spans(example, spans_key) is None:
            continue
        gold = [mention.label for mention in gold_mentions(example, spans_key)]
        predicted = [span.label_ for span in example.predicted.spans.get(spans_key, example.predicted.ents)]
        for label in {*gold, *predicted}:
            asked += 1
            right += gold.count(label) == predicted.count(label)
    return right / asked if asked else None


def make_ner_scorer_v1() -> Callable[..., dict[str, Any]]:
    """`score_mentions` as a config block; the pipe names its own group of spans. It can be pickled."""
    return score_mentions
