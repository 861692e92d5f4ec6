"""The tables of the store in memory, and row access over them within one transaction.

A transaction remembers what it changed, so that an error leaves no trace. The lock is in `stores.memory.store`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from qwit_durable.core import Event, Status
from qwit_durable.stores.memory.lanes import MemoryLanes
from qwit_durable.stores.memory.pruning import MemoryPruning
from qwit_durable.stores.memory.schedules import MemorySchedules
from qwit_durable.stores.reasons import is_over_code
from qwit_durable.stores.rows import (
    LaneRow,
    LiveRow,
    OutcomeRow,
    PlaceRow,
    PublishedRow,
    Recorded,
    RunRow,
    TaskRow,
    TimerRow,
    WorkerRow,
)
from qwit_durable.stores.schedules import ScheduleRow

__all__ = ["MemoryRows", "MemorySession"]

_K = TypeVar("_K")
_V = TypeVar("_V")
_MISSING: Any = object()


class _Table(dict[_K, _V]):
    """A dictionary that can take back what was done to it since `begin`."""

    def begin(self) -> None:
        self._before: dict[_K, Any] = {}

    def _remember(self, key: _K) -> None:
        if key not in self._before:
            self._before[key] = self.get(key, _MISSING)

    def put(self, key: _K, value: _V) -> None:
        self._remember(key)
        self[key] = value

    def drop(self, key: _K) -> None:
        self._remember(key)
        self.pop(key, None)

    def undo(self) -> None:
        for key, value in self._before.items():
            if value is _MISSING:
                self.pop(key, None)
            else:
                self[key] = value


class MemoryRows:
    """All tables, and what is derived from them."""

    def __init__(self) -> None:
        self.run: _Table[UUID, RunRow] = _Table()
        self.key: _Table[tuple[str, str], UUID] = _Table()
        self.live: _Table[UUID, LiveRow] = _Table()
        self.outcome: _Table[UUID, OutcomeRow] = _Table()
        self.children: _Table[UUID, tuple[UUID, ...]] = _Table()
        self.history: _Table[UUID, tuple[Recorded, ...]] = _Table()
        self.signal: _Table[tuple[UUID, str], bool] = _Table()
        self.published: _Table[tuple[UUID, str], PublishedRow] = _Table()
        self.task: _Table[tuple[UUID, str], TaskRow] = _Table()
        self.timer: _Table[tuple[UUID, str], TimerRow] = _Table()
        self.lane: _Table[tuple[str, str], LaneRow] = _Table()
        self.place: _Table[UUID, PlaceRow] = _Table()
        self.place_at: _Table[tuple[str, str, int], UUID] = _Table()
        self.schedule: _Table[tuple[str, str], ScheduleRow] = _Table()
        self.worker: _Table[int, WorkerRow] = _Table()
        self.duty: _Table[str, tuple[int, datetime]] = _Table()
        self.secret: _Table[str, bytes] = _Table()

    @property
    def tables(self) -> list[_Table[Any, Any]]:
        return list(vars(self).values())


class MemorySession(MemorySchedules, MemoryPruning):
    """`stores.session.Session` over dictionaries."""

    def __init__(self, rows: MemoryRows, now: datetime) -> None:
        self._rows = rows
        self.now = now
        self.lanes = MemoryLanes(rows)

    def run(self, run_id: UUID) -> RunRow | None:
        return self._rows.run.get(run_id)

    def add_run(self, row: RunRow) -> None:
        self._rows.run.put(row.id, row)
        if row.parent_id is not None:
            siblings = self._rows.children.get(row.parent_id, ())
            self._rows.children.put(row.parent_id, (*siblings, row.id))

    def run_of_key(self, namespace: str, key: str) -> UUID | None:
        return self._rows.key.get((namespace, key))

    def put_key(self, namespace: str, key: str, run_id: UUID) -> None:
        self._rows.key.put((namespace, key), run_id)

    def live(self, run_id: UUID) -> LiveRow | None:
        return self._rows.live.get(run_id)

    def live_unless_locked(self, run_id: UUID) -> LiveRow | None:
        return self.live(run_id)

    def put_live(self, row: LiveRow) -> None:
        self._rows.live.put(row.run_id, row)

    def drop_live(self, run_id: UUID) -> None:
        self._rows.live.drop(run_id)

    def lives_of(self, worker: int) -> Sequence[LiveRow]:
        return self._lives(lambda row: row.owner == worker)

    def stuck_over_code(self, limit: int) -> Sequence[LiveRow]:
        return self._lives(lambda row: row.status is Status.STUCK and is_over_code(row.reason))[:limit]

    def _lives(self, wanted: Callable[[LiveRow], bool]) -> list[LiveRow]:
        return sorted((row for row in self._rows.live.values() if wanted(row)), key=lambda row: row.run_id)

    def outcome(self, run_id: UUID) -> OutcomeRow | None:
        return self._rows.outcome.get(run_id)

    def put_outcome(self, row: OutcomeRow) -> None:
        self._rows.outcome.put(row.run_id, row)

    def drop_outcome(self, run_id: UUID) -> None:
        self._rows.outcome.drop(run_id)

    def open_children(self, run_id: UUID) -> Sequence[UUID]:
        return sorted(child for child in self._rows.children.get(run_id, ()) if child in self._rows.live)

    def append(self, run_id: UUID, first: int, events: Sequence[Event]) -> None:
        before = self._rows.history.get(run_id, ())
        assert first == len(before) + 1, f"event {first} does not follow {len(before)}"
        added = tuple(Recorded(number=first + i, at=self.now, event=event) for i, event in enumerate(events))
        self._rows.history.put(run_id, before + added)

    def events(self, run_id: UUID, after: int) -> Sequence[Event]:
        return [recorded.event for recorded in self._rows.history.get(run_id, ())[after:]]

    def knows_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        return (run_id, dedupe_id) in self._rows.signal

    def is_new_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        if self.knows_signal(run_id, dedupe_id):
            return False
        self._rows.signal.put((run_id, dedupe_id), True)  # noqa: FBT003 - presence is the fact
        return True

    def put_published(self, row: PublishedRow) -> None:
        self._rows.published.put((row.run_id, row.key), row)

    def drop_events(self, run_id: UUID) -> None:
        self._rows.history.drop(run_id)

    def task(self, run_id: UUID, position: str) -> TaskRow | None:
        return self._rows.task.get((run_id, position))

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        return self._tasks(lambda row: row.run_id == run_id)

    def tasks_under(self, run_id: UUID, position: str) -> Sequence[TaskRow]:
        return self._tasks(lambda row: row.run_id == run_id and row.position.startswith(f"{position}."))

    def drop_idle_tasks(self, run_id: UUID, position: str) -> None:
        for row in self.tasks_under(run_id, position):
            if not row.attempt and row.owner is None:
                self._rows.task.drop((run_id, row.position))

    def tasks_of(self, worker: int) -> Sequence[TaskRow]:
        return self._tasks(lambda row: row.owner == worker)

    def _tasks(self, wanted: Callable[[TaskRow], bool]) -> list[TaskRow]:
        found = (row for row in self._rows.task.values() if wanted(row))
        return sorted(found, key=lambda row: (row.run_id, row.position))

    def due_tasks(self, limit: int, queues: Sequence[str] | None) -> Sequence[TaskRow]:
        due = [
            r
            for r in self._rows.task.values()
            if r.ring_at <= self.now and (queues is None or r.queue in queues)
        ]
        return sorted(due, key=lambda row: (row.ring_at, row.run_id, row.position))[:limit]

    def rung_tasks(self, until: datetime, limit: int) -> Sequence[TaskRow]:
        rung = [
            r
            for r in self._rows.task.values()
            if self.now < r.ring_at <= until and r.ready_at <= self.now and r.owner is None
        ]
        return sorted(rung, key=lambda row: (row.ring_at, row.run_id, row.position))[:limit]

    def put_task(self, row: TaskRow) -> None:
        self._rows.task.put((row.run_id, row.position), row)

    def drop_task(self, run_id: UUID, position: str) -> None:
        self._rows.task.drop((run_id, position))

    def timer(self, run_id: UUID, position: str) -> TimerRow | None:
        return self._rows.timer.get((run_id, position))

    def due_timers(self, limit: int) -> Sequence[TimerRow]:
        due = [row for row in self._rows.timer.values() if row.fire_at <= self.now]
        return sorted(due, key=lambda row: (row.fire_at, row.run_id, row.position))[:limit]

    def put_timer(self, row: TimerRow) -> None:
        self._rows.timer.put((row.run_id, row.position), row)

    def drop_timer(self, run_id: UUID, position: str) -> None:
        self._rows.timer.drop((run_id, position))

    def drop_work(self, run_id: UUID) -> None:
        for table in (self._rows.task, self._rows.timer):
            for key in [key for key in table if key[0] == run_id]:
                table.drop(key)

    def worker(self, worker: int) -> WorkerRow | None:
        return self._rows.worker.get(worker)

    def workers(self) -> Sequence[WorkerRow]:
        return sorted(self._rows.worker.values(), key=lambda row: (row.started_at, row.id))

    def put_worker(self, row: WorkerRow) -> None:
        self._rows.worker.put(row.id, row)

    def drop_worker(self, worker: int) -> None:
        self._rows.worker.drop(worker)
        for duty in [duty for duty, (holder, _) in self._rows.duty.items() if holder == worker]:
            self._rows.duty.drop(duty)

    def lead(self, duty: str, worker: int, lease: timedelta) -> bool:
        holder = self._rows.duty.get(duty)
        if holder is not None and holder[0] != worker and holder[1] > self.now:
            return False
        self._rows.duty.put(duty, (worker, self.now + lease))
        return True

    def secret(self, name: str) -> bytes | None:
        return self._rows.secret.get(name)

    def put_secret(self, name: str, value: bytes) -> None:
        self._rows.secret.put(name, value)

    def is_alive(self, row: WorkerRow) -> bool:
        return row.expires_at > self.now
