"""The shape of a run's trace: what hangs under what, when it was, and who may have told it."""

from __future__ import annotations

from datetime import timedelta

import attrs
from opentelemetry.trace import SpanKind, StatusCode

from qwit_durable.core import Status
from qwit_durable.observers.catalogue import ATTRIBUTES
from qwit_durable.observers.spans import nanoseconds
from tests.observers.facts import DECLINED, T0, a_child, a_run, an_attempt, an_end, at
from tests.observers.recording import Process, spans_of, tree


def test_a_run_is_one_trace_over_several_processes() -> None:
    client, one, two = Process(), Process(), Process()
    with client.users.start_as_current_span("POST /orders"):
        run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    one.observer.step_finished(an_attempt(run, "reserve", "0", begin=1, end=2))
    two.observer.step_finished(an_attempt(run, "charge", "1", begin=3, end=4))
    two.observer.run_finished(an_end(run, end=5))

    assert tree(spans_of(client, one, two)) == [
        "POST /orders",
        "  start checkout",
        "    workflow checkout",
        "      step reserve",
        "      step charge",
    ]


def test_spans_have_the_kinds_and_times_of_what_they_tell() -> None:
    client, worker = Process(), Process()
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    worker.observer.step_finished(an_attempt(run, "charge", "0", begin=1.000001, end=3600))
    worker.observer.run_finished(an_end(run, end=86_400))

    start, step, workflow = (
        client.span("start checkout"),
        worker.span("step charge"),
        worker.span("workflow checkout"),
    )
    assert (start.kind, step.kind, workflow.kind) == (SpanKind.PRODUCER, SpanKind.CONSUMER, SpanKind.SERVER)
    assert (step.start_time, step.end_time) == (nanoseconds(at(1.000001)), nanoseconds(at(3600)))
    assert workflow.start_time == nanoseconds(T0) == 1767323045_678901_000
    assert workflow.end_time == nanoseconds(T0 + timedelta(days=1))


def test_attempts_are_spans_of_their_own_and_a_failed_one_is_an_error() -> None:
    worker = Process()
    run = a_run(trace=worker.observer.trace_for_start("checkout", "order-1"))

    failed = an_attempt(run, "charge", "0", begin=1, end=2, failure=DECLINED, retry=10)
    worker.observer.step_finished(failed)
    worker.observer.step_finished(an_attempt(run, "charge", "0", begin=10, end=11, attempt=2))
    worker.observer.run_finished(an_end(run, end=12))

    assert tree(worker.spans) == [
        "start checkout",
        "  workflow checkout",
        "    step charge",
        "    step charge #2",
    ]
    first, second = (span for span in worker.spans if span.name == "step charge")
    assert first.status.status_code is StatusCode.ERROR
    assert first.status.description == "CardDeclined: no funds on 4242"
    assert first.attributes is not None
    assert first.attributes["error.type"] == "CardDeclined"
    assert first.attributes["qwit.step.outcome"] == "retrying"
    assert first.events == ()
    assert second.status.status_code is StatusCode.UNSET
    assert second.attributes is not None
    assert second.attributes["qwit.step.outcome"] == "completed"


def test_an_undo_is_under_the_attempt_it_undoes() -> None:
    worker = Process()
    run = a_run(trace=worker.observer.trace_for_start("checkout", "order-1"))

    worker.observer.step_finished(an_attempt(run, "reserve", "0", begin=1, end=2))
    worker.observer.step_finished(an_attempt(run, "charge", "1", begin=3, end=4, failure=DECLINED, retry=5))
    worker.observer.step_finished(an_attempt(run, "charge", "1", begin=5, end=6, attempt=2))
    worker.observer.step_finished(an_attempt(run, "ship", "2", begin=7, end=8, failure=DECLINED))
    worker.observer.undo_finished(
        an_attempt(run, "charge", "~1", begin=9, end=10, failure=DECLINED, retry=11, undoes=2)
    )
    worker.observer.undo_finished(an_attempt(run, "charge", "~1", begin=11, end=12, attempt=2, undoes=2))
    worker.observer.undo_finished(an_attempt(run, "reserve", "~0", begin=13, end=14))
    worker.observer.run_finished(an_end(run, Status.COMPENSATED, end=15, failure=DECLINED))

    assert tree(worker.spans) == [
        "start checkout",
        "  workflow checkout",
        "    step reserve",
        "      undo reserve",
        "    step charge",
        "    step charge #2",
        "      undo charge",
        "      undo charge #2",
        "    step ship",
    ]


def test_an_undo_that_a_person_has_retried_is_a_span_of_its_own() -> None:
    worker = Process()
    run = a_run(trace=worker.observer.trace_for_start("checkout", "order-1"))

    worker.observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=2))
    worker.observer.undo_finished(an_attempt(run, "charge", "~0", begin=3, end=4, failure=DECLINED))
    with worker.observer.around_attempt(an_attempt(run, "charge", "~0", begin=86_400)):
        worker.users.start_span("POST /refunds").end()
    worker.observer.undo_finished(an_attempt(run, "charge", "~0", begin=86_400, end=86_401))
    worker.observer.run_finished(an_end(run, Status.COMPENSATED, end=86_402, failure=DECLINED))

    assert tree(worker.spans) == [
        "start checkout",
        "  workflow checkout",
        "    step charge",
        "      undo charge",
        "      undo charge",
        "        POST /refunds",
    ]


def test_another_process_finds_the_attempt_that_an_undo_belongs_to() -> None:
    client, one, two = Process(), Process(), Process()
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    one.observer.step_finished(an_attempt(run, "reserve", "0", begin=1, end=2))
    two.observer.undo_finished(an_attempt(run, "reserve", "~0", begin=3, end=4))
    two.observer.run_finished(an_end(run, Status.CANCELLED, end=5))

    assert tree(spans_of(client, one, two)) == [
        "start checkout",
        "  workflow checkout",
        "    step reserve",
        "      undo reserve",
    ]


def test_a_sub_workflow_is_under_the_workflow_that_called_it() -> None:
    client, one, two = Process(), Process(), Process()
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))
    ship = a_child(run, "ship", "1", started=2)
    pack = a_child(ship, "pack", "0", started=3)

    one.observer.step_finished(an_attempt(pack, "wrap", "0", begin=4, end=5))
    one.observer.run_finished(an_end(pack, end=6))
    two.observer.run_finished(an_end(ship, end=7))
    one.observer.run_finished(an_end(run, end=8))

    assert tree(spans_of(client, one, two)) == [
        "start checkout",
        "  workflow checkout",
        "    workflow ship",
        "      workflow pack",
        "        step wrap",
    ]


def test_a_completed_sub_workflow_that_undoes_what_it_did_keeps_its_one_span() -> None:
    worker = Process()
    run = a_run(trace=worker.observer.trace_for_start("checkout", "order-1"))
    ship = a_child(run, "ship", "0", started=1)

    worker.observer.step_finished(an_attempt(ship, "pack", "0", begin=2, end=3))
    worker.observer.run_finished(an_end(ship, end=4))
    worker.observer.undo_finished(an_attempt(ship, "pack", "~0", begin=5, end=6))
    worker.observer.run_finished(an_end(ship, Status.COMPENSATED, end=7, failure=DECLINED, reopened=True))
    worker.observer.run_finished(an_end(run, Status.COMPENSATED, end=8, failure=DECLINED))

    assert tree(worker.spans) == [
        "start checkout",
        "  workflow checkout",
        "    workflow ship",
        "      step pack",
        "        undo pack",
    ]
    assert worker.span("workflow ship").status.status_code is StatusCode.UNSET


def test_what_a_step_does_is_under_its_attempt() -> None:
    client, worker = Process(), Process()
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))
    attempt = an_attempt(run, "charge", "0", begin=1)

    with worker.observer.around_attempt(attempt), worker.users.start_as_current_span("POST /charges"):
        inner = worker.observer.trace_for_start("audit", "audit-1")
    worker.observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=2))
    worker.observer.run_finished(an_end(a_run("audit", trace=inner), end=3))
    worker.observer.run_finished(an_end(run, end=3))

    assert sorted(tree(spans_of(client, worker))) == sorted(
        [
            "start checkout",
            "  workflow checkout",
            "    step charge",
            "      POST /charges",
            "        start audit",
            "          workflow audit",
        ]
    )


def test_how_a_run_ended_is_on_its_span() -> None:
    worker = Process()
    wrapped = DECLINED.__class__(type="StepFailed", message="step 'charge' failed", cause=DECLINED)
    ends = {
        Status.COMPLETED: None,
        Status.FAILED: wrapped,
        Status.COMPENSATED: wrapped,
        Status.CANCELLED: wrapped,
        Status.TERMINATED: None,
    }

    for status, failure in ends.items():
        run = a_run(status.value, trace=worker.observer.trace_for_start(status.value, "k"))
        worker.observer.run_finished(an_end(run, status, end=1, failure=failure))

    for status in ends:
        span = worker.span(f"workflow {status.value}")
        assert span.attributes is not None
        assert span.attributes["qwit.workflow.outcome"] == status.value
        is_error = status in {Status.FAILED, Status.COMPENSATED}
        assert (span.status.status_code is StatusCode.ERROR) is is_error
        assert span.attributes.get("error.type") == ("CardDeclined" if is_error else None)


def test_attributes_are_those_of_the_catalogue_and_hold_no_payload() -> None:
    worker = Process(error_messages=False)
    run = a_run(trace=worker.observer.trace_for_start("checkout", "order-1"), key="order-1")
    ship = a_child(run, "ship", "1")

    worker.observer.step_finished(an_attempt(run, "mail", "0", end=1, inline=False, failure=DECLINED))
    worker.observer.undo_finished(an_attempt(run, "mail", "~0", end=1))
    worker.observer.run_finished(an_end(ship, end=1))
    worker.observer.run_finished(an_end(run, Status.COMPENSATED, end=1, failure=DECLINED))

    for span in worker.spans:
        attributes = dict(span.attributes or {})
        assert set(attributes) <= set(ATTRIBUTES), span.name
        assert "4242" not in f"{attributes} {span.status.description}"
    step = worker.span("step mail")
    assert dict(step.attributes or {}) == {
        "qwit.workflow.name": "checkout",
        "qwit.workflow.id": "order-1",
        "qwit.workflow.run_id": str(run.id),
        "qwit.workflow.root_id": str(run.id),
        "qwit.workflow.version": "7",
        "qwit.namespace": "shop",
        "qwit.step.name": "mail",
        "qwit.step.position": "0",
        "qwit.step.attempt": 1,
        "qwit.step.dispatch": "queue",
        "qwit.step.outcome": "failed",
        "error.type": "CardDeclined",
        "messaging.system": "dramatiq",
        "messaging.operation.name": "process",
        "messaging.operation.type": "process",
        "messaging.destination.name": "mail",
    }
    child = dict(worker.span("workflow ship").attributes or {})
    assert child["qwit.workflow.parent_id"] == child["qwit.workflow.root_id"] == str(run.id)


def test_a_start_that_fails_is_an_error_of_the_caller() -> None:
    client = Process()

    try:
        with client.observer.starting("checkout", "order-1"):
            raise ConnectionError("no store")
    except ConnectionError:
        pass

    span = client.span("start checkout")
    assert span.status.status_code is StatusCode.ERROR
    assert (span.attributes or {})["error.type"] == "ConnectionError"


def test_the_undo_of_a_call_that_was_registered_is_under_the_workflow() -> None:
    worker = Process()
    run = a_run(trace=worker.observer.trace_for_start("checkout", "order-1"))

    worker.observer.undo_finished(
        attrs.evolve(an_attempt(run, "apologise", "~0", begin=1, end=2), undoes=None)
    )
    worker.observer.run_finished(an_end(run, Status.CANCELLED, end=3))

    assert tree(worker.spans) == ["start checkout", "  workflow checkout", "    undo apologise"]
