"""Scenarios of what comes from outside: starts, the time to a first step, signals."""

from __future__ import annotations

import statistics
from collections.abc import Generator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from qwit_durable.app import Durable
from qwit_durable.bench import figures
from qwit_durable.bench.bare import bare_table, commit_one_by_one
from qwit_durable.bench.bodies import inline_steps, signalled, stamped
from qwit_durable.bench.crew import pause
from qwit_durable.bench.plan import Line, Plan, Ratio, Scenario
from qwit_durable.bench.stage import Stage
from qwit_durable.client import Handle
from qwit_durable.clock import monotonic

__all__ = ["LATENCY", "SIGNALS", "STARTS"]

_ONE = "bare inserts and commits, /s"
_MANY = "starts by start_many, /s"
_PAUSE_SECONDS = 0.02
_PERCENT = 100


@contextmanager
def _starts(stage: Stage) -> Generator[Plan]:
    count = stage.sizes.starts

    def many() -> float:
        with stage.crew.held():
            began = monotonic()
            handles = stage.durable.start_many([inline_steps.to_start(0)] * count)
            rate = count / (monotonic() - began)
        stage.end_of(handles)
        return rate

    def started(*, together: bool) -> float:
        """While nobody works: what is measured is the start alone."""
        with stage.crew.held():
            began = monotonic()
            if together:
                handles = stage.start_all([inline_steps.options()] * count, 0)
            else:
                handles = [stage.durable.start(inline_steps, 0) for _ in range(count // 4 + 1)]
            rate = len(handles) / (monotonic() - began)
        stage.end_of(handles)
        return rate

    lines = [
        Line("starts one by one", lambda: {figures.STARTS_ALONE: started(together=False)}),
        Line("starts from threads", lambda: {figures.STARTS_TOGETHER: started(together=True)}),
        Line("starts by start_many", lambda: {_MANY: many()}),
    ]
    if stage.postgres is None:
        yield Plan(lines)
        return
    with bare_table(stage.place.store) as table:
        lines.append(
            Line(
                "bare inserts and commits",
                lambda: {_ONE: count / commit_one_by_one(stage.place.store, table, count)},
            )
        )
        yield Plan(
            lines,
            [
                Ratio("starts one by one / bare inserts and commits", figures.STARTS_ALONE, _ONE),
                Ratio("starts from threads / bare inserts and commits", figures.STARTS_TOGETHER, _ONE),
            ],
        )


def _percentile(values: list[float], percent: int) -> float:
    return statistics.quantiles(values, n=_PERCENT, method="inclusive")[percent - 1]


@contextmanager
def _latency(stage: Stage) -> Generator[Plan]:
    def once(durable: Durable) -> float:
        """Milliseconds from the start to the first step, of a crew that has nothing to do."""
        pause(_PAUSE_SECONDS)
        began = monotonic()
        handle = durable.start(stamped)
        # Not looked at before it has ended, or the looking would be measured.
        pause(_PAUSE_SECONDS)
        return (handle.result(timeout=60) - began) * 1000

    def percentiles(durable: Durable, p50: str, p99: str) -> dict[str, float]:
        found = [once(durable) for _ in range(stage.sizes.latencies)]
        return {p50: _percentile(found, 50), p99: _percentile(found, 99)}

    def in_process() -> dict[str, float]:
        with stage.place.durable("in-process").embedded(threads=stage.threads) as durable:
            once(durable)
            try:
                return percentiles(durable, figures.P50_HERE, figures.P99_HERE)
            finally:
                stage.empty(durable)

    stage.settle()
    once(stage.durable)
    lines = [Line("in this process", in_process)]
    aims = [Ratio(figures.P50_HERE, figures.P50_HERE, at_most=2.0)]
    if stage.broker is not None:
        lines.append(Line("by the broker", lambda: percentiles(stage.durable, figures.P50, figures.P99)))
        aims += [
            Ratio(figures.P50, figures.P50, at_most=10.0),
            Ratio(figures.P99, figures.P99, at_most=100.0),
        ]
    yield Plan(lines, aims)


@contextmanager
def _signals(stage: Stage) -> Generator[Plan]:
    runs, each = stage.sizes.chains, stage.sizes.signals

    def send(handle: Handle[None]) -> None:
        for _ in range(each):
            handle.signal("next")

    def signals() -> dict[str, float]:
        """From the first that is sent until the last run has seen all of its own."""
        handles = stage.start_all([signalled.options()] * runs, each)
        began = stage.durable.reader.now()
        with ThreadPoolExecutor(stage.threads) as pool:
            list(pool.map(send, handles))
        return {figures.SIGNALS: runs * each / (stage.end_of(handles) - began).total_seconds()}

    yield Plan([Line("signals", signals)])


STARTS = Scenario("starts", "how many runs a second can be started", _starts)
LATENCY = Scenario("latency", "the time from a start to the first step, of workers that are idle", _latency)
SIGNALS = Scenario("signals", "how many signals a second are sent and seen", _signals)
