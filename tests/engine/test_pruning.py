"""Removing old runs through `prune`: which, in what portions, and what becomes of one that breaks off."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta

import pytest

from qwit_durable import gather, sleep
from qwit_durable.clock import ManualClock
from qwit_durable.core import Retry, Status
from qwit_durable.errors import RunNotFound
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.pruning import Pruned
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

DAY = timedelta(days=1)


@step(retry=Retry(max_attempts=1))
def work(what: str) -> str:
    if what == "bad":
        raise ValueError(what)
    return what


@workflow
def small(what: str) -> Workflow[str]:
    return (yield from work(what))


@workflow
def tree(width: int) -> Workflow[int]:
    found = yield from gather(*(small(str(number)) for number in range(width)))
    return len(found)


@workflow
def sleeper() -> Workflow[None]:
    yield from sleep(DAY * 1000)


@pytest.fixture
def environment() -> Iterator[Environment]:
    with Environment() as found:
        yield found


def run(environment: Environment, workflow: object, *args: object, key: str) -> None:
    environment.start(workflow.options(id=key), *args)
    environment.settle(until=environment.clock.now())


def left(environment: Environment) -> list[str]:
    return sorted(found.id for found in environment.runs(roots_only=True))


def test_only_what_ended_long_enough_ago_is_removed(environment: Environment) -> None:
    run(environment, small, "x", key="old")
    run(environment, sleeper, key="asleep")
    environment.clock.advance(DAY * 2)
    run(environment, tree, 3, key="young")

    pruned = environment.prune(DAY)

    assert pruned == Pruned(roots=1, runs=1)
    assert left(environment) == ["asleep", "young"]


def test_what_is_removed_can_be_chosen_by_status_and_workflow(environment: Environment) -> None:
    run(environment, small, "x", key="small")
    run(environment, tree, 2, key="tree")
    run(environment, small, "bad", key="bad")
    environment.clock.advance(DAY * 2)

    by_status = environment.prune(DAY, status=["failed", Status.CANCELLED])
    after_status = left(environment)
    by_workflow = environment.prune(DAY, workflow="tree")

    assert (by_status, after_status) == (Pruned(roots=1, runs=1), ["small", "tree"])
    assert by_workflow == Pruned(roots=1, runs=3)
    assert left(environment) == ["small"]


def test_a_limit_takes_the_oldest_first(environment: Environment) -> None:
    for number in range(5):
        run(environment, small, "x", key=f"run {number}")
        environment.clock.advance(timedelta(seconds=1))
    environment.clock.advance(DAY * 2)

    pruned = environment.prune(DAY, limit=3, batch=2)

    assert pruned.roots == 3
    assert left(environment) == ["run 3", "run 4"]


def test_an_open_status_is_refused(environment: Environment) -> None:
    with pytest.raises(ValueError, match="running has not ended"):
        environment.prune(DAY, status="running")


def test_the_handle_of_a_removed_run_says_so_and_its_id_is_free(environment: Environment) -> None:
    run(environment, small, "x", key="old")
    handle = environment.get("old")
    environment.clock.advance(DAY * 2)

    environment.prune(DAY)

    for ask in (handle.status, handle.result, handle.history, lambda: handle.signal("go", 1)):
        with pytest.raises(RunNotFound, match="pruned"):
            ask()
    with pytest.raises(RunNotFound, match="pruned"):
        environment.get("old")
    run(environment, small, "y", key="old")
    assert environment.get("old").result() == "y"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, 9))
def test_death_around_any_portion_leaves_whole_trees_to_a_repetition(dies_at: int, after: bool) -> None:
    clock = ManualClock()
    truth = MemoryStore(clock)
    with Environment(truth, clock=clock) as environment:
        for number in range(3):
            run(environment, tree, 5, key=f"tree {number}")
        run(environment, sleeper, key="asleep")
        clock.advance(DAY * 2)
        mortal = Environment(MortalStore(truth, dies_at=dies_at, after=after), clock=clock)
        with pytest.raises(ProcessDied):
            mortal.prune(DAY, batch=2)
        half_way = left(environment)

        environment.prune(DAY, batch=2)

        assert "asleep" in half_way
        assert left(environment) == ["asleep"]
        assert len(list(environment.runs())) == 1
