"""`configure`, and what really goes over the wire."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from qwit_durable.observers.catalogue import METRICS
from tests.observers.receiver import Receiver, receiving

_ROOT = Path(__file__).parents[2]

_TELLING = """
import sys
from qwit_durable.observers.opentelemetry import OpenTelemetry, configure
from tests.observers.facts import DECLINED, a_run, an_attempt, an_end

telemetry = configure({endpoint}, service_name="shop")
observer = OpenTelemetry()
run = a_run(trace=observer.trace_for_start("checkout", "order-1"))
observer.run_started(run)
observer.step_finished(an_attempt(run, "charge", "0", begin=1, end=2, failure=DECLINED, retry=3))
observer.step_finished(an_attempt(run, "charge", "0", begin=3, end=4, attempt=2))
observer.undo_finished(an_attempt(run, "charge", "~0", begin=5, end=6))
observer.run_finished(an_end(run, end=7))
{end}
"""


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as receiver:
        yield receiver


def _run_python(code: str, **environment: str) -> subprocess.CompletedProcess[str]:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    return subprocess.run(
        [sys.executable, "-c", code],
        capture_output=True,
        text=True,
        check=False,
        cwd=_ROOT,
        env=kept | environment,
    )


def test_a_trace_and_the_metrics_arrive_over_otlp(receiver: Receiver) -> None:
    done = _run_python(_TELLING.format(endpoint=repr(receiver.endpoint), end="telemetry.shutdown()"))

    assert (done.returncode, done.stderr) == (0, "")
    spans = {(span.name, span.span_id): span for span in receiver.spans}
    assert sorted(name for name, _ in spans) == [
        "start checkout",
        "step charge",
        "step charge",
        "undo charge",
        "workflow checkout",
    ]
    assert len({span.trace_id for span in receiver.spans}) == 1
    assert {span.parent_span_id for span in receiver.spans} - {span.span_id for span in receiver.spans} == {
        b""
    }
    assert receiver.metric_names == set(METRICS)
    assert receiver.services == {"shop"}


def test_without_an_endpoint_the_environment_decides_and_the_end_of_the_process_sends(
    receiver: Receiver,
) -> None:
    done = _run_python(
        _TELLING.format(endpoint="None", end=""),
        OTEL_EXPORTER_OTLP_ENDPOINT=receiver.endpoint,
        OTEL_SERVICE_NAME="other",
    )

    assert (done.returncode, done.stderr) == (0, "")
    assert len(receiver.spans) == 5
    assert receiver.services == {"other"}


def test_a_second_call_is_refused_and_says_what_to_do() -> None:
    done = _run_python(
        "from qwit_durable.observers import configure; configure('http://127.0.0.1:9').shutdown(); configure()"
    )

    assert done.returncode == 1
    assert "AlreadyConfigured: configure() can't replace the TracerProvider" in done.stderr
    assert "way out: leave the call out" in done.stderr


def test_a_missing_exporter_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    from qwit_durable.observers.otlp import MissingExtra, configure

    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)

    with pytest.raises(MissingExtra, match=r'pip install "qwit-durable\[otlp\]"'):
        configure()
