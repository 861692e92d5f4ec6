"""Records as JSON for programs: the same names as the fields, times as ISO 8601 in UTC, errors as objects."""

from __future__ import annotations

import json
import shlex
from collections.abc import Iterable, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import UTC, datetime, timedelta
from enum import Enum
from typing import Any, cast
from uuid import UUID

import attrs

from qwit_durable.errors import Failure

__all__ = ["LARGE_BYTES", "Large", "command_line", "decoded", "plain", "shortened"]

#: Above this, a value is named by its size and not shown.
LARGE_BYTES = 2_048
_KIB = 1_024


@attrs.frozen
class Large:
    """Stands for a value that is too large to be shown."""

    size_bytes: int

    def __str__(self) -> str:
        return f"({self.size_bytes / _KIB:,.1f} KiB)"


def command_line(verb: str, key: str, *more: str) -> str:
    """What to type."""
    return shlex.join(["qwit", verb, key, *more])


def decoded(data: bytes | None) -> Any:
    """A stored value as plain JSON data, or how large it is; None for none."""
    if data is None:
        return None
    if len(data) > LARGE_BYTES:
        return Large(len(data))
    try:
        return json.loads(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def shortened(value: Any, limit_chars: int) -> str:
    """A value on one line: JSON, cut at a limit."""
    if isinstance(value, Large):
        return str(value)
    text = json.dumps(plain(value), ensure_ascii=False)
    return text if len(text) <= limit_chars else f"{text[: limit_chars - 1]}…"


def plain(value: Any) -> Any:
    """A record, or anything made of records, as what `json.dumps` takes."""
    match value:
        case None | bool() | int() | float():
            return value
        case Enum():
            return value.value
        case str():
            return value
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case timedelta():
            return value.total_seconds()
        case UUID():
            return str(value)
        case Large(size_bytes=size):
            return {"size_bytes": size}
        case Failure():
            return _failure(value)
        case Mapping():
            entries = cast("Mapping[object, object]", value)
            return {str(name): plain(item) for name, item in entries.items()}
        case Sequence() | AbstractSet():
            return [plain(item) for item in cast("Iterable[object]", value)]
        case _:
            return _record(value)


def _record(value: Any) -> Any:
    if not attrs.has(value.__class__):
        return str(value)
    return {field.name: plain(getattr(value, field.name)) for field in attrs.fields(value.__class__)}


def _failure(failure: Failure) -> dict[str, Any]:
    return {
        "type": failure.type,
        "message": failure.message,
        "outcome_unknown": failure.outcome_unknown,
        "traceback": failure.traceback,
        "cause": None if failure.cause is None else _failure(failure.cause),
    }
