"""The saga of the README, with everything in it that can be interrupted, over the small world."""

from __future__ import annotations

from datetime import timedelta

from qwit_durable.core import Retry
from qwit_durable.language.groups import gather
from qwit_durable.language.step import step
from qwit_durable.language.verbs import compensate, new_uuid, now, sleep, wait_signal
from qwit_durable.language.workflow import Workflow, workflow
from tests.engine.world import World

world = World()


class CardDeclined(Exception):
    """The card is declined."""


@step
def hold_card(order: str) -> str:
    world.do(f"hold {order}")
    return f"hold-{order}"


@hold_card.undo(when="attempted")
def free_card(order: str, result: str | None) -> None:
    world.undo(f"hold {order}")


@step(retry=Retry(max_attempts=3, first=timedelta(seconds=1), give_up_on=(CardDeclined,)))
def charge(order: str, cents: int) -> str:
    if cents < 0:
        raise CardDeclined(order)
    world.do(f"charge {order}")
    return f"payment-{order}"


@charge.undo
def refund(order: str, result: str) -> None:
    assert result == f"payment-{order}"
    world.undo(f"charge {order}")


@step
def pack(order: str, item: int) -> int:
    world.do(f"pack {order} {item}")
    return item


@pack.undo
def unpack(order: str, item: int) -> None:
    world.undo(f"pack {order} {item}")


@step
def notify(order: str) -> None:
    world.do(f"notify {order}")


@step
def retract(order: str) -> None:
    world.undo(f"notify {order}")


@step
def book(order: str) -> str:
    world.do(f"book {order}")
    return "courier"


@book.undo
def unbook(order: str) -> None:
    world.undo(f"book {order}")


@step(retry=Retry(max_attempts=3, first=timedelta(seconds=5)))
def hand_over(order: str, *, fails: bool) -> str:
    if fails:
        message = f"no courier for {order}"
        raise RuntimeError(message)
    return f"shipped {order}"


@workflow
def ship(order: str) -> Workflow[str]:
    courier = yield from book(order)
    yield from sleep(timedelta(minutes=1))
    return courier


@workflow
def checkout(order: str, *, fails: bool = False) -> Workflow[str]:
    yield from hold_card(order)
    yield from charge(order, 100)
    began = yield from now()
    yield from gather(pack(order, 1), pack(order, 2))
    yield from notify(order)
    yield from compensate(retract(order))
    token = yield from new_uuid()
    approved = yield from wait_signal("approved", str, timeout=timedelta(days=2))
    courier = yield from ship(order)
    yield from hand_over(order, fails=fails)
    assert began is not None
    assert token is not None
    return f"{order} {approved} {courier}"
