"""Values without parts: JSON's own scalars, and the types of the standard library that are written as text.

Types are taken at their word in both directions: a `str` is never read as an `int`, nor `"no"` as a true `bool`. An
`int` where a `float` is declared becomes one; a subclass of a standard type comes back as the standard type. A
`timedelta` is written as an ISO 8601 duration of seconds (`"PT90.5S"`), `bytes` as base64.
"""

from __future__ import annotations

import base64
import binascii
import enum
import math
import re
from collections.abc import Callable
from datetime import date, datetime, time, timedelta
from decimal import Decimal
from pathlib import PurePath
from typing import Any, Literal
from uuid import UUID

import attrs

from qwit_durable.codec.text import Unfit, kind_of, label, unlike

__all__ = ["SCALARS", "Form", "enum_form", "literal_form", "path_form"]

Shape = Literal["bare", "object", "wrapped"]


@attrs.frozen(kw_only=True)
class Form:
    """How values of one annotation are written as JSON and read back.

    Attributes:
        encode: Value to JSON value; raises `Unfit`.
        decode: JSON value to value; raises `Unfit`.
        cls: The class whose instances these values are, or None where there is no one class.
        shape: How a union marks it: `bare` scalars need no mark, an `object` takes it among its fields, else it is
            `wrapped`.
        is_text: Whether it is always written as a JSON string: then it serves as an object's key as it is.
    """

    encode: Callable[[Any], Any]
    decode: Callable[[Any], Any]
    cls: type | None = None
    shape: Shape = "wrapped"
    is_text: bool = False


def _taking(cls: type) -> Callable[[Any], Any]:
    def check(value: Any) -> Any:
        if isinstance(value, cls):
            return value
        raise unlike(value, cls.__name__)

    return check


def _encode_float(value: Any) -> float:
    if not isinstance(value, (float, int)):
        raise unlike(value, "float")
    try:
        number = float(value)
    except OverflowError:
        msg = "is an int too large for the declared float"
        raise Unfit(msg) from None
    if not math.isfinite(number):
        msg = f"is {number}, which JSON has no form for: use None or a str"
        raise Unfit(msg)
    return number


def _bare(cls: type, *, is_text: bool = False) -> Form:
    check = _taking(cls)
    return Form(encode=check, decode=check, cls=cls, shape="bare", is_text=is_text)


def _written(
    cls: type, write: Callable[[Any], str], parse: Callable[[Any], Any], reads: type | tuple[type, ...] = str
) -> Form:
    def encode(value: Any) -> str:
        if isinstance(value, cls):
            return write(value)
        raise unlike(value, cls.__name__)

    def decode(value: Any) -> Any:
        if not isinstance(value, reads):
            raise unlike(value, cls.__name__)
        try:
            return parse(value)
        except (ValueError, ArithmeticError):
            msg = f"is {kind_of(value)}, which can't be read as {cls.__name__}"
            raise Unfit(msg) from None

    return Form(encode=encode, decode=decode, cls=cls, is_text=True)


def _date_form() -> Form:
    plain = _written(date, lambda v: v.isoformat(), date.fromisoformat)

    def encode(value: Any) -> Any:
        if isinstance(value, datetime):
            raise unlike(value, "date")
        return plain.encode(value)

    return attrs.evolve(plain, encode=encode)


_DURATION = re.compile(r"(-?)PT(\d+)(?:\.(\d{1,6}))?S")
_ONE = timedelta(microseconds=1)


def _write_duration(value: timedelta) -> str:
    seconds, microseconds = divmod(abs(value // _ONE), 1_000_000)
    sign = "-" if value < timedelta(0) else ""
    fraction = f".{microseconds:06d}".rstrip("0") if microseconds else ""
    return f"{sign}PT{seconds}{fraction}S"


def _read_duration(value: str | float) -> timedelta:
    """Read our own text, or a number of seconds as a person writes it on the command line."""
    if not isinstance(value, str):
        return timedelta(seconds=value)
    found = _DURATION.fullmatch(value)
    if found is None:
        raise ValueError
    sign, seconds, fraction = found.groups()
    duration = int(seconds) * 1_000_000 + int((fraction or "0").ljust(6, "0"))
    return (-duration if sign else duration) * _ONE


def _read_base64(value: str) -> bytes:
    try:
        return base64.b64decode(value, validate=True)
    except binascii.Error as error:
        raise ValueError from error


SCALARS: dict[Any, Form] = {
    str: _bare(str, is_text=True),
    int: _bare(int),
    bool: _bare(bool),
    type(None): _bare(type(None)),
    float: Form(encode=_encode_float, decode=_encode_float, cls=float, shape="bare"),
    datetime: _written(datetime, lambda v: v.isoformat(), datetime.fromisoformat),
    date: _date_form(),
    time: _written(time, lambda v: v.isoformat(), time.fromisoformat),
    timedelta: _written(timedelta, _write_duration, _read_duration, (str, int, float)),
    UUID: _written(UUID, str, UUID),
    Decimal: _written(Decimal, str, lambda v: Decimal(str(v)), (str, int, float)),
    bytes: _written(bytes, lambda v: base64.b64encode(v).decode(), _read_base64),
}


def path_form(cls: type[PurePath]) -> Form:
    """Paths are written as text, with the separators of the system they were made on."""
    return _written(cls, str, cls)


_PLAIN = (str, int, float, bool, type(None))


def enum_form(cls: type[enum.Enum]) -> Form:
    """An enum is written as its value where all its values are JSON scalars, else as its name."""
    by_value = all(isinstance(member.value, _PLAIN) for member in cls)
    is_text = not by_value or all(isinstance(member.value, str) for member in cls)

    def encode(value: Any) -> Any:
        if not isinstance(value, cls):
            raise unlike(value, cls.__name__)
        return value.value if by_value else value.name

    def decode(value: Any) -> Any:
        try:
            return cls(value) if by_value else cls[value]
        except (ValueError, KeyError, TypeError):
            msg = f"is {kind_of(value)}, which is no {cls.__name__}"
            raise Unfit(msg) from None

    return Form(encode=encode, decode=decode, cls=cls, is_text=is_text)


def literal_form(annotation: Any, choices: tuple[Any, ...]) -> Form:
    """A `Literal` takes exactly its values: 1 is not True there."""
    pairs = [(c, enum_form(type(c)).encode(c) if isinstance(c, enum.Enum) else c) for c in choices]
    is_plain = not any(isinstance(c, (enum.Enum, bytes)) for c in choices)

    def matching(value: Any, side: int) -> Any:
        for pair in pairs:
            if pair[side] == value and type(pair[side]) is type(value):
                return pair[1 - side]
        raise unlike(value, label(annotation))

    return Form(
        encode=lambda value: matching(value, 0),
        decode=lambda value: matching(value, 1),
        shape="bare" if is_plain else "wrapped",
        is_text=all(isinstance(plain, str) for _, plain in pairs),
    )
