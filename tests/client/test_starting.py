"""Starting runs, as users do: once and once only, later, with bounds, and from wherever they are."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Awaitable, Callable, Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from qwit_durable import Durable
from qwit_durable.core import Status
from qwit_durable.errors import (
    AmbiguousDurable,
    RunAlreadyExists,
    RunNotFound,
    WorkflowCancelled,
    WorkflowFailed,
)
from qwit_durable.language import Workflow, record, step, wait_signal, workflow
from qwit_durable.testing.environment import Environment

HOUR = timedelta(hours=1)


@step
def pack(item: str) -> str:
    return f"a box with {item}"


@workflow
def order(item: str) -> Workflow[str]:
    return (yield from pack(item))


@workflow
def approval(item: str) -> Workflow[str]:
    return (yield from wait_signal("approved", str))


@step
def start_another(item: str) -> str:
    return order.options(id=f"from-step-{item}").start(item).id


@workflow
def starting(item: str) -> Workflow[str]:
    return (yield from start_another(item))


@workflow
def recording(item: str) -> Workflow[str]:
    return (yield from record(lambda: item))


@pytest.fixture
def environment() -> Iterator[Environment]:
    with Environment() as environment:
        yield environment


# -- once ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("is_over", [False, True])
def test_the_same_id_with_the_same_input_is_the_same_run(environment: Environment, is_over: bool) -> None:
    first = order.options(id="o-1").start("tea")
    if is_over:
        environment.settle()

    again = order.options(id="o-1").start("tea")
    environment.settle()

    assert again.run() == first.run()
    assert [run.id for run in environment.runs()] == ["o-1"]


@pytest.mark.parametrize(
    ("options", "item", "said"),
    [
        ({}, "coffee", "with another input"),
        ({"on_conflict": "fail"}, "tea", "exists already"),
        ({"on_conflict": "fail"}, "coffee", "exists already"),
        ({"on_conflict": "replace"}, "tea", "has not ended"),
    ],
)
def test_an_id_that_is_taken_is_refused_with_the_way_out(
    environment: Environment, options: Any, item: str, said: str
) -> None:
    order.options(id="o-1").start("tea")

    with pytest.raises(RunAlreadyExists, match=said) as caught:
        order.options(id="o-1", **options).start(item)

    assert "way out" in str(caught.value)
    assert len(list(environment.runs())) == 1


def test_another_workflow_under_the_same_id_is_refused(environment: Environment) -> None:
    order.options(id="o-1").start("tea")

    with pytest.raises(RunAlreadyExists, match="asked for was workflow 'approval'"):
        approval.options(id="o-1").start("tea")

    assert environment.get("o-1").run().workflow == "order"


def test_a_run_that_has_ended_is_replaced(environment: Environment) -> None:
    order.options(id="o-1").start("tea")
    environment.settle()

    handle = order.options(id="o-1", on_conflict="replace").start("coffee")
    environment.settle()

    assert handle.result() == environment.get("o-1").result() == "a box with coffee"


# -- later, and not for ever -----------------------------------------------------------------------------------


@pytest.mark.parametrize("how", ["delay", "at"])
def test_a_run_begins_when_it_is_due(environment: Environment, how: str) -> None:
    due = environment.clock.now() + HOUR
    options: Any = {"delay": HOUR} if how == "delay" else {"at": due}
    handle = order.options(**options).start("tea")

    environment.settle(until=due - timedelta(seconds=1))
    early = handle.status(), len(handle.history())
    environment.settle(until=due + timedelta(seconds=1))

    assert early == (Status.SCHEDULED, 1)
    assert handle.status() is Status.COMPLETED


def test_a_moment_that_has_passed_is_now(environment: Environment) -> None:
    handle = order.options(at=datetime(2020, 1, 1, tzinfo=UTC)).start("tea")

    environment.settle()

    assert handle.result() == "a box with tea"


def test_a_run_that_is_cancelled_before_it_is_due_never_begins(environment: Environment) -> None:
    handle = order.options(delay=HOUR).start("tea")

    handle.cancel("no longer wanted")
    environment.settle(until=environment.clock.now() + timedelta(seconds=5))

    with pytest.raises(WorkflowCancelled, match="no longer wanted"):
        handle.result()
    assert {entry.event for entry in handle.history() if entry.kind == "step"} == {"dropped"}


def test_a_deadline_counts_from_the_start(environment: Environment) -> None:
    handle = approval.options(deadline=HOUR).start("tea")

    environment.settle(until=environment.clock.now() + HOUR + timedelta(seconds=5))

    with pytest.raises(WorkflowFailed, match="DeadlineExceeded"):
        handle.result()


@pytest.mark.parametrize(
    "options",
    [
        {"delay": 5},
        {"at": datetime(2026, 1, 1)},
        {"delay": HOUR, "at": datetime(2026, 1, 1, tzinfo=UTC)},
        {"deadline": 5},
        {"id": ""},
        {"id": "x" * 256},
        {"attributes": {"a": None}},
        {"on_conflict": "perhaps"},
        {"priority": 3},
    ],
)
def test_an_option_that_is_wrong_is_told_and_nothing_is_stored(
    environment: Environment, options: Any
) -> None:
    with pytest.raises((TypeError, ValueError)):
        order.options(**options).start("tea")

    assert list(environment.runs()) == []


# -- from wherever they are ------------------------------------------------------------------------------------


def test_a_step_starts_runs_in_its_own_durable() -> None:
    with (
        Durable("memory://").embedded(threads=2) as mine,
        Durable("memory://").embedded(threads=2) as other,
    ):
        found = mine.start(starting, "tea").result(timeout=10)

        assert mine.get(found).result(timeout=10) == "a box with tea"
        with pytest.raises(RunNotFound):
            other.get(found)


def test_the_innermost_durable_that_was_entered_is_the_default() -> None:
    with Durable("memory://").embedded(threads=1) as outer:
        with Durable("memory://").embedded(threads=1) as inner:
            handle = recording.start("tea")
            assert inner.get(handle.id).result(timeout=10) == "tea"
        again = recording.start("coffee")

        assert outer.get(again.id).result(timeout=10) == "coffee"


def test_without_a_durable_the_way_out_is_told() -> None:
    with pytest.raises(AmbiguousDurable, match="start"):
        order.start("tea")


def test_a_web_handler_starts_a_run_and_answers_with_its_id() -> None:
    with Durable("memory://").embedded(threads=2) as durable:

        async def app(scope: Any, receive: Any, send: Callable[[Any], Awaitable[None]]) -> None:
            """ASGI, as any framework calls it."""
            item = scope["path"].removeprefix("/orders/")
            handle = await asyncio.to_thread(durable.start, order.options(id=f"web-{item}"), item)
            await send({"type": "http.response.start", "status": 202, "headers": []})
            await send({"type": "http.response.body", "body": json.dumps({"id": handle.id}).encode()})

        async def request(path: str) -> Any:
            sent: list[Any] = []

            async def send(message: Any) -> None:
                sent.append(message)

            await app({"type": "http", "path": path}, None, send)
            return json.loads(sent[-1]["body"])

        async def twice() -> list[Any]:
            return [await request("/orders/tea") for _ in range(2)]

        answers = asyncio.run(twice())

        assert answers == [{"id": "web-tea"}, {"id": "web-tea"}]
        assert durable.get("web-tea").result(timeout=10) == "a box with tea"


def test_many_runs_are_awaited_on_one_event_loop() -> None:
    with Durable("memory://").embedded(threads=4) as durable:

        async def one(item: str) -> str:
            handle = await asyncio.to_thread(durable.start, order, item)
            async with asyncio.timeout(20):
                return await handle

        async def all_of_them() -> list[str]:
            return await asyncio.gather(*(one(str(number)) for number in range(20)))

        found = asyncio.run(all_of_them())

    assert found == [f"a box with {number}" for number in range(20)]


def test_a_wait_that_is_given_up_in_asyncio_leaves_the_run_alone() -> None:
    with Durable("memory://").embedded(threads=1) as durable:
        handle = durable.start(approval, "tea")

        async def impatient() -> None:
            async with asyncio.timeout(0.05):
                await handle

        with pytest.raises(TimeoutError):
            asyncio.run(impatient())

        handle.signal("approved", "yes")
        assert handle.result(timeout=10) == "yes"
