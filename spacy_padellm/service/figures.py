"""What a service tells Prometheus."""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client import CollectorRegistry, Counter, Histogram
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily
from prometheus_client.metrics_core import Metric

from spacy_padellm.service.annotator import Annotator

_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Figures:
    """Counters of one service.

    annotator (Annotator): Whose texts and steps are counted.
    """

    def __init__(self, annotator: Annotator) -> None:
        self.registry = CollectorRegistry()
        self.registry.register(_Engine(annotator))
        self.requests = Counter(
            "padellm_requests", "Requests by path and status", ["path", "status"], registry=self.registry
        )
        self.documents = Counter(
            "padellm_documents", "Texts answered, by what became of them", ["outcome"], registry=self.registry
        )
        self.seconds = Histogram(
            "padellm_document_seconds",
            "Seconds from when a text was accepted to its answer",
            buckets=_SECONDS,
            registry=self.registry,
        )
        for outcome in ("done", "failed", "late", "refused"):
            self.documents.labels(outcome)


class _Engine:
    """The engine's own counters, read when they are asked for."""

    def __init__(self, annotator: Annotator) -> None:
        self._annotator = annotator

    def collect(self) -> Iterator[Metric]:
        counted = [pipe.counters for pipe in self._annotator.pipes]
        yield GaugeMetricFamily("padellm_waiting", "Texts in line", value=self._annotator.waiting)
        yield GaugeMetricFamily("padellm_under_way", "Texts that were accepted", value=self._annotator.under_way)
        yield CounterMetricFamily("padellm_steps", "Forward passes", value=sum(one.steps for one in counted))
        yield CounterMetricFamily("padellm_pieces", "Pieces computed", value=sum(one.pieces for one in counted))
        yield GaugeMetricFamily(
            "padellm_peak_kv_pieces", "Most K/V places held", value=sum(one.peak_kv_pieces for one in counted)
        )
