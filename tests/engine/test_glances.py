"""Turns that nobody holds a run for: what a crowd of woken runs costs, and that nothing else is different."""

from __future__ import annotations

from contextlib import suppress
from datetime import timedelta

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import StoreUnavailable
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.observers.base import EndInfo, Observer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import Ring
from qwit_durable.stores.writes import Acquire, FireTimers
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied
from tests.engine.world import World

SECOND = timedelta(seconds=1)
_RUNS = 4
world = World()
#: What dies with the process that looks at the run of this number.
killers: dict[int, MortalStore] = {}


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global world
    world = World()
    killers.clear()


@step
def touch(number: int) -> int:
    world.do(f"{number}")
    return number


@workflow
def nap(number: int) -> Workflow[int]:
    yield from sleep(SECOND)
    if number in killers:
        killers[number].is_dead = True
        raise ProcessDied
    return number


@workflow
def doze(number: int) -> Workflow[int]:
    for _ in range(3):
        yield from sleep(SECOND)
    return number


@workflow
def nap_and_work(number: int) -> Workflow[int]:
    yield from sleep(SECOND)
    return (yield from touch(number))


@workflow
def nap_and_fail(number: int) -> Workflow[int]:
    yield from sleep(SECOND)
    raise ValueError(number)


@workflow
def listen(number: int) -> Workflow[int]:
    value: int = yield from wait_signal("go", int)
    return number + value


class Ends(Observer):
    """Hears who has ended."""

    def __init__(self) -> None:
        self.keys: list[str] = []

    def run_finished(self, end: EndInfo) -> None:
        self.keys.append(end.run.key)


class CountingStore(MortalStore):
    """Knows the writes that it has passed on."""

    def __init__(self, store: MemoryStore) -> None:
        super().__init__(store)
        self.writes: list[object] = []

    def apply(self, writes):
        self.writes.extend(writes)
        return super().apply(writes)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def truth(clock: ManualClock) -> MemoryStore:
    return MemoryStore(clock)


def asleep(environment: Environment, body=nap) -> None:
    """Some runs that have come as far as they do by themselves."""
    for number in range(_RUNS):
        environment.start(body.options(id=f"{number}"), number)
    environment.answer_bells()


def woken(environment: Environment) -> list[Ring]:
    """Let a second pass; the bells of all who slept for so long."""
    environment.clock.advance(SECOND)
    return sorted(environment.write(FireTimers()).rings, key=lambda ring: ring.run_id)


def taken(environment: Environment) -> list[Ring]:
    rings = list(environment.bells.waiting)
    environment.bells.waiting.clear()
    return rings


def results(environment: Environment) -> list[object]:
    return [environment.get(f"{number}").result(0) for number in range(_RUNS)]


@pytest.mark.parametrize("cached_runs", [0, 1000])
def test_runs_that_only_end_are_ended_in_one_flush_and_never_held(
    cached_runs: int, truth: MemoryStore, clock: ManualClock
):
    store, ends = CountingStore(truth), Ends()
    settings = Settings(cached_runs=cached_runs)
    environment = Environment(store, clock=clock, observers=[ends], settings=settings)
    asleep(environment)
    rings, before = woken(environment), store.calls
    store.writes.clear()

    environment.engine.take_turns(rings)

    assert results(environment) == [0, 1, 2, 3]
    assert store.calls - before == 1
    assert not any(isinstance(write, Acquire) for write in store.writes)
    assert sorted(ends.keys) == ["0", "1", "2", "3"]


def test_runs_that_sleep_again_are_put_to_sleep_in_one_flush(truth: MemoryStore, clock: ManualClock):
    store = CountingStore(truth)
    environment = Environment(store, clock=clock)
    asleep(environment, doze)
    rings, before = woken(environment), store.calls

    environment.engine.take_turns(rings)
    calls = store.calls - before
    environment.settle()

    assert calls == 1
    assert results(environment) == [0, 1, 2, 3]


def test_a_failure_of_the_body_is_told_as_ever(truth: MemoryStore, clock: ManualClock):
    ends = Ends()
    environment = Environment(truth, clock=clock, observers=[ends])
    asleep(environment, nap_and_fail)

    environment.engine.take_turns(woken(environment))

    assert {environment.get(f"{number}").status() for number in range(_RUNS)} == {Status.FAILED}
    assert sorted(ends.keys) == ["0", "1", "2", "3"]


def test_a_run_that_has_a_step_to_make_is_held_for_it(truth: MemoryStore, clock: ManualClock):
    store = CountingStore(truth)
    environment = Environment(store, clock=clock)
    asleep(environment, nap_and_work)
    rings = woken(environment)
    store.writes.clear()

    environment.engine.take_turns(rings)

    assert results(environment) == [0, 1, 2, 3]
    assert sum(isinstance(write, Acquire) for write in store.writes) == _RUNS
    assert sorted(world.attempts) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", [1, 2])
@pytest.mark.parametrize("body", [nap, doze])
def test_death_at_a_glance_changes_no_outcome_and_loses_no_start(
    body, dies_at: int, after: bool, truth: MemoryStore, clock: ManualClock
):
    before = Environment(truth, clock=clock)
    asleep(before, body)
    rings = woken(before)
    first = Environment(MortalStore(truth, dies_at=dies_at, after=after), clock=clock)

    with suppress(ProcessDied):
        first.engine.take_turns(rings)
    views = [truth.view(ring.run_id) for ring in rings]
    held = [view.live.owner or view.live.lost for view in views if view is not None and view.live is not None]
    second = Environment(truth, clock=clock)
    second.settle()

    assert results(second) == [0, 1, 2, 3]
    assert not any(held)


@pytest.mark.parametrize("body", [nap, doze, nap_and_work])
def test_glances_that_are_lost_doubled_or_shared_change_no_outcome(
    body, truth: MemoryStore, clock: ManualClock
):
    ends = Ends()
    one, other = (Environment(truth, clock=clock, observers=[ends]) for _ in range(2))
    asleep(one, body)
    rings = woken(one)

    one.engine.take_turns([*rings[1:], *rings[1:]])
    other.engine.take_turns(rings[:3])
    other.settle()

    assert results(one) == [0, 1, 2, 3]
    assert sorted(ends.keys) == ["0", "1", "2", "3"]


def test_a_signal_that_comes_between_the_look_and_the_write_is_not_lost():
    environment = Environment()
    asleep(environment, listen)
    for number in range(_RUNS):
        environment.get(f"{number}").signal("other", 1)
    rings, handle, glance = taken(environment), environment.get("0"), environment.store.glance

    def meanwhile(wanted):
        found = glance(wanted)
        handle.signal("go", 5)
        return found

    environment.store.glance = meanwhile
    environment.engine.take_turns(rings)
    result = handle.result(0)

    assert result == 5
    assert {environment.get(f"{number}").status() for number in (1, 2, 3)} == {Status.RUNNING}


def test_of_two_processes_that_have_seen_the_same_run_one_ends_it(truth: MemoryStore, clock: ManualClock):
    ends = Ends()
    one, other = (Environment(truth, clock=clock, observers=[ends]) for _ in range(2))
    asleep(one)
    rings, glance = woken(one), truth.glance

    def meanwhile(wanted):
        found = glance(wanted)
        other.engine.take_turn(rings[0].run_id)
        return found

    truth.glance = meanwhile
    one.engine.take_turns(rings)

    assert results(one) == [0, 1, 2, 3]
    assert sorted(ends.keys) == ["0", "1", "2", "3"]


def test_a_body_that_kills_whoever_looks_at_it_is_left_to_a_person_and_all_others_go_on(
    truth: MemoryStore, clock: ManualClock
):
    asleep(Environment(truth, clock=clock))
    clock.advance(SECOND)

    deaths = 0
    for _ in range(12):
        killers[2] = MortalStore(truth)
        environment = Environment(killers[2], clock=clock)
        try:
            environment.engine.heart.beat()
            environment.engine.sweeper.sweep()
            environment.engine.take_turns(taken(environment))
        except ProcessDied:
            deaths += 1
        clock.advance(timedelta(minutes=2))

    environment = Environment(truth, clock=clock)
    assert environment.get("2").status() is Status.STUCK
    assert [environment.get(key).result(0) for key in "013"] == [0, 1, 3]
    assert deaths <= 7


@pytest.mark.parametrize("error", [StoreUnavailable("gone"), OSError("odd")])
def test_a_look_that_fails_leaves_the_runs_to_their_turns(error: Exception):
    environment = Environment()
    asleep(environment)
    rings = woken(environment)

    def fail(wanted):
        raise error

    environment.store.glance = fail
    environment.engine.take_turns(rings)

    assert results(environment) == [0, 1, 2, 3]


def test_a_write_that_fails_leaves_the_runs_to_their_turns(truth: MemoryStore, clock: ManualClock):
    environment = Environment(truth, clock=clock)
    asleep(environment)
    rings, apply, failures = woken(environment), truth.apply, []

    def fail_once(writes):
        if not failures:
            failures.append(len(writes))
            msg = "gone"
            raise StoreUnavailable(msg)
        return apply(writes)

    truth.apply = fail_once
    environment.engine.take_turns(rings)

    assert failures == [_RUNS]
    assert results(environment) == [0, 1, 2, 3]


def test_an_evicted_interpreter_is_replaced(truth: MemoryStore, clock: ManualClock):
    environment = Environment(truth, clock=clock, settings=Settings(cached_runs=1))
    asleep(environment, doze)

    while not environment.get("0").status().is_ended:
        environment.engine.take_turns(woken(environment))

    assert results(environment) == [0, 1, 2, 3]
