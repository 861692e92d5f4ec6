"""The store in memory: the reference for what the others do, for tests and for trying things out.

One lock around everything; a transaction works on a copy-on-write overlay, so that an error leaves no trace. It is gone
with its process.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from datetime import datetime
from uuid import UUID

from qwit_durable.clock import Clock, SystemClock
from qwit_durable.core import Status
from qwit_durable.ids import parse_run_id
from qwit_durable.stores.answers import Acquired, Answer
from qwit_durable.stores.kernel import perform
from qwit_durable.stores.memory.outlook import MemoryOutlookReader
from qwit_durable.stores.memory.pruning import MemoryPruningReader
from qwit_durable.stores.memory.rows import MemoryRows, MemorySession
from qwit_durable.stores.memory.schedules import MemoryScheduleReader
from qwit_durable.stores.protocol import GLANCED_EVENTS, GLANCED_RINGS, Known, RunQuery
from qwit_durable.stores.rows import (
    TURN,
    InHand,
    LaneRow,
    PublishedRow,
    Recorded,
    RunView,
    TaskRow,
    TimerRow,
    WorkerRow,
)
from qwit_durable.stores.transactions import StepTransaction, Transaction, no_database
from qwit_durable.stores.writes import Commit, ResolveTask, Start, Write

__all__ = ["MemoryStore"]


class _NoDatabase(StepTransaction[None]):
    def _begin(self) -> None:
        raise no_database("memory://", "a transactional step asked for current().connection")

    def _commit(self, connection: None, write: Commit | ResolveTask) -> Answer:
        _ = connection
        msg = f"nothing was begun, so {type(write).__name__} is committed elsewhere"
        raise AssertionError(msg)

    def _abandon(self, connection: None) -> None:
        """Nothing was begun."""

    def _end(self, connection: None) -> None:
        """Nothing was begun."""


class MemoryStore(MemoryScheduleReader, MemoryPruningReader, MemoryOutlookReader):
    """`stores.protocol.Store` in memory. Times are those of `clock`."""

    def __init__(self, clock: Clock | None = None) -> None:
        self.url = "memory://"
        self._clock = clock or SystemClock()
        self._rows = MemoryRows()
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

    def transaction(self) -> Transaction:
        return _NoDatabase()

    def start_within(self, connection: object, write: Start) -> Answer:
        _ = connection
        raise no_database(self.url, f"run {write.run.key!r} can't be started with connection=")

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

    def keys(self, run_ids: Sequence[UUID]) -> dict[UUID, str]:
        with self._lock:
            return {run_id: run.key for run_id in run_ids if (run := self._rows.run.get(run_id)) is not None}

    def children(self, run_id: UUID) -> Sequence[RunView]:
        with self._lock:
            views = [self._view(child) for child in self._rows.children.get(run_id, ())]
            found = [view for view in views if view is not None]
            return sorted(found, key=lambda view: (view.run.created_at, view.run.id))

    def history(self, run_id: UUID, after: int = 0) -> Sequence[Recorded]:
        with self._lock:
            return self._rows.history.get(run_id, ())[after:]

    def published(self, run_id: UUID) -> Sequence[PublishedRow]:
        with self._lock:
            found = (row for row in self._rows.published.values() if row.run_id == run_id)
            return sorted(found, key=lambda row: row.key)

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        with self._lock:
            return sorted(
                (r for r in self._rows.task.values() if r.run_id == run_id), key=lambda row: row.position
            )

    def timers(self, run_id: UUID) -> Sequence[TimerRow]:
        with self._lock:
            found = (row for row in self._rows.timer.values() if row.run_id == run_id)
            return sorted(found, key=lambda row: (row.fire_at, row.position))

    def lane(self, namespace: str, lane: str) -> LaneRow | None:
        with self._lock:
            return self._rows.lane.get((namespace, lane))

    def before(self, run_id: UUID) -> int | None:
        with self._lock:
            own = self._rows.place.get(run_id)
            if own is None:
                return None
            lane = [row for row in self._rows.place.values() if row.lane == own.lane]
            return 1 + sum(row.namespace == own.namespace and row.number < own.number for row in lane)

    def workers(self) -> Sequence[WorkerRow]:
        with self._lock:
            return sorted(self._rows.worker.values(), key=lambda row: (row.started_at, row.id))

    def in_hand(self) -> dict[int, InHand]:
        with self._lock:
            runs = [
                (live.owner, InHand(runs=1, since=live.updated_at))
                for live in self._rows.live.values()
                if live.owner is not None
            ]
            attempts = [
                (task.owner, InHand(attempts=1, since=task.claimed_at))
                for task in self._rows.task.values()
                if task.owner is not None and task.claimed_at is not None
            ]
            return InHand.by_worker([*runs, *attempts])

    def counts(self, namespace: str, *, ended: bool = True) -> dict[Status, int]:
        with self._lock:
            found: dict[Status, int] = {}
            for run_id, run in self._rows.run.items():
                view = self._view(run_id)
                if run.namespace == namespace and view is not None and (ended or view.outcome is None):
                    found[view.status] = found.get(view.status, 0) + 1
            return found

    def glance(self, wanted: Sequence[Known]) -> Sequence[Acquired]:
        with self._lock:
            found = (self._glanced(*one) for one in sorted(wanted))
            return [one for one in found if one is not None]

    def _glanced(self, run_id: UUID, generation: int, after: int) -> Acquired | None:
        run, live = self._rows.run.get(run_id), self._rows.live.get(run_id)
        turn, now = self._rows.task.get((run_id, TURN)), self._clock.now()
        if run is None or live is None or turn is None or turn.ready_at > now or turn.rings > GLANCED_RINGS:
            return None
        known = after if generation == live.generation else 0
        is_plain = run.lane is None and run.parent_id is None and live.head - known <= GLANCED_EVENTS
        is_free = live.owner is None and not live.begun and not live.lost
        if not is_plain or not is_free or live.status not in (Status.RUNNING, Status.COMPENSATING):
            return None
        history = self._rows.history.get(run_id, ())[known:]
        return Acquired(run=run, live=live, events=tuple(one.event for one in history), now=now)

    def cancel_asked(self, run_id: UUID, position: str) -> bool:
        with self._lock:
            live, task = self._rows.live.get(run_id), self._rows.task.get((run_id, position))
            return live is None or live.cancel_asked or (task is not None and task.cancelled)
