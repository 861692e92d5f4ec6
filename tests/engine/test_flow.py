"""Flows of classes: state, sub-flows, waiting in both directions, and every crash point of that."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Resolved, Retry, Status
from qwit_durable.errors import Failure, GiveUp, SignalTimeout, WorkflowCancelled, WorkflowFailed
from qwit_durable.language.flow import CONTINUE, Continue, flow
from qwit_durable.language.step import step
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.stores import open_store
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied
from tests.engine.world import World
from tests.stores.places import migrate

_WRITES = 42
world = World()
State = dict[str, Any]


@pytest.fixture(autouse=True)
def _fresh_world() -> None:
    global world
    world = World()


class Reserve:
    """Adds to the state, and takes it back by what it added."""

    def run(self, state: State) -> State:
        world.do(f"reserve {state['order']}")
        return {"shelf": f"shelf of {state['order']}"}

    def rollback(self, state: State) -> None:
        assert state["shelf"] == f"shelf of {state['order']}"
        world.undo(f"reserve {state['order']}")


class Pay:
    """Asks for a payment and waits for it; gives it back and waits for that."""

    retry = Retry(max_attempts=2, first=timedelta(seconds=1))

    def run(self, state: State) -> Continue:
        world.do("ask")
        return CONTINUE({"asked": True})

    def run_continue(self, signal: Any, state: State) -> State | Continue:
        if signal == "more":
            return CONTINUE({"more": True})
        world.do(f"paid {signal}")
        return {"payment": signal}

    def rollback(self, state: State) -> Continue | None:
        world.undo("ask")
        if "payment" not in state:
            return None
        return CONTINUE({"returning": state["payment"]})

    def rollback_continue(self, signal: Any, state: State) -> Continue | None:
        assert state["returning"] == state["payment"]
        if signal == "not yet":
            return CONTINUE({"waited": True})
        world.undo(f"paid {state['payment']}")
        return None


class Ship:
    """Fails where it is told to."""

    def run(self, state: State) -> State:
        if state.get("fails"):
            message = "no courier"
            raise GiveUp(message)
        return {"parcel": f"{state['order']} {state['payment']} {state['currency']}"}

    def rollback(self, state: State, error: Failure) -> None:
        assert ("parcel" in state) is not bool(state.get("fails"))
        assert error.is_a(GiveUp)
        world.order.append("rollback of what failed")


shop = flow("shop", [Reserve, Pay, (Ship, {"currency": "CHF"})])


class Count:
    """Adds to a number."""

    def run(self, state: State) -> State:
        return {"count": state["count"] + state.get("by", 1)}

    def rollback(self, state: State) -> None:
        world.order.append(f"back from {state['count']}")


class Fail:
    """Always fails, and leaves nothing to be rolled back."""

    def run(self, state: State) -> None:
        raise GiveUp


inner = flow("inner", [Count, (Count, {"by": 10})])
outer = flow("outer", [Count, (inner, {"secret": 1}), Count])
failing = flow("failing", [Count, (inner, {"secret": 1}), Count, Fail])


def test_each_part_gets_the_state_and_adds_to_it() -> None:
    environment = Environment()
    handle = environment.start(shop, {"order": "A"})

    handle.signal("Pay", "p-1")
    environment.settle()

    assert handle.result(0) == {
        "order": "A",
        "shelf": "shelf of A",
        "asked": True,
        "payment": "p-1",
        "parcel": "A p-1 CHF",
    }


def test_the_state_counts_where_a_part_was_given_the_same_name() -> None:
    environment = Environment()
    handle = environment.start(shop, {"order": "A", "currency": "EUR"})

    handle.signal("Pay", "p-1")
    environment.settle()

    assert handle.result(0)["parcel"] == "A p-1 EUR"


def test_a_failure_rolls_back_what_has_begun_newest_first_and_waits_where_a_rollback_waits() -> None:
    environment = Environment()
    handle = environment.start(shop, {"order": "A", "fails": True})
    handle.signal("Pay", "p-1")
    environment.settle()
    waiting = str(handle.explain())

    handle.signal("Pay.rollback", "not yet")
    environment.settle()
    handle.signal("Pay.rollback", "done")
    environment.settle()

    with pytest.raises(WorkflowFailed, match="no courier"):
        handle.result(0)
    assert handle.status() is Status.COMPENSATED
    assert world.standing == []
    assert world.order == [
        "reserve A",
        "ask",
        "paid p-1",
        "rollback of what failed",
        "undo ask",
        "undo paid p-1",
        "undo reserve A",
    ]
    assert "waits for signal 'Pay.rollback' at ~1+" in waiting
    assert "still owed: Pay, Reserve" in waiting


def test_a_signal_for_the_way_forward_changes_nothing_on_the_way_back() -> None:
    environment = Environment()
    handle = environment.start(shop, {"order": "A", "fails": True})
    handle.signal("Pay.rollback", "too early: the run is not unwound yet")
    handle.signal("Pay", "p-1")
    environment.settle()

    handle.signal("Pay", "p-2")
    environment.settle()

    assert handle.status() is Status.COMPENSATING
    assert "undo paid p-1" not in world.order
    assert "waits for signal 'Pay.rollback'" in str(handle.explain())


def test_a_class_may_wait_more_than_once() -> None:
    environment = Environment()
    handle = environment.start(shop, {"order": "A"})
    handle.signal("Pay", "more")
    environment.settle()

    handle.signal("Pay", "p-1")
    environment.settle()

    assert handle.result(0)["more"] is True


def test_a_cancel_rolls_back_the_class_that_waits_first() -> None:
    environment = Environment()
    handle = environment.start(shop, {"order": "A"})
    environment.settle()

    handle.cancel("not wanted")
    environment.settle()

    with pytest.raises(WorkflowCancelled):
        handle.result(0)
    assert world.order == ["reserve A", "ask", "undo ask", "undo reserve A"]


def test_a_wait_may_time_out() -> None:
    class Ask:
        signal = "answer"
        signal_timeout = timedelta(hours=1)

        def run(self, state: State) -> Continue:
            return CONTINUE

        def run_continue(self, signal: Any, state: State) -> State:
            return {"answer": signal}

    environment = Environment()
    asking = flow("asking", [Ask])
    answered, forgotten = environment.start(asking, {}), environment.start(asking, {})

    answered.signal("answer", 42)
    environment.settle()

    assert answered.result(0) == {"answer": 42}
    with pytest.raises(WorkflowFailed) as caught:
        forgotten.result(0)
    assert caught.value.cause is not None
    assert caught.value.cause.is_a(SignalTimeout)


def test_a_flow_in_a_flow_gets_the_state_and_what_it_adds_goes_on() -> None:
    environment = Environment()

    handle = environment.start(outer, {"count": 0})
    environment.settle()

    assert handle.result(0) == {"count": 13}


def test_a_completed_flow_in_a_flow_is_rolled_back_in_its_place_with_its_own_values() -> None:
    environment = Environment()

    handle = environment.start(failing, {"count": 0})
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert world.order == ["back from 13", "back from 12", "back from 2", "back from 1"]


def test_the_rollback_of_a_completed_flow_in_a_flow_may_wait() -> None:
    environment = Environment()
    whole = flow("whole", [(shop, {"currency": "CHF"}), Fail])
    handle = environment.start(whole, {"order": "A"})
    environment.settle()
    child = environment.get(handle.explain().waits[0].child.id)  # type: ignore[union-attr]
    child.signal("Pay", "p-1")
    environment.settle()
    assert handle.status() is Status.COMPENSATING

    child.signal("Pay.rollback", "done")
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert world.order[-1] == "undo reserve A"


def test_a_flow_is_called_by_other_workflows() -> None:
    @workflow
    def around() -> Workflow[int]:
        after = yield from inner({"count": 1})
        return after["count"]

    environment = Environment()

    handle = environment.start(around)
    environment.settle()

    assert handle.result(0) == 12


def test_steps_and_workflows_take_what_they_need_from_the_state_by_name() -> None:
    @step
    def price(item: str, count: int = 1) -> int:
        return len(item) * count

    @price.undo
    def unprice(item: str, result: int) -> None:
        world.order.append(f"unprice {item} {result}")

    @step
    def whole(state: dict[str, Any]) -> dict[str, Any]:
        return {"seen": sorted(state)}

    @workflow
    def ship(price: int) -> Workflow[dict[str, int]]:
        yield from ()
        return {"shipping": price * 2}

    environment = Environment()

    handle = environment.start(flow("mixed", [price, whole, ship]), {"item": "book", "count": 2})
    broken = environment.start(flow("broken", [price, Fail]), {"item": "book"})
    environment.settle()

    assert handle.result(0) == {
        "item": "book",
        "count": 2,
        "price": 8,
        "seen": ["count", "item", "price"],
        "shipping": 16,
    }
    assert broken.status() is Status.COMPENSATED
    assert world.order == ["unprice book 4"]


def test_a_class_may_say_that_only_its_success_is_rolled_back() -> None:
    class Careful:
        undo_when = "completed"

        def run(self, state: State) -> None:
            raise GiveUp

        def rollback(self, state: State) -> None:
            world.order.append("never")

    environment = Environment()

    handle = environment.start(flow("careful", [Careful]), {})
    environment.settle()

    assert handle.status() is Status.FAILED
    assert world.order == []


def test_classes_may_be_asynchronous() -> None:
    class Later:
        async def run(self, state: State) -> Continue:
            return CONTINUE({"one": 1})

        async def run_continue(self, signal: Any, state: State) -> State:
            return {"two": signal}

        async def rollback(self, state: State) -> Continue:
            world.order.append(f"back {state['one']} {state['two']}")
            return CONTINUE({"three": 3})

        async def rollback_continue(self, signal: Any, state: State) -> None:
            world.order.append(f"further {state['three']} {signal}")

    environment = Environment()
    handle = environment.start(flow("later", [Later, Fail]), {})
    handle.signal("Later", 2)
    environment.settle()

    handle.signal("Later.rollback", 4)
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert world.order == ["back 1 2", "further 3 4"]


def test_options_of_a_class_are_those_of_its_step() -> None:
    class Busy:
        queue = "mail"
        priority = 5
        retry = Retry(max_attempts=2)
        undo_retry = Retry(max_attempts=9)

        def run(self, state: State) -> None: ...
        def rollback(self, state: State) -> None: ...

    made = flow("busy", [Busy], queue="slow", deadline=timedelta(hours=1), on_undo_failure="continue")

    (only,) = made.steps  # type: ignore[attr-defined]
    assert (only.name, only.settings.queue, only.settings.priority) == ("Busy", "mail", 5)
    assert only.settings.retry.max_attempts == 2
    assert only.undo_definition.settings.retry.max_attempts == 9
    assert (made.queue, made.deadline, made.on_undo_failure) == ("slow", timedelta(hours=1), "continue")


def bad_value() -> type:
    class Wrong:
        def run(self, state: State) -> Any:
            return 3

    return Wrong


def bad_continue() -> type:
    class Wrong:
        def run(self, state: State) -> Any:
            return CONTINUE

    return Wrong


@pytest.mark.parametrize(
    ("made", "message"),
    [(bad_value, "Wrong.run returned 3"), (bad_continue, "has no run_continue")],
)
def test_a_value_that_means_nothing_fails_the_run_with_the_right_line(made: Any, message: str) -> None:
    environment = Environment()

    handle = environment.start(flow("wrong", [made()]), {})
    environment.settle()

    with pytest.raises(WorkflowFailed, match=message):
        handle.result(0)


def rings_of(first: Environment, **state: Any) -> Any:
    handle = first.start(shop.options(id="A"), {"order": "A", **state})
    handle.signal("Pay", "more", dedupe_id="1")
    handle.signal("Pay", "p-1", dedupe_id="2")
    first.settle()
    if handle.status() is Status.COMPENSATING:
        handle.signal("Pay.rollback", "not yet", dedupe_id="3")
        first.settle()
        handle.signal("Pay.rollback", "done", dedupe_id="4")
        first.settle()
    return handle


@pytest.mark.parametrize("fails", [False, True])
@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize(
    ("url", "dies_at"),
    [
        *(("memory://", n) for n in range(1, _WRITES)),
        *(("sqlite:///{}/flow.db", n) for n in range(1, _WRITES, 5)),
        *(("postgres", n) for n in range(2, _WRITES, 10)),
    ],
)
def test_death_around_any_write_changes_no_outcome(
    dies_at: int, after: bool, fails: bool, url: str, tmp_path: Any, request: Any
) -> None:
    clock = ManualClock()
    if url == "postgres":
        url = request.getfixturevalue("postgres_template")("migrated", migrate)
    truth = open_store(url.format(tmp_path), clock=clock)
    truth.open()
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    try:
        rings_of(Environment(mortal, clock=clock), fails=fails)
    except ProcessDied:
        pass
    second = Environment(truth, clock=clock)
    handle = second.start(shop.options(id="A"), {"order": "A", "fails": fails})
    if not handle.status().is_ended:
        handle = rings_of(second, fails=fails)

    if fails:
        assert handle.status() is Status.COMPENSATED
        assert world.standing == []
    else:
        assert handle.result(0)["parcel"] == "A p-1 CHF"
    run = truth.find("default", "A")
    assert run is not None
    places = [
        recorded.event.position
        for recorded in truth.history(run.run.id)
        if isinstance(recorded.event, Resolved)
    ]
    assert len(set(places)) == len(places)
    assert not truth.tasks(run.run.id)
    truth.close()


def test_every_crash_point_is_tried() -> None:
    clock = ManualClock()
    truth = open_store("memory://", clock=clock)
    truth.open()
    mortal = MortalStore(truth)

    rings_of(Environment(mortal, clock=clock), fails=True)

    assert mortal.calls < _WRITES


@pytest.mark.parametrize("url", ["memory://", "sqlite:///{}/queued.db"])
def test_continuations_may_be_handed_over_to_other_workers(url: str, tmp_path: Any) -> None:
    class Away(Pay):
        name = "Away"
        dispatch = "queue"

    clock = ManualClock()
    store = open_store(url.format(tmp_path), clock=clock)
    store.open()
    environment = Environment(store, clock=clock)
    handle = environment.start(flow("away", [Reserve, Away, Fail]), {"order": "A"})
    handle.signal("Away", "p-1")
    environment.settle()
    handle.signal("Away.rollback", "done")
    environment.settle()

    assert handle.status() is Status.COMPENSATED
    assert world.standing == []
    store.close()
