"""Values as the server reads them in its binary format: single ones, and arrays, which carry a batch.

Written by hand because a batch has a few rows only: the driver's general way of adapting an array costs more than all
the rest of a flush. The forms are those of the server's `*_recv` functions, which are part of its protocol.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime, timedelta
from uuid import UUID

__all__ = [
    "flags",
    "keys",
    "number",
    "numbers",
    "payloads",
    "places",
    "read_number",
    "read_time",
    "texts",
    "time",
    "times",
    "uuids",
]

_EPOCH = datetime(2000, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)

_INT8 = struct.Struct(">q")
_LENGTH = struct.Struct(">i")
_SIZED_INT8 = struct.Struct(">iq")
_LENGTH_OF_TID, _LENGTH_OF_UUID = _LENGTH.pack(6), _LENGTH.pack(16)
_NULL = _LENGTH.pack(-1)
_HEAD = struct.Struct(">iiiii")
_BOOL, _BYTEA, _INT8_OID, _TEXT, _TID, _TIMESTAMPTZ, _UUID = 16, 17, 20, 25, 27, 1184, 2950
_TRUE, _FALSE = _LENGTH.pack(1) + b"\x01", _LENGTH.pack(1) + b"\x00"


#: An `int8`.
number = _INT8.pack


def time(value: datetime) -> bytes:
    """A `timestamptz`."""
    return _INT8.pack((value - _EPOCH) // _MICROSECOND)


def read_number(data: bytes) -> int:
    """An integer of any width."""
    return int.from_bytes(data, "big", signed=True)


def read_time(data: bytes) -> datetime:
    """A `timestamptz`."""
    return _EPOCH + timedelta(microseconds=int.from_bytes(data, "big", signed=True))


def uuids(values: Sequence[UUID | None]) -> bytes:
    """A `uuid[]`."""
    return keys([None if v is None else v.bytes for v in values])


def keys(values: Sequence[bytes | None]) -> bytes:
    """A `uuid[]`, of their bytes."""
    return _array(_UUID, len(values), [_NULL if v is None else _LENGTH_OF_UUID + v for v in values])


def numbers(values: Sequence[int | None]) -> bytes:
    """An `int8[]`."""
    pack = _SIZED_INT8.pack
    return _array(_INT8_OID, len(values), [_NULL if v is None else pack(8, v) for v in values])


def times(values: Sequence[datetime | None]) -> bytes:
    """A `timestamptz[]`."""
    return _array(_TIMESTAMPTZ, len(values), [_NULL if v is None else _sized(time(v)) for v in values])


def flags(values: Sequence[bool]) -> bytes:
    """A `bool[]`."""
    return _array(_BOOL, len(values), [_TRUE if v else _FALSE for v in values])


def texts(values: Sequence[str | None]) -> bytes:
    """A `text[]`."""
    pack = _LENGTH.pack
    given = [None if v is None else v.encode() for v in values]
    return _array(_TEXT, len(values), [_NULL if v is None else pack(len(v)) + v for v in given])


def payloads(values: Sequence[bytes | None]) -> bytes:
    """A `bytea[]`."""
    pack = _LENGTH.pack
    return _array(_BYTEA, len(values), [_NULL if v is None else pack(len(v)) + v for v in values])


def places(values: Sequence[bytes | None]) -> bytes:
    """A `tid[]`, of places as the server has told them."""
    return _array(_TID, len(values), [_NULL if v is None else _LENGTH_OF_TID + v for v in values])


def _sized(data: bytes) -> bytes:
    return _LENGTH.pack(len(data)) + data


def _array(oid: int, length: int, items: Iterable[bytes]) -> bytes:
    # One dimension that counts from 1; "may hold NULL" is a hint that the server ignores.
    return b"".join((_HEAD.pack(1, 0, oid, length, 1), *items))
