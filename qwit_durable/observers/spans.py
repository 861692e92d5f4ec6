"""How one trace grows over several processes: ids known in advance, and spans written down once they are over.

OpenTelemetry can't export a span that is still open, nor hand one over to another process. So nothing is kept open.
The id of every span follows from facts of the run, its children name that id as their parent while it lies in the
future, and the span is emitted, with its real times, by whoever committed its end. Emitting it again after a crash
gives the same id.

A run belongs to the trace of its start span, whose context is stored with the run: ids, the whole byte of flags and
the trace state. The sampling decision in it is final: nothing is emitted for an unsampled trace. A run that was started
where there was no tracing has a trace of its own, whose id follows from the root's id and which the sampler of each
process is asked about.

Only `opentelemetry-api` is imported. The SDK is recognised if somebody else has loaded it: its tracer has the public
attribute `id_generator`, which `PresetIds` replaces on this library's tracer alone. A foreign tracer can't be told its
ids; its spans all hang under the start span.
"""

from __future__ import annotations

import hashlib
import json
import sys
import threading
from contextvars import ContextVar
from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import TYPE_CHECKING, Any, cast
from uuid import UUID

import attrs
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from qwit_durable.observers.catalogue import SCOPE

if TYPE_CHECKING:
    from qwit_durable.stores.rows import RunRow

__all__ = ["Pen", "PresetIds", "RunTrace", "carried", "nanoseconds", "read_carried", "span_id_of"]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_RANDOM_TRACE_ID = 0x02  # of the W3C's trace flags; the API names it only in its later versions
_propagator = TraceContextTextMapPropagator()
#: (span id, trace id) of the span that is being started in this context.
_preset: ContextVar[tuple[int, int] | None] = ContextVar("qwit_preset_ids", default=None)


def span_id_of(run_id: UUID, *path: object) -> int:
    """The 64-bit id, never 0, of the span that `path` names within a run."""
    text = "/".join((run_id.hex, *map(str, path)))
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big") or 1


def _trace_id_of(root_id: UUID) -> int:
    # Not the UUID itself: ratio samplers read the low 64 bits, and two of those are the same in every UUID.
    return int.from_bytes(hashlib.blake2b(root_id.bytes, digest_size=16).digest(), "big") or 1


def nanoseconds(moment: datetime) -> int:
    """Since 1970, as OpenTelemetry counts; exact, unlike a float of seconds."""
    return (moment - _EPOCH) // timedelta(microseconds=1) * 1000


def carried(span: trace.Span) -> str | None:
    """The span's context as JSON text, for `RunRow.trace`; None if there is no trace."""
    carrier: dict[str, str] = {}
    _propagator.inject(carrier, trace.set_span_in_context(span, Context()))
    return json.dumps(carrier) if carrier else None


@lru_cache(maxsize=1024)
def read_carried(text: str | None) -> trace.SpanContext | None:
    """The span context that `carried` wrote; None for anything else."""
    try:
        carrier: Any = json.loads(text) if text else None
    except ValueError:
        return None
    if not isinstance(carrier, dict):
        return None
    texts = {name: value for name, value in cast("dict[str, Any]", carrier).items() if isinstance(value, str)}
    context = _propagator.extract(texts, Context())
    found = trace.get_current_span(context).get_span_context()
    return found if found.is_valid else None


class PresetIds:
    """An id generator that gives the ids set for the span being started, and else those of the generator it wraps."""

    def __init__(self, wrapped: Any) -> None:
        self._wrapped = wrapped

    def generate_span_id(self) -> int:
        preset = _preset.get()
        return preset[0] if preset is not None else int(self._wrapped.generate_span_id())

    def generate_trace_id(self) -> int:
        preset = _preset.get()
        return preset[1] if preset is not None else int(self._wrapped.generate_trace_id())

    def is_trace_id_random(self) -> bool:
        """Whether trace ids are evenly spread; generators of older versions don't say."""
        ask = getattr(self._wrapped, "is_trace_id_random", None)
        return bool(ask()) if ask is not None else False

    def __getattr__(self, name: str) -> Any:
        return getattr(self._wrapped, name)


@attrs.frozen(kw_only=True)
class RunTrace:
    """Which trace a run's spans belong to.

    Attributes:
        starter: The start span; None for a trace that belongs to the run alone.
        presets: Whether spans can be given their ids.
    """

    trace_id: int
    flags: trace.TraceFlags
    state: trace.TraceState
    starter: trace.SpanContext | None
    presets: bool

    @property
    def is_sampled(self) -> bool:
        """Whether anything is to be emitted."""
        return self.flags.sampled

    def under(self, span_id: int | None) -> Context:
        """A context in which the span of that id is the current one; None means the start span, if there is one."""
        parent = self.starter
        if span_id is not None and self.presets:
            parent = trace.SpanContext(
                self.trace_id, span_id, is_remote=True, trace_flags=self.flags, trace_state=self.state
            )
        return (
            Context()
            if parent is None
            else trace.set_span_in_context(trace.NonRecordingSpan(parent), Context())
        )


class Pen:
    """Writes spans that are over, with ids known before. The tracer is found anew when the provider changes."""

    def __init__(self, provider: trace.TracerProvider | None = None) -> None:
        self._given = provider
        self._lock = threading.Lock()
        self._known: tuple[trace.TracerProvider, trace.Tracer, bool] | None = None

    def tracer(self) -> trace.Tracer:
        """This library's tracer."""
        return self._resolve()[0]

    def _resolve(self) -> tuple[trace.Tracer, bool]:
        provider = self._given or trace.get_tracer_provider()
        known = self._known
        if known is None or known[0] is not provider:
            with self._lock:
                tracer = provider.get_tracer(SCOPE)
                known = self._known = (provider, tracer, _take_ids(tracer))
        return known[1], known[2]

    def trace_of(self, run: RunRow) -> RunTrace | None:
        """The trace of a run; None if it has none and this process can't give it one."""
        tracer, presets = self._resolve()
        starter = read_carried(run.trace)
        if starter is not None:
            return RunTrace(
                trace_id=starter.trace_id,
                flags=starter.trace_flags,
                state=starter.trace_state,
                starter=starter,
                presets=presets,
            )
        if not presets:
            return None
        return _own_trace(cast("Any", tracer), run)

    def write(
        self,
        run_trace: RunTrace,
        name: str,
        *,
        kind: trace.SpanKind,
        span_id: int,
        parent: int | None,
        started_at: datetime,
        ended_at: datetime,
        attributes: dict[str, str | int],
        error: str | None = None,
    ) -> None:
        """Emit one span. `error` is the description of an ERROR status; None leaves the status unset."""
        tracer, _ = self._resolve()
        start = nanoseconds(started_at)
        token = _preset.set((span_id, run_trace.trace_id))
        try:
            span = tracer.start_span(
                name, run_trace.under(parent), kind=kind, attributes=attributes, start_time=start
            )
        finally:
            _preset.reset(token)
        if error is not None:
            span.set_status(trace.Status(trace.StatusCode.ERROR, error))
        # The store's clock may have been set back in between.
        span.end(max(start, nanoseconds(ended_at)))


def _take_ids(tracer: trace.Tracer) -> bool:
    """Put `PresetIds` into an SDK's tracer; tell whether it is in place."""
    sdk = sys.modules.get("opentelemetry.sdk.trace")
    if sdk is None or not isinstance(tracer, sdk.Tracer):
        return False
    own = cast("Any", tracer)
    if not isinstance(own.id_generator, PresetIds):
        own.id_generator = PresetIds(own.id_generator)
    return True


def _own_trace(tracer: Any, run: RunRow) -> RunTrace:
    trace_id = _trace_id_of(run.root_id)
    decision = tracer.sampler.should_sample(Context(), trace_id, SCOPE, trace.SpanKind.SERVER, {}, ())
    flags = int(decision.decision.is_sampled()) | (
        _RANDOM_TRACE_ID if tracer.id_generator.is_trace_id_random() else 0
    )
    return RunTrace(
        trace_id=trace_id,
        flags=trace.TraceFlags(flags),
        state=decision.trace_state or trace.TraceState(),
        starter=None,
        presets=True,
    )
