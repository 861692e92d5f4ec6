"""A payload codec that makes large payloads smaller.

Neighbours: `codec.sealing` encrypts, `codec.chaining` puts codecs behind one another.
"""

from __future__ import annotations

import zlib

from qwit_durable.errors import DefinitionError, PayloadError

__all__ = ["ZlibCodec"]

#: JSON begins with neither.
_COMPRESSED = b"\x01z"
_AS_IT_WAS = b"\x01-"


class ZlibCodec:
    """Compress payloads above a size with zlib. What was stored without it stays readable.

    Args:
        above_bytes: Smaller payloads are left alone; they rarely get smaller.
        level: From 1 (fast) to 9 (small).

    Raises:
        DefinitionError: A number is out of its range.

    >>> codec = ZlibCodec(above_bytes=100)
    >>> len(codec.seal(b'"' + b"a" * 10_000 + b'"')) < 100
    True
    """

    def __init__(self, *, above_bytes: int = 1024, level: int = 6) -> None:
        if above_bytes < 0 or not 1 <= level <= 9:  # noqa: PLR2004 - zlib's levels
            msg = f"ZlibCodec: above_bytes is at least 0 and level 1 to 9, got {above_bytes} and {level}"
            raise DefinitionError(msg)
        self._above_bytes = above_bytes
        self._level = level

    def seal(self, data: bytes) -> bytes:
        """The payload, compressed if that makes it smaller."""
        if len(data) > self._above_bytes:
            smaller = _COMPRESSED + zlib.compress(data, self._level)
            if len(smaller) < len(data):
                return smaller
        return _AS_IT_WAS + data if data[:1] == _AS_IT_WAS[:1] else data

    def open(self, data: bytes) -> bytes:
        """The payload that was compressed.

        Raises:
            PayloadError: It is damaged.
        """
        if data[:2] == _AS_IT_WAS:
            return data[2:]
        if data[:2] != _COMPRESSED:
            return data
        try:
            return zlib.decompress(data[2:])
        except zlib.error as error:
            msg = f"a stored payload of {len(data)} bytes can't be decompressed: {error}. Restore a backup"
            raise PayloadError(msg) from error
