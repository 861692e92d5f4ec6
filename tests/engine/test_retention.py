"""Workers that remove old runs by themselves: `Durable(retention=...)`."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable import Durable, Workflow, gather, sleep, step, workflow
from qwit_durable.clock import ManualClock
from qwit_durable.engine.ports import Settings
from qwit_durable.engine.tending.retention import Keeper
from qwit_durable.errors import DefinitionError
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.pruning import Pruned
from qwit_durable.stores.writes import Write
from qwit_durable.testing.environment import Environment

DAY = timedelta(days=1)


@step
def work(what: str) -> str:
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


def run(environment: Environment, workflow: Any, *args: object, key: str) -> None:
    environment.start(workflow.options(id=key), *args)
    environment.settle(until=environment.clock.now())


def left(environment: Environment) -> list[str]:
    return sorted(found.id for found in environment.runs(roots_only=True))


@pytest.fixture
def environment() -> Iterator[Environment]:
    with Environment(settings=Settings(retention=DAY)) as found:
        yield found


def keeper(environment: Environment) -> Keeper:
    assert environment.engine.keeper is not None
    return environment.engine.keeper


def test_what_ended_longer_ago_than_it_is_kept_is_removed(environment: Environment) -> None:
    run(environment, small, "x", key="old")
    run(environment, sleeper, key="asleep")
    run(environment, tree, 3, key="tree")
    environment.clock.advance(DAY * 2)
    run(environment, small, "x", key="young")

    removed = keeper(environment).tidy()

    assert removed == 5
    assert left(environment) == ["asleep", "young"]


def test_one_process_at_a_time_removes(environment: Environment) -> None:
    other = Environment(environment.store, clock=environment.clock, settings=Settings(retention=DAY))
    keeper(other).tidy()
    run(environment, small, "x", key="old")
    environment.clock.advance(DAY * 2)
    keeper(other).tidy()
    run(environment, small, "x", key="older")
    environment.clock.advance(timedelta(seconds=30))

    while_other_does = keeper(environment).tidy()
    environment.clock.advance(DAY * 2)
    afterwards = keeper(environment).tidy()

    assert (while_other_does, afterwards) == (0, 1)


def test_namespaces_keep_their_runs_each_as_long_as_it_says(environment: Environment) -> None:
    shop = Environment(
        environment.store, clock=environment.clock, settings=Settings(retention=DAY * 9), namespace="shop"
    )
    run(environment, small, "x", key="here")
    with shop:
        run(shop, small, "x", key="there")
    environment.clock.advance(DAY * 2)

    removed = keeper(environment).tidy() + keeper(shop).tidy()

    assert removed == 1
    assert left(shop) == ["there"]


def test_a_worker_removes_in_the_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("qwit_durable.engine.tending.retention._OFTEN", timedelta(milliseconds=10))
    clock = ManualClock()
    store = MemoryStore(clock)
    with Environment(store, clock=clock) as environment:
        run(environment, small, "x", key="old")
    clock.advance(DAY * 2)
    gone = threading.Event()
    apply = store.apply

    def watched(writes: Sequence[Write]) -> Sequence[Answer]:
        answers = apply(writes)
        if any(isinstance(answer, Pruned) and answer.roots for answer in answers):
            gone.set()
        return answers

    monkeypatch.setattr(store, "apply", watched)

    with Durable(store, clock=clock, retention=DAY).embedded(threads=1):
        assert gone.wait(10)


@pytest.mark.parametrize("retention", [timedelta(0), 30])
def test_what_is_no_time_to_keep_runs_for_is_refused(retention: object) -> None:
    with pytest.raises(DefinitionError, match="retention"):
        Durable("memory://", retention=retention)  # type: ignore[arg-type]
