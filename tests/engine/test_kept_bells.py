"""Steps whose bells somebody follows, at home: each has a bell, and begins with the outcome of the one before it."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved, Retry
from qwit_durable.engine.ports import Settings
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

meanwhile: list[Callable[[], Any]] = []
attempts: list[int] = []


@step(dispatch="queue", retry=Retry(max_attempts=3, first=timedelta(seconds=1)))
def count_seen(number: int) -> int:
    attempts.append(number)
    while meanwhile:
        meanwhile.pop()()
    return number + 1


@workflow
def counting_seen(steps: int) -> Workflow[int]:
    number = 0
    for _ in range(steps):
        number = yield from count_seen(number)
    return number


@pytest.fixture(autouse=True)
def _afresh():
    meanwhile.clear()
    attempts.clear()


def _skip(environment: Environment) -> None:
    """A bell comes to an end, and nobody has followed it."""
    ring = environment.bells.waiting.popleft()
    environment.bells.kept.pop((ring.run_id, ring.position))()


def _answer(environment: Environment, bells: int) -> None:
    for _ in range(bells):
        environment.answer(environment.bells.waiting.popleft())


def test_a_seen_step_behind_another_has_a_bell_and_begins_with_the_outcome_of_the_one_before_it():
    clock = ManualClock()
    store = MortalStore(MemoryStore(clock))
    with Environment(store, clock=clock, steps_are_quick=True, steps_are_seen=True) as environment:
        handle = environment.start(counting_seen, 5)
        start_turn_claim_and_end = 1 + 2 + 1 + 1

        bells = environment.answer_bells()

        assert bells == 1 + 5
        assert handle.result() == 5
        assert store.calls == start_turn_claim_and_end + 5
        assert environment.engine.queued.making == frozenset()


def test_seen_steps_that_are_not_quick_are_left_to_all_processes():
    with Environment(steps_are_quick=False, steps_are_seen=True) as environment:
        handle = environment.start(counting_seen, 3)

        _answer(environment, 2)

        assert attempts == [0]
        assert not environment.bells.kept
        environment.answer_bells()
        assert handle.result() == 3


def test_after_its_slice_a_run_is_left_to_all_processes():
    settings = Settings(time_slice=timedelta(0))
    with Environment(steps_are_quick=True, steps_are_seen=True, settings=settings) as environment:
        environment.start(counting_seen, 4)

        _answer(environment, 2)
        kept_first = len(environment.bells.kept)
        _answer(environment, 1)

        assert kept_first == 1
        assert len(environment.bells.kept) == 0
        assert len(environment.bells.waiting) == 1


def test_an_attempt_whose_bell_is_skipped_counts_for_nothing_and_comes_again():
    with Environment(steps_are_quick=True, steps_are_seen=True) as environment:
        handle = environment.start(counting_seen, 3)
        _answer(environment, 2)

        _skip(environment)

        assert environment.engine.queued.making == frozenset()
        assert not environment.bells.waiting
        environment.settle()
        assert handle.result() == 3
        assert attempts == [0, 1, 2]
        history = environment.store.history(handle.run().run_id)
        assert [entry.event.attempt for entry in history if isinstance(entry.event, Resolved)] == [1, 1, 1]


def test_where_something_slow_has_come_meanwhile_the_attempt_is_left_to_all_processes():
    with Environment(steps_are_quick=True, steps_are_seen=True) as environment:
        handle = environment.start(counting_seen, 3)
        _answer(environment, 1)
        before_and_after_the_write = iter([True, False])
        environment.bells.has_room = lambda *_: next(before_and_after_the_write)

        _answer(environment, 1)

        del environment.bells.has_room
        assert not environment.bells.kept
        assert len(environment.bells.waiting) == 1
        assert {task.attempt for task in environment.store.tasks(handle.run().run_id)} == {0}
        environment.settle()
        assert handle.result() == 3
        assert attempts == [0, 1, 2]


def test_an_attempt_that_waits_for_too_long_is_left_to_all_processes():
    clock = ManualClock()
    store = MemoryStore(clock)
    first = Environment(store, clock=clock, steps_are_quick=True, steps_are_seen=True)
    handle = first.start(counting_seen, 3)
    _answer(first, 2)
    late = first.bells.waiting.popleft()
    kept = first.engine.queued.kept
    first.engine.services.monotonic = lambda: kept.due

    kept.interrupt()

    other = Environment(store, clock=clock)
    other.bells.waiting.extend(first.bells.waiting)
    other.answer_bells()
    assert first.engine.queued.making == frozenset()
    assert other.get(handle.id).result(0) == 3
    assert attempts == [0, 1, 2]
    first.answer(late)
    assert attempts == [0, 1, 2]


def test_a_process_that_drains_gives_back_what_it_has_kept():
    clock = ManualClock()
    store = MemoryStore(clock)
    first = Environment(store, clock=clock, steps_are_quick=True, steps_are_seen=True)
    handle = first.start(counting_seen, 3)
    _answer(first, 2)
    first.engine.drain()

    _skip(first)
    first.engine.stop()

    assert first.engine.queued.making == frozenset()
    other = Environment(store, clock=clock)
    other.engine.sweeper.sweep()
    other.answer_bells()
    assert other.get(handle.id).result(0) == 3
    assert attempts == [0, 1, 2]


def test_a_kept_attempt_that_is_lost_with_its_process_is_made_again():
    clock = ManualClock()
    store = MemoryStore(clock)
    first = Environment(store, clock=clock, steps_are_quick=True, steps_are_seen=True)
    first.engine.heart.beat()
    handle = first.start(counting_seen, 3)
    _answer(first, 2)

    other = Environment(store, clock=clock)
    other.settle()

    assert other.get(handle.id).result(0) == 3
    assert attempts == [0, 1, 2]


def test_bells_that_are_doubled_or_forged_make_a_kept_attempt_once():
    with Environment(steps_are_quick=True, steps_are_seen=True) as environment:
        handle = environment.start(counting_seen, 3)
        _answer(environment, 2)
        kept = environment.bells.waiting[0]

        environment.engine.make_attempt(kept.run_id, kept.position, kept.name)
        environment.bells.waiting.append(kept)
        environment.answer_bells()

        assert handle.result() == 3
        assert attempts == [0, 1, 2]


def test_a_run_that_is_cancelled_while_an_attempt_is_kept_ends():
    with Environment(steps_are_quick=True, steps_are_seen=True) as environment:
        handle = environment.start(counting_seen, 3)
        _answer(environment, 2)

        handle.cancel("enough")
        environment.settle()

        assert handle.status() == "cancelled"
        assert environment.engine.queued.making == frozenset()


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 10))
def test_death_at_any_write_of_steps_with_kept_bells_changes_no_outcome(dies_at: int, after: bool):
    clock = ManualClock()
    truth = MemoryStore(clock)
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock, steps_are_quick=True, steps_are_seen=True)

    with suppress(ProcessDied):
        first.start(counting_seen.options(id="one"), 3)
        first.settle()
    last = Environment(truth, clock=clock, steps_are_quick=True, steps_are_seen=True)
    last.start(counting_seen.options(id="one"), 3)
    last.settle()

    assert last.get("one").result(0) == 3
    assert set(attempts) == {0, 1, 2}
    history = truth.history(last.get("one").run().run_id)
    assert sum(isinstance(entry.event, Resolved) for entry in history) == 3
