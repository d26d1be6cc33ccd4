"""What an arm's runs cost, and how that compares with another arm's."""

from __future__ import annotations

import statistics
from collections.abc import Mapping, Sequence
from typing import Any

from benchmarks.contenders.generation import BatchCounters

Cost = dict[str, Any]


def cost(counters: BatchCounters, seconds: Sequence[float], n_docs: int) -> Cost:
    """One arm's figures for a document. A pipeline of another kind has time only.

    counters (BatchCounters): What one run cost.
    seconds (Sequence[float]): What each run took.
    n_docs (int): Documents of a run.
    """
    told: Cost = {
        "ms_per_doc": 1000 * statistics.median(seconds) / n_docs,
        "ms_per_doc_of_runs": [1000 * one / n_docs for one in seconds],
    }
    if counters.steps:
        told |= {
            "steps_per_doc": counters.document_steps / n_docs,
            "forward_passes": counters.steps,
            "pieces_per_doc": counters.pieces / n_docs,
            "padding_per_doc": counters.padding / n_docs,
            "drafts_per_doc": counters.drafts / n_docs,
            "drafts_accepted_per_doc": counters.drafts_accepted / n_docs,
            "answers_per_doc": counters.answers / n_docs,
            "answer_pieces_per_doc": counters.answer_pieces / n_docs,
            "peak_kv_pieces": counters.peak_kv_pieces,
        }
    return told


def quotients(slow: Mapping[str, Any], fast: Mapping[str, Any]) -> list[float]:
    """Time of one arm over that of another, run by run: both went through the same documents in turns."""
    runs = zip(slow["ms_per_doc_of_runs"], fast["ms_per_doc_of_runs"], strict=True)
    return [one / other for one, other in runs]
