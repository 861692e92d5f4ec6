"""One simulated process with an SDK of its own, and the tree that the spans of several of them make."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from opentelemetry.sdk.metrics import MeterProvider
from opentelemetry.sdk.metrics.export import InMemoryMetricReader
from opentelemetry.sdk.trace import ReadableSpan, TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import Sampler

from qwit_durable.observers.opentelemetry import OpenTelemetry


class Process:
    """An observer with providers that no other process shares."""

    def __init__(self, sampler: Sampler | None = None, **options: Any) -> None:
        self._exporter = InMemorySpanExporter()
        self.provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        self.provider.add_span_processor(SimpleSpanProcessor(self._exporter))
        self._reader = InMemoryMetricReader()
        self.meters = MeterProvider(metric_readers=[self._reader], shutdown_on_exit=False)
        self.observer = OpenTelemetry(self.provider, self.meters, **options)
        self.users = self.provider.get_tracer("shop")

    @property
    def spans(self) -> list[ReadableSpan]:
        return list(self._exporter.get_finished_spans())

    def span(self, name: str) -> ReadableSpan:
        (found,) = (span for span in self.spans if span.name == name)
        return found

    def points(self) -> dict[str, list[Any]]:
        """The data points of every metric, by name."""
        data = self._reader.get_metrics_data()
        if data is None:
            return {}
        return {
            metric.name: list(metric.data.data_points)
            for resource in data.resource_metrics
            for scope in resource.scope_metrics
            for metric in scope.metrics
        }


def spans_of(*processes: Process) -> list[ReadableSpan]:
    return [span for process in processes for span in process.spans]


def tree(spans: Iterable[ReadableSpan]) -> list[str]:
    """The spans as an indented list: children under parents, in the order in which they started.

    A span whose parent is missing is marked, and so is what belongs to a second trace.
    """
    known = sorted(spans, key=lambda span: (span.start_time or 0, span.name))
    ids = {span.context.span_id for span in known}
    traces = {span.context.trace_id for span in known}
    assert len(ids) == len(known), "two spans have one id"
    lines: list[str] = [] if len(traces) < 2 else [f"{len(traces)} traces"]

    def add(parent: int | None, depth: int) -> None:
        for span in known:
            above = span.parent.span_id if span.parent is not None else None
            if above == parent:
                attempt = (span.attributes or {}).get("qwit.step.attempt", 1)
                lines.append("  " * depth + span.name + (f" #{attempt}" if attempt != 1 else ""))
                add(span.context.span_id, depth + 1)

    add(None, 0)
    for span in known:
        if span.parent is not None and span.parent.span_id not in ids:
            lines.append(f"? {span.name}")
            add(span.context.span_id, 1)
    return lines
