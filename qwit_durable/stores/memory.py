"""The store in memory: the reference for what the others do, for tests and for trying things out.

One lock around everything; a transaction works on a copy-on-write overlay, so that an error leaves no trace. It is gone
with its process.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar
from uuid import UUID

from qwit_durable.clock import Clock, SystemClock
from qwit_durable.core import Event, Status
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.answers import Answer
from qwit_durable.stores.kernel import perform
from qwit_durable.stores.protocol import RunQuery
from qwit_durable.stores.reasons import is_over_code
from qwit_durable.stores.rows import (
    LiveRow,
    OutcomeRow,
    Recorded,
    RunRow,
    RunView,
    TaskRow,
    TimerRow,
    WorkerRow,
)
from qwit_durable.stores.writes import Write

__all__ = ["MemoryStore"]

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


class _Rows:
    """All tables, and what is derived from them."""

    def __init__(self) -> None:
        self.run: _Table[UUID, RunRow] = _Table()
        self.key: _Table[tuple[str, str], UUID] = _Table()
        self.live: _Table[UUID, LiveRow] = _Table()
        self.outcome: _Table[UUID, OutcomeRow] = _Table()
        self.children: _Table[UUID, tuple[UUID, ...]] = _Table()
        self.history: _Table[UUID, tuple[Recorded, ...]] = _Table()
        self.signal: _Table[tuple[UUID, str], bool] = _Table()
        self.task: _Table[tuple[UUID, str], TaskRow] = _Table()
        self.timer: _Table[tuple[UUID, str], TimerRow] = _Table()
        self.worker: _Table[int, WorkerRow] = _Table()
        self.duty: _Table[str, tuple[int, datetime]] = _Table()

    @property
    def tables(self) -> list[_Table[Any, Any]]:
        return list(vars(self).values())


class MemorySession:
    """`stores.session.Session` over dictionaries."""

    def __init__(self, rows: _Rows, now: datetime) -> None:
        self._rows = rows
        self.now = now

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

    def put_live(self, row: LiveRow) -> None:
        self._rows.live.put(row.run_id, row)

    def drop_live(self, run_id: UUID) -> None:
        self._rows.live.drop(run_id)

    def lives_of(self, worker: int) -> Sequence[LiveRow]:
        return self._lives(lambda row: row.owner == worker)

    def orphaned_lives(self) -> Sequence[LiveRow]:
        return self._lives(lambda row: row.owner is not None and row.owner not in self._rows.worker)

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

    def is_new_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        if (run_id, dedupe_id) in self._rows.signal:
            return False
        self._rows.signal.put((run_id, dedupe_id), True)  # noqa: FBT003 - presence is the fact
        return True

    def task(self, run_id: UUID, position: str) -> TaskRow | None:
        return self._rows.task.get((run_id, position))

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        return self._tasks(lambda row: row.run_id == run_id)

    def tasks_of(self, worker: int) -> Sequence[TaskRow]:
        return self._tasks(lambda row: row.owner == worker)

    def orphaned_tasks(self) -> Sequence[TaskRow]:
        return self._tasks(lambda row: row.owner is not None and row.owner not in self._rows.worker)

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

    def put_task(self, row: TaskRow) -> None:
        self._rows.task.put((row.run_id, row.position), row)

    def drop_task(self, run_id: UUID, position: str) -> None:
        self._rows.task.drop((run_id, position))

    def timer(self, run_id: UUID, position: str) -> TimerRow | None:
        return self._rows.timer.get((run_id, position))

    def due_timers(self, limit: int) -> Sequence[TimerRow]:
        due = [row for row in self._rows.timer.values() if row.fire_at <= self.now]
        return sorted(due, key=lambda row: (row.fire_at, row.run_id, row.position))[:limit]

    def next_timer_at(self) -> datetime | None:
        return min((row.fire_at for row in self._rows.timer.values()), default=None)

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

    def lead(self, duty: str, worker: int, lease: timedelta) -> bool:
        holder = self._rows.duty.get(duty)
        if holder is not None and holder[0] != worker and holder[1] > self.now:
            return False
        self._rows.duty.put(duty, (worker, self.now + lease))
        return True

    def is_alive(self, row: WorkerRow) -> bool:
        return row.expires_at > self.now


class MemoryStore:
    """`stores.protocol.Store` in memory. Times are those of `clock`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.url = "memory://"
        self._clock = clock or SystemClock()
        self._rows = _Rows()
        self._lock = threading.Lock()

    def open(self) -> None:
        """Nothing to connect to."""

    def close(self) -> None:
        """Nothing to let go of: the rows stay until the object goes."""

    def migrate(self) -> Sequence[str]:
        return ()

    def schema_version(self) -> tuple[int, int]:
        return 1, 1

    def stamp(self) -> object:
        return None

    def apply(self, writes: Sequence[Write]) -> Sequence[Answer]:
        with self._lock:
            session = MemorySession(self._rows, self._clock.now())
            for table in self._rows.tables:
                table.begin()
            try:
                return [perform(session, write) for write in writes]
            except BaseException:
                for table in self._rows.tables:
                    table.undo()
                raise

    # -- reading -----------------------------------------------------------------------------------------------

    def now(self) -> datetime:
        return self._clock.now()

    def find(self, namespace: str, key: str) -> RunView | None:
        with self._lock:
            run_id = self._rows.key.get((namespace, key)) or parse_run_id(key)
            view = self._view(run_id) if run_id is not None else None
            return view if view is not None and view.run.namespace == namespace else None

    def view(self, run_id: UUID) -> RunView | None:
        with self._lock:
            return self._view(run_id)

    def _view(self, run_id: UUID) -> RunView | None:
        run = self._rows.run.get(run_id)
        if run is None:
            return None
        return RunView(run=run, live=self._rows.live.get(run_id), outcome=self._rows.outcome.get(run_id))

    def runs(self, query: RunQuery) -> Sequence[RunView]:
        with self._lock:
            found: list[RunView] = []
            for run_id in sorted(self._rows.run, reverse=True):
                view = self._view(run_id)
                if view is not None and query.wants(view):
                    found.append(view)
                    if len(found) == query.limit:
                        break
            return found

    def children(self, run_id: UUID) -> Sequence[RunView]:
        with self._lock:
            views = [self._view(child) for child in self._rows.children.get(run_id, ())]
            found = [view for view in views if view is not None]
            return sorted(found, key=lambda view: (view.run.created_at, view.run.id))

    def history(self, run_id: UUID, after: int = 0) -> Sequence[Recorded]:
        with self._lock:
            return self._rows.history.get(run_id, ())[after:]

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        with self._lock:
            return sorted(
                (r for r in self._rows.task.values() if r.run_id == run_id), key=lambda row: row.position
            )

    def timers(self, run_id: UUID) -> Sequence[TimerRow]:
        with self._lock:
            found = (row for row in self._rows.timer.values() if row.run_id == run_id)
            return sorted(found, key=lambda row: (row.fire_at, row.position))

    def workers(self) -> Sequence[WorkerRow]:
        with self._lock:
            return sorted(self._rows.worker.values(), key=lambda row: (row.started_at, row.id))

    def counts(self, namespace: str) -> dict[Status, int]:
        with self._lock:
            found: dict[Status, int] = {}
            for run_id, run in self._rows.run.items():
                view = self._view(run_id)
                if run.namespace == namespace and view is not None:
                    found[view.status] = found.get(view.status, 0) + 1
            return found

    def cancel_asked(self, run_id: UUID, position: str) -> bool:
        with self._lock:
            live, task = self._rows.live.get(run_id), self._rows.task.get((run_id, position))
            return live is None or live.cancel_asked or (task is not None and task.cancelled)
