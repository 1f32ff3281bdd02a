"""Building blocks of the metrics: one registry, one prefix, and the buckets of every kind of histogram."""

from __future__ import annotations

import time
from bisect import bisect_left
from collections.abc import Iterator
from itertools import accumulate
from math import inf

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.metrics_core import HistogramMetricFamily
from prometheus_client.registry import Collector
from prometheus_client.samples import Exemplar
from prometheus_client.utils import floatToGoString

Buckets = tuple[float, ...]

TOKEN_SECONDS = (0.001, 0.002, 0.003, 0.005, 0.0075, 0.01, 0.015, 0.02, 0.03, 0.05, 0.075, 0.1, 0.2, 0.5, 1, 2, 5)
FIRST_TOKEN_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120)
REQUEST_SECONDS = (0.001, 0.005, 0.01, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 20, 30, 60, 120, 300, 600)
STEP_SECONDS = (0.00001, 0.00005, 0.0001, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5)
NUM_TOKENS = tuple(2**power for power in range(18))
TOKENS_PER_SECOND = (1, 2, 5, 10, 20, 30, 50, 75, 100, 150, 200, 300, 500, 750, 1000, 2000)


class BulkHistogram(Collector):
    """A histogram that takes many equal values at once; prometheus_client's own takes a microsecond for each.

    `buckets` are the upper bounds of all buckets but the last, which is unbounded.
    """

    def __init__(self, name: str, help: str, buckets: Buckets, registry: CollectorRegistry) -> None:
        self._name = name
        self._help = help
        self._bounds = buckets
        self._counts = [0] * (len(buckets) + 1)
        self._exemplars: list[Exemplar | None] = [None] * (len(buckets) + 1)
        self._sum = 0.0
        registry.register(self)

    def observe(self, value: float, count: int, exemplar: dict[str, str] | None = None) -> None:
        bucket = bisect_left(self._bounds, value)
        self._counts[bucket] += count
        self._sum += value * count
        if exemplar is not None:
            self._exemplars[bucket] = Exemplar(exemplar, value, time.time())

    def collect(self) -> Iterator[HistogramMetricFamily]:
        names = map(floatToGoString, (*self._bounds, inf))
        buckets = [
            (name, count) if exemplar is None else (name, count, exemplar)
            for name, count, exemplar in zip(names, accumulate(self._counts), self._exemplars, strict=True)
        ]
        yield HistogramMetricFamily(self._name, self._help, buckets, self._sum)


class Instruments:
    """Creates the metrics of one server. `latency_buckets` (seconds) replace the buckets of all request latencies."""

    def __init__(self, latency_buckets: Buckets | None) -> None:
        self.registry = CollectorRegistry()
        self._latency_buckets = latency_buckets

    def gauge(self, name: str, help: str, *labels: str) -> Gauge:
        return Gauge(f"millrace_{name}", help, labels, registry=self.registry)

    def counter(self, name: str, help: str, *labels: str) -> Counter:
        return Counter(f"millrace_{name}", help, labels, registry=self.registry)

    def histogram(self, name: str, help: str, buckets: Buckets, *labels: str) -> Histogram:
        return Histogram(f"millrace_{name}", help, labels, buckets=buckets, registry=self.registry)

    def latency(self, name: str, help: str, buckets: Buckets) -> Histogram:
        return self.histogram(name, help, self._latency_buckets or buckets)

    def bulk_latency(self, name: str, help: str, buckets: Buckets) -> BulkHistogram:
        return BulkHistogram(f"millrace_{name}", help, self._latency_buckets or buckets, self.registry)
