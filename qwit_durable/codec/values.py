"""One value, one annotation: written as canonical JSON and read back."""

from __future__ import annotations

import re
from typing import Any

from qwit_durable.codec.forms import form_of
from qwit_durable.codec.text import cause_of, parse, read, write
from qwit_durable.errors import EncodingError

__all__ = ["annotation_of", "check_size", "decode", "encode", "refused", "unreadable"]

_QUOTED = re.compile(r"'(\w+)'")
_KIB = 1024
_PATH_MAX_CHARS = 200


def encode(value: Any, annotation: Any, where: str) -> bytes:
    """Write a value as canonical JSON, as its annotation says.

    A value always comes back through `decode` before user code sees it, on the first run as on replay: an unannotated
    tuple is a list from the start, a dict is sorted by its keys, a `datetime` keeps its offset but not its zone's name.

    Args:
        value: What to write.
        annotation: Its type, as in a signature; `Any` or None takes JSON's own types only.
        where: What the value is, for messages: `"argument 'order'"`. The quoted name begins the path in the message.

    Returns:
        UTF-8 JSON with sorted keys: equal values of one annotation give equal bytes, in every process.

    Raises:
        EncodingError: The value or a part of it can't be written; the message names the place and the remedy.

    >>> encode({"b": 1, "a": (1, 2)}, None, "the value")
    b'{"a":[1,2],"b":1}'
    """
    try:
        return write(form_of(annotation).encode(value))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
        quoted = _QUOTED.search(where)
        raise refused(where, quoted[1] if quoted else "value", error) from cause_of(error)


def decode(data: bytes, annotation: Any, where: str = "the value") -> Any:
    """Read what `encode` has written, with today's types.

    Fields that are gone are ignored and new fields take their defaults.

    Raises:
        EncodingError: What is written doesn't fit the annotation; the message names the place.

    >>> decode(b"[1,2]", tuple[int, ...])
    (1, 2)
    """
    try:
        return form_of(annotation).decode(parse(data))
    except Exception as error:  # noqa: BLE001 - whatever it is, it is told with its place
        quoted = _QUOTED.search(where)
        raise unreadable(where, quoted[1] if quoted else "value", error) from cause_of(error)


def annotation_of(value: object) -> Any:
    """The type as which a value without an annotation is written: its class, or any of JSON's own."""
    native = (str, int, float, bool, list, dict, tuple, type(None))
    return Any if isinstance(value, native) else type(value)


def refused(where: str, root: str, error: Exception) -> EncodingError:
    """What to raise when a value can't be written. `root` is the name with which the path begins."""
    path, reason = read(error)
    text = f"{where} can't be stored as JSON: {_shown(root + path)} {reason}"
    return EncodingError(text, where=where, path=root + path)


def unreadable(where: str, root: str, error: Exception) -> EncodingError:
    """What to raise when stored JSON doesn't fit today's types."""
    path, reason = read(error)
    text = f"{where} does not fit its type: {_shown(root + path)} {reason}"
    return EncodingError(text, where=where, path=root + path)


def _shown(path: str) -> str:
    return path if len(path) <= _PATH_MAX_CHARS else f"{path[:_PATH_MAX_CHARS]}…"


def check_size(data: bytes, where: str, limit_bytes: int) -> None:
    """Refuse a value that is too large for the store.

    Raises:
        EncodingError: `data` is longer than `limit_bytes`.
    """
    if len(data) > limit_bytes:
        msg = (
            f"{where}: {len(data) / _KIB:,.1f} KiB of JSON, and the limit is {limit_bytes / _KIB:,.1f} KiB\n"
            f"  way out: keep the data elsewhere and pass its key, or raise Durable(limit_bytes=...)"
        )
        raise EncodingError(msg, where=where)
