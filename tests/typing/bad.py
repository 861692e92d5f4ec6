# mypy: ignore-errors
# type: ignore  # noqa: PGH003 - all of them: the test reads them without these two lines
"""What both type checkers must refuse: exactly the lines that are marked, and no other.

The first two lines keep this file out of the ordinary check.
"""

from __future__ import annotations

from datetime import timedelta

from qwit_durable.core import Value
from qwit_durable.language import Workflow, gather, sleep, step, wait_signal, workflow


@step
def charge(order_id: str, cents: int) -> str:
    return f"{order_id}/{cents}"


@step
async def mail(text: str) -> int:
    return len(text)


@step(timeout=30)  # error
def slow() -> None: ...


@step(retires=3)  # error
def typo() -> None: ...


@step(dispatch="later")  # error
def later() -> None: ...


@charge.undo(when="sometimes")  # error
def refund(order_id: str) -> None: ...


@workflow
def ship(sku: str) -> Workflow[str]:
    return (yield from charge(sku, 1))


@workflow  # error
def no_generator(sku: str) -> str:
    return sku


@workflow(versoin="2")  # error
def misspelt(sku: str) -> Workflow[str]:
    return (yield from charge(sku, 1))


@workflow
def checkout(order_id: str) -> Workflow[int]:
    yield from charge(order_id, "5")  # error
    yield from charge(order_id)  # error
    yield from charge(order_id, 5, 6)  # error
    yield from charge(order_id, cent=5)  # error
    yield from charge.options(retires=5)(order_id, 5)  # error
    yield from mail(5)  # error
    yield from ship(5)  # error
    yield from ship.options(idd="x")(order_id)  # error
    yield from sleep(5)  # error
    yield from wait_signal("approved", timeout=5)  # error
    number: int = yield from charge(order_id, 5)  # error
    text: str = yield from mail("text")  # error
    first, second, third = yield from gather(charge(order_id, 5), mail("text"))  # error
    yield from gather(charge(order_id, 5), limit="all")  # error
    charge(order_id, 5).upper()  # error
    ship.start(5)  # error
    ship.to_start(5)  # error
    ship.options(delay=timedelta(hours=1)).start(5)  # error
    if order_id:
        return number, text, first, second, third  # error
    return "text"  # error


def change(fact: Value) -> None:
    fact.data = b"2"  # error
