"""Ids that are known in advance, sampling, and everything an SDK may or may not be."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from typing import Any

import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.id_generator import IdGenerator
from opentelemetry.sdk.trace.sampling import (
    ALWAYS_OFF,
    ALWAYS_ON,
    ParentBased,
    Sampler,
    SamplingResult,
    TraceIdRatioBased,
)

from qwit_durable.core import Status
from qwit_durable.observers.base import Observers
from qwit_durable.observers.opentelemetry import OpenTelemetry
from qwit_durable.observers.spans import PresetIds, read_carried, span_id_of
from tests.observers.facts import DECLINED, a_child, a_run, an_attempt, an_end
from tests.observers.recording import Process, spans_of, tree


def _tell_all(observer: Any, run: Any) -> None:
    observer.run_started(run)
    observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=2, failure=DECLINED, retry=3))
    with observer.around_attempt(an_attempt(run, "charge", "0", begin=3, attempt=2)):
        pass
    observer.step_finished(an_attempt(run, "charge", "0", begin=3, end=4, attempt=2))
    observer.undo_finished(an_attempt(run, "charge", "~0", begin=5, end=6))
    observer.run_finished(an_end(run, Status.COMPENSATED, end=7, failure=DECLINED))


def test_telling_twice_gives_the_same_ids() -> None:
    client, before, after = Process(), Process(), Process()
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    _tell_all(before.observer, run)
    _tell_all(after.observer, run)

    assert [span.to_json() for span in before.spans] == [span.to_json() for span in after.spans]
    assert len({span.context.span_id for span in before.spans}) == len(before.spans) == 4


def test_ids_differ_by_run_position_and_attempt_and_are_never_zero() -> None:
    one, two = a_run(), a_run()

    ids = {
        span_id_of(run.id, 0, position, attempt)
        for run in (one, two)
        for position in ("0", "1", "0.1", "~0")
        for attempt in (1, 2, 11)
    }

    assert len(ids) == 24
    assert all(0 < span_id < 2**64 for span_id in ids)


def test_other_tracers_keep_their_own_ids() -> None:
    class Counting(IdGenerator):
        count = 0

        def generate_span_id(self) -> int:
            self.count += 1
            return self.count

        def generate_trace_id(self) -> int:
            return 77

    counting = Counting()
    provider = TracerProvider(id_generator=counting, shutdown_on_exit=False)
    observer, users = OpenTelemetry(provider), provider.get_tracer("shop")

    observer.run_finished(an_end(a_run(), end=1))
    with users.start_as_current_span("a") as a:
        observer.run_finished(an_end(a_run(), end=1))
        with users.start_as_current_span("b") as b:
            pass

    assert (a.get_span_context().span_id, b.get_span_context().span_id) == (1, 2)
    assert a.get_span_context().trace_id == 77
    assert provider.id_generator is counting


def test_two_observers_of_one_provider_replace_the_generator_once() -> None:
    process = Process()

    OpenTelemetry(process.provider).run_finished(an_end(a_run(), end=1))
    OpenTelemetry(process.provider).run_finished(an_end(a_run(), end=1))

    generator: Any = process.provider.get_tracer("qwit_durable")
    assert isinstance(generator.id_generator, PresetIds)
    assert not isinstance(generator.id_generator._wrapped, PresetIds)


def test_the_whole_byte_of_flags_and_the_state_of_the_trace_come_back() -> None:
    text = json.dumps({"traceparent": f"00-{7:032x}-{8:016x}-03", "tracestate": "vendor=x"})
    worker = Process()

    worker.observer.run_finished(an_end(a_run(trace=text), end=1))

    span = worker.span("workflow checkout")
    assert span.parent is not None
    assert span.parent.trace_flags == 3
    assert span.parent.trace_state.to_header() == "vendor=x"
    assert span.context.trace_flags & 2


@pytest.mark.parametrize("text", ["", "no json", "[]", "{}", '{"traceparent": "junk"}', '{"traceparent": 1}'])
def test_a_stored_context_that_is_none_counts_as_none(text: str) -> None:
    worker = Process()

    worker.observer.run_finished(an_end(a_run(trace=text), end=1))

    assert read_carried(text) is None
    assert tree(worker.spans) == ["workflow checkout"]


def test_an_unsampled_trace_emits_nothing_anywhere() -> None:
    client, worker = Process(ALWAYS_OFF), Process(ALWAYS_ON)
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    _tell_all(worker.observer, run)
    _tell_all(worker.observer, a_child(run, "ship", "1"))

    assert run.trace is not None
    assert spans_of(client, worker) == []


def test_what_a_step_does_in_an_unsampled_trace_is_unsampled_too() -> None:
    client, worker = Process(ALWAYS_OFF), Process(ParentBased(ALWAYS_ON))
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    with worker.observer.around_attempt(an_attempt(run, "charge", "0")):
        worker.users.start_span("POST /charges").end()

    assert worker.spans == []


def test_a_run_that_was_started_without_tracing_has_a_trace_of_its_own() -> None:
    one, two = Process(), Process()
    run = a_run(trace=None)
    ship = a_child(run, "ship", "1", started=3)

    one.observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=2))
    with one.observer.around_attempt(an_attempt(ship, "pack", "0", begin=4)):
        one.users.start_span("GET /boxes").end()
    one.observer.step_finished(an_attempt(ship, "pack", "0", begin=4, end=5))
    two.observer.run_finished(an_end(ship, end=6))
    two.observer.run_finished(an_end(run, end=7))

    assert tree(spans_of(one, two)) == [
        "workflow checkout",
        "  step charge",
        "  workflow ship",
        "    step pack",
        "      GET /boxes",
    ]


def test_the_sampler_decides_about_a_trace_of_a_runs_own_as_a_whole() -> None:
    worker = Process(ParentBased(TraceIdRatioBased(0.5)))

    for _ in range(40):
        _tell_all(worker.observer, a_run(trace=None))

    traces = [span.context.trace_id for span in worker.spans]
    assert {traces.count(trace_id) for trace_id in traces} == {4}
    assert 0 < len(set(traces)) < 40


def test_without_an_sdk_nothing_happens() -> None:
    for provider in (trace.NoOpTracerProvider(), trace.ProxyTracerProvider(), None):
        observer = OpenTelemetry(provider)
        run = a_run(trace=observer.trace_for_start("checkout", "order-1"))

        _tell_all(observer, run)

        assert run.trace is None


def test_without_an_sdk_the_callers_context_still_reaches_the_step() -> None:
    client, observer = Process(), OpenTelemetry(trace.NoOpTracerProvider())
    run = a_run(trace=client.observer.trace_for_start("checkout", "order-1"))

    with observer.around_attempt(an_attempt(run, "charge", "0")):
        seen = trace.get_current_span().get_span_context()

    assert seen.span_id == client.span("start checkout").context.span_id


def test_a_foreign_tracer_gets_all_spans_under_the_start_span() -> None:
    worker = Process()

    class Foreign(trace.TracerProvider):
        def get_tracer(self, *args: Any, **kwargs: Any) -> trace.Tracer:
            inner = worker.provider.get_tracer("foreign")

            class Tracer(trace.NoOpTracer):
                def start_span(self, *args: Any, **kwargs: Any) -> trace.Span:
                    return inner.start_span(*args, **kwargs)

            return Tracer()

    run = a_run(trace=Process().observer.trace_for_start("checkout", "order-1"))
    observer = OpenTelemetry(Foreign())

    _tell_all(observer, run)
    observer.run_finished(an_end(a_run(trace=None), end=1))

    start = read_carried(run.trace)
    assert start is not None
    assert [span.parent.span_id for span in worker.spans if span.parent] == [start.span_id] * 4
    assert len(worker.spans) == 4


def test_an_sdk_may_be_set_up_after_the_observer(monkeypatch: pytest.MonkeyPatch) -> None:
    observer, process = OpenTelemetry(), Process()
    observer.run_finished(an_end(a_run(), end=1))

    monkeypatch.setattr(trace, "get_tracer_provider", lambda: process.provider)
    observer.run_finished(an_end(a_run(), end=1))

    assert tree(process.spans) == ["workflow checkout"]


def test_tracing_that_breaks_changes_nothing(caplog: pytest.LogCaptureFixture) -> None:
    class Broken(Sampler):
        def should_sample(self, *args: Any, **kwargs: Any) -> SamplingResult:
            raise ZeroDivisionError

        def get_description(self) -> str:
            return "broken"

    process = Process(Broken())
    observers = Observers([process.observer])
    run = a_run(trace=process.observer.trace_for_start("checkout", "order-1"))

    observers.attempt_finished(an_attempt(run, "charge", "0", end=1))
    with observers.around(an_attempt(run, "charge", "0")):
        ran = True
    observers.tell("run_finished", an_end(run, end=1))

    assert ran
    assert run.trace is None
    assert len(caplog.records) == 4


def _run_python(code: str) -> str:
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout


@pytest.mark.parametrize(
    ("imported", "absent"),
    [
        ("import qwit_durable, qwit_durable.observers", "opentelemetry"),
        ("from qwit_durable.observers import LogObserver, MessagePerChange", "opentelemetry"),
        ("from qwit_durable.observers import OpenTelemetry, configure; OpenTelemetry()", "opentelemetry.sdk"),
        (
            "import qwit_durable.observers.opentelemetry as o; o.OpenTelemetry().trace_for_start('w', 'k')",
            "opentelemetry.sdk",
        ),
    ],
)
def test_importing_brings_no_more_than_is_used(imported: str, absent: str) -> None:
    printed = _run_python(
        f"import sys; {imported}; print([m for m in sys.modules if m.startswith({absent!r})])"
    )

    assert printed.strip() == "[]"


def test_what_observers_export_can_be_had() -> None:
    import qwit_durable.observers as package

    found: Sequence[object] = [getattr(package, name) for name in package.__all__]

    assert set(package.__all__) <= set(dir(package))
    assert OpenTelemetry in found
    with pytest.raises(AttributeError, match="Nonsense"):
        _ = package.Nonsense  # type: ignore[attr-defined]
