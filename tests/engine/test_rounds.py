"""Many runs on one bell: each gets its turn, whatever becomes of the thread that follows the bell."""

from __future__ import annotations

import threading
from uuid import uuid4

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.engine import rounds
from qwit_durable.engine.ports import SPREAD
from qwit_durable.engine.rounds import Round
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.testing.environment import Environment, VirtualBells
from tests.engine.mortal import MortalStore, ProcessDied
from tests.engine.world import World

_PATIENCE_SECONDS = 20.0
_RUNS = 4
_WRITES_A_RUN = 2
world = World()
others = threading.Event()
draining: threading.Event | None = None


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global world, draining
    world = World()
    draining = None
    others.clear()


@step
def touch(number: int) -> int:
    world.do(f"{number}")
    if number == 1 and draining is not None:
        draining.set()
    return number


@step
def dawdle() -> None:
    world.do("dawdle")
    assert others.wait(_PATIENCE_SECONDS)


@workflow
def quick(number: int) -> Workflow[int]:
    return (yield from touch(number))


@workflow
def slow() -> Workflow[None]:
    yield from dawdle()


class ToldBells(VirtualBells):
    """Says when something is rung."""

    def ring(self, rings, *, spread=SPREAD, alike=frozenset()):
        super().ring(rings, spread=spread, alike=alike)
        others.set()


def started(environment: Environment, count: int = _RUNS) -> list[Ring]:
    """Runs that nobody has looked at, and the bells that were rung for them."""
    for number in range(count):
        environment.start(quick.options(id=f"{number}"), number)
    return taken(environment)


def taken(environment: Environment) -> list[Ring]:
    rings = list(environment.bells.waiting)
    environment.bells.waiting.clear()
    return rings


def results(environment: Environment, count: int = _RUNS) -> list[object]:
    return [environment.get(f"{number}").result(0) for number in range(count)]


def test_one_bell_gives_each_of_its_runs_a_turn():
    environment = Environment()
    rings = started(environment)

    environment.engine.take_turns(rings)

    assert results(environment) == [0, 1, 2, 3]
    assert world.order == ["0", "1", "2", "3"]
    assert not environment.bells.waiting


def test_what_waits_behind_a_slow_run_is_rung_for_again():
    environment = Environment()
    environment.start(slow)
    rings = [*taken(environment), *started(environment)]
    environment.engine.services.bells = environment.bells = ToldBells()

    environment.engine.take_turns(rings)
    rung_again = taken(environment)
    environment.engine.take_turns(rung_again)

    assert rung_again == rings[1:]
    assert results(environment) == [0, 1, 2, 3]
    assert world.attempts == ["dawdle", "0", "1", "2", "3"]


def test_what_is_rung_for_again_is_begun_by_nobody_else():
    rings = [Ring(run_id=uuid4(), position=TURN, queue="default", name="") for _ in range(3)]
    again: list[Ring] = []
    round_ = Round(rings, again.extend)

    begun = round_.next()
    is_to_be_abandoned = round_.interrupt()
    round_.interrupt()

    assert begun == rings[0]
    assert not is_to_be_abandoned
    assert again == rings[1:]
    assert round_.next() is None
    assert round_.due == 0.0


def test_what_a_draining_process_has_not_begun_is_rung_for_at_once_by_another():
    global draining
    clock = ManualClock()
    store = MemoryStore(clock)
    first, second = Environment(store, clock=clock), Environment(store, clock=clock)
    rings = started(first)
    draining = first.engine.services.draining

    first.engine.take_turns(rings)
    kept = list(first.bells.waiting)
    first.engine.stop()
    second.engine.sweeper.sweep()
    rung = taken(second)
    second.engine.take_turns(rung)

    assert not kept
    assert [ring for ring in rings if ring in rung] == rings[2:]
    assert results(second) == [0, 1, 2, 3]
    assert sorted(world.attempts) == ["0", "1", "2", "3"]


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _RUNS * _WRITES_A_RUN + 1))
def test_death_anywhere_in_a_round_changes_no_outcome(dies_at, after, monkeypatch):
    # However busy the machine is, the whole round is this thread's.
    monkeypatch.setattr(rounds, "_SLOW_SECONDS", _PATIENCE_SECONDS)
    monkeypatch.setattr(rounds, "_LONG_SECONDS", _PATIENCE_SECONDS)
    clock = ManualClock()
    truth = MemoryStore(clock)
    rings = started(Environment(truth, clock=clock))
    first = Environment(MortalStore(truth, dies_at=dies_at, after=after), clock=clock)

    with pytest.raises(ProcessDied):
        first.engine.take_turns(rings)
    second = Environment(truth, clock=clock)
    second.settle()

    assert results(second) == [0, 1, 2, 3]
    assert sorted(world.done.values()) == ["0", "1", "2", "3"]
    assert len(world.attempts) <= _RUNS + 1, "no run that was not begun has lost an attempt"


def test_a_round_costs_the_store_nothing_beyond_its_turns():
    clock = ManualClock()
    truth = MemoryStore(clock)
    rings = started(Environment(truth, clock=clock))
    counted = MortalStore(truth)

    Environment(counted, clock=clock).engine.take_turns(rings)

    assert counted.calls == _RUNS * _WRITES_A_RUN


def test_rounds_that_are_doubled_shared_or_forged_change_no_outcome():
    clock = ManualClock()
    store = MemoryStore(clock)
    one, other = Environment(store, clock=clock), Environment(store, clock=clock)
    rings = started(one)
    forged = Ring(run_id=uuid4(), position=TURN, queue="default", name="")

    one.engine.take_turns([forged, *rings[:2], *rings[:2], forged])
    other.engine.take_turns([*reversed(rings), forged])
    one.engine.take_turns(rings)

    assert results(other) == [0, 1, 2, 3]
    assert sorted(world.attempts) == ["0", "1", "2", "3"]
