"""The verbs of a body: what it may ask for besides steps and sub-workflows.

Each returns an inert call that the body yields: `answer = yield from verb(...)`. What a verb answers is recorded once
and the same on every replay. Random numbers come from `ids`; this module makes none itself.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable, Generator
from datetime import datetime, timedelta
from functools import partial
from typing import Any, TypeVar, overload
from uuid import UUID

from qwit_durable import ids
from qwit_durable.codec import ResultCodec, decode, encode
from qwit_durable.core.commands import (
    CallStep,
    Compensate,
    Gather,
    Leaf,
    Now,
    Record,
    Sleep,
    WaitSignal,
    Yieldable,
)
from qwit_durable.errors import describe
from qwit_durable.language.calls import Call, call_site, refuse_in_step
from qwit_durable.language.options import check_duration, check_moment

__all__ = [
    "compensate",
    "gather",
    "new_uuid",
    "now",
    "random_float",
    "record",
    "sleep",
    "sleep_until",
    "wait_signal",
]

T = TypeVar("T")
T1 = TypeVar("T1")
T2 = TypeVar("T2")
T3 = TypeVar("T3")
T4 = TypeVar("T4")
T5 = TypeVar("T5")
T6 = TypeVar("T6")

_IN_THE_BODY = "verbs belong in a workflow's body"


@overload
def gather(*, limit: int | None = None) -> Call[tuple[()]]: ...
@overload
def gather(c1: Call[T1] | Generator[Any, Any, T1], /, *, limit: int | None = None) -> Call[tuple[T1]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    c4: Call[T4] | Generator[Any, Any, T4],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3, T4]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    c4: Call[T4] | Generator[Any, Any, T4],
    c5: Call[T5] | Generator[Any, Any, T5],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3, T4, T5]]: ...
@overload
def gather(
    c1: Call[T1] | Generator[Any, Any, T1],
    c2: Call[T2] | Generator[Any, Any, T2],
    c3: Call[T3] | Generator[Any, Any, T3],
    c4: Call[T4] | Generator[Any, Any, T4],
    c5: Call[T5] | Generator[Any, Any, T5],
    c6: Call[T6] | Generator[Any, Any, T6],
    /,
    *,
    limit: int | None = None,
) -> Call[tuple[T1, T2, T3, T4, T5, T6]]: ...
@overload
def gather(
    c1: Call[T] | Generator[Any, Any, T],
    c2: Call[T] | Generator[Any, Any, T],
    c3: Call[T] | Generator[Any, Any, T],
    c4: Call[T] | Generator[Any, Any, T],
    c5: Call[T] | Generator[Any, Any, T],
    c6: Call[T] | Generator[Any, Any, T],
    c7: Call[T] | Generator[Any, Any, T],
    /,
    *calls: Call[T] | Generator[Any, Any, T],
    limit: int | None = None,
) -> Call[tuple[T, ...]]: ...
def gather(*calls: Any, limit: int | None = None) -> Call[Any]:
    """Run calls at once and answer with the tuple of their values, in order.

    Where one fails, the others settle (what has not begun is dropped, what is being attempted is waited for), then the
    first failure is raised at the `yield`.

    Args:
        calls: Calls of steps, sub-workflows and verbs, or generators, which run as branches.
        limit: How many run at the same time, at least 1; None for all of them.

    Raises:
        TypeError: A member is none of these; the message names it.
        ValueError: `limit` is below 1.

    >>> boxes = yield from gather(*(pack(item) for item in order.items))
    """
    refuse_in_step("gather()", _IN_THE_BODY)
    _check_limit(limit)
    members = tuple(_member(index, call) for index, call in enumerate(calls))
    branches = [id(member) for member in members if inspect.isgenerator(member)]
    if len(set(branches)) < len(branches):
        msg = (
            f"gather() at {call_site()}: one generator is a member twice, but it can run only once\n"
            f"  right:  gather(branch(a), branch(b))"
        )
        raise TypeError(msg)
    return Call(Gather(members=members, limit=limit, site=call_site()), "gather")


def _check_limit(limit: object) -> None:
    if limit is None:
        return
    if not isinstance(limit, int) or isinstance(limit, bool):
        msg = f"gather() at {call_site()}: limit is an int, got {describe(limit)}"
        raise TypeError(msg)
    if limit < 1:
        msg = (
            f"gather() at {call_site()}: limit is at least 1, got {limit}\n"
            f"  way out: leave it out to run all of them at the same time"
        )
        raise ValueError(msg)


def _member(index: int, call: object) -> object:
    kind = type(call).__name__
    if isinstance(call, Yieldable):
        return call.as_command()
    if isinstance(call, (*Leaf.__args__, Gather)):
        return call
    is_loop = inspect.isgenerator(call) and call.__name__ == "<genexpr>"
    if inspect.isgenerator(call) and not is_loop:
        if inspect.getgeneratorstate(call) == inspect.GEN_CREATED:
            return call
        msg = (
            f"gather() at {call_site()}: member {index} is the generator {call.__name__!r}, which has already begun\n"
            f"  likely cause: it is a member of another gather, or was iterated\n"
            f"  right:  gather({call.__name__}(...)), built anew"
        )
        raise TypeError(msg)
    if is_loop:
        hint = (
            "  likely cause: it is not unpacked\n"
            "  wrong:  gather(call(item) for item in items)\n"
            "  right:  gather(*(call(item) for item in items))"
        )
    elif hasattr(call, "fn") and hasattr(call, "site"):
        name = getattr(call, "name", "step")
        hint = f"  likely cause: it is not called\n  wrong:  gather({name})\n  right:  gather({name}(...))"
    elif isinstance(call, (list, tuple, set)):
        hint = "  likely cause: it is not unpacked\n  wrong:  gather(calls)\n  right:  gather(*calls)"
    else:
        hint = (
            "  likely cause: a plain function was called where a step was meant\n"
            "  way out: members are calls of steps, sub-workflows and verbs, and generators"
        )
    msg = f"gather() at {call_site()}: member {index} is {describe(call)} of type {kind}, which is no call\n{hint}"
    raise TypeError(msg)


def sleep(duration: timedelta) -> Call[None]:
    """Wait. The wait is a row in the store: it holds no thread and survives restarts.

    Args:
        duration: How long, from the moment at which this is first asked; not negative.

    Raises:
        TypeError: It is no `timedelta`; the message shows the right form.
        ValueError: It is negative.

    >>> yield from sleep(timedelta(days=30))
    """
    refuse_in_step("sleep()", _IN_THE_BODY)
    check_duration(duration, "duration", "sleep()")
    return Call(Sleep(duration=duration, site=call_site()), "sleep")


def sleep_until(moment: datetime) -> Call[None]:
    """Wait until a moment; not at all if it has passed. As `sleep`, it holds no thread.

    Args:
        moment: An aware datetime.

    Raises:
        TypeError: It is no `datetime`, or has no time zone.
    """
    refuse_in_step("sleep_until()", _IN_THE_BODY)
    check_moment(moment, "moment", "sleep_until()")
    return Call(Sleep(until=moment, site=call_site()), "sleep_until")


def _check_name(name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = (
            f"wait_signal() at {call_site()}: name is a str that is not empty, got {describe(name)}\n"
            f'  right:  yield from wait_signal("approved")'
        )
        raise TypeError(msg)


@overload
def wait_signal(name: str, *, timeout: timedelta | None = None) -> Call[Any]: ...
@overload
def wait_signal(name: str, type: type[T], *, timeout: timedelta | None = None) -> Call[T]: ...
@overload
def wait_signal(name: str, type: Any, *, timeout: timedelta | None = None) -> Call[Any]: ...
def wait_signal(name: str, type: Any = Any, *, timeout: timedelta | None = None) -> Call[Any]:  # noqa: A002 - the word that users know
    """Wait for the next signal of a name. Signals that came before anyone waited are kept, in order.

    Args:
        name: The signal's name.
        type: What its value is: a class, or a generic alias as `list[int]`. A value that doesn't fit is consumed and
            raised here as an `EncodingError`.
        timeout: How long to wait; then `SignalTimeout` is raised at the `yield`. None waits for ever.

    >>> approval = yield from wait_signal("approved", type=Approval, timeout=timedelta(days=2))
    """
    refuse_in_step("wait_signal()", _IN_THE_BODY)
    _check_name(name)
    if timeout is not None:
        check_duration(timeout, "timeout", "wait_signal()")
    reader = partial(decode, annotation=type, where=f"the value of signal {name!r}")
    return Call(WaitSignal(name=name, timeout=timeout, decode=reader, site=call_site()), "wait_signal")


def compensate(call: Call[Any]) -> Call[None]:
    """Owe a step as an undo from here on: if the run unwinds, it is run, newest first among the other undos.

    Args:
        call: The call of a step. It does not run now.

    Raises:
        TypeError: It is something else.

    >>> yield from compensate(release(reservation.id))
    """
    refuse_in_step("compensate()", _IN_THE_BODY)
    return Call(Compensate(call=_step_call(call), site=call_site()), "compensate")


def _step_call(call: object) -> CallStep:
    command = call.as_command() if isinstance(call, Yieldable) else call
    if isinstance(command, CallStep):
        return command
    name = getattr(call, "name", "release") if hasattr(type(call), "undo_definition") else "release"
    msg = (
        f"compensate() at {call_site()} takes the call of a step, got {describe(call)}\n"
        f"  likely cause: the step is not called, or it is no step\n"
        f"  wrong:  compensate({name})\n"
        f"  right:  yield from compensate({name}(...))"
    )
    raise TypeError(msg)


def now() -> Call[datetime]:
    """The time at which this was first asked, by the store's clock: an aware datetime, in UTC.

    >>> began = yield from now()
    """
    refuse_in_step("now()", f"{_IN_THE_BODY}; in a step use datetime.now(UTC)")
    return Call(Now(decode=partial(decode, annotation=datetime), site=call_site()), "now")


def new_uuid() -> Call[UUID]:
    """A random UUID, recorded."""
    refuse_in_step("new_uuid()", f"{_IN_THE_BODY}; in a step use uuid.uuid4()")
    return Call(_recorded("uuid", ids.new_uuid4, UUID), "new_uuid")


def random_float() -> Call[float]:
    """A random number in [0, 1), recorded."""
    refuse_in_step("random_float()", f"{_IN_THE_BODY}; in a step use random.random()")
    return Call(_recorded("random", ids.random_float, float), "random_float")


def _recorded(name: str, produce: Callable[[], Any], annotation: Any) -> Record:
    return Record(
        name=name,
        produce=lambda: encode(produce(), annotation, f"the value {name!r}"),
        decode=partial(decode, annotation=annotation),
        site=call_site(),
    )


def record(fn: Callable[[], T]) -> Call[T]:
    """Run a small function once and record what it returned: a setting, a feature flag, the host's name.

    It may run again if the process dies before the value is recorded, and it is not retried: what can fail or has
    effects is a step.

    Args:
        fn: A function without parameters. Its return annotation says how its value is stored; without one, JSON's own
            types are.

    >>> rate = yield from record(lambda: settings.TAX_RATE)
    """
    refuse_in_step("record()", f"{_IN_THE_BODY}; in a step call the function itself")
    given: object = fn
    if not callable(given) or inspect.iscoroutinefunction(given):
        msg = (
            f"record() at {call_site()} takes a function without parameters, got {describe(given)}\n"
            f"  likely cause: it was called already, or it is an `async def`\n"
            f"  wrong:  record(read_rate())\n"
            f"  right:  record(read_rate)"
        )
        raise TypeError(msg)
    codec = ResultCodec(fn)
    command = Record(name="record", produce=lambda: codec.encode(fn()), decode=codec.decode, site=call_site())
    return Call(command, "record")
