"""Where a sweep's walk over what is due begins.

Owed work and timers come and go, and an index keeps the entries of rows that are gone until nobody can see them any
more. While somebody holds an old snapshot (a dump, a report, a forgotten transaction), that is never: each walk from
the earliest time on passes all that was ever due since, and the sweeps get slower by the minute (0.1 s for 300,000 rows
that are gone). So a walk that took long is not taken again at once: the next ones begin shortly before the time at
which the last one found nothing left. Now and then one begins at the beginning again, for rows that were locked, or
committed late; seldom enough to cost little.
"""

from __future__ import annotations

from collections.abc import Hashable
from datetime import UTC, datetime, timedelta

from qwit_durable.clock import monotonic

__all__ = ["Walk", "Walks"]

_BEGINNING = datetime(1970, 1, 1, tzinfo=UTC)
#: A walk that is quicker may begin at the beginning each time.
_LONG_SECONDS = 0.05
#: A long one may take this part of the time at most, and is never put off for longer than that.
_PART, _SELDOM_SECONDS = 0.02, 60.0
#: What is committed this late, after the time at which it became due, still is behind the place where walks begin.
_MARGIN = timedelta(seconds=10)


class Walk:
    """One walk that is taken again and again, in the order of times."""

    def __init__(self) -> None:
        self._seen_until = _BEGINNING
        self._whole_again_at = 0.0

    @property
    def since(self) -> datetime:
        """Where it is to begin."""
        return _BEGINNING if monotonic() >= self._whole_again_at else self._seen_until

    def taken(self, since: datetime, now: datetime, seconds: float, *, left_none: bool) -> None:
        """Take down how a walk went that began there: how long it took, and whether it took all that was due."""
        if left_none:
            self._seen_until = now - _MARGIN
        if since == _BEGINNING and seconds >= _LONG_SECONDS and left_none:
            self._whole_again_at = monotonic() + min(seconds / _PART, _SELDOM_SECONDS)

    def due(self, at: datetime) -> None:
        """Something was put there that is due then: if that lies behind the beginning, it lies there no longer."""
        if at < self._seen_until:
            self._whole_again_at = 0.0


class Walks:
    """The walks of one process through one store, by what they look for."""

    def __init__(self) -> None:
        self._walks: dict[Hashable, Walk] = {}

    def of(self, what: Hashable) -> Walk:
        """The walk that looks for it."""
        return self._walks.setdefault(what, Walk())

    def due(self, at: datetime) -> None:
        """Something was put into the store that is due then."""
        for walk in [*self._walks.values()]:
            walk.due(at)
