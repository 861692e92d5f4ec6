"""Observers hear of every committed fact once, in order; `around_step` surrounds every attempt."""

from __future__ import annotations

import threading
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Cause, Retry, Status
from qwit_durable.errors import GiveUp, WorkflowFailed
from qwit_durable.language.context import current
from qwit_durable.language.flow import CONTINUE, Continue, flow
from qwit_durable.language.step import step
from qwit_durable.language.verbs import wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.observers.base import AttemptInfo, EndInfo, Observer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import RunRow
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

_log: list[str] = []


@pytest.fixture(autouse=True)
def log() -> list[str]:
    _log.clear()
    return _log


class Ear(Observer):
    """Takes down what it is told."""

    def run_started(self, run: RunRow) -> None:
        _log.append(f"{run.workflow} started")

    def step_starting(self, attempt: AttemptInfo) -> None:
        _log.append(f"{attempt.step} {attempt.attempt} starting")

    def step_finished(self, attempt: AttemptInfo) -> None:
        how = "failed" if attempt.failure is not None else "finished"
        _log.append(f"{attempt.step} {attempt.attempt} {how}")

    def unwinding(self, run: RunRow, cause: Cause, plan: Sequence[str]) -> None:
        _log.append(f"{run.workflow} unwinding {', '.join(plan)}")

    def undo_starting(self, attempt: AttemptInfo) -> None:
        _log.append(f"undo of {attempt.step} at {attempt.position} starting")

    def undo_finished(self, attempt: AttemptInfo) -> None:
        waits = f", waits for {attempt.awaits}" if attempt.awaits is not None else ""
        _log.append(f"undo of {attempt.step} at {attempt.position} finished{waits}")

    def run_finished(self, end: EndInfo) -> None:
        _log.append(f"{end.run.workflow} {end.status}")


class Broken(Observer):
    """Fails in every hook."""

    def __getattribute__(self, name: str) -> Any:
        if name.startswith(("run_", "step_", "undo_", "unwinding", "around_")):
            raise RuntimeError(name)
        return super().__getattribute__(name)


@step
def book(order: str) -> str:
    return order


@book.undo
def unbook(order: str) -> None: ...


@step(retry=Retry(max_attempts=2, first=timedelta(seconds=1)))
def pay() -> None:
    message = "no money"
    raise RuntimeError(message)


@workflow
def child(order: str) -> Workflow[str]:
    return (yield from book(order))


@workflow
def parent(order: str) -> Workflow[None]:
    yield from child(order)
    yield from book(order)
    yield from pay()


@workflow
def waiting(order: str) -> Workflow[None]:
    yield from child(order)
    yield from waiting_child(order)


@workflow
def waiting_child(order: str) -> Workflow[None]:
    yield from book(order)
    yield from wait_signal("never")


_WHOLE = [
    "parent started",
    "child started",
    "book 1 starting",
    "book 1 finished",
    "child completed",
    "book 1 starting",
    "book 1 finished",
    "pay 1 starting",
    "pay 1 failed",
    "pay 2 starting",
    "pay 2 failed",
    "parent unwinding book, child",
    "undo of book at ~1 starting",
    "undo of book at ~1 finished",
    "undo of book at ~0 starting",
    "undo of book at ~0 finished",
    "child compensated",
    "parent compensated",
]


def test_every_committed_fact_is_told_once_and_in_order(log: list[str]) -> None:
    environment = Environment(observers=[Ear()])

    environment.start(parent, "A")
    environment.settle()

    assert log == _WHOLE


def test_an_observer_that_fails_changes_nothing_and_the_others_hear_all(
    log: list[str], caplog: pytest.LogCaptureFixture
) -> None:
    environment = Environment(observers=[Broken(), Ear()])

    handle = environment.start(parent, "A")
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert log == _WHOLE
    assert "the run goes on" in caplog.text


def test_a_terminated_run_is_told_with_its_open_sub_workflows_by_who_terminated_it(log: list[str]) -> None:
    environment = Environment()
    handle = environment.start(waiting, "A")
    environment.settle()
    client = Environment(environment.store, clock=environment.clock, observers=[Ear()])

    client.get(handle.id).terminate("enough")
    client.get(handle.id).terminate("enough")

    assert log == ["waiting_child terminated", "waiting terminated"]


def test_a_lost_attempt_is_told_as_failed_by_who_finds_it(log: list[str]) -> None:
    clock = ManualClock()
    truth = MemoryStore(clock)
    first = Environment(MortalStore(truth, dies_at=4), clock=clock, observers=[Ear()])
    first.start(child, "A")
    with pytest.raises(ProcessDied):
        first.settle()
    second = Environment(truth, clock=clock, observers=[Ear()])

    second.settle()

    assert log == [
        "child started",
        "book 1 starting",
        "book 1 failed",
        "book 2 starting",
        "book 2 finished",
        "child completed",
    ]


def test_an_undo_that_waits_is_told_as_what_it_waits_for(log: list[str]) -> None:
    class Slow:
        def run(self, state: dict[str, Any]) -> None: ...

        def rollback(self, state: dict[str, Any]) -> Continue:
            return CONTINUE

        def rollback_continue(self, signal: Any, state: dict[str, Any]) -> None: ...

    class Fail:
        def run(self, state: dict[str, Any]) -> None:
            raise GiveUp

    environment = Environment(observers=[Ear()])
    handle = environment.start(flow("slow", [Slow, Fail]), {})
    environment.settle()

    handle.signal("Slow.rollback")
    environment.settle()

    assert log[-6:] == [
        "slow unwinding Slow",
        "undo of Slow at ~0 starting",
        "undo of Slow at ~0 finished, waits for Slow.rollback",
        "undo of Slow at ~0++ starting",
        "undo of Slow at ~0++ finished",
        "slow compensated",
    ]


@pytest.mark.parametrize("dispatch", ["inline", "queue"])
@pytest.mark.parametrize("is_async", [False, True])
def test_around_step_surrounds_every_attempt_in_its_thread(
    dispatch: Any, is_async: bool, log: list[str]
) -> None:
    @contextmanager
    def around(attempt: AttemptInfo) -> Generator[None]:
        log.append(f"enter {attempt.step} {attempt.attempt} in {threading.current_thread().name}")
        assert current().attempt == attempt.attempt
        try:
            yield
        except RuntimeError as error:
            log.append(f"saw {error}")
            raise
        finally:
            log.append("leave")

    def work() -> str:
        if current().attempt == 1:
            message = "first"
            raise RuntimeError(message)
        log.append("work")
        return "done"

    @step(dispatch=dispatch, retry=Retry(max_attempts=2, first=timedelta(seconds=1)), name="surrounded")
    async def later() -> str:
        return work()

    @workflow
    def whole() -> Workflow[str]:
        return (yield from (later if is_async else plain)())

    plain = step(
        work, dispatch=dispatch, retry=Retry(max_attempts=2, first=timedelta(seconds=1)), name="plain"
    )
    environment = Environment(around_step=[around])

    handle = environment.start(whole)
    environment.settle()

    name, here = "surrounded" if is_async else "plain", threading.current_thread().name
    assert handle.result(0) == "done"
    assert log == [
        f"enter {name} 1 in {here}",
        "saw first",
        "leave",
        f"enter {name} 2 in {here}",
        "work",
        "leave",
    ]


@pytest.mark.parametrize("dispatch", ["inline", "queue"])
def test_an_error_of_around_step_fails_the_attempt(dispatch: Any, log: list[str]) -> None:
    def around(attempt: AttemptInfo) -> Any:
        message = "no database"
        raise RuntimeError(message)

    @step(dispatch=dispatch, retry=Retry(max_attempts=2, first=timedelta(seconds=1)))
    def never() -> None:
        log.append("never")

    @workflow
    def whole() -> Workflow[None]:
        yield from never()

    environment = Environment(around_step=[around])

    handle = environment.start(whole)
    environment.settle()

    with pytest.raises(WorkflowFailed, match="failed after 2 attempts: RuntimeError: no database"):
        handle.result(0)
    assert log == []
