"""What a real engine tells, seen as spans: one process, several, and one that forgets everything all the time."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from pathlib import Path

import pytest
from opentelemetry.trace import StatusCode

from qwit_durable import Durable, Retry, Workflow, WorkflowFailed, current, sleep, step, workflow
from qwit_durable.clock import ManualClock
from qwit_durable.engine.ports import Settings
from qwit_durable.language.workflow import WorkflowDefinition
from qwit_durable.observers.logs import LogObserver
from qwit_durable.observers.messages import MessagePerChange, StateChange
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.observers.recording import Process, spans_of, tree


@step
def traced_reserve(item: str) -> str:
    return item


@traced_reserve.undo
def traced_release(result: str) -> None:
    pass


@step(retry=Retry(max_attempts=3, first=timedelta(seconds=5)))
def traced_charge(cents: int) -> int:
    if current().attempt == 1:
        raise ConnectionError("no bank")
    return cents


@traced_charge.undo
def traced_refund(result: int) -> None:
    pass


@step(dispatch="queue")
def traced_pack(item: str) -> str:
    return item


@traced_pack.undo
def traced_unpack(result: str) -> None:
    pass


@step(retry=Retry(max_attempts=1))
def traced_label(item: str) -> str:
    raise RuntimeError("no paper")


@step(retry=Retry(max_attempts=2, first=timedelta(0)))
def traced_mail(item: str) -> str:
    if current().attempt == 1:
        raise ConnectionError("no post")
    return item


@workflow
def traced_ship(item: str) -> Workflow[str]:
    return (yield from traced_pack(item))


@workflow
def traced_notify(item: str) -> Workflow[str]:
    yield from traced_mail(item)
    return (yield from traced_label(item))


@workflow
def traced_checkout(item: str) -> Workflow[str]:
    yield from traced_reserve(item)
    yield from traced_charge(42)
    yield from traced_ship(item)
    yield from sleep(timedelta(hours=1))
    return (yield from traced_label(item))


@workflow
def traced_order(item: str) -> Workflow[str]:
    yield from traced_reserve(item)
    yield from traced_pack(item)
    return (yield from traced_notify(item))


CHECKOUT = [
    "start traced_checkout",
    "  workflow traced_checkout",
    "    step traced_reserve",
    "      undo traced_reserve",
    "    step traced_charge",
    "    step traced_charge #2",
    "      undo traced_charge",
    "    workflow traced_ship",
    "      step traced_pack",
    "        undo traced_pack",
    "    step traced_label",
]

ORDER = [
    "start traced_order",
    "  workflow traced_order",
    "    step traced_reserve",
    "      undo traced_reserve",
    "    step traced_pack",
    "      undo traced_pack",
    "    workflow traced_notify",
    "      step traced_mail",
    "      step traced_mail #2",
    "      step traced_label",
]


class TickingClock(ManualClock):
    """Moves on a little with each look, so that no two facts have one time."""

    def now(self) -> datetime:
        return self.advance(timedelta(microseconds=1))


REMEMBER, FORGET = Settings(), Settings(cached_runs=0)


@pytest.fixture(params=["memory", "sqlite"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    return "memory://" if request.param == "memory" else f"sqlite:///{tmp_path / 'traced.db'}"


@pytest.fixture
def clock() -> ManualClock:
    return TickingClock()


@pytest.fixture
def store(url: str, clock: ManualClock) -> Iterator[Store]:
    store = open_store(url, clock=clock)
    store.open()
    yield store
    store.close()


def _settle_in_turns(environments: Sequence[Environment]) -> None:
    """Every bell is answered by another process than the one before."""
    waiting = environments[0].bells.waiting
    for _ in range(1000):
        for environment in environments:
            environment.engine.heart.beat()
            environment.answer_bells(limit=1)
        if waiting:
            continue
        environments[0].engine.sweeper.sweep()
        if waiting:
            continue
        due = environments[0]._next_due()
        if due is None:
            return
        clock = environments[0].clock
        clock.advance(max(due - clock.now(), timedelta(milliseconds=1)))
    raise AssertionError("the processes did not come to rest")


@pytest.mark.parametrize("settings", [REMEMBER, FORGET], ids=["cached", "replayed"])
def test_a_saga_is_one_tree_however_often_its_body_is_replayed(
    store: Store, clock: ManualClock, settings: Settings
) -> None:
    process = Process()
    with Environment(store, clock=clock, observers=[process.observer], settings=settings) as environment:
        handle = environment.start(traced_checkout, "lamp")

        environment.settle()

    with pytest.raises(WorkflowFailed):
        handle.result()
    assert tree(process.spans) == CHECKOUT
    workflow_span = process.span("workflow traced_checkout")
    assert workflow_span.status.status_code is StatusCode.ERROR
    assert workflow_span.start_time is not None
    assert workflow_span.end_time is not None
    assert workflow_span.end_time - workflow_span.start_time >= 3605 * 10**9


@pytest.mark.parametrize(("called", "expected"), [(traced_order, ORDER), (traced_checkout, CHECKOUT)])
def test_processes_that_take_turns_write_one_tree(
    store: Store, clock: ManualClock, called: WorkflowDefinition[[str], str], expected: list[str]
) -> None:
    processes = [Process() for _ in range(3)]
    environments = [
        Environment(store, clock=clock, observers=[process.observer], settings=FORGET)
        for process in processes
    ]
    shared = environments[0].bells.waiting
    for environment in environments:
        environment.bells.waiting = shared
    with environments[0]:
        handle = environments[0].start(called, "lamp")

        _settle_in_turns(environments)

    with pytest.raises(WorkflowFailed):
        handle.result()
    assert tree(spans_of(*processes)) == expected
    assert len([process for process in processes if process.spans]) > 1


def test_an_embedded_durable_is_traced_by_its_threads(url: str) -> None:
    process, messages = Process(), list[StateChange]()
    observers = [process.observer, LogObserver(), MessagePerChange(messages.append)]

    with (
        Durable(url, observers=observers).embedded(threads=2),
        process.users.start_as_current_span("POST /orders"),
        pytest.raises(WorkflowFailed),
    ):
        traced_order.start("lamp").result(timeout=30)

    assert tree(process.spans) == ["POST /orders", *(f"  {line}" for line in ORDER)]
    assert [message.change for message in messages].count("run_finished") == 2
    assert messages[-1].change == "run_finished"


def test_a_run_that_is_started_by_a_step_belongs_to_the_steps_attempt(
    store: Store, clock: ManualClock
) -> None:
    @step
    def traced_starter(item: str) -> str:
        return traced_order.start(item).id

    @workflow
    def traced_starting(item: str) -> Workflow[str]:
        return (yield from traced_starter(item))

    process = Process()
    with Environment(store, clock=clock, observers=[process.observer]) as environment:
        environment.start(traced_starting, "lamp")

        environment.settle()

    assert tree(process.spans)[:4] == [
        "start traced_starting",
        "  workflow traced_starting",
        "    step traced_starter",
        "      start traced_order",
    ]
