"""From an annotation to the way its values are written: one lookup, then cached.

`form_of` knows every kind of annotation that may be stored. What it does not know is refused when a value comes, with
the remedy: what is stored is data, never a live object.
"""

# Values of any type pass through here, and narrowing one to a list leaves its items unknown.
# pyright: reportUnknownArgumentType=false, reportUnknownMemberType=false, reportUnknownVariableType=false

from __future__ import annotations

import enum
import threading
import types
import typing
from pathlib import PurePath
from typing import Any, Literal, TypeVar, Union

from qwit_durable.codec.containers import (
    MAPPINGS,
    NATIVE,
    SEQUENCES,
    SETS,
    fixed_tuple_form,
    mapping_form,
    sequence_form,
    set_form,
)
from qwit_durable.codec.models import is_model, is_pydantic, model_form, pydantic_form
from qwit_durable.codec.scalars import SCALARS, Form, enum_form, literal_form, path_form
from qwit_durable.codec.text import Unfit, kind_of, label
from qwit_durable.codec.unions import union_form

__all__ = ["form_of"]

_forms: dict[Any, Form] = {}
_being_built: set[Any] = set()
_building = threading.RLock()


def form_of(annotation: Any) -> Form:
    """How values of this annotation are written and read. A type alias may refer to itself."""
    try:
        known = _forms.get(annotation)
    except TypeError:  # an annotation that can't be hashed, as Annotated[int, []]
        return _build(annotation)
    if known is not None:
        return known
    with _building:
        if annotation in _being_built:
            return Form(
                encode=lambda value: form_of(annotation).encode(value),
                decode=lambda value: form_of(annotation).decode(value),
            )
        _being_built.add(annotation)
        try:
            form = _forms[annotation] = _build(annotation)
        finally:
            _being_built.discard(annotation)
        return form


def _build(annotation: Any) -> Form:
    if annotation in (None, Any, object):
        return NATIVE
    if isinstance(annotation, type) and not typing.get_args(annotation):
        return _of_class(annotation)
    if isinstance(annotation, TypeVar):
        return form_of(annotation.__bound__)
    for alias in ("__supertype__", "__value__"):  # NewType; the `type` statement of Python 3.12
        if hasattr(annotation, alias):
            return form_of(getattr(annotation, alias))
    if hasattr(annotation, "__metadata__"):  # Annotated
        return form_of(annotation.__origin__)
    return _of_generic(annotation, typing.get_origin(annotation), typing.get_args(annotation))


def _of_class(cls: Any) -> Form:
    if cls in SCALARS:
        return SCALARS[cls]
    if cls in SEQUENCES:
        return sequence_form(cls, NATIVE, SEQUENCES[cls])
    if cls in SETS:
        return set_form(cls, NATIVE, SETS[cls])
    if cls in MAPPINGS:
        return mapping_form(cls, None, NATIVE)
    if issubclass(cls, enum.Enum):
        return enum_form(cls)
    if issubclass(cls, PurePath):
        return path_form(cls)
    if is_pydantic(cls):
        return pydantic_form(cls)
    if is_model(cls):
        return model_form(cls, form_of)
    return _refusing(cls)


def _of_generic(annotation: Any, origin: Any, arguments: tuple[Any, ...]) -> Form:
    if origin in (Union, types.UnionType):
        return union_form(arguments, form_of)
    if origin is Literal:
        return literal_form(annotation, arguments)
    if origin in (typing.Final, typing.ClassVar, typing.Required, typing.NotRequired):
        return form_of(arguments[0])
    if annotation is typing.Tuple:  # noqa: UP006 - the old spelling of a bare tuple
        return form_of(tuple)
    if origin is tuple and not (len(arguments) == 2 and arguments[1] is ...):  # noqa: PLR2004 - tuple[T, ...]
        return fixed_tuple_form(annotation, tuple(map(form_of, arguments)))
    if origin in SEQUENCES:
        return sequence_form(annotation, form_of(arguments[0] if arguments else Any), SEQUENCES[origin])
    if origin in SETS:
        return set_form(annotation, form_of(arguments[0] if arguments else Any), SETS[origin])
    if origin in MAPPINGS:
        key, item = arguments or (Any, Any)
        return mapping_form(annotation, None if key is Any else form_of(key), form_of(item))
    if is_model(origin):
        return model_form(annotation, form_of)
    return _refusing(annotation)


def _refusing(annotation: Any) -> Form:
    def encode(value: Any) -> Any:
        msg = (
            f"is {kind_of(value)}, declared as {label(annotation)}, which can't be stored as JSON: "
            f"store what identifies it and make it again inside the step, "
            f"or declare an attrs class, a dataclass or a pydantic model"
        )
        raise Unfit(msg)

    def decode(value: Any) -> Any:  # noqa: ARG001 - the signature of a decoder
        msg = f"is declared as {label(annotation)}, which can't be read from JSON"
        raise Unfit(msg)

    return Form(encode=encode, decode=decode, cls=annotation if isinstance(annotation, type) else None)
