"""Canonical JSON text, and what is said about a value that has none.

One value has one text: sorted keys, no spaces, UTF-8, no NaN. Two commands are the same when their texts are, so
nothing here may depend on the order of a set or on the process. `Unfit` is internal: it carries the path to the wrong
place outwards until `codec.values` or `codec.signature` turn it into an `EncodingError`.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from qwit_durable.errors import DefinitionError, describe

__all__ = [
    "Unfit",
    "cause_of",
    "kind_of",
    "label",
    "parse",
    "read",
    "under",
    "unfit_as_name",
    "unlike",
    "write",
]

# Circles are found by Python's recursion limit: the check of the json module costs more than all the rest.
_encode = json.JSONEncoder(
    ensure_ascii=False,
    check_circular=False,
    allow_nan=False,
    sort_keys=True,
    separators=(",", ":"),
).encode


# Python's own way around it costs as much as a small value.
_scan: Callable[[str, int], tuple[Any, int]] = getattr(json.JSONDecoder(), "scan_once")  # noqa: B009 - untyped
_WORDS = {None: b"null", True: b"true", False: b"false"}


def write(plain: Any) -> bytes:
    """The one text of a JSON value."""
    # To set up the encoder costs more than to write a small value.
    if type(plain) is int:
        return b"%d" % plain
    if plain is None or plain is True or plain is False:
        return _WORDS[plain]
    return _encode(plain).encode()


def parse(data: bytes) -> Any:
    """The JSON value that a text spells."""
    text = data.decode()
    try:
        value, end = _scan(text, 0)
    except (ValueError, StopIteration):
        end = 0
    else:
        if end == len(text):
            return value
    return json.loads(text)  # there are spaces around it, or it is no JSON: then this says why


class Unfit(Exception):
    """A value and a type don't go together, at `path` below the value that was given."""

    def __init__(self, reason: str, path: str = "") -> None:
        super().__init__(reason)
        self.reason = reason
        self.path = path


def label(annotation: Any) -> str:
    """An annotation as a person would write it: `dict[str, Order]`."""
    arguments = getattr(annotation, "__args__", None)
    origin = getattr(annotation, "__origin__", None)
    if isinstance(origin, type) and arguments:
        return f"{origin.__name__}[{', '.join(map(label, arguments))}]"
    if annotation is type(None):
        return "None"
    if annotation is ...:
        return "..."
    if isinstance(annotation, type) or hasattr(annotation, "__supertype__"):
        return str(annotation.__name__)
    if arguments and type(annotation).__name__ in {"Union", "UnionType", "_UnionGenericAlias"}:
        return " | ".join(map(label, arguments))
    return str(annotation).replace("typing.", "")


def kind_of(value: Any) -> str:
    """A value and its type, for messages; a `__repr__` that raises does no harm."""
    name = type(value).__name__
    try:
        return f"{describe(value)} of type {name}"
    except Exception:  # noqa: BLE001 - a user's __repr__ may do anything
        return f"a value of type {name}"


def unlike(value: Any, wanted: str) -> Unfit:
    """The value is not what its annotation asks for."""
    return Unfit(f"is {kind_of(value)}, and its annotation asks for {wanted}")


def read(error: Exception) -> tuple[str, str]:
    """Where and why an encoder or a decoder failed."""
    match error:
        case Unfit():
            return error.path, error.reason
        case DefinitionError():
            raise error
        case RecursionError():
            return "", "is nested too deeply, or contains itself"
        case UnicodeEncodeError():
            return "", "holds text that is no valid Unicode (a lone surrogate)"
        case _:
            return "", f"is refused with {type(error).__name__}: {error}"


def cause_of(error: BaseException | None) -> BaseException | None:
    """The error of somebody else's code at the bottom of a failure, or None: the rest says no more than the message."""
    while isinstance(error, Unfit):
        error = error.__cause__
    return error


def unfit_as_name(text: str) -> str | None:
    r"""Why not every store can keep a name as it is: an id, a key, the name of a queue or a signal. None if all can.

    >>> unfit_as_name("scan\0.pdf")
    "holds a NUL character, which not every store can keep: 'scan\\x00.pdf'"
    """
    if "\0" in text:
        return f"holds a NUL character, which not every store can keep: {describe(text)}"
    try:
        text.encode()
    except UnicodeEncodeError:
        return (
            f"is no valid Unicode, it holds a lone surrogate: {describe(text)}\n"
            f"  likely cause: the name of a file as the system gives it; take os.fsencode(name).hex()"
        )
    return None


def under(step: str, error: Exception) -> Unfit:
    """The same failure, seen from one level further out."""
    path, reason = read(error)
    return Unfit(reason, step + path)
