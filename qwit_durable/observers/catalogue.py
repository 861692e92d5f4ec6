"""The names that tracing puts into the world, as data: spans, attributes, metrics.

The observer, the tests and the documentation read them here, so a name is spelled once. Names carry no ids and no
payloads: cardinality stays that of the code. This module imports nothing of OpenTelemetry.
"""

from __future__ import annotations

from typing import Literal

import attrs

__all__ = ["ATTRIBUTES", "METRICS", "SCOPE", "SPANS", "Metric", "SpanShape"]

#: The instrumentation scope of everything emitted here.
SCOPE = "qwit_durable"


@attrs.frozen(kw_only=True)
class SpanShape:
    """One sort of span: `name` with the workflow's or step's name in it, its kind, and what it hangs under."""

    name: str
    kind: Literal["PRODUCER", "SERVER", "CONSUMER"]
    parent: str
    when: str

    def of(self, subject: str) -> str:
        """The span's name for one workflow or step."""
        return self.name.format(subject)


@attrs.frozen(kw_only=True)
class Metric:
    """One instrument. `buckets` are advice for a histogram's boundaries."""

    name: str
    instrument: Literal["counter", "histogram"]
    unit: str
    description: str
    attributes: tuple[str, ...]
    buckets: tuple[float, ...] = ()


SPANS = {
    "start": SpanShape(
        name="start {}",
        kind="PRODUCER",
        parent="what the caller was doing",
        when="by the caller, around the storing of the run",
    ),
    "workflow": SpanShape(
        name="workflow {}",
        kind="SERVER",
        parent="the start span; for a sub-workflow, its parent's workflow span",
        when="once, by the process whose commit ended the run, from the run's start to its end",
    ),
    "step": SpanShape(
        name="step {}",
        kind="CONSUMER",
        parent="the workflow span",
        when="for each recorded attempt of a step",
    ),
    "undo": SpanShape(
        name="undo {}",
        kind="CONSUMER",
        parent="the span of the attempt whose effect it undoes",
        when="for each recorded attempt of an undo",
    ),
}

_WORKFLOW, _STEP, _ERROR = "qwit.workflow.name", "qwit.step.name", "error.type"

#: Every attribute that spans and metrics carry, with its meaning.
ATTRIBUTES = {
    _WORKFLOW: "the workflow's name",
    "qwit.workflow.id": "the run's id, as users see it",
    "qwit.workflow.run_id": "the run's UUID; that of a root is its tree's `root_id`",
    "qwit.workflow.version": "the workflow's version, if it has one",
    "qwit.workflow.parent_id": "of a sub-workflow: the UUID of the run that called it",
    "qwit.workflow.root_id": "the UUID of the run at the root of the tree",
    "qwit.workflow.outcome": "the status in which the run ended",
    "qwit.namespace": "the namespace of the run",
    _STEP: "the step's name",
    "qwit.step.position": "the command's place in the history; that of an undo begins with `~`",
    "qwit.step.attempt": "the number of the attempt; the first is 1",
    "qwit.step.dispatch": "`inline` or `queue`",
    "qwit.step.outcome": "`completed`, `failed`, or `retrying`: failed with another attempt due",
    _ERROR: "class of the error, without its module; for a run, that of what first went wrong",
    "messaging.system": "`dramatiq`; on attempts that a message brought",
    "messaging.operation.name": "`process`; on attempts that a message brought",
    "messaging.operation.type": "`process`; on attempts that a message brought",
    "messaging.destination.name": "the broker's queue; on attempts that a message brought",
}

_RUN_SECONDS = (0.1, 0.5, 1, 5, 10, 30, 60, 300, 900, 3600, 4 * 3600, 24 * 3600, 7 * 24 * 3600)
_STEP_SECONDS = (0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 900, 3600)

METRICS = {
    metric.name: metric
    for metric in (
        Metric(
            name="qwit.workflow.started",
            instrument="counter",
            unit="{workflow}",
            description="Runs and sub-workflows that were stored.",
            attributes=(_WORKFLOW,),
        ),
        Metric(
            name="qwit.workflow.duration",
            instrument="histogram",
            unit="s",
            description="From the start of a run to its end, waits included.",
            attributes=(_WORKFLOW, "qwit.workflow.outcome", _ERROR),
            buckets=_RUN_SECONDS,
        ),
        Metric(
            name="qwit.step.duration",
            instrument="histogram",
            unit="s",
            description="One attempt of a step.",
            attributes=(_WORKFLOW, _STEP, "qwit.step.outcome", _ERROR),
            buckets=_STEP_SECONDS,
        ),
        Metric(
            name="qwit.step.retries",
            instrument="counter",
            unit="{retry}",
            description="Attempts of a step that failed with another one due.",
            attributes=(_WORKFLOW, _STEP, _ERROR),
        ),
        Metric(
            name="qwit.compensation.executed",
            instrument="counter",
            unit="{compensation}",
            description="Undos that completed, or failed for good.",
            attributes=(_WORKFLOW, _STEP, "qwit.step.outcome", _ERROR),
        ),
    )
}
