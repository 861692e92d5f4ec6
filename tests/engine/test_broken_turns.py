"""Turns that break off: nothing is done again for it, and a run whose turns always do is left to a person."""

from __future__ import annotations

from asyncio import CancelledError
from collections.abc import Callable, Sequence
from datetime import timedelta

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Kind, Resolved, Retry, Status
from qwit_durable.errors import StoreError
from qwit_durable.errors.interrupt import Interrupt
from qwit_durable.language.step import step
from qwit_durable.language.verbs import publish, record
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.writes import Checkpoint, Commit, Write
from qwit_durable.testing.environment import Environment
from tests.engine.world import World

world = World()
#: What the body raises, if anything.
raises: list[BaseException] = []


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global world
    world = World()
    raises.clear()


class Struck(Interrupt):
    """The thread was interrupted in the middle of the body."""


@step(retry=Retry(max_attempts=1))
def charge(order: str) -> str:
    world.do(order)
    return order


@charge.undo
def refund(result: str) -> None:
    world.undo(result)


@workflow
def order(key: str) -> Workflow[str]:
    paid = yield from charge(key)
    if raises:
        raise raises[0]
    yield from publish("paid", paid)
    return paid


class Refusing(MemoryStore):
    """A store that can't keep some writes, and says so each time."""

    def __init__(self, clock: ManualClock, refuses: Callable[[Write], bool]) -> None:
        super().__init__(clock)
        self.refuses = refuses

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        if any(map(self.refuses, writes)):
            raise StoreError("this has no room here")
        return super().apply(writes)


def publishes(write: Write) -> bool:
    return isinstance(write, Commit) and bool(write.published)


def says_how_a_step_ended(write: Write) -> bool:
    return isinstance(write, (Checkpoint, Commit)) and any(
        isinstance(event, Resolved) for event in write.events
    )


def settle_for_a_minute(environment: Environment) -> int:
    """How many turns broke off with what the body raised."""
    broken = 0
    while True:
        try:
            environment.settle(until=environment.clock.now() + timedelta(minutes=1))
        except Struck:
            broken += 1
        else:
            return broken


def test_what_a_step_has_done_is_recorded_where_the_body_behind_it_breaks_the_turn_off():
    raises.append(Struck("from outside"))
    with Environment() as environment:
        handle = environment.start(order, "a")

        with pytest.raises(Struck):
            environment.settle()
        raises.clear()
        settle_for_a_minute(environment)

    assert handle.result(0) == "a"
    assert world.attempts == ["a"]


def test_a_run_whose_turns_always_break_off_is_left_to_a_person():
    raises.append(Struck("from outside"))
    with Environment() as environment:
        handle = environment.start(order, "a")

        broken = settle_for_a_minute(environment)

    assert (handle.status(), broken) == (Status.STUCK, 5)
    told = str(handle.explain())
    assert "5 turns in a row broke off at the same place, the last by Struck: from outside" in told


def test_a_run_that_is_left_to_a_person_can_be_undone():
    clock = ManualClock()
    with Environment(Refusing(clock, publishes), clock=clock) as environment:
        handle = environment.start(order, "a")
        settle_for_a_minute(environment)

        handle.rollback()
        environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert world.attempts == ["a", "undo a"]


def test_what_follows_a_step_and_can_not_be_stored_is_left_to_a_person_and_the_step_is_not_made_again():
    clock = ManualClock()
    store = Refusing(clock, publishes)
    with Environment(store, clock=clock) as environment:
        handle = environment.start(order, "a")

        settle_for_a_minute(environment)
        stuck, told = handle.status(), str(handle.explain())
        store.refuses = lambda _: False
        handle.retry()
        settle_for_a_minute(environment)

    assert stuck is Status.STUCK
    assert "StoreError: this has no room here" in told
    assert handle.result(0) == "a"
    assert world.attempts == ["a"]


def test_a_step_whose_outcome_can_not_be_stored_is_made_once():
    clock = ManualClock()
    with Environment(Refusing(clock, says_how_a_step_ended), clock=clock) as environment:
        handle = environment.start(order, "a")

        settle_for_a_minute(environment)

    assert handle.status() is Status.STUCK
    assert "how its last attempt ended can't be stored" in str(handle.explain())
    assert world.attempts == ["a"]


def test_a_run_that_stands_still_while_it_is_undone_goes_on_being_undone():
    def says_how_an_undo_ended(write: Write) -> bool:
        return isinstance(write, (Checkpoint, Commit)) and any(
            isinstance(event, Resolved) and event.kind is Kind.UNDO for event in write.events
        )

    raises.append(ValueError("no"))
    clock = ManualClock()
    store = Refusing(clock, says_how_an_undo_ended)
    with Environment(store, clock=clock) as environment:
        handle = environment.start(order, "a")
        settle_for_a_minute(environment)
        stuck = handle.status()

        store.refuses = lambda _: False
        handle.retry()
        status = handle.status()
        environment.settle()

    assert (stuck, status) == (Status.STUCK, Status.COMPENSATING)
    assert handle.status() is Status.COMPENSATED


def test_a_turn_that_gets_on_begins_to_count_anew():
    @step
    def touch(number: int) -> int:
        world.do(f"{number}")
        return number

    @workflow
    def breaks_off_at_each_place(count: int) -> Workflow[int]:
        for number in range(count):
            yield from touch(number)
            if world.attempts.count(f"{number}") == 1 and len(broke) < 4 * (number + 1):
                broke.append(number)
                raise Struck
        return count

    broke: list[int] = []
    with Environment() as environment:
        handle = environment.start(breaks_off_at_each_place, 3)

        settle_for_a_minute(environment)

    assert handle.result(0) == 3
    assert broke == [0] * 4 + [1] * 4 + [2] * 4
    assert world.attempts == ["0", "1", "2"]


class Odd(BaseException):
    """What only a few libraries raise, to be caught by nobody."""


@pytest.mark.parametrize("kind", [Odd, SystemExit, GeneratorExit, CancelledError])
def test_whatever_a_body_raises_fails_its_run(kind: type[BaseException]):
    raises.append(kind("x"))
    with Environment() as environment:
        handle = environment.start(order, "a")

        environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert world.attempts == ["a", "undo a"]


@pytest.mark.parametrize("kind", [Odd, SystemExit, GeneratorExit, CancelledError])
def test_whatever_a_recorded_function_raises_is_its_failure(kind: type[BaseException]):
    def leave() -> None:
        raise kind("x")

    @workflow
    def recording() -> Workflow[None]:
        yield from record(leave)

    with Environment() as environment:
        handle = environment.start(recording)

        environment.settle()

    assert handle.status() is Status.FAILED
