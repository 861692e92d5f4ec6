"""Names that not every store can keep, and numbers and moments that no store can: refused where they are written."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime, timedelta, timezone
from typing import Any

import pytest

from qwit_durable import Durable
from qwit_durable.core import Status
from qwit_durable.errors import DefinitionError
from qwit_durable.language.step import step
from qwit_durable.language.verbs import patched, publish, sleep_until, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.testing.environment import Environment
from tests.engine.world import World

NUL, SURROGATE = "scan\0.pdf", b"caf\xe9.pdf".decode(errors="surrogateescape")
NAMES = pytest.mark.parametrize("name", [NUL, SURROGATE], ids=["NUL", "surrogate"])
world = World()


@pytest.fixture(autouse=True)
def _fresh() -> None:
    global world
    world = World()


@step
def charge(what: str) -> str:
    world.do(what)
    return what


@charge.undo
def refund(result: str) -> None:
    world.undo(result)


@workflow
def child() -> Workflow[None]:
    yield from charge("in the child")


ASKED: dict[str, Callable[[str], Any]] = {
    "wait_signal": wait_signal,
    "publish": lambda name: publish(name, 1),
    "patched": patched,
    "id": lambda name: child.options(id=name)(),
    "lane": lambda name: child.options(lane=name)(),
    "attributes": lambda name: child.options(attributes={"file": name})(),
    "names of attributes": lambda name: child.options(attributes={name: 1})(),
    "queue": lambda name: charge.options(queue=name)("x"),
}


def ends_of(ask: Callable[[], Any]) -> tuple[Status, list[str], str]:
    @workflow
    def asks() -> Workflow[None]:
        yield from charge("before")
        yield from ask()

    with Environment() as environment:
        handle = environment.start(asks)
        environment.settle()
        return handle.status(), world.order, str(handle.explain())


@NAMES
@pytest.mark.parametrize("asked", ASKED)
def test_a_body_that_names_something_so_fails_and_what_it_did_is_undone(asked: str, name: str):
    status, order, told = ends_of(lambda: ASKED[asked](name))

    assert status is Status.COMPENSATED
    assert order == ["before", "undo before"]
    assert "NUL character" in told or "lone surrogate" in told


UNTOLD: dict[str, Callable[[], Any]] = {
    "a priority": lambda: charge.options(priority=2**31)("x"),
    "an attribute": lambda: child.options(attributes={"share": float("nan")}),
    "the last moment of all": lambda: sleep_until(datetime.max.replace(tzinfo=timezone(timedelta(hours=-2)))),
    "the first moment of all": lambda: sleep_until(datetime.min.replace(tzinfo=UTC)),
}


@pytest.mark.parametrize("asked", UNTOLD)
def test_a_body_that_asks_for_a_number_out_of_reach_fails_and_what_it_did_is_undone(asked: str):
    status, order, _ = ends_of(UNTOLD[asked])

    assert (status, order) == (Status.COMPENSATED, ["before", "undo before"])


@NAMES
def test_a_signal_of_such_a_name_is_not_sent(name: str):
    with Environment() as environment:
        handle = environment.start(child)

        with pytest.raises(ValueError, match="the name"):
            handle.signal(name)


@NAMES
def test_such_a_name_of_a_step_a_workflow_a_queue_or_a_namespace_is_refused_at_its_definition(name: str):
    for define in (
        lambda: step(name=name)(print),
        lambda: workflow(name=name)(child.fn),
        lambda: workflow(queue=name)(child.fn),
        lambda: workflow(version=name)(child.fn),
        lambda: step(queue=name)(print),
        lambda: Durable(namespace=name),
    ):
        with pytest.raises(DefinitionError, match=r"NUL|surrogate"):
            define()
