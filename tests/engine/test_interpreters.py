"""Interpreters that are kept between turns: which of them is good for a turn, and what becomes of the others."""

from __future__ import annotations

import gc
from datetime import UTC, datetime
from uuid import UUID

import pytest

from qwit_durable.core import Interpreter, Kind, Resolved, Value
from qwit_durable.engine.turning.interpreters import Interpreters
from qwit_durable.engine.turning.programs import Programs
from qwit_durable.errors import UnknownName
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.registry import default_registry
from qwit_durable.stores.rows import RunRow

closed: list[str] = []


@pytest.fixture(autouse=True)
def nothing_is_closed_yet() -> None:
    """What other tests have left to the garbage collector is closed before."""
    gc.collect()
    closed.clear()


@step
def one() -> int:
    return 1


@workflow
def endless() -> Workflow[None]:
    try:
        while True:
            yield from one()
    finally:
        closed.append("closed")


def run_of(name: str = "endless") -> RunRow:
    run_id = UUID(int=7)
    return RunRow(
        id=run_id,
        namespace="default",
        key=str(run_id),
        workflow=name,
        version=None,
        queue="default",
        root_id=run_id,
        args=b"{}",
        created_at=datetime(2026, 1, 1, tzinfo=UTC),
    )


RUN = run_of()


def interpreters(room: int = 10) -> Interpreters:
    return Interpreters(Programs(default_registry, 1000), room)


def at(head: int, known: Interpreters) -> Interpreter:
    """One that has seen so many events."""
    found = known.fresh(RUN, 0)
    found.feed(
        [
            Resolved(position=str(n), kind=Kind.STEP, name="one", args=b"{}", outcome=Value(b"1"))
            for n in range(head)
        ]
    )
    return found


@pytest.mark.parametrize("since", [0, 2, 3])
def test_one_that_has_seen_what_came_before_is_good_for_a_turn(since: int):
    """Events that it has seen already do no harm: it is fed the others."""
    known = interpreters()
    kept = at(3, known)
    known.put(RUN.id, kept)

    assert known.take(RUN, 0, since=since, head=5) is kept
    assert known.known(RUN.id) == (0, 0)


@pytest.mark.parametrize(("generation", "since", "head"), [(0, 4, 5), (0, 1, 2), (1, 3, 5)])
def test_one_that_stands_elsewhere_stays_until_it_is_replaced(generation: int, since: int, head: int):
    """It has missed events, or seen some that the turn does not know of, or is of another generation."""
    known = interpreters()
    known.put(RUN.id, at(3, known))

    assert known.take(RUN, generation, since=since, head=head) is None
    assert known.known(RUN.id) == (0, 3)
    assert closed == []

    known.put(RUN.id, at(5, known))

    assert closed == ["closed"]


def test_a_turn_with_all_events_gets_a_fresh_one():
    known = interpreters()

    found = known.take(RUN, 2, since=0, head=5)

    assert found is not None
    assert (found.generation, found.head) == (2, 0)


def test_nobody_makes_one_of_a_workflow_that_is_not_known():
    known = interpreters()

    with pytest.raises(UnknownName):
        known.take(run_of("nowhere"), 0, since=0, head=0)


def test_one_for_which_there_is_no_room_is_closed():
    known = interpreters(room=0)

    known.put(RUN.id, at(1, known))

    assert closed == ["closed"]
    assert len(known) == 0


def test_one_that_is_dropped_is_closed():
    known = interpreters()
    known.put(RUN.id, at(1, known))

    known.drop(RUN.id)

    assert closed == ["closed"]
    assert known.known(RUN.id) == (0, 0)
