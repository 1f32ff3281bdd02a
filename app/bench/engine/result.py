"""All results, with what a reader needs to reproduce or to distrust them."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any

from app.bench.ceilings import Ceiling, Ceilings
from app.bench.engine.measure import Costs, Decode, Prefill
from app.bench.engine.settings import EngineBenchSettings
from app.bench.provenance import Provenance
from app.messages import EngineReady

TITLE = "millrace bench: engine"


@dataclass(frozen=True, slots=True)
class EngineResult:
    """The results. `by_batch` and `by_context` are empty without a sweep; `left_out` says what did not fit."""

    model: str
    config: dict[str, Any]
    settings: EngineBenchSettings
    provenance: Provenance
    device: str
    ready: EngineReady
    phases: dict[str, float]
    costs: Costs
    decodes: list[Decode]
    prefill: Prefill
    by_batch: list[Decode] = field(default_factory=list)
    by_context: list[Decode] = field(default_factory=list)
    left_out: list[str] = field(default_factory=list)

    @property
    def ceilings(self) -> Ceilings:
        return self.costs.ceilings

    def facts(self) -> list[tuple[str, str]]:
        """Names and values of the circumstances, which a report shows above the numbers."""
        ready, config = self.ready, self.config
        provenance = dict(self.provenance.lines()) | {"machine": self.provenance.machine}
        return [
            (
                "model",
                f"{self.model}, {ready.num_parameters / 1e6:.1f}M parameters, {ready.dtype}{self._quantization()}",
            ),
            ("engine", f"{ready.backend} backend on {self.device}, {ready.num_threads} threads"),
            ("limits", f"{config['max_num_batched_tokens']} tokens a step, {config['max_num_seqs']} sequences"),
            ("memory", f"{_mib(ready.model_bytes)} of weights, {_mib(ready.kv_cache_bytes)} of cache"),
            ("prompts", f"random token ids, {self.settings.prompt_tokens} each; end tokens are ignored"),
            ("seed", str(self.settings.seed)),
            ("start-up", ", ".join(f"{phase} {seconds:.2f} s" for phase, seconds in self.phases.items())),
            ("most reads", _rate(self.ceilings.bandwidth, "GB/s")),
            *((f"most {kind}", _rate(each, unit(kind))) for kind, each in self.ceilings.products.items()),
            *provenance.items(),
        ]

    def _quantization(self) -> str:
        return "" if self.ready.quantization == "none" else f", weights in {self.ready.quantization}"

    def caveats(self) -> list[str]:
        """What a reader must know about the numbers."""
        notes = list(self.left_out)
        cached = [one for one in self.decodes if one.num_bytes < self.ceilings.cache_bytes]
        if cached:
            notes.append(
                f"a step of {cached[0].load.num_streams} reads less than the last cache holds "
                f"({_mib(self.ceilings.cache_bytes)}): part of it never comes from memory, and shares may exceed 100 %"
            )
        if self.ready.device != "cpu":
            notes.append("forward is the host's time; the device's rest is waited for in sample")
        kind, _ = self.ceilings.product_for(self.costs.factors)
        if kind != self.costs.factors:
            notes.append(f"there is no ceiling for {self.costs.factors} products here: shares are of {kind}")
        return notes

    def as_json(self) -> dict[str, Any]:
        """All results as plain data, in bytes, operations and seconds."""
        return {
            "benchmark": TITLE,
            "facts": dict(self.facts()),
            "caveats": self.caveats(),
            "settings": asdict(self.settings),
            "config": self.config,
            "engine": asdict(self.ready),
            "startup_seconds": self.phases,
            "ceilings": self.ceilings.as_json(),
            "cost": asdict(self.costs.model) | {"cache_bytes": self.costs.cache_bytes, "factors": self.costs.factors},
            "decode": [one.as_json() for one in self.decodes],
            "prefill": self.prefill.as_json(),
            "by_batch": [one.as_json() for one in self.by_batch],
            "by_context": [one.as_json() for one in self.by_context],
        }


def unit(kind: str) -> str:
    """The unit of a rate of operations: those on integers are not floating-point operations."""
    return "GOP/s" if kind == "int8" else "GFLOP/s"


def _rate(ceiling: Ceiling, name: str) -> str:
    low, high = min(ceiling.samples), max(ceiling.samples)
    return f"{ceiling.median / 1e9:.1f} {name} ({low / 1e9:.1f} to {high / 1e9:.1f}; {ceiling.by})"


def _mib(num_bytes: int) -> str:
    return f"{num_bytes / 2**20:,.1f} MiB"
