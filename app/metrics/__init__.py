"""Every metric, once."""

from app.metrics.metrics import Metrics

__all__ = ["Metrics"]
