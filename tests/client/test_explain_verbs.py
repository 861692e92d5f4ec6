"""What `explain()`, `history()` and `published()` tell of verbs that run several things at once, and of others."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.client.explaining import WaitKind
from qwit_durable.client.handle import Handle
from qwit_durable.core import Retry
from qwit_durable.language import (
    Workflow,
    map_steps,
    patched,
    publish,
    race,
    restart,
    saga,
    sleep,
    step,
    wait_signal,
    workflow,
)
from qwit_durable.stores.answers import Claimed
from qwit_durable.stores.writes import Claim
from qwit_durable.testing.environment import Environment

broken: set[str] = set()
OTHER = 42


@pytest.fixture
def environment() -> Iterator[Environment]:
    broken.clear()
    with Environment(queues=frozenset({"default"})) as environment:
        yield environment


@step(queue="images", retry=Retry(max_attempts=3, first=timedelta(minutes=1)))
def resize(url: str) -> str:
    if url in broken:
        raise OSError(url)
    return url.upper()


@step
def book(what: str) -> str:
    return what


@book.undo(retry=Retry(max_attempts=2, first=timedelta(minutes=1)))
def unbook(what: str) -> None:
    if what in broken:
        raise OSError(what)


@workflow
def gallery(count: int, limit: int | None = None) -> Workflow[int]:
    found = yield from map_steps(resize, [f"u{number}" for number in range(count)], limit=limit)
    return len(found)


@workflow
def racing() -> Workflow[int]:
    index, _ = yield from race(wait_signal("paid"), sleep(timedelta(hours=1)))
    return index


@workflow
def careful() -> Workflow[str]:
    try:
        yield from saga(part())
    except ValueError:
        yield from wait_signal("go")
    return "done"


def part() -> Workflow[None]:
    yield from book("hotel")
    yield from book("car")
    message = "no room"
    raise ValueError(message)


@workflow
def importing(rows: int) -> Workflow[int]:
    if (yield from patched("new counting")):
        yield from publish("state", "counting")
    for number in range(rows):
        yield from book(str(number))
        yield from publish("rows", number + 1)
    yield from wait_signal("go")
    return rows


@workflow
def polling(times: int) -> Workflow[None]:
    yield from publish("round", times)
    if times:
        yield from restart(times - 1)
    yield from wait_signal("go")


def started(environment: Environment, body: Any, *args: Any) -> Handle[Any]:
    handle = environment.start(body.options(id="r"), *args)
    environment.settle(until=environment.clock.now() + timedelta(seconds=1))
    return handle


def handed_over(environment: Environment, body: Any, *args: Any) -> Handle[Any]:
    """A run whose queued steps nobody has begun."""
    environment.engine.heart.beat()
    handle = environment.start(body.options(id="r"), *args)
    environment.engine.take_turn(handle.run().run_id)
    environment.bells.waiting.clear()
    return handle


# -- map_steps -------------------------------------------------------------------------------------------------


def test_a_map_is_one_wait_with_counts(environment: Environment) -> None:
    handle = handed_over(environment, gallery, 5)
    broken.add("u1")
    for number in (0, 1):
        environment.engine.make_attempt(handle.run().run_id, f"0.{number}", "resize")
    claim = Claim(run_id=handle.run().run_id, position="0.2", worker=OTHER, lease=timedelta(seconds=10))
    assert isinstance(environment.write(claim), Claimed)

    (wait,) = handle.explain().waits

    assert (wait.kind, wait.what, wait.position) == (WaitKind.MAP, "resize", "0")
    assert (
        "for 5 calls of step 'resize' at 0: 1 done, 1 running, 2 waiting for a worker, 1 to be tried again"
        in wait.text
    )
    assert wait.last_error is not None
    assert "the last attempt that failed: OSError: u1" in wait.text


def test_a_map_under_a_limit_says_what_is_held_back(environment: Environment) -> None:
    handle = handed_over(environment, gallery, 5, 2)

    (wait,) = handle.explain().waits

    assert "2 waiting for a worker, 3 held back by the limit" in wait.text
    assert "queue 'images': 1 live worker consumes it" in wait.text


def test_a_map_has_few_entries_before_its_calls_end(environment: Environment) -> None:
    handle = handed_over(environment, gallery, 1_200)

    told = [(entry.kind, entry.event, entry.value) for entry in handle.history()][1:]

    assert told[-1] == ("map", "scheduled", {"handed over": 1_200})
    assert len(told) <= 3
    assert handle.history()[1].args["count"] == 1_200


# -- race and saga ---------------------------------------------------------------------------------------------


def test_the_members_of_a_race_are_waits_of_their_own(environment: Environment) -> None:
    explanation = started(environment, racing).explain()

    assert [(wait.kind, wait.position) for wait in explanation.waits] == [
        (WaitKind.SIGNAL, "0.0"),
        (WaitKind.TIMER, "0.1"),
    ]


def test_the_loser_of_a_race_is_dropped(environment: Environment) -> None:
    handle = started(environment, racing)
    handle.signal("paid")
    environment.settle(until=environment.clock.now() + timedelta(seconds=1))

    told = [(entry.position, entry.event) for entry in handle.history() if entry.position is not None]

    assert told == [("0.0", "scheduled"), ("0.1", "scheduled"), ("0.1", "dropped")]


def test_a_scope_that_is_undone_is_told_with_how_far_it_has_come(environment: Environment) -> None:
    broken.add("hotel")

    handle = started(environment, careful)
    explanation = handle.explain()

    assert "what its part at 0 did is being undone because of ValueError: no room" in explanation.text
    assert "undone so far: book; still owed: book" in explanation.text
    assert [(wait.kind, wait.position) for wait in explanation.waits] == [(WaitKind.BACKOFF, "~0.0.0")]
    (entry,) = [entry for entry in handle.history() if entry.kind == "scope"]
    assert (entry.event, entry.position, entry.value) == ("unwinding", "0", ["book", "book"])


def test_a_scope_that_was_undone_is_over(environment: Environment) -> None:
    explanation = started(environment, careful).explain()

    assert "undone" not in explanation.text
    assert [wait.kind for wait in explanation.waits] == [WaitKind.SIGNAL]


# -- publish, patched, restart ---------------------------------------------------------------------------------


def test_published_values_are_seen_while_the_run_goes_on_and_afterwards(environment: Environment) -> None:
    handle = started(environment, importing, 2)
    before, at = handle.published(), environment.clock.now()
    handle.signal("go")
    environment.settle()

    assert before == {"rows": 2, "state": "counting"}
    assert before.at["rows"] <= at
    assert handle.published() == before


def test_what_is_published_and_patched_is_in_the_history(environment: Environment) -> None:
    told = [entry.text for entry in started(environment, importing, 1).history()]

    assert "patched new counting" in told
    assert 'published state → "counting"' in told
    assert "published rows → 1" in told


def test_a_restart_is_told_with_its_generation(environment: Environment) -> None:
    handle = started(environment, polling, 2)

    explanation = handle.explain()

    assert "its body began anew since" in explanation.text
    assert "for the 2nd time" in explanation.text
    assert handle.published() == {"round": 0}
    assert [entry.event for entry in handle.history()][:2] == ["started", "restarted"]
