"""The metrics of the catalogue as instruments of whatever meter provider there is.

Names, outcomes and error classes are the only attributes: an id on a metric would make a time series of every run.
Imports `opentelemetry-api` alone; without an SDK every instrument does nothing.
"""

from __future__ import annotations

import inspect
import threading
from typing import Any

from opentelemetry import metrics

from qwit_durable.observers.catalogue import METRICS, SCOPE

__all__ = ["Instruments"]


class Instruments:
    """Counts and measures by name. The instruments are made anew when the provider changes."""

    def __init__(self, provider: metrics.MeterProvider | None = None) -> None:
        self._given = provider
        self._lock = threading.Lock()
        self._provider: metrics.MeterProvider | None = None
        self._made: dict[str, metrics.Counter | metrics.Histogram] = {}

    def add(self, name: str, value: float, attributes: dict[str, str]) -> None:
        """Count `value` up, or record it in a histogram, as the catalogue says."""
        instrument = self._resolve()[name]
        unknown = set(attributes).difference(METRICS[name].attributes)
        assert not unknown, f"{unknown} are not in the catalogue of {name}"
        if isinstance(instrument, metrics.Counter):
            instrument.add(value, attributes)
        else:
            instrument.record(value, attributes)

    def _resolve(self) -> dict[str, metrics.Counter | metrics.Histogram]:
        provider = self._given or metrics.get_meter_provider()
        with self._lock:
            if provider is not self._provider:
                self._made = _make(provider.get_meter(SCOPE))
                self._provider = provider
            return self._made


def _make(meter: metrics.Meter) -> dict[str, metrics.Counter | metrics.Histogram]:
    made: dict[str, metrics.Counter | metrics.Histogram] = {}
    # Early versions of the API take no advice about buckets.
    takes_advice = (
        "explicit_bucket_boundaries_advisory" in inspect.signature(meter.create_histogram).parameters
    )
    for metric in METRICS.values():
        if metric.instrument == "counter":
            made[metric.name] = meter.create_counter(metric.name, metric.unit, metric.description)
        else:
            advice: Any = {"explicit_bucket_boundaries_advisory": metric.buckets} if takes_advice else {}
            made[metric.name] = meter.create_histogram(metric.name, metric.unit, metric.description, **advice)
    return made
