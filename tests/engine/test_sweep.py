"""A backlog goes out as it is taken up; a process that leads knows what is due, and others what they set themselves."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.engine.tending import sweep as sweeping
from qwit_durable.language.verbs import sleep
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment

SECOND = timedelta(seconds=1)


@workflow
def nap() -> Workflow[None]:
    yield from sleep(timedelta(seconds=10))


@pytest.fixture
def clock():
    return ManualClock()


@pytest.fixture
def store(clock: ManualClock):
    return MemoryStore(clock)


@pytest.fixture(autouse=True)
def small_portions(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(sweeping, "_PORTION", 40)
    monkeypatch.setattr(sweeping, "_LEAST_PORTION", 10)
    monkeypatch.setattr(sweeping, "_LARGEST_PORTION", 60)


def on_a_broker(store: MemoryStore, clock: ManualClock) -> Environment:
    """A process whose bells go to a broker that others listen to as well."""
    environment = Environment(store, clock=clock)
    environment.engine.sweeper._rings_locally = False
    environment.engine.heart.beat()
    return environment


def asleep(environment: Environment, count: int) -> None:
    """So many runs that have begun to sleep."""
    for _ in range(count):
        environment.start(nap)
    environment.answer_bells()


def rung_by(environment: Environment) -> int:
    """How many bells one round of the sweep rings."""
    environment.bells.waiting.clear()
    environment.engine.heart.beat()
    environment.engine.sweeper.sweep()
    return len(environment.bells.waiting)


def test_portions_shrink_while_nobody_takes_them_up_and_go_on_all_the_same(
    store: MemoryStore, clock: ManualClock
):
    environment = on_a_broker(store, clock)
    asleep(environment, 300)
    clock.advance(timedelta(seconds=10))

    rung = [rung_by(environment) for _ in range(6)]

    assert rung == [40, 20, 10, 10, 10, 10]


def test_portions_grow_up_to_a_bound_while_they_are_taken_up(store: MemoryStore, clock: ManualClock):
    environment = on_a_broker(store, clock)
    asleep(environment, 180)
    clock.advance(timedelta(seconds=10))
    sweeper = environment.engine.sweeper

    rung = []
    for _ in range(4):
        environment.engine.sweeper.sweep()
        rung.append(len(environment.bells.waiting))
        waits = sweeper._may_go_on()
        environment.answer_bells()
        assert (waits, sweeper._may_go_on()) == (False, True)

    assert rung == [40, 60, 60, 20]


def test_a_process_that_does_not_lead_wakes_for_a_timer_that_the_leader_would_see_too_late(
    store: MemoryStore, clock: ManualClock
):
    on_a_broker(store, clock)
    other = on_a_broker(store, clock)

    other.engine.sweeper.timer_set(clock.now() + 10 * SECOND)
    far = other.engine.sweeper._next_timer
    other.engine.sweeper.timer_set(clock.now() + SECOND)

    assert far is None
    assert other.engine.sweeper._next_timer == clock.now() + SECOND


@pytest.mark.parametrize("is_local", [True, False])
def test_bells_that_ended_with_their_process_are_rung_at_once_by_the_next_one(
    store: MemoryStore, clock: ManualClock, is_local: bool
):
    """On a broker of their own they have not ended with it, and are rung again only when they seem to be lost."""
    Environment(store, clock=clock).start(nap)
    second = Environment(store, clock=clock) if is_local else on_a_broker(store, clock)

    second.engine.heart.beat()
    second.engine.sweeper.first()
    second.engine.sweeper.sweep()

    assert len(second.bells.waiting) == (1 if is_local else 0)
