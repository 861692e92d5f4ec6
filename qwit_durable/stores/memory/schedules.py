"""Schedules of the store in memory. Neighbours: `stores.memory.rows` has the tables, `stores.memory.store` the lock."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from typing import TYPE_CHECKING
from uuid import UUID

from qwit_durable.stores.schedules import ScheduleRow

if TYPE_CHECKING:
    from qwit_durable.stores.memory.rows import MemoryRows

__all__ = ["MemoryScheduleReader", "MemorySchedules"]


class MemorySchedules:
    """`stores.schedules.ScheduleSession` over dictionaries."""

    _rows: MemoryRows
    now: datetime

    def schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        return self._rows.schedule.get((namespace, schedule_id))

    def put_schedule(self, row: ScheduleRow) -> None:
        self._rows.schedule.put((row.namespace, row.id), row)

    def drop_schedule(self, namespace: str, schedule_id: str) -> None:
        self._rows.schedule.drop((namespace, schedule_id))

    def due_schedules(self, limit: int) -> Sequence[ScheduleRow]:
        rows = self._rows.schedule
        due = [
            (row.next_at, key)
            for key, row in rows.items()
            if row.next_at is not None and row.next_at <= self.now
        ]
        return [rows[key] for _, key in sorted(due)[:limit]]

    def next_due(self) -> tuple[datetime | None, datetime | None]:
        timers = (row.fire_at for row in self._rows.timer.values())
        schedules = (row.next_at for row in self._rows.schedule.values() if row.next_at is not None)
        return min(timers, default=None), min(schedules, default=None)

    def is_open(self, run_id: UUID) -> bool:
        return run_id in self._rows.live


class MemoryScheduleReader:
    """`stores.schedules.ScheduleReader` over dictionaries."""

    _rows: MemoryRows
    _lock: threading.Lock

    def schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        with self._lock:
            return self._rows.schedule.get((namespace, schedule_id))

    def schedules(self, namespace: str) -> Sequence[ScheduleRow]:
        with self._lock:
            found = (row for row in self._rows.schedule.values() if row.namespace == namespace)
            return sorted(found, key=lambda row: row.id)
