"""What is given where something else is meant, from outside of a run: each refused at once, with what is right."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from qwit_durable import Durable, Workflow, step, workflow
from qwit_durable.core import Status
from qwit_durable.errors import DefinitionError, NotRunningError, RunNotFound
from qwit_durable.testing.environment import Environment


@step
def pack(item: str) -> str:
    return item


@workflow
def order(item: str) -> Workflow[str]:
    return (yield from pack(item))


DURABLES: dict[str, Callable[[], Any]] = {
    "observers is a list": lambda: Durable("memory://", observers=5),
    "queues are Dramatiq brokers by name, got 5": lambda: Durable("memory://", queues={"a": 5}),
    "around_step holds what makes context managers, got 5": lambda: Durable("memory://", around_step=[5]),
    "store is a URL": lambda: Durable(""),
    "threads of embedded": lambda: Durable("memory://").embedded(threads=0).__enter__(),
    "1 or more, got '4'": lambda: Durable("memory://").embedded(threads="4").__enter__(),
    "is a step, which runs in a workflow alone": lambda: Durable("memory://").start(pack, "box"),
    "is no workflow": lambda: Durable("memory://").start(len, "box"),
}


@pytest.mark.parametrize("told", DURABLES)
def test_what_a_durable_can_not_use_is_refused(told: str):
    with pytest.raises(DefinitionError, match=told):
        DURABLES[told]()


@pytest.mark.parametrize("key", ["a\0", "\ud800", "nobody"])
def test_no_run_stands_under_an_id_that_none_can_have(key: str):
    with Environment() as environment, pytest.raises(RunNotFound):
        environment.get(key)


@pytest.mark.parametrize("key", [5, None])
def test_what_is_no_id_is_refused(key: Any):
    with Environment() as environment, pytest.raises(TypeError, match="the id of a run is a text"):
        environment.get(key)


FILTERS: dict[str, dict[str, Any]] = {
    "a workflow": {"workflow": "a\0"},
    "a lane": {"lane": "\ud800"},
    "an attribute": {"attributes": {"k": "a\0"}},
    "an attribute's name": {"attributes": {"a\0": 1}},
}


@pytest.mark.parametrize("asked", FILTERS)
def test_a_filter_that_nothing_can_fit_is_refused(asked: str):
    with Environment() as environment, pytest.raises(ValueError, match=r"NUL|surrogate"):
        list(environment.runs(**FILTERS[asked]))


@pytest.mark.parametrize(("given", "kind"), [(5, TypeError), ("", TypeError), ("a\0", ValueError)])
def test_a_dedupe_id_that_can_not_be_kept_is_refused(given: Any, kind: type[Exception]):
    with Environment() as environment:
        handle = environment.start(order, "box")

        with pytest.raises(kind, match="dedupe_id"):
            handle.signal("go", dedupe_id=given)


def test_every_status_is_counted():
    with Environment() as environment:
        counts = environment.counts()

    assert counts == dict.fromkeys(Status, 0)


def test_who_would_wait_for_ever_in_an_environment_is_told_so():
    with Environment() as environment:
        handle = environment.start(order, "box")

        with pytest.raises(NotRunningError, match=r"environment\.settle\(\), then handle\.result\(\)"):
            handle.result()
