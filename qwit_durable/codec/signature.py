"""The arguments and the value of one function, written as canonical JSON.

A call is one JSON object of all parameters, defaults applied, so that how a call was spelled makes no difference.
Annotations are resolved at first use, when every module has been imported. Binding is a generated function with the
signature of the user's own: Python itself then refuses wrong arguments, in its own words, at the line of the call.
"""

from __future__ import annotations

import inspect
import typing
from collections.abc import Callable, Generator, Mapping
from functools import cached_property
from inspect import Parameter
from typing import Any, Optional

from qwit_durable.codec.forms import form_of
from qwit_durable.codec.scalars import Form
from qwit_durable.codec.text import cause_of, parse, write
from qwit_durable.codec.values import refused, unreadable
from qwit_durable.errors import DefinitionError, EncodingError

__all__ = ["ResultCodec", "SignatureCodec"]

_POSITIONAL = (Parameter.POSITIONAL_ONLY, Parameter.POSITIONAL_OR_KEYWORD)
_NAMED = (Parameter.POSITIONAL_OR_KEYWORD, Parameter.KEYWORD_ONLY)


def _name_of(fn: Callable[..., Any]) -> str:
    return f"{getattr(fn, '__qualname__', type(fn).__name__).rsplit('<locals>.', 1)[-1]}()"


def _hints(fn: Callable[..., Any]) -> dict[str, Any]:
    try:
        return typing.get_type_hints(fn, include_extras=True)
    except NameError as error:
        code = getattr(inspect.unwrap(fn), "__code__", None)
        site = f" ({code.co_filename}:{code.co_firstlineno})" if code else ""
        msg = (
            f"an annotation of {_name_of(fn)}{site} can't be resolved: {error}\n"
            f"  likely cause: the name is imported under TYPE_CHECKING alone, or defined inside a function\n"
            f"  way out: import or define it at module level"
        )
        raise DefinitionError(msg) from error
    except TypeError:  # a callable without annotations of its own, as functools.partial
        return {}


class SignatureCodec:
    """Writes and reads the arguments of `fn`.

    Args:
        fn: The function; its annotations say how each argument is written.
        skip: Names of parameters that are no part of what is stored.
    """

    def __init__(self, fn: Callable[..., Any], skip: tuple[str, ...] = ()) -> None:
        self._fn = fn
        self._label = _name_of(fn)
        parameters = inspect.signature(fn).parameters
        self.parameters: dict[str, Parameter] = {n: p for n, p in parameters.items() if n not in skip}
        self._takes_names = all(p.kind in _NAMED for p in self.parameters.values())

    @cached_property
    def _forms(self) -> list[tuple[str, Form]]:
        """Each parameter, and how it is written."""
        hints = _hints(self._fn)
        forms: list[tuple[str, Form]] = []
        for name, parameter in self.parameters.items():
            declared = hints.get(name, Any)
            if parameter.default is None and declared is not Any:
                declared = Optional[declared]  # noqa: UP045 - built at run time, of anything
            if parameter.kind is Parameter.VAR_POSITIONAL:
                declared = tuple[declared, ...]  # type: ignore[valid-type]
            elif parameter.kind is Parameter.VAR_KEYWORD:
                declared = dict[str, declared]  # type: ignore[valid-type]
            forms.append((name, form_of(declared)))
        return forms

    @cached_property
    def _writers(self) -> list[tuple[str, int, bytes, Callable[[Any], Any]]]:
        """Of each parameter: its name, its place among the sorted ones, how it begins there, and its encoder."""
        places = sorted(self.parameters)
        return [(n, places.index(n), write(n) + b":", form.encode) for n, form in self._forms]

    @cached_property
    def _bind(self) -> Callable[..., dict[str, Any]]:
        """A function of the same signature that returns its arguments as a dict."""
        defaults = {
            f"__default_{n}": p.default
            for n, p in self.parameters.items()
            if p.default is not Parameter.empty
        }
        shown = [
            p.replace(
                annotation=Parameter.empty,
                default=_Verbatim(f"__default_{n}") if p.default is not Parameter.empty else p.default,
            )
            for n, p in self.parameters.items()
        ]
        names = ", ".join(f"{n!r}: {n}" for n in self.parameters)
        scope: dict[str, Any] = dict(defaults)
        exec(f"def bind{inspect.Signature(shown)}: return {{{names}}}", scope)  # noqa: S102 - as dataclasses do it: the text is a signature
        bind = scope["bind"]
        bind.__qualname__ = self._label.removesuffix("()")
        return typing.cast("Callable[..., dict[str, Any]]", bind)

    def encode(self, args: tuple[Any, ...], kwargs: dict[str, Any]) -> bytes:
        """Write the arguments of a call.

        Raises:
            TypeError: The arguments don't fit the signature, as Python would say of a plain call.
            EncodingError: An argument can't be written; the message names it and the path inside it.
        """
        return self.encode_named(self._bind(*args, **kwargs))

    def encode_named(self, values: dict[str, Any]) -> bytes:
        """Write arguments that are given by parameter, all of them, as `decode_named` gives them.

        Raises:
            EncodingError: An argument can't be written; the message names it and the path inside it.
        """
        parts = [b""] * len(values)
        name = ""
        try:
            for name, place, key, encode in self._writers:
                parts[place] = key + write(encode(values[name]))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
            raise refused(f"argument {name!r} of {self._label}", name, error) from cause_of(error)
        return b"{%b}" % b",".join(parts)

    def decode_named(self, data: bytes) -> dict[str, Any]:
        """Read the arguments by name, today's defaults filled in; what is no parameter any more is ignored.

        Raises:
            EncodingError: An argument doesn't fit its annotation, or a parameter without default is not stored.
        """
        stored = parse(data)
        values: dict[str, Any] = {}
        for name, form in self._forms:
            if name not in stored:
                values[name] = self._missing(name, stored)
                continue
            try:
                values[name] = form.decode(stored[name])
            except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
                raise unreadable(f"argument {name!r} of {self._label}", name, error) from cause_of(error)
        return values

    def _missing(self, name: str, stored: dict[str, Any]) -> Any:
        """The value of a parameter that is not stored."""
        parameter = self.parameters[name]
        if parameter.kind is Parameter.VAR_POSITIONAL:
            return ()
        if parameter.kind is Parameter.VAR_KEYWORD:
            return {}
        if parameter.default is not Parameter.empty:
            return parameter.default
        known = ", ".join(stored) or "none"
        msg = (
            f"argument {name!r} of {self._label} is not among the stored arguments ({known})\n"
            f"  likely cause: the parameter is newer than the call\n"
            f"  way out: give it a default"
        )
        raise EncodingError(msg)

    def decode(self, data: bytes) -> tuple[tuple[Any, ...], dict[str, Any]]:
        """Read the arguments as they are passed to the function. Raises as `decode_named` does."""
        named = self.decode_named(data)
        if self._takes_names:
            return (), named
        has_rest = any(p.kind is Parameter.VAR_POSITIONAL for p in self.parameters.values())
        args: list[Any] = []
        kwargs: dict[str, Any] = {}
        for name, parameter in self.parameters.items():
            if parameter.kind is Parameter.VAR_POSITIONAL:
                args.extend(named[name])
            elif parameter.kind is Parameter.VAR_KEYWORD:
                kwargs.update(named[name])
            elif parameter.kind is Parameter.POSITIONAL_ONLY or (has_rest and parameter.kind in _POSITIONAL):
                args.append(named[name])
            else:
                kwargs[name] = named[name]
        return tuple(args), kwargs

    def changed(self, data: bytes, changes: Mapping[str, Any]) -> bytes:
        """Stored arguments with some of them changed, by parameter.

        Raises:
            TypeError: There is no such parameter.
            EncodingError: A new value doesn't fit its parameter; the message names it.
        """
        known = self.decode_named(data)
        unknown = ", ".join(repr(name) for name in changes if name not in known)
        if unknown:
            msg = f"{self._label} has no parameter {unknown}; it has: {', '.join(known) or 'none'}"
            raise TypeError(msg)
        written = self.encode_named({**known, **changes})
        self.decode_named(written)
        return written

    def normalise(self, data: bytes) -> bytes:
        """What `data` would be, had it been written with today's types: new fields with defaults are filled in."""
        args, kwargs = self.decode(data)
        return self.encode(args, kwargs)


class _Verbatim:
    """Shows itself in a signature as the expression that it was given."""

    def __init__(self, expression: str) -> None:
        self._expression = expression

    def __repr__(self) -> str:
        return self._expression


class ResultCodec:
    """Writes and reads the value of `fn` as its return annotation says; a generator's is what it returns at its end."""

    def __init__(self, fn: Callable[..., Any]) -> None:
        self._fn = fn
        self._label = _name_of(fn)

    @cached_property
    def _form(self) -> Form:
        declared = _hints(self._fn).get("return", Any)
        if inspect.isgeneratorfunction(self._fn):
            arguments = typing.get_args(declared)
            is_whole = typing.get_origin(declared) is Generator and len(arguments) == 3  # noqa: PLR2004 - yields, takes, returns
            declared = arguments[2] if is_whole else Any
        return form_of(Any if declared is type(None) else declared)

    def encode(self, value: Any) -> bytes:
        """Write the value.

        Raises:
            EncodingError: It can't be written; the message names the path inside it.
        """
        form = self._form
        try:
            return write(form.encode(value))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
            raise refused(f"the result of {self._label}", "result", error) from cause_of(error)

    def decode(self, data: bytes) -> Any:
        """Read the value.

        Raises:
            EncodingError: What is stored doesn't fit the annotation any more.
        """
        form = self._form
        try:
            return form.decode(parse(data))
        except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
            raise unreadable(f"the result of {self._label}", "result", error) from cause_of(error)
