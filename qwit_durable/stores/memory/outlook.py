"""`stores.outlook.OutlookReader` in memory."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from typing import TYPE_CHECKING
from uuid import UUID

from qwit_durable.clock import Clock
from qwit_durable.stores.outlook import Outlook, Walk

if TYPE_CHECKING:
    from qwit_durable.stores.memory.rows import MemoryRows

__all__ = ["MemoryOutlookReader"]


class MemoryOutlookReader:
    """The store inherits from this."""

    _rows: MemoryRows
    _lock: threading.Lock
    _clock: Clock

    def outlook(self) -> Outlook:
        with self._lock:
            rows, now = self._rows, self._clock.now()
            schedules = (row.next_at for row in rows.schedule.values() if row.next_at is not None)
            return Outlook(
                now=now,
                timer_at=min((row.fire_at for row in rows.timer.values()), default=None),
                ring_at=min((row.ring_at for row in rows.task.values()), default=None),
                schedule_at=min(schedules, default=None),
                has_dead=any(row.expires_at <= now for row in rows.worker.values()),
            )

    def walk(self, after: UUID | None, limit: int, worker: int) -> Walk:
        with self._lock:
            ahead = sorted(run_id for run_id in self._rows.live if after is None or run_id > after)[:limit]
            owners = {run_id: self._rows.live[run_id].owner for run_id in ahead}
            orphans = (
                i for i, owner in owners.items() if owner is not None and owner not in self._rows.worker
            )
            mine = (run_id for run_id, owner in owners.items() if owner == worker)
            last = ahead[-1] if len(ahead) == limit else None
            return Walk(last=last, orphans=tuple(orphans), mine=tuple(mine))

    def claimed(self, worker: int) -> Sequence[tuple[UUID, str]]:
        with self._lock:
            return sorted(key for key, task in self._rows.task.items() if task.owner == worker)

    def unbegun(self, tasks: Sequence[tuple[UUID, str]]) -> int:
        with self._lock:
            found = (self._rows.task.get(key) for key in tasks)
            return sum(task is not None and task.owner is None for task in found)
