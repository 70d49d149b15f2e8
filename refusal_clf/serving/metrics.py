"""What the service counts, as Prometheus reads it."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, ProcessCollector, generate_latest

from refusal_clf.records import Verdict

VERDICTS_PATH: Final = "/v1/verdicts"


class Metrics:
    """Counters of one service, in a registry of its own; `answered` is the number of requests with verdicts."""

    def __init__(self, waiting: Callable[[], float]) -> None:
        self.answered = 0
        self.registry = CollectorRegistry()
        ProcessCollector(registry=self.registry)
        self.requests = Counter(
            "refusal_clf_requests", f"Requests to {VERDICTS_PATH}, by status.", ["status"], registry=self.registry
        )
        self.verdicts = Counter("refusal_clf_verdicts", "Verdicts given.", ["verdict", "tier"], registry=self.registry)
        self.seconds = Histogram(
            "refusal_clf_request_seconds",
            "From a request's whole body to its answer.",
            buckets=(0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30),
            registry=self.registry,
        )
        self.batch = Histogram(
            "refusal_clf_batch_completions",
            "Completions that were judged together.",
            buckets=(1, 2, 4, 8, 16, 32, 64, 128, 256, 512),
            registry=self.registry,
        )
        gauge = Gauge("refusal_clf_waiting", "Completions that wait for their verdicts.", registry=self.registry)
        gauge.set_function(waiting)

    def count_answer(self, path: str, status: int) -> None:
        """Count an answer to a request for verdicts."""
        if path == VERDICTS_PATH:
            self.requests.labels(str(status)).inc()

    def count(self, verdicts: Iterable[Verdict]) -> None:
        """Count verdicts that were given."""
        for verdict in verdicts:
            self.verdicts.labels(verdict.verdict, verdict.tier).inc()

    def text(self) -> bytes:
        """Return the metrics in Prometheus's text format."""
        return generate_latest(self.registry)
