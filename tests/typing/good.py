"""What both type checkers must see in the code of users: no error here, and exactly these types."""

from __future__ import annotations

from collections.abc import Generator, Mapping
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any, assert_type
from uuid import UUID

import attrs
import dramatiq

from qwit_durable.core.retry import Retry
from qwit_durable.language import (
    CONTINUE,
    Call,
    Guard,
    StepInfo,
    Workflow,
    WorkflowDefinition,
    compensate,
    flow,
    gather,
    new_uuid,
    now,
    random_float,
    record,
    sleep,
    sleep_until,
    step,
    wait_signal,
    workflow,
)
from qwit_durable.language.flow import Continue

if TYPE_CHECKING:
    from qwit_durable.app import Durable
    from qwit_durable.client import Handle  # noqa: TC004 - this file is never run


@attrs.frozen
class Payment:
    id: str
    cents: int


@attrs.frozen
class Box:
    sku: str


@step
def pack(sku: str) -> Box:
    return Box(sku)


@step(
    name="take-money",
    retry=Retry(max_attempts=5),
    timeout=timedelta(seconds=30),
    queue="money",
    dispatch="queue",
)
def charge(order_id: str, cents: int = 0) -> Payment:
    return Payment(order_id, cents)


@charge.undo
def refund(result: Payment) -> None:
    assert_type(result, Payment)


@step
async def announce(text: str) -> int:
    return len(text)


@step(queue="mail")
async def mail(text: str) -> bytes:
    return text.encode()


@mail.undo(when="attempted", retry=lambda attempt, error: timedelta(seconds=attempt))
async def unmail(text: str) -> None:
    assert_type(text, str)


@dramatiq.actor
def legacy(number: int) -> str:
    return str(number)


adopted = step(legacy)


@workflow
def ship(sku: str) -> Workflow[str]:
    box = yield from pack(sku)
    return box.sku


def branch(sku: str) -> Generator[Any, Any, datetime]:
    yield from pack(sku)
    return (yield from now())


@workflow(
    name="checkout", version="2", queue="orders", deadline=timedelta(days=1), on_undo_failure="continue"
)
def checkout(order_id: str, skus: list[str]) -> Workflow[Payment]:
    payment = yield from charge(order_id, cents=5)
    assert_type(payment, Payment)
    assert_type(charge(order_id), Call[Payment])
    assert_type((yield from charge.options(queue="slow", timeout=timedelta(hours=1))(order_id)), Payment)
    assert_type((yield from announce("paid")), int)
    assert_type((yield from mail("paid")), bytes)
    assert_type((yield from adopted(7)), str)
    assert_type((yield from ship(skus[0])), str)
    assert_type(
        (yield from ship.options(attributes={"vip": True}, deadline=timedelta(hours=1))(skus[0])), str
    )

    assert_type((yield from gather()), tuple[()])
    assert_type((yield from gather(pack("a"))), tuple[Box])
    assert_type((yield from gather(pack("a"), charge("b"))), tuple[Box, Payment])
    both = yield from gather(pack("a"), branch("b"), ship("c"), limit=2)
    assert_type(both, tuple[Box, datetime, str])
    four = yield from gather(pack("a"), announce("b"), sleep(timedelta(1)), gather(pack("c"), announce("d")))
    assert_type(four, tuple[Box, int, None, tuple[Box, int]])
    five = yield from gather(now(), now(), new_uuid(), pack("a"), announce("b"))
    assert_type(five, tuple[datetime, datetime, UUID, Box, int])
    six = yield from gather(pack("a"), announce("b"), pack("c"), announce("d"), pack("e"), announce("f"))
    assert_type(six, tuple[Box, int, Box, int, Box, int])
    boxes = yield from gather(*(pack(sku) for sku in skus), limit=10)
    assert_type(boxes, tuple[Box, ...])
    more = yield from gather(pack("first"), *(pack(sku) for sku in skus))
    assert_type(more, tuple[Box, ...])
    seven = yield from gather(pack("a"), pack("b"), pack("c"), pack("d"), pack("e"), pack("f"), pack("g"))
    assert_type(seven, tuple[Box, ...])
    nothing = yield from gather(*[pack(sku) for sku in skus if not sku])
    assert_type(nothing, tuple[Box, ...])
    moments = yield from gather(*[branch(sku) for sku in skus])
    assert_type(moments, tuple[datetime, ...])

    assert_type((yield from sleep(timedelta(days=1))), None)
    assert_type((yield from sleep_until(datetime.now(UTC))), None)
    assert_type((yield from wait_signal("approved", timeout=timedelta(days=2))), Any)
    assert_type((yield from wait_signal("approved", type=Payment)), Payment)
    assert_type((yield from wait_signal("approved", list[int])), list[int])
    assert_type((yield from wait_signal("approved", type=Payment | Box)), Any)
    assert_type((yield from compensate(charge(order_id))), None)
    assert_type((yield from now()), datetime)
    assert_type((yield from new_uuid()), UUID)
    assert_type((yield from random_float()), float)
    assert_type((yield from record(lambda: 5)), int)
    assert_type((yield from record(read_rate)), float)
    return payment


def read_rate() -> float:
    return 0.19


def outside() -> None:
    assert_type(charge.fn("order-1"), Any)
    refund(Payment("p", 1))
    assert_type(checkout("order-1", []), Call[Payment])
    checkout.options(id="order-1", delay=timedelta(hours=1), attributes={"n": 1, "vip": True})
    checkout.options(at=datetime.now(UTC), on_conflict="replace")


def handles(durable: Durable) -> None:
    assert_type(checkout.start("order-1", ["a"]), Handle[Payment])
    assert_type(checkout.options(id="order-1").start("order-1", skus=[]), Handle[Payment])
    assert_type(durable.start_many([checkout.to_start("order-1", ["a"])]), list[Handle[Payment]])
    assert_type(durable.start_many([checkout.options(id="2").to_start("2", [])]), list[Handle[Payment]])


class Reserve:
    def run(self, state: dict[str, Any]) -> dict[str, Any] | None:
        return {"shelf": state["order"]}

    def rollback(self, state: dict[str, Any]) -> None: ...


class Answer:
    def run(self, state: dict[str, Any]) -> Continue:
        return CONTINUE({"asked": True}) if state else CONTINUE

    async def run_continue(self, signal: str, state: dict[str, Any]) -> dict[str, Any]:
        return {"answer": signal}


class Limits(Guard):
    def before_step(self, info: StepInfo) -> Mapping[str, Any] | None:
        assert_type(info.args, Mapping[str, Any])
        return None


def flows() -> Generator[Any, Any, None]:
    inner = flow("inner", [Reserve], queue="slow")
    whole = flow("whole", [Reserve, (Answer, {"currency": "CHF"}), inner, charge, (ship, {"sku": "a"})])
    assert_type(whole, WorkflowDefinition[[dict[str, Any]], dict[str, Any]])
    assert_type(whole.start({"order": "a"}), Handle[dict[str, Any]])
    after = yield from whole({"order": "a"})
    assert_type(after, dict[str, Any])


def as_argument(definition: WorkflowDefinition[[str], str]) -> Call[str]:
    return definition("a")


as_argument(ship)
