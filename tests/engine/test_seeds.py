"""What users of QWIT, Queuetopia and WorkflowEx look for and no other test shows: see `docs/from-the-seeds.md`."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import attrs
import pytest

from qwit_durable.core import Retry, Status
from qwit_durable.errors import StepFailed, WorkflowCancelled, WorkflowFailed
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.observers.base import EndInfo, Observer
from qwit_durable.testing.environment import Environment

did: list[str] = []


@pytest.fixture(autouse=True)
def fresh() -> None:
    did.clear()


def another(environment: Environment, **options: Any) -> Environment:
    """Another process over the same store."""
    return Environment(environment.store, clock=environment.clock, **options)


@attrs.frozen
class Parcel:
    sku: str
    sizes: tuple[int, ...]


@step
def measure(sku: str) -> Parcel:
    did.append(f"measure {sku}")
    return Parcel(sku, (1, 2))


@step
def weigh(parcel: Parcel) -> str:
    did.append(f"weigh {parcel!r}")
    return "light"


@workflow
def packing(sku: str) -> Workflow[str]:
    parcel = yield from measure(sku)
    yield from wait_signal("go")
    return (yield from weigh(parcel))


def test_a_value_is_the_same_where_it_is_replayed():
    first = Environment()
    handle = first.start(packing, "tea")
    first.settle()

    second = another(first)
    second.get(handle.id).signal("go")
    second.settle()

    assert handle.result(0) == "light"
    assert did == ["measure tea", "weigh Parcel(sku='tea', sizes=(1, 2))"]


@step(retry=Retry(max_attempts=20))
def always_busy() -> None:
    did.append("tried")
    raise OSError("busy")


@workflow
def hopeless() -> Workflow[None]:
    yield from always_busy()


class Ends(Observer):
    def run_finished(self, end: EndInfo) -> None:
        did.append(f"ended {end.status}")


def test_twenty_attempts_are_twenty_executions_and_the_end_is_told_once():
    environment = Environment(observers=[Ends()])
    handle = environment.start(hopeless)

    environment.settle()

    assert did == ["tried"] * 20 + ["ended failed"]
    assert handle.status() is Status.FAILED


@workflow
def waiting() -> Workflow[str]:
    first = yield from wait_signal("go", type=str)
    second = yield from wait_signal("on", type=str)
    return f"{first} {second}"


def test_ten_bells_make_one_advance_and_a_lost_one_is_swept_up():
    environment = Environment()
    handle = environment.start(packing, "tea")
    environment.bells.waiting.extend(list(environment.bells.waiting) * 9)

    environment.answer_bells()
    handle.signal("go")
    environment.bells.waiting.clear()
    environment.settle(until=environment.clock.now() + timedelta(minutes=5))

    assert did == ["measure tea", "weigh Parcel(sku='tea', sizes=(1, 2))"]
    assert handle.result(0) == "light"


@workflow
def resting() -> Workflow[str]:
    yield from sleep(timedelta(days=30))
    return "rested"


def test_a_sleep_ends_in_time_although_its_process_has_gone():
    first = Environment()
    handle = first.start(resting)
    first.answer_bells()

    second = another(first)
    second.settle(until=first.clock.now() + timedelta(days=29))
    asleep = handle.status()
    second.settle()

    assert asleep is Status.RUNNING
    assert handle.result(0) == "rested"


def test_a_start_waits_for_its_time_although_its_process_has_gone():
    first = Environment()
    handle = first.start(packing.options(delay=timedelta(hours=2)), "tea")

    second = another(first)
    second.settle(until=first.clock.now() + timedelta(hours=1))
    before = (handle.status(), list(did))
    second.settle()

    assert before == (Status.SCHEDULED, [])
    assert did == ["measure tea"]


def test_an_early_signal_is_kept_a_stray_one_ends_no_wait_and_the_wait_survives_its_process():
    first = Environment()
    handle = first.start(waiting)
    handle.signal("on", "later")
    handle.signal("stray", "nobody")
    first.settle()

    second = another(first)
    second.get(handle.id).signal("go", "first")
    second.settle()

    assert handle.result(0) == "first later"


@step
def reserve(sku: str) -> str:
    did.append(f"reserve {sku}")
    return sku


@reserve.undo(retry=Retry(max_attempts=2, first=timedelta(hours=1)))
def put_back(result: str) -> None:
    did.append(f"put back {result}")
    if did.count(f"put back {result}") == 1:
        raise OSError("the door is shut")


@step(retry=Retry(max_attempts=1))
def ship(sku: str) -> None:
    raise RuntimeError("no van")


@workflow
def selling() -> Workflow[None]:
    yield from reserve("tea")
    try:
        yield from ship("tea")
    except StepFailed as error:
        raise RuntimeError("not sold") from error


def test_a_signal_for_the_way_forward_changes_nothing_on_the_way_back():
    environment = Environment()
    handle = environment.start(selling)
    environment.answer_bells()
    between = handle.status()

    handle.signal("go", "on")
    environment.settle()

    assert between is Status.COMPENSATING
    assert handle.status() is Status.COMPENSATED
    assert did == ["reserve tea", "put back tea", "put back tea"]


def test_a_second_cancel_changes_neither_the_reason_nor_the_order():
    environment = Environment()
    handle = environment.start(waiting)
    environment.settle()

    handle.cancel("the first reason")
    handle.cancel("the second reason")
    environment.settle()
    handle.cancel("the third reason")

    with pytest.raises(WorkflowCancelled, match="the first reason"):
        handle.result(0)


@step(retry=Retry(max_attempts=1))
def scan(sku: str) -> str:
    raise RuntimeError("no scanner")


@workflow(park_on_failure=True)
def careful() -> Workflow[str]:
    yield from reserve("tea")
    return (yield from scan("tea"))


def test_a_parked_run_is_rolled_back_from_another_process():
    first = Environment()
    handle = first.start(careful)
    first.settle()
    parked = handle.status()

    second = another(first)
    second.get(handle.id).rollback("sold by hand")
    second.settle()

    assert parked is Status.STUCK
    assert did == ["reserve tea", "put back tea", "put back tea"]
    with pytest.raises(WorkflowFailed):
        handle.result(0)


def test_a_parked_run_is_skipped_over_from_another_process():
    first = Environment()
    handle = first.start(careful)
    first.settle()

    second = another(first)
    second.get(handle.id).skip("scanned by hand")
    second.settle()

    assert handle.result(0) == "scanned by hand"
