"""Queued steps of which the next one begins with the outcome of the last: nobody is rung for who is at home."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved, Retry
from qwit_durable.engine.ports import Settings
from qwit_durable.errors import WorkflowFailed
from qwit_durable.language.groups import gather
from qwit_durable.language.guards import Guard, StepInfo
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.rows import TURN, Ring
from qwit_durable.stores.writes import Claim
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

_PATIENCE_SECONDS = 20.0

meanwhile: list[Callable[[], Any]] = []
attempts: list[int] = []


@step(dispatch="queue")
def count_up(number: int) -> int:
    attempts.append(number)
    while meanwhile:
        meanwhile.pop()()
    return number + 1


@workflow
def counting_up(steps: int) -> Workflow[int]:
    number = 0
    for _ in range(steps):
        number = yield from count_up(number)
    return number


@step(dispatch="queue", queue="elsewhere")
def count_elsewhere(number: int) -> int:
    return number + 1


@workflow
def counting_elsewhere() -> Workflow[int]:
    number = yield from count_up(0)
    return (yield from count_elsewhere(number))


@workflow
def counting_together() -> Workflow[int]:
    number = yield from count_up(0)
    return sum((yield from gather(count_up(number), count_up(number))))


@pytest.fixture(autouse=True)
def _afresh():
    meanwhile.clear()
    attempts.clear()


def test_a_quick_step_behind_another_costs_no_bell():
    with Environment(steps_are_quick=True) as environment:
        handle = environment.start(counting_up, 5)

        bells = environment.answer_bells()

        assert bells == 1 + 1
        assert handle.result() == 5
        assert environment.engine.queued.making == frozenset()


def test_a_step_that_has_not_proven_quick_is_rung_for():
    with Environment(steps_are_quick=False) as environment:
        handle = environment.start(counting_up, 5)

        bells = environment.answer_bells()

        assert bells == 1 + 5
        assert handle.result() == 5


def test_where_another_bell_waits_the_next_step_is_rung_for_behind_it():
    with Environment(steps_are_quick=True) as environment:
        first, second = environment.start(counting_up, 2), environment.start(counting_up, 2)

        bells = environment.answer_bells()

        assert bells == 2 * (1 + 2)
        assert attempts == [0, 0, 1, 1]
        assert (first.result(), second.result()) == (2, 2)


def test_a_step_of_a_queue_of_others_is_rung_for():
    queues = frozenset({"default"})
    with Environment(steps_are_quick=True, queues=queues) as environment:
        environment.start(counting_elsewhere)

        environment.answer(environment.bells.waiting.popleft())
        environment.answer(environment.bells.waiting.popleft())

        assert [ring.queue for ring in environment.bells.waiting] == ["elsewhere"]


def test_steps_that_may_be_made_at_the_same_time_are_rung_for():
    with Environment(steps_are_quick=True) as environment:
        handle = environment.start(counting_together)

        bells = environment.answer_bells()

        assert bells == 1 + 1 + 2
        assert handle.result() == 4


def test_after_its_slice_a_run_is_rung_for():
    settings = Settings(time_slice=timedelta(0))
    with Environment(steps_are_quick=True, settings=settings) as environment:
        handle = environment.start(counting_up, 4)

        bells = environment.answer_bells()

        assert bells == 1 + 2
        assert handle.result() == 4


def test_a_draining_process_begins_no_other_step():
    with Environment(steps_are_quick=True) as environment:
        handle = environment.start(counting_up, 3)
        meanwhile.append(environment.engine.drain)

        environment.answer_bells()

        assert attempts == [0]
        assert handle.status() == "running"
        assert environment.engine.queued.making == frozenset()


def test_a_guard_is_asked_before_each_step():
    asked = []

    class Asking(Guard):
        def before_step(self, info: StepInfo) -> None:
            asked.append(info.step)

    with Environment(steps_are_quick=True, guards=[Asking()]) as environment:
        handle = environment.start(counting_up, 3)

        environment.answer_bells()

        assert asked == ["count_up"] * 3
        assert handle.result() == 3


def test_what_others_append_during_a_step_is_seen_before_the_next_one():
    with Environment(steps_are_quick=True) as environment:
        handle = environment.start(counting_up, 3)
        meanwhile.append(lambda: handle.cancel("enough"))

        environment.answer_bells()

        assert handle.status() == "cancelled"
        assert environment.engine.queued.making == frozenset()


def test_a_run_that_is_paused_during_a_step_begins_no_other():
    with Environment(steps_are_quick=True) as environment:
        handle = environment.start(counting_up, 3)
        meanwhile.append(handle.pause)

        environment.answer_bells()

        assert attempts == [0]
        assert environment.engine.queued.making == frozenset()
        handle.resume()
        environment.settle()
        assert handle.result() == 3


@step(dispatch="queue")
def fail_twice(number: int) -> int:
    attempts.append(number)
    if len(attempts) < 4:
        raise ValueError(number)
    return number


@workflow
def failing_at_home() -> Workflow[int]:
    yield from count_up(0)
    return (yield from fail_twice(1))


def test_a_step_that_fails_at_home_is_made_again_when_it_is_due():
    with Environment(steps_are_quick=True) as environment:
        handle = environment.start(failing_at_home)

        environment.settle()

        assert handle.result() == 1
        assert attempts == [0, 1, 1, 1]


def test_a_death_in_a_step_that_began_at_home_is_a_lost_attempt():
    clock = ManualClock()
    truth = MemoryStore(clock)
    start_beat_turn_and_claim = 5
    mortal = MortalStore(truth, dies_at=start_beat_turn_and_claim + 2)
    first = Environment(mortal, clock=clock, steps_are_quick=True)
    handle = first.start(counting_up, 3)

    with suppress(ProcessDied):
        first.settle()
    last = Environment(truth, clock=clock, steps_are_quick=True)
    last.settle()

    assert last.get(handle.id).result(0) == 3
    assert attempts == [0, 1, 1, 2]
    recorded = [entry.event for entry in truth.history(handle.run().run_id)]
    assert [event.attempt for event in recorded if isinstance(event, Resolved)] == [1, 2, 1]


@step(dispatch="queue")
def note(number: int) -> int:
    attempts.append(number)
    return number


@workflow
def noting_one(number: int) -> Workflow[int]:
    return (yield from note(number))


def _waiting(environment: Environment, count: int = 4) -> list[Ring]:
    """Runs that wait for a queued step each, and the bells of these steps."""
    for number in range(count):
        environment.start(noting_one.options(id=f"{number}"), number)
    bells = environment.bells.waiting
    while bells[0].position == TURN:
        environment.answer(bells.popleft())
    rings = list(bells)
    bells.clear()
    return rings


def _results(environment: Environment, count: int = 4) -> list[object]:
    return [environment.get(f"{number}").result(0) for number in range(count)]


def test_quick_steps_of_one_bell_share_their_writes():
    clock = ManualClock()
    truth = MemoryStore(clock)
    rings = _waiting(Environment(truth, clock=clock))
    store = MortalStore(truth)
    environment = Environment(store, clock=clock, steps_are_quick=True)

    environment.engine.make_attempts(rings)

    assert attempts == [0, 1, 2, 3]
    assert _results(environment) == [0, 1, 2, 3]
    a_claim_and_an_outcome_each = 2 * len(rings)
    assert store.calls < a_claim_and_an_outcome_each


def test_steps_of_one_bell_that_are_not_quick_here_are_made_one_after_the_other():
    environment = Environment(steps_are_quick=False)
    rings = _waiting(environment)

    environment.engine.make_attempts(rings)

    assert attempts == [0, 1, 2, 3]
    assert _results(environment) == [0, 1, 2, 3]


def test_an_attempt_for_which_there_is_no_thread_is_given_back_and_counts_for_nothing():
    clock = ManualClock()
    truth = MemoryStore(clock)
    environment = Environment(truth, clock=clock, steps_are_quick=False)
    tasks = [(ring.run_id, ring.position) for ring in _waiting(environment)]

    environment.engine.queued.carry(tasks, "note")

    assert len(attempts) == 1
    given_back = list(environment.bells.waiting)
    assert len(given_back) == 3
    assert {task.attempt for ring in given_back for task in truth.tasks(ring.run_id)} == {0}
    assert environment.engine.queued.making == frozenset()
    environment.answer_bells()
    assert _results(environment) == [0, 1, 2, 3]
    assert sorted(attempts) == [0, 1, 2, 3]


# A thread that was added may be the one that dies first.
@pytest.mark.filterwarnings("ignore::pytest.PytestUnhandledThreadExceptionWarning")
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 4))
def test_death_at_any_write_of_steps_that_share_a_bell_changes_no_outcome(dies_at: int, after: bool):
    clock = ManualClock()
    truth = MemoryStore(clock)
    rings = _waiting(Environment(truth, clock=clock))
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock, steps_are_quick=True)

    with suppress(ProcessDied):
        first.engine.make_attempts(rings)
    first.engine.turns.carriers.stop(_PATIENCE_SECONDS)
    assert mortal.is_dead
    last = Environment(truth, clock=clock)
    last.settle()

    assert _results(last) == [0, 1, 2, 3]


def test_shared_bells_that_are_doubled_or_forged_change_no_outcome():
    environment = Environment(steps_are_quick=True)
    rings = _waiting(environment)
    forged = Ring(run_id=rings[0].run_id, position="7", queue="default", name="note")

    environment.engine.make_attempts([forged, *rings[:2], *rings])
    environment.engine.make_attempts([*rings, forged])

    assert attempts == [0, 1, 2, 3]
    assert _results(environment) == [0, 1, 2, 3]


def test_a_draining_process_leaves_a_shared_bell_to_others():
    clock = ManualClock()
    store = MemoryStore(clock)
    first, other = Environment(store, clock=clock), Environment(store, clock=clock)
    rings = _waiting(first)
    first.engine.drain()

    first.engine.make_attempts(rings)
    first.engine.stop()
    other.engine.sweeper.sweep()
    other.answer_bells()

    assert _results(other) == [0, 1, 2, 3]


@step(dispatch="queue", retry=Retry(max_attempts=1))
def note_once(number: int) -> int:
    attempts.append(number)
    return number


@workflow
def noting_once() -> Workflow[int]:
    return (yield from note_once(7))


def test_an_attempt_whose_claim_was_not_answered_is_the_last_one_if_no_other_is_allowed():
    clock = ManualClock()
    truth = MemoryStore(clock)
    with Environment(truth, clock=clock) as environment:
        handle = environment.start(noting_once)
        environment.answer(environment.bells.waiting.popleft())
        run_id = handle.run().run_id
        worker, lease = environment.engine.services.worker, Settings().lease
        truth.apply([Claim(run_id=run_id, position="0", worker=worker, lease=lease)])

        environment.settle()

        with pytest.raises(WorkflowFailed, match="died in it"):
            handle.result(0)
        assert attempts == []
