"""A run is to be undone where not all the steps that it made are known: nothing owed is dropped for that."""

from __future__ import annotations

from collections.abc import Callable
from datetime import timedelta

import pytest

from qwit_durable import gather, saga, wait_signal
from qwit_durable.client import Handle
from qwit_durable.core import Status
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.registry import Registry
from tests.core.deploys import Cluster, deploy

released: list[str] = []


def code(name: str, *, has_undo: bool = True) -> Registry:
    """A deploy whose step has that name."""
    released.clear()
    with deploy() as registry:

        @step(name=name)
        def reserve(what: str) -> str:
            return what

        if has_undo:

            @reserve.undo
            def release(result: str) -> None:
                released.append(result)

        @workflow
        def book() -> Workflow[None]:
            yield from reserve("alone")
            yield from gather(reserve("left"), reserve("right"))
            yield from saga(more())
            yield from wait_signal("go")

        def more() -> Workflow[None]:
            yield from reserve("in a saga")

        @workflow
        def unlike() -> Workflow[None]:
            yield from wait_signal("go")

    return registry


def asked_to_end(ask: Callable[[Handle], None], *, has_undo: bool = True) -> tuple[Cluster, str, Handle]:
    """A run under code that made all its steps, and then asked to end under code that knows none of them."""
    cluster = Cluster()
    before = cluster.boot(code("reserve", has_undo=has_undo))
    run = before.start(before.registry.workflow("book"))
    before.settle()
    ask(run)
    after = cluster.join(code("reserve_item"))
    after.settle(until=after.clock.now() + timedelta(seconds=12))
    return cluster, str(run.explain()), after.get(run.id)


ENDS = pytest.mark.parametrize(
    "ask", [lambda run: run.cancel("no"), lambda run: run.rollback("no")], ids=["cancel", "rollback"]
)


@ENDS
def test_it_is_left_to_those_who_know_them_all(ask: Callable[[Handle], None]):
    _, told, run = asked_to_end(ask)

    assert run.status() is Status.RUNNING
    assert released == []
    assert "no step of the name 'reserve' is registered" in told


@ENDS
def test_who_knows_them_all_undoes_everything(ask: Callable[[Handle], None]):
    cluster, _, run = asked_to_end(ask)

    cluster.boot(code("reserve"))

    assert run.status() in {Status.CANCELLED, Status.COMPENSATED}
    assert sorted(released) == ["alone", "in a saga", "left", "right"]
    assert released[0] == "in a saga"
    assert released[-1] == "alone"


def test_steps_without_an_undo_hold_up_nobody_who_knows_them():
    cluster, _, run = asked_to_end(lambda run: run.cancel("no"), has_undo=False)

    cluster.boot(code("reserve", has_undo=False))

    assert run.status() is Status.CANCELLED


def test_a_run_that_is_only_stopped_needs_nobody_who_knows_them():
    _, _, run = asked_to_end(lambda run: run.cancel("no", compensate=False))

    assert run.status() is Status.CANCELLED
    assert released == []
