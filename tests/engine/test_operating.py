"""Operators' verbs on real runs: what becomes of the work, of the undos, and of the run."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.client.handle import Handle
from qwit_durable.core import VERBS, Retry, Status, Verb
from qwit_durable.errors import OperationRefused, WorkflowCancelled, WorkflowFailed
from qwit_durable.language import Workflow, saga, sleep, step, wait_signal, workflow
from qwit_durable.language.context import current
from qwit_durable.testing.environment import Environment

done: list[str] = []
broken: set[str] = set()


@pytest.fixture(autouse=True)
def nothing_is_done() -> None:
    done.clear()
    broken.clear()


@pytest.fixture
def environment() -> Iterator[Environment]:
    with Environment() as environment:
        yield environment


def fail_if_broken(what: str) -> None:
    if what in broken:
        message = f"{what} is broken"
        raise OSError(message)


@step(retry=Retry(max_attempts=1))
def book(what: str) -> str:
    fail_if_broken(what)
    done.append(f"book {what}")
    return what


@book.undo(retry=Retry(max_attempts=1))
def unbook(what: str) -> None:
    fail_if_broken(f"undo of {what}")
    done.append(f"unbook {what}")


@workflow
def trip(*, fails: bool = False) -> Workflow[str]:
    yield from book("flight")
    if fails:
        message = "no room"
        raise ValueError(message)
    yield from wait_signal("go")
    return "there"


@workflow
def inner() -> Workflow[None]:
    yield from book("hotel")
    yield from wait_signal("go")


@workflow
def outer() -> Workflow[None]:
    yield from book("flight")
    yield from inner()


@workflow(park_on_failure=True)
def parking() -> Workflow[None]:
    yield from book("flight")
    yield from book("hotel")


@workflow
def careful() -> Workflow[None]:
    yield from book("flight")
    yield from saga(failing_part())


def failing_part() -> Workflow[None]:
    yield from book("car")
    yield from book("hotel")


def changed() -> Workflow[str]:
    yield from book("train")
    return "there"


def started(environment: Environment, body: Any, *args: Any, **named: Any) -> Handle[Any]:
    handle = environment.start(body.options(id="r"), *args, **named)
    rest(environment)
    return handle


def rest(environment: Environment) -> None:
    environment.settle(until=environment.clock.now() + timedelta(seconds=5))


@pytest.fixture
def mismatched(environment: Environment, monkeypatch: pytest.MonkeyPatch) -> Handle[Any]:
    """A run whose code no longer matches its history."""
    handle = started(environment, trip)
    monkeypatch.setattr(trip, "fn", changed)
    fresh = Environment(environment.store, clock=environment.clock)
    handle.signal("go")
    environment.bells.waiting.clear()
    rest(fresh)
    assert handle.status() is Status.STUCK
    return fresh.get("r")


# -- rolling back ----------------------------------------------------------------------------------------------


def test_a_waiting_run_is_undone_and_ends_with_the_reason(environment: Environment) -> None:
    handle = started(environment, trip)

    handle.rollback("the shop is closed")
    rest(environment)

    assert handle.status() is Status.COMPENSATED
    assert done == ["book flight", "unbook flight"]
    with pytest.raises(WorkflowFailed, match="the shop is closed") as caught:
        handle.result()
    assert caught.value.undone == ("book",)


def test_sub_workflows_are_undone_too(environment: Environment) -> None:
    handle = started(environment, outer)

    handle.rollback()
    rest(environment)

    assert handle.status() is Status.COMPENSATED
    assert done == ["book flight", "book hotel", "unbook hotel", "unbook flight"]


@pytest.mark.parametrize("verb", ["rollback", "cancel"])
def test_a_run_that_has_not_begun_ends_without_having_begun(environment: Environment, verb: str) -> None:
    handle = environment.start(trip.options(id="r", delay=timedelta(hours=1)))

    getattr(handle, verb)("no longer wanted")
    rest(environment)

    assert handle.status() is (Status.FAILED if verb == "rollback" else Status.CANCELLED)
    assert done == []


def test_a_paused_run_goes_on_into_its_undoing(environment: Environment) -> None:
    handle = started(environment, trip)
    handle.pause("stock-taking")
    rest(environment)

    handle.rollback()
    rest(environment)

    assert handle.status() is Status.COMPENSATED


def test_a_parked_run_is_undone_because_of_what_it_failed_over(environment: Environment) -> None:
    broken.add("hotel")
    handle = started(environment, parking)
    assert handle.status() is Status.STUCK

    handle.rollback("give up")
    rest(environment)

    assert handle.status() is Status.COMPENSATED
    assert done == ["book flight", "unbook flight"]
    with pytest.raises(WorkflowFailed, match="hotel is broken"):
        handle.result()


def test_a_run_that_is_stuck_over_an_undo_tries_it_again(environment: Environment) -> None:
    broken.add("undo of flight")
    handle = started(environment, trip, fails=True)
    assert handle.status() is Status.STUCK
    broken.clear()

    handle.rollback()
    rest(environment)

    assert handle.status() is Status.COMPENSATED
    with pytest.raises(WorkflowFailed, match="no room"):
        handle.result()


def test_a_run_that_is_stuck_over_an_undo_of_a_scope_tries_it_again(environment: Environment) -> None:
    broken.update({"hotel", "undo of car"})
    handle = started(environment, careful)
    assert handle.status() is Status.STUCK
    broken.discard("undo of car")

    handle.rollback("enough")
    rest(environment)

    assert handle.status() is Status.COMPENSATED
    assert done == ["book flight", "book car", "unbook car", "unbook flight"]


@pytest.mark.parametrize(("verb", "ends"), [("rollback", Status.COMPENSATED), ("cancel", Status.CANCELLED)])
def test_a_run_whose_code_no_longer_matches_is_undone_all_the_same(
    mismatched: Handle[Any], verb: str, ends: Status
) -> None:
    getattr(mismatched, verb)("beyond repair")
    rest(mismatched._access)  # type: ignore[arg-type]

    assert mismatched.status() is ends
    assert done == ["book flight", "unbook flight"]


def test_a_run_that_is_being_undone_is_not_rolled_back(environment: Environment) -> None:
    broken.add("undo of flight")
    handle = started(environment, outer)
    handle.cancel("first")
    environment.answer_bells()
    assert handle.status() is Status.STUCK
    handle.retry()
    environment.bells.waiting.clear()

    with pytest.raises(OperationRefused, match="is compensating: it can't be asked to rollback"):
        handle.rollback("second")


def test_the_first_of_cancel_and_rollback_wins(environment: Environment) -> None:
    handle = started(environment, trip)

    handle.cancel("first")
    handle.rollback("second")
    rest(environment)

    with pytest.raises(WorkflowCancelled, match="first"):
        handle.result()


def test_an_attempt_under_way_is_asked_to_stop(environment: Environment) -> None:
    seen: list[bool] = []

    @step
    def long() -> None:
        environment.get("r").rollback("stop it")
        seen.append(current().cancelled)

    @long.undo
    def unlong() -> None:
        done.append("undone")

    @workflow
    def slow() -> Workflow[None]:
        yield from long()
        yield from sleep(timedelta(hours=1))

    started(environment, slow)

    assert seen == [True]
    assert done == ["undone"]
    assert environment.get("r").status() is Status.COMPENSATED


# -- what is told of it ----------------------------------------------------------------------------------------


def test_a_verb_is_in_the_history_with_its_reason(environment: Environment) -> None:
    handle = started(environment, trip)

    handle.pause("stock-taking")
    handle.rollback("the shop is closed")
    rest(environment)

    told = [(entry.event, entry.value) for entry in handle.history() if entry.kind == "run"]
    assert ("pause", "stock-taking") in told
    assert ("rollback", "the shop is closed") in told


def test_a_refusal_names_what_is_possible(environment: Environment) -> None:
    handle = started(environment, trip)

    with pytest.raises(OperationRefused) as caught:
        handle.retry()

    possible = sorted(verb for verb, statuses in VERBS.items() if Status.RUNNING in statuses)
    assert "run r is running: it can't be asked to retry" in str(caught.value)
    listed = str(caught.value).partition("possible now: ")[2]
    assert sorted(Verb(one) for one in listed.split(", ")) == possible


def test_a_stuck_run_is_explained_with_its_ways_out(mismatched: Handle[Any]) -> None:
    explanation = mismatched.explain()

    assert "undo what it did: qwit rollback r" in explanation.ways_out


def test_a_parked_run_is_explained_with_its_ways_out(environment: Environment) -> None:
    broken.add("hotel")

    explanation = started(environment, parking).explain()

    assert explanation.ways_out[:3] == (
        "try the step again: qwit retry r",
        "take it as done, with a value: qwit skip r --value <JSON value>",
        "undo what it did: qwit rollback r",
    )


def test_a_scope_that_is_stuck_is_explained(environment: Environment) -> None:
    broken.update({"hotel", "undo of car"})

    explanation = started(environment, careful).explain()

    assert "what its part at 1 did is being undone because of" in explanation.text
    assert "gave up: book" in explanation.text
    assert explanation.owed == ("book",)
