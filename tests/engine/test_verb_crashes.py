"""A verb is used on a run and the process dies around any write: everything is undone all the same, once."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import OperatorActed, Resolved, Status
from qwit_durable.stores import open_store
from qwit_durable.stores.protocol import Store
from qwit_durable.testing.environment import Environment
from tests.engine import saga
from tests.engine.mortal import LossyBells, MortalStore, ProcessDied
from tests.engine.world import World

_WRITES = 62
_ENDS = {"rollback": Status.COMPENSATED, "cancel": Status.CANCELLED}


@pytest.fixture(autouse=True)
def world() -> World:
    """A fresh outside world."""
    saga.world = World()
    return saga.world


def play(
    verb: str, *, paused: bool, dies_at: int | None = None, after: bool = False
) -> tuple[Store, Environment, int]:
    """Let the saga come to its timer in a sub-workflow, use the verb, and again in a second process after a death."""
    clock = ManualClock()
    truth = open_store("memory://", clock=clock)
    truth.open()
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock)
    try:
        use(first, verb, paused=paused)
        first.settle()
    except ProcessDied:
        pass
    second = Environment(truth, clock=clock)
    use(second, verb, paused=paused)
    second.settle()
    return truth, second, mortal.calls


def use(environment: Environment, verb: str, *, paused: bool) -> None:
    handle = environment.start(saga.checkout.options(id="A"), "A")
    if handle.status() is Status.RUNNING:
        handle.signal("approved", "yes", dedupe_id="once")
        environment.settle(until=environment.clock.now() + timedelta(seconds=20))
    if paused and handle.status() is Status.RUNNING:
        handle.pause("look at it first")
    if handle.status() not in {Status.COMPENSATING, *_ENDS.values()}:
        getattr(handle, verb)("enough")
    if handle.status() is Status.PAUSED:
        handle.resume()


def check(truth: Store, environment: Environment, world: World, verb: str) -> None:
    handle = environment.get("A")
    assert handle.status() is _ENDS[verb]
    assert world.standing == []
    run = truth.find("default", "A")
    assert run is not None
    told = [one.event for one in truth.history(run.run.id)]
    acts = [event for event in told if isinstance(event, OperatorActed) and event.verb == verb]
    assert len(acts) == (verb == "rollback")
    for view in (run, *truth.children(run.run.id)):
        recorded = Counter(
            one.event.position for one in truth.history(view.run.id) if isinstance(one.event, Resolved)
        )
        assert set(recorded.values()) <= {1}, recorded
        assert not truth.tasks(view.run.id)
        assert not truth.timers(view.run.id)


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("verb", _ENDS)
def test_without_a_death_everything_is_undone_once(verb: str, paused: bool, world: World) -> None:
    truth, environment, calls = play(verb, paused=paused)

    check(truth, environment, world, verb)

    assert calls < _WRITES, "raise _WRITES: some crash points are not tried"
    assert max(Counter(world.attempts).values()) == 1


@pytest.mark.parametrize("paused", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES))
@pytest.mark.parametrize("verb", _ENDS)
def test_death_around_any_write_changes_no_outcome(
    verb: str, dies_at: int, after: bool, paused: bool, world: World
) -> None:
    truth, environment, _ = play(verb, paused=paused, dies_at=dies_at, after=after)

    check(truth, environment, world, verb)


@pytest.mark.parametrize("number", range(1, 20))
@pytest.mark.parametrize("what", ["loses", "doubles"])
@pytest.mark.parametrize("verb", _ENDS)
def test_lost_and_repeated_bells_change_no_outcome(verb: str, what: str, number: int, world: World) -> None:
    environment = Environment()
    bells = LossyBells(**{what: number})
    environment.bells = environment.engine.services.bells = bells

    use(environment, verb, paused=False)
    environment.settle()

    check(environment.store, environment, world, verb)
    assert max(Counter(world.attempts).values()) == 1
