"""What the command line's tests run."""

from __future__ import annotations

from datetime import timedelta

import attrs

from qwit_durable import Retry, Workflow, pending, publish, sleep, step, wait_signal, workflow
from qwit_durable.codec import AesGcmCodec

broken: set[str] = set()

#: For `--codec`.
codec = AesGcmCodec({"test": b"k" * 32})


@attrs.frozen
class Order:
    id: str
    cents: int = 100


@step(retry=Retry(max_attempts=2, first=timedelta(milliseconds=1)))
def charge(order_id: str, cents: int) -> str:
    if cents < 0:
        message = "declined: [bold]no[/bold]"
        raise ValueError(message)
    return f"payment-{order_id}"


@charge.undo(retry=Retry(max_attempts=1))
def refund(order_id: str) -> None:
    if "refund" in broken:
        message = "the bank is closed"
        raise OSError(message)


@step(retry=Retry(max_attempts=1))
def explode() -> None:
    message = "boom"
    raise ValueError(message)


@workflow
def ship(order: Order) -> Workflow[str]:
    yield from sleep(timedelta(0))
    return f"shipped {order.id}"


@workflow
def checkout(order: Order, note: str = "", *, fails: bool = False) -> Workflow[str]:
    yield from charge(order.id, order.cents)
    shipped = yield from ship(order)
    if fails:
        yield from explode()
    return f"{shipped}{note}"


@workflow
def approval(name: str) -> Workflow[str]:
    return (yield from wait_signal("approved", str))


@workflow
def sum_up(*numbers: int, **named: int) -> Workflow[int]:
    yield from sleep(timedelta(0))
    return sum(numbers) + sum(named.values())


tokens: list[str] = []


@step(retry=Retry(max_attempts=2, first=timedelta(milliseconds=1)), deadline=timedelta(days=1))
def sign(name: str) -> str:
    p = pending()
    tokens.append(p.token)
    return p


@workflow
def signing(name: str) -> Workflow[str]:
    signed_by = yield from sign(name)
    return f"signed by {signed_by}"


@workflow(version="2")
def counting(rows: int) -> Workflow[int]:
    for number in range(rows):
        yield from charge(str(number), number)
        yield from publish("rows", number + 1)
    yield from wait_signal("go")
    return rows
