"""The workflows of the application under fire. Steps are slow enough to be killed in the middle."""

from __future__ import annotations

import asyncio
import os
import signal
from datetime import timedelta
from pathlib import Path
from threading import Event

from dramatiq.middleware import CurrentMessage

from qwit_durable import (
    GiveUp,
    Retry,
    StepFailed,
    Workflow,
    compensate,
    current,
    gather,
    map_steps,
    new_uuid,
    now,
    pending,
    race,
    restart,
    saga,
    sleep,
    step,
    wait_signal,
    workflow,
)
from tests.acceptance.ledger import ledger

_PAUSE_SECONDS = 0.01
#: Ten kills must not use up a step's attempts.
PATIENT = Retry(max_attempts=20, first=timedelta(milliseconds=10), cap=timedelta(milliseconds=50))
ONCE = Retry(max_attempts=1)


class Declined(Exception):
    """The card does not cover the order."""


def _effect(what: str) -> str:
    ledger().begin(what)
    Event().wait(_PAUSE_SECONDS)
    ledger().do(what)
    Event().wait(_PAUSE_SECONDS)
    return what


def _undo(what: str) -> None:
    ledger().begin(f"undo {what}")
    Event().wait(_PAUSE_SECONDS)
    ledger().undo(what)
    Event().wait(_PAUSE_SECONDS)


# -- an order as a saga with everything in it ------------------------------------------------------------------


@step(retry=PATIENT)
def reserve(order: str) -> str:
    return _effect(f"{order} reserve")


@reserve.undo(when="attempted", retry=PATIENT)
def release(order: str, result: str | None) -> None:
    # An attempt whose worker died may have had its effect or not; the outside world is asked.
    if ledger().rows("select 1 from effect where what = ?", (f"{order} reserve",)):
        _undo(f"{order} reserve")


@step(dispatch="queue", retry=PATIENT)
def charge(order: str) -> str:
    message = CurrentMessage.get_current_message()
    ledger().note(f"{order} charge in message of {message.actor_name if message else None}")
    return _effect(f"{order} charge")


@charge.undo(retry=PATIENT)
def refund(order: str, result: str) -> None:
    _undo(result)


@step(retry=PATIENT)
def pack(order: str, item: int) -> int:
    _effect(f"{order} pack {item}")
    return item


@pack.undo(retry=PATIENT)
def unpack(order: str, item: int) -> None:
    _undo(f"{order} pack {item}")


@step(queue="mail", retry=PATIENT)
async def notify(order: str) -> str:
    what = f"{order} notify"
    ledger().begin(what)
    await asyncio.sleep(_PAUSE_SECONDS)
    ledger().do(what)
    return what


@step(retry=PATIENT)
def retract(order: str) -> None:
    _undo(f"{order} notify")


@step(retry=PATIENT)
def book(order: str) -> str:
    return _effect(f"{order} book")


@book.undo(retry=PATIENT)
def unbook(order: str, result: str) -> None:
    _undo(result)


@step(retry=Retry(max_attempts=20, first=timedelta(milliseconds=10), give_up_on=(Declined,)))
def check(order: str, place: str, fails: str) -> None:
    if fails == place:
        raise Declined(f"{order} at {place}")


@workflow
def ship(order: str, fails: str) -> Workflow[str]:
    courier = yield from book(order)
    yield from check(order, "ship", fails)
    return courier


@workflow
def checkout(order: str, fails: str = "") -> Workflow[str]:
    """`fails` is "", "start", "ship" or "end"."""
    yield from reserve(order)
    yield from check(order, "start", fails)
    began = yield from now()
    yield from charge(order)
    packed = yield from gather(pack(order, 1), pack(order, 2), pack(order, 3))
    yield from notify(order)
    yield from compensate(retract(order))
    token = yield from new_uuid()
    yield from sleep(timedelta(milliseconds=50))
    approver = yield from wait_signal("approved", str, timeout=timedelta(minutes=10))
    courier = yield from ship(order, fails)
    yield from check(order, "end", fails)
    ended = yield from now()
    assert began < ended
    assert token.version == 4
    return f"{order}: {sum(packed)} items, approved by {approver}, {courier}"


def effects_of(order: str) -> list[str]:
    """What a completed order leaves behind."""
    items = [f"{order} pack {item}" for item in (1, 2, 3)]
    return [*items, *(f"{order} {what}" for what in ("reserve", "charge", "notify", "book"))]


# -- a parcel that goes round: a race, a saga, a map and restarts ------------------------------------------------


@step(retry=PATIENT)
def stamp(what: str) -> str:
    return _effect(what)


@stamp.undo(when="attempted", retry=PATIENT)
def unstamp(what: str, result: str | None) -> None:
    if ledger().rows("select 1 from effect where what = ?", (what,)):
        _undo(what)


def _in_vain(name: str) -> Workflow[None]:
    yield from stamp(f"{name} in vain")
    yield from check(name, "here", "here")


def _for_ever(name: str) -> Workflow[None]:
    yield from stamp(f"{name} too late")
    yield from wait_signal("never")


@workflow
def parcel(name: str, rounds: int) -> Workflow[str]:
    """What stands in the end: a stamp for each round, and those of the map."""
    this = f"{name} {rounds}"
    yield from stamp(this)
    try:
        yield from saga(_in_vain(this))
    except StepFailed:
        yield from map_steps(stamp, [f"{this} page {page}" for page in range(4)], limit=2)
    yield from race(sleep(timedelta(milliseconds=100)), _for_ever(this))
    if rounds > 1:
        yield from restart(name, rounds - 1)
    return name


def stamps_of(name: str, rounds: int) -> list[str]:
    """What a parcel leaves behind."""
    rings = [f"{name} {n}" for n in range(1, rounds + 1)]
    return [*rings, *(f"{ring} page {page}" for ring in rings for page in range(4))]


# -- plain shapes ----------------------------------------------------------------------------------------------


@step(retry=PATIENT)
def tick(name: str, number: int) -> int:
    _effect(f"{name} {number}")
    return number


@workflow
def count(name: str, steps: int) -> Workflow[int]:
    total = 0
    for number in range(steps):
        total += yield from tick(name, number)
    return total


@step(retry=ONCE)
def tick_once(name: str, number: int) -> int:
    _effect(f"{name} {number}")
    return number


@workflow
def count_once(name: str, steps: int) -> Workflow[int]:
    """As `count`, and a single lost attempt fails it."""
    total = 0
    for number in range(steps):
        total += yield from tick_once(name, number)
    return total


@workflow
def rest(name: str, seconds: float) -> Workflow[str]:
    yield from sleep(timedelta(seconds=seconds))
    return name


@workflow
def listen(name: str) -> Workflow[str]:
    return (yield from wait_signal("go", str))


# -- steps that meet a bad end ---------------------------------------------------------------------------------


@step(dispatch="queue", retry=Retry(max_attempts=3, first=timedelta(milliseconds=10)))
def poison_queued(name: str) -> None:
    ledger().begin(name)
    os.kill(os.getpid(), signal.SIGKILL)


@step(retry=Retry(max_attempts=3, first=timedelta(milliseconds=10)))
def poison_inline(name: str) -> None:
    ledger().begin(name)
    os.kill(os.getpid(), signal.SIGKILL)


@workflow
def swallow(name: str, queued: bool) -> Workflow[str]:
    try:
        yield from poison_queued(name) if queued else poison_inline(name)
    except StepFailed as failed:
        last = failed.error.type
        return f"{last} after {failed.attempts} attempts, outcome unknown: {failed.outcome_unknown}"
    return "survived"


@step(retry=Retry(max_attempts=3))
def munch(name: str, number: int, seconds: float, bad: int) -> int:
    """The end of its process, where the bite is bad; after `seconds`, in which others begin."""
    if number == bad:
        ledger().begin(name)
        Event().wait(seconds / 10)
        os.kill(os.getpid(), signal.SIGKILL)
    if seconds:
        Event().wait(seconds)
    return number


@workflow
def meal(name: str, bites: int, seconds: float = 0, bad: int = -1, queued: bool = False) -> Workflow[int]:
    """Without `seconds`, its bites are so quick that one thread carries many meals."""
    chosen = munch.options(dispatch="queue") if queued else munch
    for number in range(bites):
        yield from chosen(name, number, seconds, bad)
    return bites


def _linger(name: str, gate: str) -> str:
    """The first attempt stays until a file appears; later ones don't."""
    step = current()
    ledger().begin(name)
    if step.attempt == 1:
        for _ in range(6000):
            if Path(gate).exists():
                break
            Event().wait(0.01)
        else:
            raise GiveUp("the gate was never opened")
    ledger().note(f"{name} attempt {step.attempt} returns")
    return f"by attempt {step.attempt}"


@step(retry=PATIENT)
def linger_inline(name: str, gate: str) -> str:
    return _linger(name, gate)


@step(dispatch="queue", retry=PATIENT)
def linger_queued(name: str, gate: str) -> str:
    return _linger(name, gate)


@workflow
def visit(name: str, gate: str, queued: bool) -> Workflow[str]:
    before = yield from tick(name, 0)
    value = yield from linger_queued(name, gate) if queued else linger_inline(name, gate)
    after = yield from tick(name, 1)
    return f"{before} {value} {after}"


# -- steps that are left open, and steps that report -----------------------------------------------------------


@step(retry=PATIENT)
def sign(order: str) -> str:
    """Hands its token over; the first attempt is killed before it returns."""
    ledger().begin(f"{order} sign")
    p = pending()
    ledger().note(p.token)
    if current().attempt == 1:
        Event().wait(60)
    return p


@step(retry=PATIENT, heartbeat=timedelta(seconds=30))
def export(order: str, pages: int) -> list[int]:
    """Exports page after page from where the attempt before it stood; the first one is killed in the middle."""
    ledger().begin(f"{order} export")
    begin = current().last_heartbeat or 0
    for page in range(begin, pages):
        ledger().note(f"page {page}")
        current().heartbeat(page + 1)
        if current().attempt == 1 and page == pages // 2:
            Event().wait(60)
        Event().wait(_PAUSE_SECONDS)
    return [begin, pages]


@workflow
def signing(order: str, queued: bool) -> Workflow[str]:
    chosen = sign.options(dispatch="queue") if queued else sign
    return (yield from chosen(order))


@workflow
def exporting(order: str, queued: bool) -> Workflow[list[int]]:
    chosen = export.options(dispatch="queue") if queued else export
    return (yield from chosen(order, 250))
