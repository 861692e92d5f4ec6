"""`stores.outlook.OutlookReader` over SQL: each part of it reads one end of an index or a stretch of a primary key."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Sequence
from datetime import datetime
from typing import Any
from uuid import UUID

from qwit_durable.clock import monotonic
from qwit_durable.stores.outlook import Outlook, Walk
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.reading import SqlReading

__all__ = ["SqlOutlookReader"]

_OUTLOOK = (
    "SELECT {clock}, (SELECT min(fire_at) FROM {{timer}} WHERE fire_at >= ?), "
    "(SELECT min(ring_at) FROM {{task}} WHERE ring_at >= ?), "
    "(SELECT min(next_at) FROM {{schedule}}), (SELECT min(expires_at) FROM {{worker}})"
)
_WALK = (
    "SELECT run_id, owner, owner IS NOT NULL AND NOT EXISTS (SELECT 1 FROM {{worker}} WHERE id = owner) "
    "FROM {{live}} {where} ORDER BY run_id LIMIT ?"
)


class SqlOutlookReader(SqlReading):
    """A reader inherits from this."""

    _cache: RunCache

    @abstractmethod
    def _clock_in(self) -> tuple[str, Sequence[Any]]:
        """The store's time, as it stands in a statement, and its parameters."""

    def _has_dead(self, now: datetime, first_expires_at: datetime | None) -> bool:
        """Whether a worker is dead, given when the first lease ends."""
        return first_expires_at is not None and first_expires_at <= now

    def outlook(self) -> Outlook:
        d = self._tables.dialect
        clock, params = self._clock_in()
        walk = self._cache.walks.of("outlook")
        since, began = walk.since, monotonic()
        row = self._rows(d.sql(_OUTLOOK.format(clock=clock)), [*params, d.time_in(since), d.time_in(since)])[
            0
        ]
        now = d.time_out(row[0])
        timer_at, ring_at, schedule_at, expires_at = map(d.maybe_time_out, row[1:])
        is_quiet = all(at is None or at > now for at in (timer_at, ring_at))
        walk.taken(since, now, monotonic() - began, left_none=is_quiet)
        return Outlook(
            now=now,
            timer_at=timer_at,
            ring_at=ring_at,
            schedule_at=schedule_at,
            has_dead=self._has_dead(now, expires_at),
        )

    def walk(self, after: UUID | None, limit: int, worker: int) -> Walk:
        d = self._tables.dialect
        params = [limit] if after is None else [d.id_in(after), limit]
        sql = _WALK.format(where="" if after is None else "WHERE run_id > ?")
        rows = self._rows(d.sql(sql), params)
        last = d.id_out(rows[-1][0]) if len(rows) == limit else None
        return Walk(
            last=last,
            orphans=tuple(d.id_out(run_id) for run_id, _, is_orphan in rows if is_orphan),
            mine=tuple(d.id_out(run_id) for run_id, owner, _ in rows if owner == worker),
        )

    def claimed(self, worker: int) -> Sequence[tuple[UUID, str]]:
        d = self._tables.dialect
        sql = "SELECT run_id, position FROM {task} WHERE owner = ? ORDER BY run_id, position"
        return [(d.id_out(run_id), position) for run_id, position in self._rows(d.sql(sql), [worker])]

    def unbegun(self, tasks: Sequence[tuple[UUID, str]]) -> int:
        d = self._tables.dialect
        if not tasks:
            return 0
        one = "(run_id = ? AND position = ? AND owner IS NULL)"
        sql = f"SELECT count(*) FROM {{task}} WHERE {' OR '.join([one] * len(tasks))}"
        params = [part for run_id, position in tasks for part in (d.id_in(run_id), position)]
        found: int = self._rows(d.sql(sql), params)[0][0]
        return found
