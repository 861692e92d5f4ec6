"""A map that nobody waits for any more is settled once, however many turns its attempts under way outlast."""

from __future__ import annotations

from collections import Counter

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved
from qwit_durable.engine.ports import Settings
from qwit_durable.language.groups import map_steps, race
from qwit_durable.language.step import step
from qwit_durable.language.verbs import wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied


@step
def linger(number: int) -> int:
    return number


@workflow
def hurrying(turns: int) -> Workflow[str]:
    yield from race(map_steps(linger, range(3)), wait_signal("go"))
    for _ in range(turns):
        yield from wait_signal("go")
    return "gone on"


@pytest.mark.parametrize("cached_runs", [0, 10])
def test_a_map_that_lost_a_race_has_one_outcome(cached_runs: int):
    clock = ManualClock()
    store = MemoryStore(clock)
    environment = Environment(store, clock=clock, settings=Settings(cached_runs=cached_runs))
    handle = environment.start(hurrying, 4)
    environment.answer(environment.bells.waiting.popleft())
    # A process that is gone, and seems to be at one of the calls until its lease is over.
    mortal = Environment(MortalStore(store, dies_at=3), clock=clock)
    mortal.engine.heart.beat()
    with pytest.raises(ProcessDied):
        mortal.answer(environment.bells.waiting.popleft())
    environment.bells.waiting.clear()

    for _ in range(5):
        handle.signal("go")
        environment.answer_bells()
    environment.settle()

    assert handle.result(0) == "gone on"
    events = [entry.event for entry in store.history(handle.run().run_id)]
    outcomes = Counter(event.position for event in events if isinstance(event, Resolved))
    assert outcomes == {"0.0": 1, "0.0.0": 1}
