"""Setting up the OpenTelemetry SDK to send traces and metrics over OTLP/HTTP, where nobody else has done so.

Needs the extra `otlp`. Nothing of the SDK is imported before `configure` is called.
"""

from __future__ import annotations

import threading
from typing import TYPE_CHECKING

import attrs
from opentelemetry import metrics, trace

from qwit_durable.errors import DurableError

if TYPE_CHECKING:
    from opentelemetry.sdk.metrics import MeterProvider
    from opentelemetry.sdk.trace import TracerProvider

__all__ = ["AlreadyConfigured", "MissingExtra", "Telemetry", "configure"]

_lock = threading.Lock()


class MissingExtra(DurableError, ImportError):
    """A distribution that an extra of `qwit-durable` brings is not installed. The message names the extra."""


class AlreadyConfigured(DurableError, RuntimeError):
    """This process has an SDK already, and OpenTelemetry does not let it be replaced."""


@attrs.frozen
class Telemetry:
    """The providers that `configure` made the global ones."""

    tracer_provider: TracerProvider
    meter_provider: MeterProvider

    def flush(self) -> None:
        """Send what is gathered now, instead of within the next seconds."""
        self.tracer_provider.force_flush()
        self.meter_provider.force_flush()

    def shutdown(self) -> None:
        """Send what is gathered and stop. Happens by itself when the process ends in good order."""
        self.tracer_provider.shutdown()
        self.meter_provider.shutdown()


def configure(endpoint: str | None = None, *, service_name: str = "qwit_durable") -> Telemetry:
    """Set up the SDK with OTLP/HTTP exporters, and make its providers the global ones.

    Spans and metrics are sent from threads of their own; what a process has not sent when it is killed is lost, and
    nothing else. Call it once in every process. In Dramatiq's workers the module that makes the broker is the place.

    Args:
        endpoint: The receiver's address without the path of a signal, for example `http://collector:4318`. Without
            it, the variables `OTEL_EXPORTER_OTLP_*` decide, and else `http://localhost:4318`.
        service_name: How this process is called in traces; `OTEL_SERVICE_NAME` wins over it.

    Returns:
        The providers, with `flush` and `shutdown`.

    Raises:
        MissingExtra: The exporter is not installed: `pip install "qwit-durable[otlp]"`.
        AlreadyConfigured: An SDK is set up here already. `OpenTelemetry()` uses it as it is.

    >>> configure("http://collector:4318", service_name="shop")
    """
    try:
        from opentelemetry.exporter.otlp.proto.http.metric_exporter import OTLPMetricExporter
        from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
        from opentelemetry.sdk.metrics import MeterProvider
        from opentelemetry.sdk.metrics.export import PeriodicExportingMetricReader
        from opentelemetry.sdk.resources import SERVICE_NAME, OTELResourceDetector, Resource
        from opentelemetry.sdk.trace import TracerProvider
        from opentelemetry.sdk.trace.export import BatchSpanProcessor
    except ImportError as error:
        message = (
            f"configure() can't set up the export of traces: {error}\n"
            f"  likely cause: the extra `otlp` is not installed\n"
            f'  way out: pip install "qwit-durable[otlp]", or set up an SDK of your own'
        )
        raise MissingExtra(message) from error
    with _lock:
        for provider in (trace.get_tracer_provider(), metrics.get_meter_provider()):
            if isinstance(provider, TracerProvider | MeterProvider):
                message = (
                    f"configure() can't replace the {type(provider).__name__} that this process has already\n"
                    f"  likely cause: it was called twice, or the application sets up OpenTelemetry itself\n"
                    f"  way out: leave the call out; OpenTelemetry() uses the providers that there are"
                )
                raise AlreadyConfigured(message)
        # What the environment says about the resource wins over the argument, as everywhere in OpenTelemetry.
        resource = Resource.create({SERVICE_NAME: service_name}).merge(OTELResourceDetector().detect())
        spans = OTLPSpanExporter(endpoint=_of_signal(endpoint, "traces"))
        numbers = OTLPMetricExporter(endpoint=_of_signal(endpoint, "metrics"))
        tracers = TracerProvider(resource=resource)
        tracers.add_span_processor(BatchSpanProcessor(spans))
        meters = MeterProvider(resource=resource, metric_readers=[PeriodicExportingMetricReader(numbers)])
        trace.set_tracer_provider(tracers)
        metrics.set_meter_provider(meters)
        return Telemetry(tracers, meters)


def _of_signal(endpoint: str | None, signal: str) -> str | None:
    return None if endpoint is None else f"{endpoint.rstrip('/')}/v1/{signal}"
