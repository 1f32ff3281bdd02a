"""The Prometheus metrics; each is defined here once."""

from app.metrics.metrics import Metrics

__all__ = ["Metrics"]
