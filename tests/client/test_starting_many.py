"""Starting many runs at once: each as if it were started by itself, in a few writes and with a few bells."""

from __future__ import annotations

from datetime import timedelta

import pytest

from qwit_durable.client import starting
from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.errors import (
    DefinitionError,
    EncodingError,
    MisuseError,
    RunAlreadyExists,
    StoreUnavailable,
)
from qwit_durable.language import Workflow, step, workflow
from qwit_durable.observers.base import Observer
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

HOUR = timedelta(hours=1)


@step
def pack(item: str) -> str:
    return f"a box with {item}"


@workflow
def order(item: str) -> Workflow[str]:
    return (yield from pack(item))


@workflow
def empty() -> Workflow[None]:
    yield from ()


class Starts(Observer):
    def __init__(self) -> None:
        self.keys: list[str] = []

    def run_started(self, run) -> None:
        self.keys.append(run.key)


@pytest.fixture
def a_few_at_once(monkeypatch: pytest.MonkeyPatch) -> int:
    monkeypatch.setattr(starting, "_AT_ONCE_RUNS", 4)
    return 4


def many(count: int):
    return [order.options(id=f"{n}").to_start(f"item {n}") for n in range(count)]


@pytest.mark.parametrize(("count", "writes"), [(0, 0), (1, 1), (256, 1), (600, 3)])
def test_some_hundreds_of_runs_are_started_in_one_write(count, writes):
    clock = ManualClock()
    store = MortalStore(MemoryStore(clock))
    environment = Environment(store, clock=clock)

    handles = environment.start_many(many(count))

    assert [handle.id for handle in handles] == [f"{n}" for n in range(count)]
    assert store.calls == writes
    assert len(environment.bells.waiting) == count


def test_runs_of_several_workflows_with_options_of_their_own_are_started_in_order():
    observer = Starts()
    environment = Environment(observers=[observer])
    starts = [
        order.options(id="tea", attributes={"customer": "Ann"}).to_start("tea"),
        empty.to_start(),
        order.options(id="later", delay=HOUR).to_start("a mug"),
        order.options(id="first", lane="left").to_start("one"),
        order.options(id="second", lane="left").to_start("two"),
    ]

    handles = environment.start_many(iter(starts))
    statuses = [handle.status() for handle in handles]
    environment.settle()

    assert statuses == [Status.RUNNING, Status.RUNNING, Status.SCHEDULED, Status.RUNNING, Status.SCHEDULED]
    assert [handle.result(0) for handle in handles[2:]] == [
        "a box with a mug",
        "a box with one",
        "a box with two",
    ]
    assert observer.keys == [handle.id for handle in handles]
    assert [run.id for run in environment.runs(attributes={"customer": "Ann"})] == ["tea"]


def test_an_argument_that_cannot_be_stored_stores_nothing():
    environment = Environment()
    starts = [*many(2), order.to_start(object())]

    with pytest.raises(EncodingError):
        environment.start_many(starts)

    assert list(environment.runs()) == []


@pytest.mark.parametrize("before", [0, 3, 300])
def test_runs_whose_giver_fails_store_nothing_however_many_it_gave_before(before):
    environment = Environment()

    def given():
        yield from many(before)
        message = "the file ends here"
        raise LookupError(message)

    with pytest.raises(LookupError, match="the file ends here"):
        environment.start_many(given())

    assert list(environment.runs()) == []


@pytest.mark.parametrize(
    "wrong",
    [order, order.options(id="1"), order("tea"), pack("tea"), pack, "tea", None, ("tea",), {"item": "tea"}],
)
def test_something_else_among_runs_stores_nothing(wrong):
    environment = Environment()

    with pytest.raises(DefinitionError, match=r"start_many\(\) at .*: item 2 is ") as raised:
        environment.start_many([*many(2), wrong])

    assert "right:  durable.start_many(" in str(raised.value)
    assert list(environment.runs()) == []


@pytest.mark.parametrize(
    "wrong", [order, order.options(id="1"), order("tea"), order.to_start("tea"), pack, "tea", None, 3]
)
def test_something_else_than_runs_is_refused_with_the_right_line(wrong):
    environment = Environment()

    with pytest.raises(DefinitionError, match=r"start_many\(\) at .* takes runs, got ") as raised:
        environment.start_many(wrong)

    assert "right:  durable.start_many(" in str(raised.value)


def test_a_run_that_is_started_already_is_none_to_be_started():
    environment = Environment()
    handle = environment.start(order, "tea")

    with pytest.raises(DefinitionError, match="it is started already"):
        environment.start_many([handle])


def test_a_refusal_tells_which_runs_are_refused_and_has_the_handles_of_the_others(a_few_at_once):
    environment = Environment()
    for key in "17":
        environment.start(order.options(id=key), "something else")

    with pytest.raises(
        RunAlreadyExists, match="refused of 10 runs: '1', '7'; the others are started"
    ) as raised:
        environment.start_many(many(10))
    environment.settle()

    assert raised.value.refused == ("1", "7")
    assert [handle and handle.result(0) for handle in raised.value.handles] == [
        None if n in (1, 7) else f"a box with item {n}" for n in range(10)
    ]


def test_many_refusals_are_all_told_and_some_are_named():
    environment = Environment()
    for n in range(7):
        environment.start(order.options(id=f"{n}"), "something else")

    with pytest.raises(RunAlreadyExists, match="'0', '1', '2', '3', '4', …;") as raised:
        environment.start_many(many(7))

    assert raised.value.refused == tuple("0123456")
    assert raised.value.handles == (None,) * 7


def test_a_refusal_is_told_only_where_all_others_are_started(a_few_at_once):
    environment = Environment()
    environment.start(order.options(id="1"), "something else")
    with_one = order.options(id="8", connection="no connection").to_start("item 8")

    with pytest.raises(MisuseError, match="can't be started with connection="):
        environment.start_many([*many(8), with_one, order.options(id="9").to_start("item 9")])
    environment.settle()

    ended = {run.id for run in environment.runs() if run.status is Status.COMPLETED}
    assert ended == {*"012345679"}


def test_a_run_that_is_refused_keeps_no_other_from_being_started():
    environment = Environment()
    environment.start(order.options(id="1"), "something else")

    with pytest.raises(RunAlreadyExists, match="run '1' exists already"):
        environment.start_many(many(3))
    environment.settle()

    assert [environment.get(key).result(0) for key in "02"] == ["a box with item 0", "a box with item 2"]


def test_starts_that_are_repeated_and_ids_that_are_given_twice_are_one_run():
    observer = Starts()
    environment = Environment(observers=[observer])

    first = environment.start_many([*many(3), *many(3)])
    again = environment.start_many(many(3))

    assert [handle.id for handle in (*first, *again)] == ["0", "1", "2"] * 3
    assert observer.keys == ["0", "1", "2"]
    assert len(list(environment.runs())) == 3


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", [1, 2, 3])
def test_death_anywhere_leaves_starts_that_can_be_repeated(dies_at, after, a_few_at_once):
    clock = ManualClock()
    truth = MemoryStore(clock)
    first = Environment(MortalStore(truth, dies_at=dies_at, after=after), clock=clock)
    with pytest.raises(ProcessDied):
        first.start_many(many(10))
    stored = len(list(Environment(truth, clock=clock).runs()))

    second = Environment(truth, clock=clock)
    handles = second.start_many(many(10))
    second.settle()

    assert stored == min((dies_at - (not after)) * a_few_at_once, 10)
    assert {handle.result(0) for handle in handles} == {f"a box with item {n}" for n in range(10)}


def test_bells_that_are_lost_are_rung_by_the_sweep():
    environment = Environment()
    environment.bells.is_deaf = True
    handles = environment.start_many(many(3))
    environment.bells.is_deaf = False

    environment.settle()

    assert [handle.result(0) for handle in handles] == [f"a box with item {n}" for n in range(3)]


def test_a_store_that_goes_away_is_told_when_what_it_took_is_rung_for(a_few_at_once):
    environment = Environment()
    real, calls = environment.store.apply, []

    def apply(writes):
        calls.append(len(writes))
        if len(calls) == 2:
            raise StoreUnavailable("gone")
        return real(writes)

    environment.store.apply = apply
    with pytest.raises(StoreUnavailable, match="gone"):
        environment.start_many(many(10))
    environment.settle()

    ended = [run for run in environment.runs() if run.status is Status.COMPLETED]
    assert len(ended) == 10 - a_few_at_once
