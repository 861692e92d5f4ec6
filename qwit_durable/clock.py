"""Time as a parameter: the one module that asks the operating system what time it is.

Stores on a server go by the server's clock; memory and SQLite go by the `Clock` they were given. Tests pass a
`ManualClock` and never sleep. This module imports nothing of the package.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime, timedelta
from typing import Protocol

__all__ = ["NEVER", "Clock", "ManualClock", "SystemClock", "later", "monotonic"]

monotonic = time.monotonic

#: The end of time, as every store knows it.
NEVER = datetime(9999, 1, 1, tzinfo=UTC)


def later(now: datetime, wait: timedelta) -> datetime:
    """`now + wait`, at most the end of time."""
    try:
        return min(now + wait, NEVER)
    except OverflowError:
        return NEVER


class Clock(Protocol):
    """Tells the time of day."""

    def now(self) -> datetime:
        """The present moment, aware, in UTC."""
        ...


class SystemClock:
    """The machine's clock."""

    def now(self) -> datetime:
        return datetime.now(UTC)


class ManualClock:
    """A clock that stands still until `advance` is called; for tests."""

    def __init__(self, start: datetime | None = None) -> None:
        self._now = start or datetime(2026, 1, 1, tzinfo=UTC)

    def now(self) -> datetime:
        return self._now

    def advance(self, by: timedelta) -> datetime:
        """Move the clock forward and return the new time."""
        self._now += by
        return self._now
