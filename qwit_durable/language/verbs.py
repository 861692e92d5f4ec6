"""The verbs of a body: what it may ask for besides steps and sub-workflows.

Each returns an inert call that the body yields: `answer = yield from verb(...)`. What a verb answers is recorded once
and the same on every replay. Random numbers come from `ids`; this module makes none itself. Neighbour: `groups` has the
verbs that run several things at once.
"""

from __future__ import annotations

import inspect
from collections.abc import Callable
from datetime import datetime, timedelta
from functools import partial
from typing import Any, NoReturn, TypeVar, overload
from uuid import UUID

import attrs

from qwit_durable import ids
from qwit_durable.codec import ResultCodec, annotation_of, decode, encode
from qwit_durable.core.building import current_sink
from qwit_durable.core.commands import (
    CallStep,
    Compensate,
    Info,
    Now,
    Patched,
    Publish,
    Record,
    Restart,
    Sleep,
    WaitSignal,
    Yieldable,
)
from qwit_durable.errors import describe
from qwit_durable.language.calls import IN_THE_BODY, Call, call_site, refuse_in_step, refuse_oversized
from qwit_durable.language.options import check_annotation, check_duration, check_moment, check_name

__all__ = [
    "RunInfo",
    "compensate",
    "info",
    "new_uuid",
    "now",
    "patched",
    "publish",
    "random_float",
    "record",
    "restart",
    "sleep",
    "sleep_until",
    "wait_signal",
]

T = TypeVar("T")

_MAX_KEY_CHARS = 255


def sleep(duration: timedelta) -> Call[None]:
    """Wait. The wait is a row in the store: it holds no thread and survives restarts.

    Args:
        duration: How long, from the moment at which this is first asked; not negative.

    Raises:
        TypeError: It is no `timedelta`; the message shows the right form.
        ValueError: It is negative.

    >>> yield from sleep(timedelta(days=30))
    """
    refuse_in_step("sleep()", IN_THE_BODY)
    check_duration(duration, "duration", "sleep()")
    return Call(Sleep(duration=duration, site=call_site()), "sleep")


def sleep_until(moment: datetime) -> Call[None]:
    """Wait until a moment; not at all if it has passed. As `sleep`, it holds no thread.

    Args:
        moment: An aware datetime.

    Raises:
        TypeError: It is no `datetime`, or has no time zone.

    >>> yield from sleep_until(datetime(2030, 1, 1, tzinfo=UTC))
    """
    refuse_in_step("sleep_until()", IN_THE_BODY)
    check_moment(moment, "moment", "sleep_until()")
    return Call(Sleep(until=moment, site=call_site()), "sleep_until")


def _check_signal(name: object) -> None:
    if not isinstance(name, str) or not name:
        msg = (
            f"wait_signal() at {call_site()}: name is a str that is not empty, got {describe(name)}\n"
            f'  right:  yield from wait_signal("approved")'
        )
        raise TypeError(msg)
    check_name(name, "name", "wait_signal()")


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
    refuse_in_step("wait_signal()", IN_THE_BODY)
    _check_signal(name)
    if timeout is not None:
        check_duration(timeout, "timeout", "wait_signal()")
    check_annotation(type, f"wait_signal() at {call_site()}")
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
    refuse_in_step("compensate()", IN_THE_BODY)
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
    refuse_in_step("now()", f"{IN_THE_BODY}; in a step use datetime.now(UTC)")
    return Call(Now(decode=partial(decode, annotation=datetime), site=call_site()), "now")


def new_uuid() -> Call[UUID]:
    """A random UUID, recorded.

    >>> token = yield from new_uuid()
    """
    refuse_in_step("new_uuid()", f"{IN_THE_BODY}; in a step use uuid.uuid4()")
    return Call(_recorded("uuid", ids.new_uuid4, UUID), "new_uuid")


def random_float() -> Call[float]:
    """A random number in [0, 1), recorded.

    >>> is_control_group = (yield from random_float()) < 0.5
    """
    refuse_in_step("random_float()", f"{IN_THE_BODY}; in a step use random.random()")
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
    refuse_in_step("record()", f"{IN_THE_BODY}; in a step call the function itself")
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


def publish(key: str, value: object) -> Call[None]:
    """Let others see a value while the run goes on: `handle.published()` has the latest one under each key.

    It costs no step: it is recorded with whatever the body does next, once, and is never published again by a replay.

    Args:
        key: Its name, 1 to 255 characters.
        value: Anything that can be stored.

    Raises:
        TypeError: `key` is no text, or has another length.
        EncodingError: The value can't be stored, or is too large.

    >>> yield from publish("progress", {"done": 3, "of": 10})
    """
    refuse_in_step("publish()", f"{IN_THE_BODY}; in a step use current().heartbeat(...)")
    _check_key(key)
    where = f"the value published as {key!r}"
    data = encode(value, annotation_of(value), where)
    refuse_oversized(data, where)
    return Call(Publish(name=key, value=data, site=call_site()), "publish")


def _check_key(key: object) -> None:
    if not isinstance(key, str) or not 0 < len(key) <= _MAX_KEY_CHARS:
        msg = f"publish() at {call_site()}: key is a str of 1 to {_MAX_KEY_CHARS} characters, got {describe(key)}"
        raise TypeError(msg)
    check_name(key, "key", "publish()")


def _check_change(change_id: object) -> None:
    if not isinstance(change_id, str) or not change_id or "!" in change_id:
        wanted = "a str that is not empty and has no '!'"
        msg = f"patched() at {call_site()}: change_id is {wanted}, got {describe(change_id)}"
        raise TypeError(msg)
    check_name(change_id, "change_id", "patched()")


def patched(change_id: str) -> Call[bool]:
    """Tell whether this run takes a changed path: a way to change a body while runs of it are open.

    False in a run that has recorded commands beyond this place without it: it keeps its old path. Else True, and
    recorded. A run sticks to its first answer for a change, until it is restarted. When no old run is left, delete the
    old path, and with it the call.

    Args:
        change_id: The name of the change, without an exclamation mark.

    >>> if (yield from patched("ask-the-new-warehouse")):
    ...     box = yield from pack_by_robot(item)
    ... else:
    ...     box = yield from pack(item)
    """
    refuse_in_step("patched()", IN_THE_BODY)
    _check_change(change_id)
    return Call(Patched(name=change_id, site=call_site()), "patched")


def restart(*args: Any, **kwargs: Any) -> Call[NoReturn]:
    """End this run's history here and go on with new arguments under the same id.

    For bodies that would go on for ever: the history stays short. What is owed and signals that nobody has taken come
    along; published values and the deadline stay. Nothing after it in the body runs.

    Args:
        args: The workflow's arguments from now on.
        kwargs: The same, by name.

    Raises:
        TypeError: They don't fit the workflow's signature, or it is called outside a body.
        EncodingError: One of them can't be stored.

    >>> @workflow
    ... def read_all(cursor: int) -> Workflow[int]:
    ...     yield from pack(f"rows from {cursor} on")
    ...     if cursor < 300:
    ...         yield from restart(cursor + 100)
    ...     return cursor
    >>> read_all.start(0).result()
    300
    """
    refuse_in_step("restart()", IN_THE_BODY)
    sink = current_sink()
    if sink is None or sink.encode_args is None:
        msg = f"restart() was called outside a workflow's body, at {call_site()}\n  way out: call it in the body"
        raise TypeError(msg)
    return Call(Restart(args=sink.encode_args(args, kwargs), site=call_site()), "restart")


@attrs.frozen(kw_only=True)
class RunInfo:
    """What a body can learn about its run.

    Attributes:
        run_id: The run's id.
        namespace: Of the `Durable` it runs under.
        workflow: The workflow's name.
        version: Of the workflow, when the run was started.
        started_at: When it was stored.
        attempt: How often the body has begun: 1, and one more after each restart.

    >>> about = yield from info()
    >>> about.workflow, about.namespace
    ('the example', 'default')
    """

    run_id: str
    namespace: str
    workflow: str
    version: str | None
    started_at: datetime
    attempt: int


def info() -> Call[RunInfo]:
    """Facts about this run: its id, namespace, workflow, version, start, and how often the body has begun.

    >>> run_id = (yield from info()).run_id
    """
    refuse_in_step("info()", f"{IN_THE_BODY}; in a step use current()")
    reader = partial(decode, annotation=RunInfo, where="what is recorded about the run")
    return Call(Info(decode=reader, site=call_site()), "info")
