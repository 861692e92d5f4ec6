"""Values with parts that are no classes of the user's: lists, tuples, sets, mappings, and what is not annotated.

Each container adds its own step to the path of a failure (`[3]`, `['key']`). What is not annotated may hold JSON's own
types only, so that nothing comes back as another type by surprise; a tuple there comes back as a list, each time.
A mapping comes back sorted by its keys, because that is how it is stored.
"""

# Values of any type pass through here, and narrowing one to a list leaves its items unknown.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import collections
import collections.abc
import math
from collections.abc import Callable, Iterable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from qwit_durable.codec.scalars import Form
from qwit_durable.codec.text import Unfit, kind_of, label, parse, read, under, unlike, write
from qwit_durable.core.commands import Yieldable

__all__ = [
    "NATIVE",
    "MAPPINGS",
    "SEQUENCES",
    "SETS",
    "fixed_tuple_form",
    "mapping_form",
    "sequence_form",
    "set_form",
]

#: Which class is built for which annotation.
SEQUENCES: dict[Any, Callable[[list[Any]], Any]] = {
    list: list,
    tuple: tuple,
    collections.deque: collections.deque,
    collections.abc.Sequence: list,
    collections.abc.MutableSequence: list,
    collections.abc.Collection: list,
    collections.abc.Iterable: list,
}
SETS: dict[Any, Callable[[list[Any]], Any]] = {
    set: set,
    frozenset: frozenset,
    collections.abc.Set: frozenset,
    collections.abc.MutableSet: set,
}
MAPPINGS = {dict, collections.abc.Mapping, collections.abc.MutableMapping}

_SCALAR = (str, int, bool, type(None))
_NO_SEQUENCE = (str, bytes, bytearray, Mapping, AbstractSet)


def _each(convert: Callable[[Any], Any], items: Iterable[Any]) -> list[Any]:
    converted: list[Any] = []
    try:
        for item in items:
            converted.append(convert(item))  # noqa: PERF401 - its length tells where a failure was
    except Exception as error:
        raise under(f"[{len(converted)}]", error) from error
    return converted


def _check_native(value: Any) -> Any:
    if value is None or isinstance(value, _SCALAR):
        return value
    if isinstance(value, float):
        if math.isfinite(value):
            return value
        msg = f"is {value}, which JSON has no form for: use None or a str"
        raise Unfit(msg)
    if isinstance(value, (list, tuple)):
        _each(_check_native, value)
        return value
    if isinstance(value, dict):
        for key, item in value.items():
            if not isinstance(key, str):
                wanted = f"dict[{type(key).__name__}, ...]"
                msg = f"has the key {kind_of(key)}, and JSON's keys are str: annotate it, for example as {wanted}"
                raise Unfit(msg)
            if item is not None and not isinstance(item, _SCALAR):
                try:
                    _check_native(item)
                except Exception as error:
                    raise under(f"[{key!r}]", error) from error
        return value
    raise Unfit(_why_not_native(value))


def _why_not_native(value: Any) -> str:
    if isinstance(value, Yieldable):
        return f"is {kind_of(value)}, a call that was never run: write `value = yield from ...` before you pass it on"
    return (
        f"is {kind_of(value)}, and no annotation says how to write it: "
        f"annotate it with its type, or pass JSON's own types (None, bool, int, float, str, list, dict)"
    )


NATIVE = Form(encode=_check_native, decode=lambda value: value, shape="bare")


def sequence_form(annotation: Any, item: Form, build: Callable[[list[Any]], Any]) -> Form:
    """Any number of items of one type."""

    def encode(value: Any) -> list[Any]:
        if isinstance(value, _NO_SEQUENCE) or not isinstance(value, Iterable):
            raise unlike(value, label(annotation))
        return _each(item.encode, value)

    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise unlike(value, label(annotation))
        return build(_each(item.decode, value))

    return Form(encode=encode, decode=decode, cls=build if isinstance(build, type) else None)


def fixed_tuple_form(annotation: Any, items: tuple[Form, ...]) -> Form:
    """A tuple with one type for each place."""

    def convert(value: Any, side: str) -> list[Any]:
        if not isinstance(value, (list, tuple)) or len(value) != len(items):
            raise unlike(value, label(annotation))
        converted: list[Any] = []
        for index, (form, part) in enumerate(zip(items, value, strict=True)):
            try:
                converted.append(getattr(form, side)(part))
            except Exception as error:
                raise under(f"[{index}]", error) from error
        return converted

    return Form(
        encode=lambda value: convert(value, "encode"),
        decode=lambda value: tuple(convert(value, "decode")),
        cls=tuple,
    )


def set_form(annotation: Any, item: Form, build: Callable[[list[Any]], Any]) -> Form:
    """A set is written as a list in the order of its members' texts."""

    def encode(value: Any) -> list[Any]:
        if not isinstance(value, AbstractSet):
            raise unlike(value, label(annotation))
        written = []
        for member in value:
            try:
                written.append(item.encode(member))
            except Exception as error:
                path, reason = read(error)
                raise Unfit(reason, f"{{{member!r}}}{path}") from error
        return sorted(written, key=write)

    def decode(value: Any) -> Any:
        if not isinstance(value, list):
            raise unlike(value, label(annotation))
        return build(_each(item.decode, value))

    return Form(encode=encode, decode=decode, cls=build if isinstance(build, type) else None)


def mapping_form(annotation: Any, key: Form | None, item: Form) -> Form:
    """A mapping is written as an object. Keys that are no text are written as the JSON text of the key.

    `key` is None where the annotation says nothing about keys: then they must be str.
    """

    def encode_key(value: Any) -> str:
        if key is None:
            if isinstance(value, str):
                return value
            wanted = f"dict[{type(value).__name__}, ...]"
            msg = (
                f"is {kind_of(value)}, and JSON's keys are str: annotate the mapping, for example as {wanted}"
            )
            raise Unfit(msg)
        plain = key.encode(value)
        return plain if key.is_text else write(plain).decode()

    def decode_key(text: str) -> Any:
        if key is None:
            return text
        return key.decode(text if key.is_text else parse(text.encode()))

    def convert(
        value: Any, convert_key: Callable[[Any], Any], convert_item: Callable[[Any], Any]
    ) -> dict[Any, Any]:
        if not isinstance(value, Mapping):
            raise unlike(value, label(annotation))
        converted: dict[Any, Any] = {}
        for name, part in value.items():
            step = f"[{name!r}] (the key)"
            try:
                new_name = convert_key(name)
                step = f"[{name!r}]"
                converted[new_name] = convert_item(part)
            except Exception as error:
                raise under(step, error) from error
        return converted

    return Form(
        encode=lambda value: convert(value, encode_key, item.encode),
        decode=lambda value: convert(value, decode_key, item.decode),
        cls=dict,
    )
