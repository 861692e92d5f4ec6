"""The worker that records the last outcome a run waits for goes on with the run itself, in the same write."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved
from qwit_durable.engine.ports import Settings
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import Claim
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import LossyBells, MortalStore, ProcessDied


@step(dispatch="queue")
def count_on(number: int) -> int:
    return number + 1


@workflow
def counting(steps: int) -> Workflow[int]:
    number = 0
    for _ in range(steps):
        number = yield from count_on(number)
    return number


@workflow
def counting_at_once(steps: int) -> Workflow[int]:
    return sum((yield from gather(*map(count_on, range(steps)))))


def _writes_of(steps: int, *, quick: bool) -> int:
    clock = ManualClock()
    store = MortalStore(MemoryStore(clock))
    with Environment(store, clock=clock, steps_are_quick=quick) as environment:
        environment.start(counting, steps)
        environment.answer_bells()
    return store.calls


@pytest.mark.parametrize(("quick", "writes_each"), [(False, 2), (True, 1)])
def test_a_queued_step_costs_two_writes_and_a_quick_one_behind_another_one(quick: bool, writes_each: int):
    short, long = 2, 12

    writes = _writes_of(long, quick=quick) - _writes_of(short, quick=quick)

    assert writes == writes_each * (long - short)


def test_a_queued_step_costs_one_bell():
    with Environment() as environment:
        handle = environment.start(counting, 5)

        bells = environment.answer_bells()

        assert bells == 1 + 5
        assert handle.result() == 5


def test_of_those_that_end_at_once_one_goes_on():
    with Environment() as environment:
        handle = environment.start(counting_at_once, 4)

        bells = environment.answer_bells()

        assert bells == 1 + 4
        assert handle.result() == 1 + 2 + 3 + 4


def test_a_run_goes_on_where_no_interpreter_of_it_is_kept():
    with Environment(settings=Settings(cached_runs=0)) as environment:
        handle = environment.start(counting, 3)

        environment.answer_bells()

        assert handle.result() == 3


def test_a_worker_that_does_not_consume_the_runs_queue_rings_for_it():
    clock = ManualClock()
    store = MemoryStore(clock)
    with Environment(store, clock=clock) as first:
        handle = first.start(counting, 1)
        first.answer(first.bells.waiting.popleft())
        (bell,) = first.bells.waiting
        other = Environment(store, clock=clock, queues=frozenset({"another"}))

        other.answer(bell)

        assert [ring.position for ring in other.bells.waiting] == [TURN]
        first.answer(other.bells.waiting.popleft())
        assert handle.result() == 1


@step(dispatch="queue")
def drain_then_count() -> int:
    draining.pop()()
    return 1


draining: list[Callable[[], None]] = []


@workflow
def drained() -> Workflow[int]:
    return (yield from drain_then_count())


def test_a_draining_worker_rings_for_the_run_it_does_not_go_on_with():
    clock = ManualClock()
    store = MemoryStore(clock)
    with Environment(store, clock=clock) as environment:
        handle = environment.start(drained)
        draining.append(environment.engine.drain)

        environment.answer_bells()

        assert handle.status() == "running"
        view = store.find("default", handle.id)
        assert [task.position for task in store.tasks(view.run.id)] == [TURN]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("dies_at", "quick"), [*((at, False) for at in range(1, 12)), *((at, True) for at in range(1, 9))]
)
def test_death_around_any_write_of_queued_steps_changes_no_outcome(dies_at: int, after: bool, quick: bool):
    clock = ManualClock()
    truth = MemoryStore(clock)
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock, steps_are_quick=quick)
    with suppress(ProcessDied):
        first.start(counting.options(id="it"), 4)
        first.settle()
    last = Environment(truth, clock=clock, steps_are_quick=quick)

    handle = last.start(counting.options(id="it"), 4)
    last.settle()

    assert handle.result(0) == 4
    recorded = [
        entry.event.position
        for entry in truth.history(truth.find("default", "it").run.id)
        if isinstance(entry.event, Resolved)
    ]
    assert recorded == ["0", "1", "2", "3"]


@pytest.mark.parametrize("bell", range(1, 6))
@pytest.mark.parametrize("lost", [False, True])
def test_a_bell_of_queued_steps_that_is_lost_or_doubled_changes_no_outcome(bell: int, lost: bool):
    with Environment() as environment:
        bells = LossyBells(loses=bell if lost else None, doubles=None if lost else bell)
        environment.bells = environment.engine.services.bells = bells
        handle = environment.start(counting, 4)

        environment.settle()

        assert handle.result(0) == 4


def test_a_signal_that_comes_while_a_step_runs_is_not_lost():
    clock = ManualClock()
    store = MemoryStore(clock)
    with Environment(store, clock=clock) as environment:
        handle = environment.start(told_meanwhile)
        draining.append(lambda: handle.signal("go", 5))

        environment.answer_bells()

        assert handle.result(0) == 6


@workflow
def told_meanwhile() -> Workflow[int]:
    number = yield from drain_then_count()
    number += yield from wait_signal("go", type=int)
    return (yield from count_on(number - 1))


@step(dispatch="queue", queue="far")
def count_far(number: int) -> int:
    return number + 1


@workflow
def counting_far(steps: int) -> Workflow[int]:
    number = 0
    for _ in range(steps):
        number = yield from count_far(number)
    return number


class NotingClaims(MemoryStore):
    def __init__(self, clock: ManualClock) -> None:
        super().__init__(clock)
        self.claims: list[Claim] = []

    def apply(self, writes):
        self.claims += [write for write in writes if isinstance(write, Claim)]
        return super().apply(writes)


def test_who_takes_no_turns_of_a_run_asks_for_its_history_once():
    clock = ManualClock()
    store = NotingClaims(clock)
    near = Environment(store, clock=clock, queues=frozenset({"default"}))
    far = Environment(store, clock=clock, queues=frozenset({"far"}))
    handle = near.start(counting_far, 5)

    while near.bells.waiting:
        ring = near.bells.waiting.popleft()
        (near if near.bells.consumes(ring.queue) else far).answer(ring)
        near.bells.waiting.extend(far.bells.waiting)
        far.bells.waiting.clear()

    assert handle.result(0) == 5
    assert [claim.turn is not None for claim in store.claims] == [True, False, False, False, False]
