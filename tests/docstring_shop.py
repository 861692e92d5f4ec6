"""What the examples in docstrings may take for granted."""

import sqlite3  # noqa: F401
from datetime import UTC, datetime, timedelta  # noqa: F401
from types import SimpleNamespace
from typing import Any

import attrs

from qwit_durable import *  # noqa: F403
from qwit_durable import (
    Durable,
    Failure,
    GiveUp,
    Retry,
    Workflow,
    pending,
    publish,
    step,
    wait_signal,
    workflow,
)
from qwit_durable.clock import ManualClock  # noqa: F401
from qwit_durable.language.guards import StepInfo  # noqa: F401


class CardDeclined(Exception):
    """The bank says no."""


@attrs.frozen
class Order:
    id: str
    cents: int = 500
    items: tuple[str, ...] = ("tea", "a mug")


@attrs.frozen
class Payment:
    id: str
    cents: int


@attrs.frozen
class Approval:
    by: str


@step
def charge(order_id: str, cents: int) -> Payment:
    return Payment(f"payment for {order_id}", cents)


@step
def decline(order_id: str) -> None:
    raise GiveUp(f"the card for {order_id} was declined")


@step
def pack(item: str) -> str:
    return f"a box with {item}"


@step
def release(reservation_id: str) -> None: ...


@workflow
def ship(order: Order) -> Workflow[str]:
    yield from pack(order.items[0])
    return "shipped"


@workflow
def checkout(order: Order) -> Workflow[str]:
    yield from charge(order.id, order.cents)
    return (yield from ship(order))


@workflow
def approval(order: Order) -> Workflow[str]:
    found = yield from wait_signal("approved", type=Approval)
    return f"approved by {found.by}"


@workflow
def declined(order: Order) -> Workflow[None]:
    yield from charge(order.id, order.cents)
    yield from decline(order.id)


@workflow
def report(what: str) -> Workflow[str]:
    return (yield from pack(what))


@step
def resize(url: str) -> int:
    return len(url)


@workflow
def importing(rows: int) -> Workflow[str]:
    yield from publish("rows", rows)
    yield from publish("state", "loading")
    yield from wait_signal("loaded")
    return "loaded"


@attrs.frozen
class Decision:
    approved: bool


@step(retry=Retry(max_attempts=1))
def decide(order_id: str) -> Decision:
    left_open = pending()
    tokens.append(left_open.token)
    return left_open


@workflow
def deciding(order_id: str) -> Workflow[Decision]:
    return (yield from decide(order_id))


def book_with(carrier: str) -> Workflow[str]:
    yield from charge(carrier, 500)
    return f"a trip by {carrier}"


class Reserve:
    def run(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"parcel": 7}


class Charge:
    def run(self, state: dict[str, Any]) -> dict[str, Any]:
        return {"payment": "p-1"}


class Ship:
    def run(self, state: dict[str, Any]) -> None: ...


def send_mail(text: str) -> None: ...


pack_by_robot, item, urls, airline, railway = pack, "tea", ["a", "b"], "air", "rail"
tokens: list[str] = []
shop: Any = globals()["shop"]  # carries out what is started at once
durable = Durable(shop.store)
shop.start(deciding.options(id="deciding"), "order-17")
[token] = tokens
request = SimpleNamespace(query={"token": token})
NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)
order = Order("order-17")
reservation = SimpleNamespace(id="reservation-1")
failure = Failure(type="OSError", message="busy", lineage=("OSError", "Exception"))
settings = SimpleNamespace(TAX_RATE=0.19)
gateway = SimpleNamespace(charge=lambda cents, idempotency_key: "payment-1")
bus = SimpleNamespace(publish=print)
