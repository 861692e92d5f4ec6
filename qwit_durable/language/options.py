"""Every option that users may give, and the checks that are common to them.

An option that is not known is refused where it is written, with the most similar known one. Durations are `timedelta`;
a bare number is refused with the right form, because its unit can't be seen.
"""

from __future__ import annotations

import difflib
import json
import math
from collections.abc import Callable, Mapping
from datetime import MAXYEAR, MINYEAR, datetime, timedelta
from typing import Any, Literal, TypedDict, cast, get_origin

import attrs

from qwit_durable.codec import unfit_as_name
from qwit_durable.core.commands import Dispatch, When
from qwit_durable.core.retry import Retry
from qwit_durable.errors import DefinitionError, Failure, describe
from qwit_durable.language.calls import call_site

__all__ = [
    "CallOptions",
    "FlowOptions",
    "OnConflict",
    "StartOptions",
    "StepCallOptions",
    "StepOptions",
    "UndoOptions",
    "WorkflowOptions",
    "check_annotation",
    "check_duration",
    "check_moment",
    "check_name",
    "check_reason",
    "refuse_unknown",
]

OnConflict = Literal["attach", "fail", "replace"]
Attribute = str | int | float | bool

_MAX_ID_CHARS = 255
_MAX_ATTRIBUTES_BYTES = 64 * 1024
_MAX_REASON_CHARS = 64 * 1024


class UndoOptions(TypedDict, total=False):
    """Options of `@step.undo(...)`."""

    when: When
    retry: Retry | Callable[[int, Failure], timedelta]
    timeout: timedelta | None
    heartbeat: timedelta | None
    transactional: bool


class StepCallOptions(TypedDict, total=False):
    """Options of `step.options(...)`: all of a step's but its name."""

    queue: str | None
    priority: int | None
    retry: Retry | Callable[[int, Failure], timedelta]
    timeout: timedelta | None
    deadline: timedelta | None
    heartbeat: timedelta | None
    dispatch: Dispatch | None
    transactional: bool


class StepOptions(StepCallOptions, total=False):
    """Options of `@step(...)`."""

    name: str | None


class WorkflowOptions(TypedDict, total=False):
    """Options of `@workflow(...)`."""

    name: str | None
    version: str | None
    queue: str | None
    deadline: timedelta | None
    on_undo_failure: Literal["stop", "continue"]
    park_on_failure: bool


class FlowOptions(TypedDict, total=False):
    """Options of `flow(...)`."""

    version: str | None
    queue: str | None
    deadline: timedelta | None
    on_undo_failure: Literal["stop", "continue"]
    park_on_failure: bool


class CallOptions(TypedDict, total=False):
    """Options of `workflow.options(...)`."""

    id: str | None
    lane: str | None
    delay: timedelta | None
    at: datetime | None
    attributes: Mapping[str, Attribute] | None
    connection: object
    on_conflict: OnConflict
    deadline: timedelta | None


def refuse_unknown(given: Mapping[str, object], known: type, where: str) -> None:
    """Refuse an option that the TypedDict `known` does not have, naming the most similar one it has."""
    names = list(known.__annotations__)
    for name in given:
        if name not in names:
            close = difflib.get_close_matches(name, names, n=1, cutoff=0.5)
            hint = f"did you mean {close[0]!r}? " if close else ""
            msg = f"{where}: there is no option {name!r}; {hint}Known: {', '.join(sorted(names))}"
            raise DefinitionError(msg)


def check_duration(value: object, name: str, where: str, *, may_be_zero: bool = True) -> None:
    """Refuse what is no `timedelta`, or is too short. Callers whose option may be left out ask for None first.

    Raises:
        TypeError: It is a number or something else; the message shows the right form.
        ValueError: It is negative, or zero where it may not be.
    """
    if not isinstance(value, timedelta):
        is_number = isinstance(value, (int, float)) and not isinstance(value, bool)
        form = f"timedelta(seconds={value})" if is_number else "timedelta(seconds=...)"
        cause = (
            "\n  likely cause: a number of seconds, but of a bare number nobody sees the unit"
            if is_number
            else ""
        )
        msg = (
            f"{_placed(where)}: {name} is a timedelta, got {describe(value)}{cause}\n  right:  {name}={form}"
        )
        raise TypeError(msg)
    if value < timedelta(0) or not (value or may_be_zero):
        least = "not negative" if may_be_zero else "more than zero"
        msg = (
            f"{_placed(where)}: {name} is {least}, got {value.total_seconds():,g} s\n"
            f"  likely cause: it was computed from two moments that came the other way round"
        )
        raise ValueError(msg)


def _placed(where: str) -> str:
    """A bare `sleep()` with the line of the user's that calls it; a definition has its own."""
    return f"{where} at {call_site()}" if where.endswith("()") else where


def check_moment(value: object, name: str, where: str) -> None:
    """Refuse what is no aware `datetime`.

    Raises:
        TypeError: It is something else, or says nothing about its time zone; the message shows the right form.
        ValueError: It is so near to the end of all that there is no saying what it is in another time zone.
    """
    if not isinstance(value, datetime):
        msg = f"{_placed(where)}: {name} is a datetime, got {describe(value)}"
        raise TypeError(msg)
    if value.utcoffset() is None:
        msg = (
            f"{_placed(where)}: {name} has no time zone: {value!r}\n"
            f"  likely cause: a naive datetime, which means another moment on each machine\n"
            f"  right:  datetime(..., tzinfo=UTC), or datetime.now(UTC) + timedelta(...)"
        )
        raise TypeError(msg)
    if not MINYEAR < value.year < MAXYEAR:
        msg = f"{_placed(where)}: {name} lies in a year from {MINYEAR + 1} to {MAXYEAR - 1}, got {value.isoformat()}"
        raise ValueError(msg)


def check_name(value: str, name: str, where: str) -> None:
    """Refuse a text that not every store can keep as it is.

    Raises:
        ValueError: It holds a NUL character, or what is no Unicode.
    """
    if (why := unfit_as_name(value)) is not None:
        msg = f"{_placed(where)}: {name} {why}"
        raise ValueError(msg)


def _check_id(_: object, attribute: Any, value: Any) -> None:
    if value is None:
        return
    name = attribute.name
    if not isinstance(value, str):
        where = f"options() at {call_site()}"
        msg = f'{where}: {name} is a str, got {describe(value)}\n  right:  {name}=f"order-{{order.id}}"'
        raise TypeError(msg)
    if not 0 < len(value) <= _MAX_ID_CHARS:
        msg = f"options() at {call_site()}: {name} has 1 to {_MAX_ID_CHARS} characters, got {len(value)}"
        raise ValueError(msg)
    check_name(value, name, "options()")


def _check_attributes(_: object, __: object, value: dict[Any, Any]) -> None:
    for name, item in value.items():
        if not isinstance(name, str) or not isinstance(item, (str, int, float, bool)):
            msg = (
                f"options() at {call_site()}: attributes are flat, from str to str, int, float or bool; "
                f"{describe(name)} is {describe(item)} of type {type(item).__name__}\n"
                f"  likely cause: they are taken for a place to keep data, but they are what runs are found by\n"
                f"  way out: pass the data as an argument; give several flat attributes"
            )
            raise TypeError(msg)
        for text in (name, item):
            if isinstance(text, str):
                check_name(text, "a name or a value of attributes", "options()")
        if isinstance(item, float) and not math.isfinite(item):
            msg = f"options() at {call_site()}: attribute {name!r} is {item}, which JSON has no number for"
            raise ValueError(msg)
    size = len(json.dumps(value).encode())
    if size > _MAX_ATTRIBUTES_BYTES:
        msg = (
            f"options(): attributes are {size:,} bytes of JSON, and the limit is {_MAX_ATTRIBUTES_BYTES:,}\n"
            f"  way out: they are for finding runs; hand what is larger over as an argument"
        )
        raise ValueError(msg)


def check_reason(reason: object, where: str) -> None:
    """Refuse what is no text, or is too long to be kept in a history.

    Raises:
        TypeError: It is no str.
        ValueError: It is too long.
    """
    if not isinstance(reason, str):
        msg = f"{where}: reason is a str, got {describe(reason)}"
        raise TypeError(msg)
    if len(reason) > _MAX_REASON_CHARS:
        msg = f"{where}: reason has at most {_MAX_REASON_CHARS:,} characters, got {len(reason):,}"
        raise ValueError(msg)


def check_annotation(annotation: Any, where: str) -> None:
    """Refuse what is no type: neither a class nor anything that `typing` makes of classes. Raises TypeError."""
    marks = ("__supertype__", "__value__", "__metadata__", "__bound__")
    is_type = annotation is None or annotation is Any or isinstance(annotation, type)
    if is_type or get_origin(annotation) is not None or any(hasattr(annotation, mark) for mark in marks):
        return
    msg = f"{where}: type is a class or a generic alias such as list[int], got {describe(annotation)}"
    raise TypeError(msg)


def _attributes(value: Any) -> dict[str, Attribute]:
    if value is None:
        return {}
    if not isinstance(value, Mapping):
        msg = f"options() at {call_site()}: attributes is a dict, got {describe(value)}"
        raise TypeError(msg)
    return dict(cast("Mapping[str, Attribute]", value))


@attrs.frozen(kw_only=True)
class StartOptions:
    """How one run is started.

    Attributes:
        id: The run's id from outside, 1 to 255 characters, or None for a new one.
        lane: The lane in which the run takes its place, 1 to 255 characters, or None.
        delay: How long the run waits before it begins.
        at: When the run begins; aware. Not together with `delay`.
        attributes: Flat facts by which runs can be found.
        on_conflict: What happens where a run of this id exists: `attach` to it if its input is the same, `fail`, or
            `replace` it once it has ended.
        deadline: How long the run may take in all, instead of the workflow's own.
        connection: The caller's, inside a transaction: the run begins if and only if that commits.
    """

    id: str | None = attrs.field(default=None, validator=_check_id)
    lane: str | None = attrs.field(default=None, validator=_check_id)
    delay: timedelta | None = None
    at: datetime | None = None
    attributes: dict[str, Attribute] = attrs.field(
        default=None, converter=_attributes, validator=_check_attributes
    )
    on_conflict: OnConflict = "attach"
    deadline: timedelta | None = None
    connection: object = attrs.field(default=None, eq=False, repr=False)

    def __attrs_post_init__(self) -> None:
        if self.delay is not None:
            check_duration(self.delay, "delay", "options()")
        if self.deadline is not None:
            check_duration(self.deadline, "deadline", "options()", may_be_zero=False)
        if self.at is not None:
            check_moment(self.at, "at", "options()")
        if self.delay is not None and self.at is not None:
            msg = f"options() at {call_site()}: delay and at say the same thing in two ways: give one of them"
            raise TypeError(msg)
        if self.on_conflict not in ("attach", "fail", "replace"):
            given = describe(self.on_conflict)
            msg = f"options() at {call_site()}: on_conflict is 'attach', 'fail' or 'replace', got {given}"
            raise ValueError(msg)
