"""A history as people and programs read it."""

from __future__ import annotations

import json
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.client.entries import Entry
from qwit_durable.client.handle import Handle
from qwit_durable.client.history import History
from qwit_durable.client.plain import LARGE_BYTES, Large
from qwit_durable.core import Retry
from qwit_durable.language import Workflow, compensate, gather, sleep, step, wait_signal, workflow
from qwit_durable.testing.environment import Environment


@step
def double(number: int) -> int:
    return 2 * number


@double.undo
def halve(number: int) -> None: ...


@step(retry=Retry(max_attempts=2, first=timedelta(seconds=5)))
def fail(message: str) -> None:
    raise ValueError(message)


@step
def retract() -> None: ...


@step
def grow(text: str) -> str:
    return text * LARGE_BYTES


@workflow
def plain(number: int) -> Workflow[int]:
    return (yield from double(number))


@workflow
def failing() -> Workflow[None]:
    yield from plain(1)
    yield from compensate(retract())
    yield from fail("boom")


@workflow
def gathering() -> Workflow[None]:
    yield from gather(double(1), branch())


def branch() -> Workflow[int]:
    yield from sleep(timedelta(seconds=1))
    return (yield from double(2))


@workflow
def waiting() -> Workflow[str]:
    return (yield from wait_signal("approved", str, timeout=timedelta(hours=1)))


@workflow
def large() -> Workflow[str]:
    return (yield from grow("x"))


def run(body: Any, *args: Any) -> tuple[Environment, Handle[Any]]:
    environment = Environment()
    handle = environment.start(body.options(id="r"), *args)
    environment.settle(until=environment.clock.now() + timedelta(minutes=1))
    return environment, handle


def told(history: History) -> list[tuple[int | None, str | None, str, str, str | None]]:
    return [(e.number, e.position, e.kind, e.event, e.name) for e in history]


def test_it_begins_with_the_start_and_ends_with_the_end() -> None:
    _, handle = run(plain, 21)

    found = handle.history()

    assert told(found) == [
        (0, None, "run", "started", "plain"),
        (1, "0", "step", "completed", "double"),
        (None, None, "run", "completed", "plain"),
    ]
    assert (found[0].args, found[1].args, found[1].value, found[2].value) == (
        *({"number": 21}, {"number": 21}, 42, 42),
    )


def test_an_open_run_has_no_end() -> None:
    _, handle = run(waiting)

    found = handle.history()

    assert told(found)[-1] == (1, "0", "signal", "scheduled", "approved")
    assert found[-1].until == found[-1].at + timedelta(hours=1)


def test_failing_and_undoing_are_told_in_order_with_their_attempts() -> None:
    _, handle = run(failing)

    found = handle.history()

    assert told(found)[3:] == [
        (3, "1", "compensate", "completed", "retract"),
        (4, "2", "step", "attempt failed", "fail"),
        (5, "2", "step", "failed", "fail"),
        (6, None, "run", "unwinding", None),
        (7, "~1", "step", "completed", "retract"),
        (8, "~0", "undo", "scheduled", "plain"),
        (9, "~0", "undo", "completed", "plain"),
        (None, None, "run", "compensated", "failing"),
    ]
    assert [entry.attempt for entry in found][4:6] == [1, 2]
    assert found[4].error is not None
    assert found[4].error.message == "boom"
    assert found[6].value == ["retract", "plain"]


def test_a_sub_workflow_that_is_reopened_says_so() -> None:
    environment, handle = run(failing)
    child = environment.store.children(handle._run_id)[0]

    found = environment.get(child.run.key).history()

    assert [entry.event for entry in found] == [
        *("started", "completed", "returned", "reopened", "completed", "compensated")
    ]


def test_signals_timers_and_operators_are_told() -> None:
    environment, handle = run(waiting)
    handle.pause("stock-taking")
    handle.resume()
    handle.signal("other", {"a": 1})
    environment.settle()

    found = handle.history()

    assert told(found)[2:] == [
        (2, None, "run", "pause", None),
        (3, None, "run", "resume", None),
        (4, None, "signal", "received", "other"),
        (5, "0", "signal", "fired", None),
        (None, None, "run", "failed", "waiting"),
    ]
    assert (found[2].value, found[4].value) == ("stock-taking", {"a": 1})


def test_a_cancel_drops_what_nobody_waits_for_any_more() -> None:
    environment, handle = run(waiting)
    handle.cancel("too late")
    environment.settle()

    assert [entry.event for entry in handle.history()][-3:] == ["cancel requested", "dropped", "cancelled"]


def test_large_values_are_named_by_their_size() -> None:
    _, handle = run(large)

    value = handle.history()[1].value

    assert value == Large(LARGE_BYTES + 2)
    assert str(value) == "(2.0 KiB)"
    assert handle.history().to_json()["entries"][1]["value"] == {"size_bytes": LARGE_BYTES + 2}


def test_it_is_printed_as_an_aligned_table_with_branches_indented() -> None:
    _, handle = run(gathering)

    assert str(handle.history()).splitlines() == [
        "run r of workflow 'gathering': completed",
        "  #  at (UTC)                 position   what",
        "  0  2026-01-01 00:00:00.000             gathering started",
        '  1  2026-01-01 00:00:00.000    0.0      step double scheduled {"number": 1}',
        "  2  2026-01-01 00:00:00.000      0.1.0  sleep scheduled until 2026-01-01 00:00:01",
        "  3  2026-01-01 00:00:00.000    0.0      step double completed → 2",
        "  4  2026-01-01 00:00:01.000      0.1.0  sleep fired",
        '  5  2026-01-01 00:00:01.000      0.1.1  step double completed {"number": 2} → 4',
        "     2026-01-01 00:00:01.000             gathering completed",
    ]


def test_it_is_json_with_the_names_of_the_fields() -> None:
    _, handle = run(failing)

    found = json.loads(json.dumps(handle.history().to_json()))

    assert (found["id"], found["workflow"], found["status"]) == ("r", "failing", "compensated")
    assert found["entries"][0]["at"] == "2026-01-01T00:00:00Z"
    assert found["entries"][4]["error"]["type"] == "ValueError"


def test_it_is_a_sequence() -> None:
    _, handle = run(plain, 1)

    found = handle.history()

    assert len(found) == 3
    assert found[-1] == list(found)[2]
    assert [type(entry) for entry in found[:2]] == [Entry, Entry]
    assert repr(found) == "<History of run r: 3 entries>"


@pytest.mark.parametrize("name", ["charge", "a very long name of a step that goes on and on"])
def test_an_entry_is_one_line_whatever_is_in_it(name: str) -> None:
    environment, handle = run(waiting)
    handle.signal(name, "line\nbreak")
    handle.cancel("two\nlines")
    environment.settle()

    assert len(str(handle.history()).splitlines()) == len(handle.history()) + 2
