"""Classes with fields: attrs, dataclasses, named tuples, typed dicts, and pydantic models.

A field that is not stored yet takes its default and a stored field that is gone is ignored, so that classes may grow. A
subclass is refused where its base is declared: its own fields would be lost. Of a frozen class only what `__init__`
takes is stored; the rest is computed again. pydantic is never imported here: a model can only exist where somebody else
has done so.
"""

# Values of any type pass through here, and narrowing one to a list leaves its items unknown.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import dataclasses
import sys
import typing
from collections.abc import Callable
from functools import cache
from typing import Any, TypeVar

import attrs

from qwit_durable.codec.scalars import Form
from qwit_durable.codec.text import Unfit, label, under, unlike, write
from qwit_durable.errors import DefinitionError

__all__ = ["is_model", "is_pydantic", "model_form", "pydantic_form"]

_FormOf = Callable[[Any], Form]


@attrs.frozen(kw_only=True)
class _Field:
    """One field: its name in the JSON, its type, and how an instance is given it."""

    name: str
    declared: Any
    parameter: str
    is_required: bool = True
    in_init: bool = True


def is_pydantic(cls: Any) -> bool:
    """Whether the class is a pydantic model."""
    pydantic = sys.modules.get("pydantic")
    return pydantic is not None and isinstance(cls, type) and issubclass(cls, pydantic.BaseModel)


def is_model(cls: Any) -> bool:
    """Whether the class is one with fields that this module knows."""
    return isinstance(cls, type) and (
        attrs.has(cls) or dataclasses.is_dataclass(cls) or _is_named_tuple(cls) or typing.is_typeddict(cls)
    )


def _is_named_tuple(cls: type) -> bool:
    return issubclass(cls, tuple) and hasattr(cls, "_fields")


def _type_arguments(annotation: Any) -> dict[Any, Any]:
    """What the type variables of a generic class and of its bases stand for."""
    cls = typing.get_origin(annotation) or annotation
    found = dict(zip(getattr(cls, "__parameters__", ()), typing.get_args(annotation), strict=False))
    for base in getattr(cls, "__orig_bases__", ()):
        if typing.get_origin(base) is not typing.Generic and typing.get_args(base):
            found.update(_type_arguments(_filled(base, found)))
    return found


def _filled(annotation: Any, arguments: dict[Any, Any]) -> Any:
    """The annotation with its type variables replaced; one that nothing is known of is replaced by Any."""
    if isinstance(annotation, TypeVar):
        return arguments.get(annotation, Any)
    parameters = getattr(annotation, "__parameters__", ())
    if not parameters or isinstance(annotation, type):
        return annotation
    return annotation[tuple(arguments.get(p, Any) for p in parameters)]


def _fields_of(cls: Any) -> list[_Field]:
    """The fields that are stored. Types are resolved; type variables are still in them."""
    hints = typing.get_type_hints(cls, include_extras=True)
    if attrs.has(cls):
        return [
            _Field(
                name=a.name,
                declared=hints.get(a.name, a.type),
                parameter=a.alias or a.name,
                is_required=a.default is attrs.NOTHING,
                in_init=a.init,
            )
            for a in attrs.fields(cls)
            if a.init or "frozen" not in getattr(cls.__setattr__, "__name__", "")
        ]
    if dataclasses.is_dataclass(cls):
        frozen: bool = getattr(cls, "__dataclass_params__").frozen  # noqa: B009 - unknown to type checkers
        return [
            _Field(
                name=f.name,
                declared=hints[f.name],
                parameter=f.name,
                is_required=f.default is f.default_factory is dataclasses.MISSING,
                in_init=f.init,
            )
            for f in dataclasses.fields(cls)
            if f.init or not frozen
        ]
    if typing.is_typeddict(cls):
        return [
            _Field(name=name, declared=hint, parameter=name, is_required=_is_required(cls, name, hint))
            for name, hint in hints.items()
        ]
    return [
        _Field(
            name=name,
            declared=hints.get(name, Any),
            parameter=name,
            is_required=name not in cls._field_defaults,
        )
        for name in cls._fields
    ]


def _is_required(cls: Any, name: str, hint: Any) -> bool:
    """Whether a typed dict must have a key; where annotations are text, the class itself can't tell."""
    mark = typing.get_origin(hint)
    return mark is typing.Required or (mark is not typing.NotRequired and name in cls.__required_keys__)


def model_form(annotation: Any, form_of: _FormOf) -> Form:
    """A class with fields."""
    cls: Any = typing.get_origin(annotation) or annotation
    is_dict = typing.is_typeddict(cls)
    try:
        fields = _fields_of(cls)
    except NameError as error:
        msg = (
            f"an annotation in class {cls.__qualname__} can't be resolved: {error}\n"
            f"  likely cause: the name is imported under TYPE_CHECKING alone, or defined inside a function\n"
            f"  way out: import or define it at module level"
        )
        raise DefinitionError(msg) from error
    arguments = _type_arguments(annotation)

    @cache  # at first use, because a class may refer to itself
    def forms() -> list[tuple[_Field, Form]]:
        return [(field, form_of(_filled(field.declared, arguments))) for field in fields]

    def take_apart(value: Any, read: Callable[[Any, str], Any]) -> dict[str, Any]:
        parts: dict[str, Any] = {}
        for field, form in forms():
            try:
                parts[field.name] = form.encode(read(value, field.name))
            except Exception as error:
                if is_dict and field.name not in value:
                    if not field.is_required:
                        continue
                    msg = "is missing"
                    raise Unfit(msg, f".{field.name}") from None
                raise under(f".{field.name}", error) from error
        return parts

    def encode(value: Any) -> Any:
        if is_dict and isinstance(value, dict):
            return take_apart(value, dict.__getitem__)
        if type(value) is not cls:
            raise _not_exactly(value, annotation, cls)
        return take_apart(value, getattr)

    def decode(value: Any) -> Any:
        if not isinstance(value, dict):
            raise unlike(value, label(annotation))
        given: dict[str, Any] = {}
        later: dict[str, Any] = {}
        for field, form in forms():
            if field.name in value:
                try:
                    (given if field.in_init else later)[field.parameter] = form.decode(value[field.name])
                except Exception as error:
                    raise under(f".{field.name}", error) from error
            elif field.is_required and field.in_init:
                msg = "is missing and has no default"
                raise Unfit(msg, f".{field.name}")
        instance = cls(**given)
        for name, part in later.items():
            setattr(instance, name, part)
        return instance

    return Form(
        encode=encode, decode=decode, cls=dict if is_dict else cls, shape="wrapped" if is_dict else "object"
    )


def _not_exactly(value: Any, annotation: Any, cls: type) -> Unfit:
    if typing.is_typeddict(cls) or not isinstance(value, cls):
        return unlike(value, label(annotation))
    name, sub = label(annotation), type(value).__name__
    return Unfit(
        f"is a {sub}, a subclass of the declared {name}, whose own fields would be lost: declare {name} | {sub}"
    )


def pydantic_form(cls: Any) -> Form:
    """A pydantic model writes and reads itself; its sets are put in order, and what it would lose is refused."""

    def decode(value: Any) -> Any:
        return cls.model_validate(value, by_name=True)

    def encode(value: Any) -> Any:
        if type(value) is not cls:
            raise _not_exactly(value, cls, cls)
        plain = _sets_sorted(value.model_dump(), value.model_dump(mode="json"))
        if decode(plain) != value:
            msg = (
                f"is a {cls.__name__} that does not come back equal from its own JSON: "
                f"a secret, an excluded or private field or a serializer of its own loses something"
            )
            raise Unfit(msg)
        return plain

    return Form(encode=encode, decode=decode, cls=cls, shape="object")


def _sets_sorted(value: Any, plain: Any) -> Any:
    """Bring the lists in `plain` that stand for sets in `value` into one order for all processes."""
    match value, plain:
        case (set() | frozenset(), list()):
            return sorted(plain, key=write)
        case (dict(), dict()) if len(value) == len(plain):
            return {k: _sets_sorted(v, p) for v, (k, p) in zip(value.values(), plain.items(), strict=True)}
        case (list() | tuple(), list()) if len(value) == len(plain):
            return [_sets_sorted(v, p) for v, p in zip(value, plain, strict=True)]
        case _:
            return plain
