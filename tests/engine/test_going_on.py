"""The worker that records the last outcome a run waits for goes on with the run itself, in the same write."""

from __future__ import annotations

from qwit_durable.clock import ManualClock
from qwit_durable.engine.ports import Settings
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import TURN
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore


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


def _writes_of(steps: int) -> int:
    clock = ManualClock()
    store = MortalStore(MemoryStore(clock))
    with Environment(store, clock=clock) as environment:
        environment.start(counting, steps)
        environment.answer_bells()
    return store.calls


def test_a_queued_step_costs_three_writes():
    short, long = 2, 12

    writes = _writes_of(long) - _writes_of(short)

    assert writes == 3 * (long - short)


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


def test_a_draining_worker_rings_for_the_run_it_does_not_go_on_with():
    clock = ManualClock()
    store = MemoryStore(clock)
    with Environment(store, clock=clock) as environment:
        handle = environment.start(counting, 1)
        environment.answer(environment.bells.waiting.popleft())
        (bell,) = environment.bells.waiting
        environment.engine.drain()

        wanted = environment.engine.turns.wanted(store.view(bell.run_id).run)

        assert wanted is None
        assert handle.status() == "running"
