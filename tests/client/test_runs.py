"""Listing runs, and the record of a run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable import Durable, OperationRefused, RunNotFound
from qwit_durable.clock import ManualClock
from qwit_durable.errors import DefinitionError
from qwit_durable.language import Workflow, step, wait_signal, workflow
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment


@step
def pack(item: str) -> str:
    return item


@workflow
def inner() -> Workflow[str]:
    return (yield from wait_signal("go", str))


@workflow
def middle() -> Workflow[str]:
    return (yield from inner())


@workflow(version="2")
def outer() -> Workflow[str]:
    return (yield from middle())


@workflow(version="1")
def plain(item: str) -> Workflow[str]:
    return (yield from pack(item))


@pytest.fixture
def durable() -> Iterator[Durable]:
    clock = ManualClock()
    store = MemoryStore(clock)
    with Environment(store, clock=clock) as environment:
        environment.start(outer.options(id="tree"))
        environment.start(
            plain.options(id="tea", attributes={"tenant": "acme", "cents": 5, "vip": True}), "tea"
        )
        clock.advance(timedelta(seconds=1))
        environment.start(plain.options(id="mug", attributes={"tenant": "acme", "cents": 7}), "mug")
        environment.settle(until=clock.now())
        yield Durable(store)


def test_a_sub_workflow_names_its_parent_and_its_root_as_get_takes_them(durable: Durable) -> None:
    found = {run.workflow: run for run in durable.runs()}

    assert (found["outer"].parent_id, found["outer"].root_id) == (None, "tree")
    assert (found["middle"].parent_id, found["middle"].root_id) == ("tree", "tree")
    assert (found["inner"].parent_id, found["inner"].root_id) == (found["middle"].id, "tree")
    assert durable.get(found["middle"].parent_id or "").run() == found["outer"]


def test_a_page_without_the_parents_names_them_all_the_same(durable: Durable) -> None:
    (found,) = durable.runs(workflow="inner")

    assert found.root_id == "tree"
    assert durable.get(found.id).run() == found


@pytest.mark.parametrize(
    ("asked", "found"),
    [
        ({"attributes": {"tenant": "acme"}}, ["mug", "tea"]),
        ({"attributes": {"tenant": "acme", "cents": 5}}, ["tea"]),
        ({"attributes": {"vip": True}}, ["tea"]),
        ({"attributes": {"vip": 1}}, []),
        ({"version": "1"}, ["mug", "tea"]),
        ({"version": "2"}, ["tree"]),
        ({"workflow": "plain", "limit": 1}, ["mug"]),
        ({"status": "running", "roots_only": True}, ["tree"]),
        ({"status": ["completed", "failed"]}, ["mug", "tea"]),
        ({"limit": 0}, []),
    ],
)
def test_runs_are_found_by_what_is_known_of_them(durable: Durable, asked: Any, found: list[str]) -> None:
    assert [run.id for run in durable.runs(**asked)] == found


@pytest.mark.parametrize(
    ("asked", "kind", "said"),
    [
        ({"limit": -1}, ValueError, "limit is 0 or more, or None for all, got -1"),
        ({"limit": "5"}, TypeError, "limit is a whole number, or None for all, got '5'"),
        ({"status": "nonsense"}, ValueError, "no status 'nonsense'\n  known: scheduled, running"),
        ({"status": ["running", "nonsense"]}, ValueError, "no status 'nonsense'"),
        ({"workflow": plain}, TypeError, "workflow is a text, got <workflow 'plain'"),
        ({"attributes": ["tenant"]}, TypeError, r"attributes is a dict, got \['tenant'\]"),
        ({"attributes": {"tenant": None}}, TypeError, "that of 'tenant' is None"),
        ({"colour": "red"}, TypeError, "colour"),
    ],
)
def test_what_is_asked_wrongly_is_told_at_once(
    durable: Durable, asked: Any, kind: type[Exception], said: str
) -> None:
    with pytest.raises(kind, match=said):
        durable.runs(**asked)


@pytest.mark.parametrize("store", [5, ["sqlite:///a.db"], b"memory://"])
def test_a_store_that_is_none_is_told_at_once(store: Any) -> None:
    with pytest.raises(DefinitionError, match=r"store is a URL, as 'sqlite:///orders.db', or a store object"):
        Durable(store)


# -- signals to runs that can't take them ----------------------------------------------------------------------


def test_a_signal_to_a_run_that_has_ended_says_so(durable: Durable) -> None:
    with pytest.raises(OperationRefused, match="run tea is completed: it takes no signals"):
        durable.get("tea").signal("go")


def test_a_run_that_is_not_there_is_told(durable: Durable) -> None:
    with pytest.raises(RunNotFound, match="no run 'nobody' in namespace 'default'"):
        durable.get("nobody").signal("go")


def test_a_signal_sent_again_after_the_end_is_no_error(durable: Durable) -> None:
    with Environment(durable.store) as environment:
        inner_id = next(run.id for run in durable.runs(workflow="inner"))
        durable.get(inner_id).signal("go", "now", dedupe_id="click-1")
        environment.settle(until=environment.clock.now())
        handle = durable.get(inner_id)

        handle.signal("go", "now", dedupe_id="click-1")

        assert handle.status().is_ended
