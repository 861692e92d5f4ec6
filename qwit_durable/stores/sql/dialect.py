"""What differs between the databases: markers, locks, and how ids, times and flags lie in columns.

Imports no driver.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any, Protocol, TypeVar
from uuid import UUID

import attrs

__all__ = ["POSTGRES", "SQLITE", "Dialect", "Statements", "marks"]

_T = TypeVar("_T")
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_TABLE = re.compile(r"\{(\w+)\}")


class Statements(Protocol):
    """Carries out SQL inside the transaction at hand."""

    def rows(self, sql: str, params: Sequence[Any] = ()) -> Sequence[Sequence[Any]]:
        """Carry out one statement and answer its rows, in columns."""
        ...

    def many(self, changes: Sequence[tuple[str, Sequence[Sequence[Any]]]]) -> None:
        """Carry out statements that answer nothing, each for many rows, in order."""
        ...


def marks(count: int) -> str:
    """So many parameters, as they stand in a statement."""
    return ", ".join("?" * count)


def _same(value: _T) -> _T:
    return value


@attrs.frozen(kw_only=True)
class Dialect:
    """One database's ways.

    Attributes:
        mark: How a parameter is marked.
        schema: What stands before a table's name.
        locks: Whether rows are locked one by one; otherwise there is one writer at a time.
    """

    mark: str
    schema: str
    locks: bool
    id_in: Callable[[UUID], Any]
    id_out: Callable[[Any], UUID]
    time_in: Callable[[datetime], Any]
    time_out: Callable[[Any], datetime]
    _finished: dict[str, str] = attrs.field(factory=dict[str, str], init=False, eq=False, repr=False)

    def sql(self, text: str) -> str:
        """Finish a statement: `{live}` becomes the table's full name, `?` the mark."""
        finished = self._finished.get(text)
        if finished is None:
            finished = _TABLE.sub(rf"{self.schema}\1", text).replace("?", self.mark)
            self._finished[text] = finished
        return finished

    def locked(self, *tables: str, skip: bool = False) -> str:
        """The end of a select that locks rows of these tables, or leaves out what is locked."""
        if not self.locks:
            return ""
        return f" FOR UPDATE OF {', '.join(tables)}{' SKIP LOCKED' if skip else ''}"

    def maybe_id(self, value: UUID | None) -> Any:
        """An id that may be missing, on its way in."""
        return None if value is None else self.id_in(value)

    def maybe_time(self, value: datetime | None) -> Any:
        """A time that may be missing, on its way in."""
        return None if value is None else self.time_in(value)

    def maybe_id_out(self, value: Any) -> UUID | None:
        """An id that may be missing, on its way out."""
        return None if value is None else self.id_out(value)

    def maybe_time_out(self, value: Any) -> datetime | None:
        """A time that may be missing, on its way out."""
        return None if value is None else self.time_out(value)


def _id_to_bytes(value: UUID) -> bytes:
    return value.bytes


def _id_from_bytes(value: bytes) -> UUID:
    return UUID(bytes=value)


def _time_to_int(at: datetime) -> int:
    return (at - _EPOCH) // _MICROSECOND


def _time_from_int(microseconds: int) -> datetime:
    return _EPOCH + timedelta(microseconds=microseconds)


#: Ids are 16 bytes, times microseconds since 1970, flags 0 and 1.
SQLITE = Dialect(
    mark="?",
    schema="",
    locks=False,
    id_in=_id_to_bytes,
    id_out=_id_from_bytes,
    time_in=_time_to_int,
    time_out=_time_from_int,
)

#: The driver adapts everything.
POSTGRES = Dialect(
    mark="%s",
    schema="qwit.",
    locks=True,
    id_in=_same,
    id_out=_same,
    time_in=_same,
    time_out=_same,
)
