"""What is due: owed work and timers, in the order of their times."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime
from typing import Any, TypeVar
from uuid import UUID

from qwit_durable.clock import monotonic
from qwit_durable.stores.rows import TaskRow, TimerRow
from qwit_durable.stores.sql.cache import RunCache
from qwit_durable.stores.sql.dialect import Dialect, Statements, marks
from qwit_durable.stores.sql.mapped import Mapped
from qwit_durable.stores.sql.tables import Tables
from qwit_durable.stores.sql.walks import Walk

__all__ = ["SqlDue"]

_R = TypeVar("_R")


class SqlDue:
    """Part of `stores.session.Session`: a session inherits from this."""

    _cache: RunCache
    _dialect: Dialect
    _statements: Statements
    _tables: Tables
    _tasks: Mapped[tuple[UUID, str], TaskRow]
    _timers: Mapped[tuple[UUID, str], TimerRow]
    now: Any
    flush: Callable[[], None]

    def due_tasks(self, limit: int, queues: Sequence[str] | None) -> Sequence[TaskRow]:
        if queues is not None and not queues:
            return []
        self.flush()
        named = "" if queues is None else f"AND queue IN ({marks(len(queues))})"
        sql = self._dialect.sql(
            f"SELECT {self._tables.task.listed()} FROM {{task}} WHERE ring_at >= ? AND ring_at <= ? {named} "
            f"ORDER BY ring_at, run_id, position LIMIT ?{self._dialect.locked('task', skip=True)}"
        )
        walk = self._cache.walks.of(("task", *(queues or ())))
        return self._walked(walk, self._tasks, sql, queues or (), limit)

    def rung_tasks(self, until: datetime, limit: int) -> Sequence[TaskRow]:
        self.flush()
        d = self._dialect
        sql = d.sql(
            f"SELECT {self._tables.task.listed()} FROM {{task}} "
            "WHERE ring_at > ? AND ring_at <= ? AND ready_at <= ? AND owner IS NULL "
            f"ORDER BY ring_at, run_id, position LIMIT ?{d.locked('task', skip=True)}"
        )
        period = [*map(d.time_in, (self.now, until, self.now))]
        return self._tasks.take(self._statements.rows(sql, [*period, limit]))

    def due_timers(self, limit: int) -> Sequence[TimerRow]:
        # Joined with the live row, and both locked: whoever deletes a timer has that lock, so none fires twice.
        self.flush()
        sql = self._dialect.sql(
            f"SELECT {self._tables.timer.listed('timer')} FROM {{timer}} JOIN {{live}} USING (run_id) "
            "WHERE fire_at >= ? AND fire_at <= ? ORDER BY fire_at, timer.run_id, position LIMIT ?"
            f"{self._dialect.locked('live', 'timer', skip=True)}"
        )
        return self._walked(self._cache.walks.of("timer"), self._timers, sql, (), limit)

    def next_due(self) -> tuple[datetime | None, datetime | None]:
        self.flush()
        sql = "SELECT (SELECT min(fire_at) FROM {timer} WHERE fire_at >= ?), (SELECT min(next_at) FROM {schedule})"
        d, walk = self._dialect, self._cache.walks.of("timer")
        since, began = walk.since, monotonic()
        timer_at, schedule_at = map(
            d.maybe_time_out, self._statements.rows(d.sql(sql), [d.time_in(since)])[0]
        )
        left_none = timer_at is None or timer_at > self.now
        walk.taken(since, self.now, monotonic() - began, left_none=left_none)
        return timer_at, schedule_at

    def _walked(
        self, walk: Walk, mapped: Mapped[Any, _R], sql: str, params: Sequence[Any], limit: int
    ) -> list[_R]:
        """The rows between where the walk begins and now."""
        since, began = walk.since, monotonic()
        period = [*map(self._dialect.time_in, (since, self.now))]
        found = mapped.take(self._statements.rows(sql, [*period, *params, limit]))
        walk.taken(since, self.now, monotonic() - began, left_none=len(found) < limit)
        return found
