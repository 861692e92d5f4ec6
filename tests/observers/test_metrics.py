"""The first set of metrics."""

from __future__ import annotations

from opentelemetry import metrics, trace

from qwit_durable.core import Status
from qwit_durable.observers.catalogue import METRICS, SPANS
from qwit_durable.observers.opentelemetry import OpenTelemetry
from tests.observers.facts import DECLINED, a_run, an_attempt, an_end
from tests.observers.recording import Process


def _told() -> Process:
    process, run = Process(), a_run()
    observer = process.observer
    observer.run_started(run)
    observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=1.5, failure=DECLINED, retry=3))
    observer.step_finished(an_attempt(run, "charge", "0", begin=3, end=5, attempt=2))
    observer.undo_finished(an_attempt(run, "charge", "~0", begin=6, end=7, failure=DECLINED, retry=8))
    observer.undo_finished(an_attempt(run, "charge", "~0", begin=8, end=9, attempt=2))
    observer.run_finished(an_end(run, Status.COMPENSATED, end=10, failure=DECLINED))
    return process


def test_every_metric_of_the_catalogue_is_recorded_with_its_attributes() -> None:
    points = _told().points()

    assert set(points) == set(METRICS)
    for name, found in points.items():
        assert {key for point in found for key in point.attributes} <= set(METRICS[name].attributes)


def test_metrics_say_how_much_and_how_long() -> None:
    points = _told().points()

    names = {"qwit.workflow.name": "checkout"}
    step = names | {"qwit.step.name": "charge"}
    error = {"error.type": "CardDeclined"}
    (started,) = points["qwit.workflow.started"]
    assert (started.value, dict(started.attributes)) == (1, names)
    (run,) = points["qwit.workflow.duration"]
    assert (run.sum, run.count) == (10, 1)
    assert dict(run.attributes) == names | error | {"qwit.workflow.outcome": "compensated"}
    assert run.explicit_bounds == METRICS["qwit.workflow.duration"].buckets
    attempts = {point.attributes["qwit.step.outcome"]: point for point in points["qwit.step.duration"]}
    assert (attempts["retrying"].sum, attempts["completed"].sum) == (0.5, 2)
    assert dict(attempts["completed"].attributes) == step | {"qwit.step.outcome": "completed"}
    (retries,) = points["qwit.step.retries"]
    assert (retries.value, dict(retries.attributes)) == (1, step | error)
    (undos,) = points["qwit.compensation.executed"]
    assert (undos.value, dict(undos.attributes)) == (1, step | {"qwit.step.outcome": "completed"})


def test_metrics_do_nothing_without_a_provider() -> None:
    observer = OpenTelemetry(trace.NoOpTracerProvider(), metrics.NoOpMeterProvider())

    observer.run_started(a_run())
    observer.step_finished(an_attempt(a_run(), "charge", "0", end=1))


def test_the_catalogue_spells_each_name_once_and_puts_no_id_on_a_metric() -> None:
    assert all(name == metric.name for name, metric in METRICS.items())
    assert len({shape.name for shape in SPANS.values()}) == len(SPANS)
    for metric in METRICS.values():
        assert not any("id" in attribute.split(".")[-1].split("_") for attribute in metric.attributes)
        assert (metric.instrument == "histogram") == bool(metric.buckets)
