"""One trace per run, over every process that works on it, and a first set of metrics.

    start checkout                      PRODUCER   the caller
    └─ workflow checkout                SERVER     whoever ended the run
       ├─ step charge  (attempt 1)      CONSUMER   the worker that made the attempt; ERROR
       ├─ step charge  (attempt 2)      CONSUMER
       │  ├─ POST /charges              …          spans of the step's own code
       │  └─ undo charge                CONSUMER   under the attempt whose effect it undoes
       └─ workflow ship                 SERVER     a sub-workflow
          └─ step pack                  CONSUMER

How spans get their ids is told in `spans`, their names and attributes stand in `catalogue`. Everything is emitted
after the commit of what it tells, by the process that made the commit; replay emits nothing. A process that dies
between a commit and the export loses spans and never invents one. Attributes never hold arguments or results.

Import this module by name: `qwit_durable` itself does not import OpenTelemetry.
"""

from __future__ import annotations

import logging
from collections.abc import Generator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import TYPE_CHECKING

from opentelemetry import metrics, trace

from qwit_durable.core import Status
from qwit_durable.errors import Failure
from qwit_durable.observers.base import AttemptInfo, EndInfo, Observer
from qwit_durable.observers.catalogue import SPANS
from qwit_durable.observers.instruments import Instruments
from qwit_durable.observers.otlp import Telemetry, configure
from qwit_durable.observers.spans import Pen, RunTrace, carried, nanoseconds, span_id_of

if TYPE_CHECKING:
    from qwit_durable.stores.rows import RunRow

__all__ = ["OpenTelemetry", "Telemetry", "configure"]

_logger = logging.getLogger("qwit_durable.observers")
_KINDS = {kind.name: kind for kind in trace.SpanKind}
_ERROR_LIMIT_CHARS = 250
#: Ends that are nobody's wish.
_FAILED = frozenset({Status.FAILED, Status.COMPENSATED})


class OpenTelemetry(Observer):
    """Traces and measures runs with OpenTelemetry.

    Nothing is needed for it to be harmless: without an SDK it does nothing. Providers are looked up when they are
    needed, so it does not matter whether the SDK is set up before or after.

    Args:
        tracer_provider: Instead of the global one.
        meter_provider: Instead of the global one.
        error_messages: Describe the ERROR status of a span with the error's message as well as its class. Say False
            where messages may hold what must not leave the store.

    >>> from qwit_durable.observers.opentelemetry import OpenTelemetry, configure
    >>> configure(service_name="shop")
    >>> durable = Durable("postgresql://…", observers=[OpenTelemetry()])
    """

    def __init__(
        self,
        tracer_provider: trace.TracerProvider | None = None,
        meter_provider: metrics.MeterProvider | None = None,
        *,
        error_messages: bool = True,
    ) -> None:
        self._pen = Pen(tracer_provider)
        self._instruments = Instruments(meter_provider)
        self._error_messages = error_messages

    # -- starting ----------------------------------------------------------------------------------------------

    @contextmanager
    def starting(self, workflow: str, key: str) -> Generator[str | None]:
        """Emit the start span around the storing of a run, and give what `RunRow.trace` is to be.

        The span is always made, so that what samples the trace decides once, here.

        Args:
            workflow: The workflow's name.
            key: The run's id, as users see it.
        """
        shape = SPANS["start"]
        span = self._pen.tracer().start_span(
            shape.of(workflow),
            kind=_KINDS[shape.kind],
            attributes={"qwit.workflow.name": workflow, "qwit.workflow.id": key},
        )
        with trace.use_span(span, end_on_exit=True, record_exception=False, set_status_on_exception=False):
            try:
                yield carried(span)
            except Exception as error:
                span.set_attribute("error.type", type(error).__name__)
                span.set_status(trace.StatusCode.ERROR, self._description(Failure.of(error)))
                raise

    def trace_for_start(self, workflow: str, key: str) -> str | None:
        """What `RunRow.trace` is to be, from a start span that is over at once: `starting` measures the storing too.

        Never raises: tracing that does not work must not keep a run from starting.
        """
        try:
            with self.starting(workflow, key) as text:
                return text
        except Exception:
            _logger.exception("the start of %s could not be traced; the run starts all the same", workflow)
            return None

    # -- committed facts ---------------------------------------------------------------------------------------

    def run_started(self, run: RunRow) -> None:
        self._instruments.add("qwit.workflow.started", 1, {"qwit.workflow.name": run.workflow})

    def step_finished(self, attempt: AttemptInfo) -> None:
        self._write_attempt(attempt, "step", parent=span_id_of(attempt.run.id, "workflow"))
        names = {"qwit.workflow.name": attempt.run.workflow, "qwit.step.name": attempt.step}
        seconds = ((attempt.ended_at or attempt.started_at) - attempt.started_at).total_seconds()
        outcome = {"qwit.step.outcome": _outcome(attempt)}
        self._instruments.add(
            "qwit.step.duration", max(seconds, 0.0), names | outcome | _error(attempt.failure)
        )
        if attempt.retry_at is not None:
            self._instruments.add("qwit.step.retries", 1, names | _error(attempt.failure))

    def undo_finished(self, attempt: AttemptInfo) -> None:
        run, undone = attempt.run, attempt.position.removeprefix("~")
        parent = span_id_of(run.id, "workflow")
        if attempt.undoes is not None:
            parent = span_id_of(run.id, attempt.generation, undone, attempt.undoes)
        self._write_attempt(attempt, "undo", parent=parent)
        if attempt.retry_at is None:
            names = {"qwit.workflow.name": attempt.run.workflow, "qwit.step.name": attempt.step}
            outcome = {"qwit.step.outcome": _outcome(attempt)}
            self._instruments.add("qwit.compensation.executed", 1, names | outcome | _error(attempt.failure))

    def run_finished(self, end: EndInfo) -> None:
        run = end.run
        if end.reopened:
            return  # its span stands as it was when it completed; the undos tell the rest
        error = _error(end.failure.root) if end.status in _FAILED and end.failure is not None else {}
        run_trace = self._pen.trace_of(run)
        if run_trace is not None and run_trace.is_sampled:
            shape = SPANS["workflow"]
            outcome = {"qwit.workflow.outcome": end.status.value}
            self._pen.write(
                run_trace,
                shape.of(run.workflow),
                kind=_KINDS[shape.kind],
                span_id=span_id_of(run.id, "workflow"),
                parent=span_id_of(run.parent_id, "workflow") if run.parent_id is not None else None,
                started_at=run.created_at,
                ended_at=end.ended_at,
                attributes={**_of_run(run), **outcome, **error},
                error=self._description(end.failure) if error and end.failure is not None else None,
            )
        names = {"qwit.workflow.name": run.workflow, "qwit.workflow.outcome": end.status.value}
        seconds = (end.ended_at - run.created_at).total_seconds()
        self._instruments.add("qwit.workflow.duration", max(seconds, 0.0), names | error)

    def around_attempt(self, attempt: AttemptInfo) -> AbstractContextManager[None]:
        """Make spans of the step's own code children of the attempt's span, which is emitted once it is over."""
        run_trace = self._pen.trace_of(attempt.run)
        return nullcontext() if run_trace is None else _under(run_trace, _span_id(attempt))

    # -- how ---------------------------------------------------------------------------------------------------

    def _write_attempt(self, attempt: AttemptInfo, what: str, *, parent: int) -> None:
        run_trace = self._pen.trace_of(attempt.run)
        if run_trace is None or not run_trace.is_sampled:
            return
        shape = SPANS[what]
        self._pen.write(
            run_trace,
            shape.of(attempt.step),
            kind=_KINDS[shape.kind],
            span_id=_span_id(attempt),
            parent=parent,
            started_at=attempt.started_at,
            ended_at=attempt.ended_at or attempt.started_at,
            attributes={**_of_attempt(attempt), **_error(attempt.failure)},
            error=self._description(attempt.failure) if attempt.failure is not None else None,
        )

    def _description(self, failure: Failure) -> str:
        return str(failure)[:_ERROR_LIMIT_CHARS] if self._error_messages else failure.type


def _span_id(attempt: AttemptInfo) -> int:
    # An undo that a person has retried counts its attempts from 1 again.
    again = (nanoseconds(attempt.started_at),) if attempt.is_undo else ()
    return span_id_of(attempt.run.id, attempt.generation, attempt.position, attempt.attempt, *again)


@contextmanager
def _under(run_trace: RunTrace, span_id: int) -> Generator[None]:
    span = trace.get_current_span(run_trace.under(span_id))
    with trace.use_span(span, record_exception=False, set_status_on_exception=False):
        yield


def _outcome(attempt: AttemptInfo) -> str:
    if attempt.failure is None:
        return "completed"
    return "failed" if attempt.retry_at is None else "retrying"


def _error(failure: Failure | None) -> dict[str, str]:
    return {} if failure is None else {"error.type": failure.type}


def _of_run(run: RunRow) -> dict[str, str | int]:
    known = {
        "qwit.workflow.name": run.workflow,
        "qwit.workflow.id": run.key,
        "qwit.workflow.run_id": str(run.id),
        "qwit.workflow.root_id": str(run.root_id),
        "qwit.workflow.parent_id": str(run.parent_id) if run.parent_id is not None else None,
        "qwit.workflow.version": run.version,
        "qwit.namespace": run.namespace,
    }
    return {name: value for name, value in known.items() if value is not None}


def _of_attempt(attempt: AttemptInfo) -> dict[str, str | int]:
    known: dict[str, str | int] = {
        "qwit.step.name": attempt.step,
        "qwit.step.position": attempt.position,
        "qwit.step.attempt": attempt.attempt,
        "qwit.step.dispatch": "inline" if attempt.inline else "queue",
        "qwit.step.outcome": _outcome(attempt),
    }
    if not attempt.inline:
        known |= {
            "messaging.system": "dramatiq",
            "messaging.operation.name": "process",
            "messaging.operation.type": "process",
            "messaging.destination.name": attempt.queue,
        }
    return _of_run(attempt.run) | known
