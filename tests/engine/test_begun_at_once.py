"""Runs that whoever starts them has the first turn of: one write less, and every promise kept."""

from __future__ import annotations

from collections.abc import Callable, Generator
from contextlib import contextmanager
from datetime import timedelta

import pytest

from qwit_durable import Durable
from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.engine import starts
from qwit_durable.errors import StoreUnavailable
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied
from tests.engine.world import World

world = World()
#: How often a body began.
bodies: list[int] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global world
    world = World()
    bodies.clear()


@step
def touch(number: int) -> int:
    world.do(f"{number}")
    return number


@workflow
def quick(number: int) -> Workflow[int]:
    bodies.append(number)
    return (yield from touch(number))


def at_once(store: Store, clock: ManualClock) -> Environment:
    environment = Environment(store, clock=clock)
    environment.begins_at_once = True
    environment.engine.heart.beat()
    return environment


@contextmanager
def meanwhile(
    store: MemoryStore,
    before: Callable[[], object] = lambda: None,
    *,
    after: Callable[[], object] = lambda: None,
) -> Generator[None]:
    """Do something else before and after each write to a store."""
    real: Callable[..., object] = store.apply

    def apply(writes):
        before()
        answers = real(writes)
        after()
        return answers

    store.apply = apply
    try:
        yield
    finally:
        store.apply = real


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def truth(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock)


def test_a_run_that_is_begun_by_its_starter_costs_one_write_less(truth: MemoryStore, clock: ManualClock):
    store = MortalStore(truth)
    environment = at_once(store, clock)
    before = store.calls

    handle = environment.start(quick, 1)
    environment.answer_bells()

    assert handle.result(0) == 1
    assert store.calls - before == 2
    assert world.attempts == ["1"]


def test_a_starter_whose_threads_have_enough_to_do_takes_no_turn(truth: MemoryStore, clock: ManualClock):
    environment = at_once(truth, clock)

    handles = [environment.start(quick, number) for number in range(3)]
    owners = [truth.view(ring.run_id).live.owner for ring in environment.bells.waiting]
    environment.answer_bells()

    assert [owner is not None for owner in owners] == [True, False, False]
    assert [handle.result(0) for handle in handles] == [0, 1, 2]


def test_a_run_that_is_to_wait_is_not_begun(truth: MemoryStore, clock: ManualClock):
    environment = at_once(truth, clock)

    head = environment.start(quick.options(lane="left"), 1)
    environment.answer_bells()
    later = environment.start(quick.options(delay=timedelta(hours=1)), 2)
    statuses = [head.status(), later.status()]
    environment.settle()

    assert statuses == [Status.COMPLETED, Status.SCHEDULED]
    assert later.result(0) == 2


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", [1, 2])
def test_death_anywhere_after_a_start_changes_no_outcome(
    dies_at: int, after: bool, truth: MemoryStore, clock: ManualClock
):
    store = MortalStore(truth)
    environment = at_once(store, clock)
    store._dies_at, store._after = store.calls + dies_at, after

    def work() -> None:
        environment.start(quick.options(id="a"), 1)
        environment.answer_bells()

    with pytest.raises(ProcessDied):
        work()
    clock.advance(timedelta(minutes=1))
    second = Environment(truth, clock=clock)
    handle = second.start(quick.options(id="a"), 1)
    second.settle()

    assert handle.result(0) == 1
    assert [*world.done.values()] == ["1"]


def test_a_bell_that_comes_twice_begins_the_run_once(truth: MemoryStore, clock: ManualClock):
    environment = at_once(truth, clock)
    handle = environment.start(quick, 1)
    (ring,) = environment.bells.waiting

    environment.answer(ring)
    environment.answer(ring)

    assert handle.result(0) == 1
    assert world.attempts == ["1"]


def test_what_nobody_has_begun_when_a_process_ends_is_given_back_and_no_start_is_lost(
    truth: MemoryStore, clock: ManualClock
):
    first, second = at_once(truth, clock), Environment(truth, clock=clock)
    waiting = first.start(quick, 1)
    first.engine.drain()
    first.answer_bells()
    too_late = first.start(quick, 2)
    first.engine.stop()
    live = [view.live for run in (waiting, too_late) if (view := truth.find("default", run.id)) is not None]

    second.settle()

    assert [(row.owner, row.begun, row.lost) for row in live if row is not None] == [(None, False, 0)] * 2
    assert [waiting.result(0), too_late.result(0)] == [1, 2]
    assert sorted(world.attempts) == ["1", "2"]


def test_a_turn_that_comes_when_the_process_drains_already_is_given_back_at_once(
    truth: MemoryStore, clock: ManualClock
):
    first, second = at_once(truth, clock), Environment(truth, clock=clock)

    with meanwhile(truth, after=first.engine.services.draining.set):
        handle = first.start(quick, 1)
    first.engine.stop()
    second.engine.sweeper.sweep()
    second.answer_bells()

    assert handle.result(0) == 1
    assert world.attempts == ["1"]


def test_a_thread_is_called_while_the_start_is_being_written(truth: MemoryStore, clock: ManualClock):
    environment = at_once(truth, clock)
    called: list[int] = []

    with meanwhile(truth, lambda: called.append(len(environment.bells.waiting))):
        handle = environment.start(quick, 1)
    environment.answer_bells()

    assert called == [1]
    assert handle.result(0) == 1


def test_no_thread_is_called_ahead_where_other_runs_are_under_way(truth: MemoryStore, clock: ManualClock):
    environment = at_once(truth, clock)
    called: list[int] = []

    first = environment.start(quick, 1)
    environment.bells.waiting.clear()
    with meanwhile(truth, lambda: called.append(len(environment.bells.waiting))):
        handle = environment.start(quick, 2)
    environment.answer_bells()
    environment.engine.take_turn(truth.find("default", first.id).run.id)

    assert called[0] == 0
    assert [first.result(0), handle.result(0)] == [1, 2]


@pytest.mark.parametrize("key", [None, "a"])
def test_a_body_stands_ready_before_its_start_is_stored_unless_somebody_chose_its_id(
    key: str | None, truth: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(starts, "_PATIENCE_SECONDS", 0)
    environment = at_once(truth, clock)
    begun: list[int] = []

    def answered() -> None:
        environment.answer_bells()
        begun.append(len(bodies))

    with meanwhile(truth, answered):
        handle = environment.start(quick.options(id=key), 1)
    environment.answer_bells()

    assert begun == [0 if key else 1]
    assert handle.result(0) == 1
    assert world.attempts == ["1"]


def test_a_thread_that_waits_too_long_for_a_start_leaves_and_another_bell_brings_the_turn(
    truth: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(starts, "_PATIENCE_SECONDS", 0)
    environment = at_once(truth, clock)

    with meanwhile(truth, environment.answer_bells):
        handle = environment.start(quick, 1)
    bells = len(environment.bells.waiting)
    environment.answer_bells()

    assert bells == 1
    assert handle.result(0) == 1
    assert world.attempts == ["1"]
    assert environment.engine.turns.holding == frozenset()


def test_nothing_is_left_of_a_start_that_could_not_be_stored(
    truth: MemoryStore, clock: ManualClock, monkeypatch: pytest.MonkeyPatch
):
    monkeypatch.setattr(starts, "_PATIENCE_SECONDS", 0)
    environment = at_once(truth, clock)

    def fail() -> None:
        environment.answer_bells()
        raise StoreUnavailable

    with meanwhile(truth, fail), pytest.raises(StoreUnavailable):
        environment.start(quick, 1)
    environment.answer_bells()

    assert world.attempts == []
    assert environment.engine.turns.holding == frozenset()
    assert bodies == [1]
    assert len(environment.engine._interpreters) == 0


def test_embedded_workers_begin_what_is_started_beside_them():
    with Durable("memory://").embedded(threads=2) as durable:
        handles = [durable.start(quick, number) for number in range(20)]

        assert [handle.result(timedelta(seconds=20)) for handle in handles] == [*range(20)]
    assert sorted(world.attempts) == sorted(map(str, range(20)))
