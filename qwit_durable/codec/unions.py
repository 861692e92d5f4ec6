"""Values that may be of several types: `A | B`.

What JSON can tell apart is written as it is: `None`, and one of several scalars. Everything else carries the mark
`$type` with the name of the union's member: among the fields of an object, or beside `$value`. `A | None` needs no
mark. Reading a value without a mark tries the members in order, so that widening `A` to `A | B` breaks no open run.
"""

# Values of any type pass through here, and narrowing one to a list leaves its items unknown.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from qwit_durable.codec.scalars import Form
from qwit_durable.codec.text import Unfit, label, read, unlike

__all__ = ["TAG", "union_form"]

TAG = "$type"
_VALUE = "$value"

_Member = tuple[str, Form]


def _tags(annotations: tuple[Any, ...]) -> list[str]:
    short = [label(a) for a in annotations]
    return [
        tag if short.count(tag) == 1 else f"{getattr(a, '__module__', '?')}.{getattr(a, '__qualname__', a)}"
        for tag, a in zip(short, annotations, strict=True)
    ]


def _optional(form: Form) -> Form:
    encode, decode = form.encode, form.decode
    return Form(
        encode=lambda value: None if value is None else encode(value),
        decode=lambda value: None if value is None else decode(value),
    )


def _likeliest(value: Any, members: list[_Member]) -> list[_Member]:
    """The members in the order in which they are tried: the value's own class, a class above it, all others."""

    def distance(member: _Member) -> int:
        cls = member[1].cls
        if cls is None:
            return 2
        return 0 if type(value) is cls else 1 if isinstance(value, cls) else 2

    return sorted(members, key=distance)


def _first_that_takes(
    value: Any, members: list[_Member], convert: Callable[[_Member], Any], wanted: str
) -> Any:
    first: Exception | None = None
    for member in members:
        try:
            return convert(member)
        except Exception as error:  # noqa: BLE001 - another member may take it
            if first is None and member[1].cls is type(value):
                first = error
    if first is None:
        raise unlike(value, wanted)
    path, reason = read(first)
    raise Unfit(reason, path) from first


def union_form(annotations: tuple[Any, ...], form_of: Callable[[Any], Form]) -> Form:
    """One of several types. See the module for how they are told apart."""
    present = tuple(a for a in annotations if a is not type(None))
    if len(present) == 1:
        return _optional(form_of(present[0]))
    members: list[_Member] = list(zip(_tags(annotations), map(form_of, annotations), strict=True))
    by_tag = dict(members)
    bare = [m for m in members if m[1].shape == "bare"]
    marked = [m for m in members if m[1].shape != "bare"]
    wanted = " | ".join(by_tag)

    def encode(value: Any) -> Any:
        def mark(member: _Member) -> Any:
            tag, form = member
            plain = form.encode(value)
            match form.shape:
                case "bare":
                    return plain
                case "object":
                    return {TAG: tag, **plain}
                case "wrapped":
                    return {TAG: tag, _VALUE: plain}

        return _first_that_takes(value, _likeliest(value, members), mark, wanted)

    def decode(value: Any) -> Any:
        if not isinstance(value, dict) or TAG not in value:
            candidates = [*_likeliest(value, bare), *marked]
            return _first_that_takes(value, candidates, lambda member: member[1].decode(value), wanted)
        form = by_tag.get(value[TAG])
        if form is None:
            msg = f"is marked as {value[TAG]!r}, which is none of {wanted}"
            raise Unfit(msg)
        if form.shape == "object":
            return form.decode({name: part for name, part in value.items() if name != TAG})
        return form.decode(value.get(_VALUE))

    return Form(encode=encode, decode=decode, shape="bare" if not marked else "wrapped")
