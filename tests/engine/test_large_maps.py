"""A map rings for some of its calls at first, and then for some behind those that begin."""

from __future__ import annotations

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.engine.turning import handover
from qwit_durable.language.groups import map_steps
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

CALLS, AT_ONCE = 7, 3


@step
def squared(number: int) -> int:
    return number * number


@workflow
def large(limit: int | None) -> Workflow[int]:
    return sum((yield from map_steps(squared, range(CALLS), limit=limit)))


@pytest.fixture(autouse=True)
def few_bells(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(handover, "BELLS_AT_ONCE", AT_ONCE)
    monkeypatch.setattr(handover, "BELLS_TOGETHER", 2)


@pytest.mark.parametrize(("limit", "at_first", "at_most"), [(None, 3, 4), (2, 2, 2), (5, 3, 5)])
def test_a_bell_for_each_and_few_at_a_time(limit: int | None, at_first: int, at_most: int):
    environment = Environment()
    handle = environment.start(large, limit)
    environment.answer(environment.bells.waiting.popleft())
    waiting = [len(environment.bells.waiting)]
    begun_at = environment.clock.now()

    while environment.bells.waiting:
        environment.answer(environment.bells.waiting.popleft())
        waiting.append(len(environment.bells.waiting))

    assert handle.result(0) == sum(number * number for number in range(CALLS))
    assert (waiting[0], max(waiting)) == (at_first, at_most)
    assert len(waiting) == 1 + CALLS
    assert environment.clock.now() == begun_at


def test_all_bells_may_be_lost():
    environment = Environment()
    handle = environment.start(large, None)
    environment.answer(environment.bells.waiting.popleft())
    environment.bells.waiting.clear()

    environment.settle()

    assert handle.result(0) == sum(number * number for number in range(CALLS))


@pytest.mark.parametrize("after", [False, True], ids=["before", "after"])
def test_the_process_that_would_have_rung_may_die(after: bool):
    clock = ManualClock()
    store = MemoryStore(clock)
    environment = Environment(store, clock=clock)
    handle = environment.start(large, None)
    environment.answer(environment.bells.waiting.popleft())
    mortal = Environment(MortalStore(store, dies_at=2, after=after), clock=clock)
    mortal.engine.heart.beat()
    with pytest.raises(ProcessDied):
        mortal.answer(environment.bells.waiting.popleft())

    environment.settle()

    assert handle.result(0) == sum(number * number for number in range(CALLS))
