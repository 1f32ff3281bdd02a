"""All metrics of a server in one registry, and their text formats."""

from __future__ import annotations

from prometheus_client import GCCollector, PlatformCollector, ProcessCollector
from prometheus_client.exposition import choose_encoder

from app.messages import EngineReady
from app.metrics.instruments import Buckets, Instruments
from app.metrics.sequences import SequenceMetrics
from app.metrics.server import ServerMetrics
from app.metrics.steps import StepMetrics


class Metrics(StepMetrics, SequenceMetrics, ServerMetrics):
    """All metrics, updated by the engine client (as its `EngineObserver`) and by the HTTP layer.

    After the prefix, names are vLLM's where it has an equivalent, so that dashboards carry over. `latency_buckets`
    (seconds) replace the buckets of all request latencies.
    """

    def __init__(self, model_name: str = "", version: str = "", latency_buckets: Buckets | None = None) -> None:
        make = Instruments(latency_buckets)
        self.registry = make.registry
        ProcessCollector(registry=self.registry)
        PlatformCollector(registry=self.registry)
        GCCollector(registry=self.registry)
        StepMetrics.__init__(self, make)
        SequenceMetrics.__init__(self, make)
        ServerMetrics.__init__(self, make)
        self._model_name = model_name
        self._version = version

    def engine_ready(self, ready: EngineReady) -> None:
        super().engine_ready(ready)
        self.block_size = ready.block_size
        self.model_loaded(self._model_name, self._version, ready)

    def render(self, accept: str) -> tuple[bytes, str]:
        """All metrics in the format that an `Accept` header asks for, and the content type of that format."""
        encode, content_type = choose_encoder(accept)
        return encode(self.registry), content_type
