"""What a run's body lets others see: `publish(key, value)` inside, `handle.published()` outside."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, cast

from qwit_durable import codec
from qwit_durable.client.plain import shortened
from qwit_durable.errors import EncodingError
from qwit_durable.stores.rows import PublishedRow

__all__ = ["Published"]

_VALUE_CHARS = 200


class Published(dict[str, Any]):
    """The latest value under each key: a dict, in the order of the keys. `str()` of it has a line for each.

    Attributes:
        at: When each value was published.

    >>> found = importing.start(1200).published()
    >>> found["rows"], found.at["rows"].year
    (1200, 2026)
    """

    def __init__(self, rows: Sequence[PublishedRow], type: Any = None) -> None:  # noqa: A002 - as in wait_signal
        super().__init__((row.key, _read(row, type)) for row in rows)
        self.at: dict[str, datetime] = {row.key: row.at for row in rows}

    def __str__(self) -> str:
        return "\n".join(f"{key}: {shortened(value, _VALUE_CHARS)}" for key, value in self.items())


def _read(row: PublishedRow, type_: Any) -> Any:
    wanted = cast("Mapping[str, Any]", type_).get(row.key) if isinstance(type_, Mapping) else type_
    try:
        return codec.decode(row.value, Any if wanted is None else wanted)
    except EncodingError as error:
        msg = f"what the run published as {row.key!r} is no {wanted}: {error}"
        raise EncodingError(msg) from error
