"""Row access within one transaction: what a store has to provide for `stores.kernel` to mean the same on it.

A session sees its own writes. `live()` locks the row until the transaction ends. Nothing here decides anything.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol
from uuid import UUID

from qwit_durable.core import Event
from qwit_durable.stores.lanes import Lanes
from qwit_durable.stores.pruning import PruningSession
from qwit_durable.stores.rows import LiveRow, OutcomeRow, PublishedRow, RunRow, TaskRow, TimerRow, WorkerRow
from qwit_durable.stores.schedules import ScheduleSession

__all__ = ["Session"]


class Session(ScheduleSession, PruningSession, Protocol):
    """The rows of one namespace-spanning store, inside a transaction."""

    @property
    def now(self) -> datetime:
        """The store's time: the same throughout the transaction."""
        ...

    @property
    def lanes(self) -> Lanes:
        """The rows of lanes."""
        ...

    # -- runs --------------------------------------------------------------------------------------------------

    def run(self, run_id: UUID) -> RunRow | None:
        """The run as it was started."""
        ...

    def add_run(self, row: RunRow) -> None:
        """Insert a run whose id is not there yet."""
        ...

    def run_of_key(self, namespace: str, key: str) -> UUID | None:
        """The run that was put under a user's id. Locks the key, there or not, against another writer's `put_key`."""
        ...

    def put_key(self, namespace: str, key: str, run_id: UUID) -> None:
        """Let a user's id stand for this run."""
        ...

    def live(self, run_id: UUID) -> LiveRow | None:
        """The live row of an open run, locked."""
        ...

    def live_unless_locked(self, run_id: UUID) -> LiveRow | None:
        """The same, but None while another transaction has it locked: for those that hold what comes after it."""
        ...

    def put_live(self, row: LiveRow) -> None:
        """Insert or replace a live row."""
        ...

    def drop_live(self, run_id: UUID) -> None:
        """Remove a live row."""
        ...

    def lives_of(self, worker: int) -> Sequence[LiveRow]:
        """The live rows a worker holds, locked, in the order of their ids."""
        ...

    def stuck_over_code(self, limit: int) -> Sequence[LiveRow]:
        """Live rows that are stuck with a reason whose `kind` is `code`, locked, in the order of their ids."""
        ...

    def outcome(self, run_id: UUID) -> OutcomeRow | None:
        """How a run ended."""
        ...

    def put_outcome(self, row: OutcomeRow) -> None:
        """Insert or replace an outcome."""
        ...

    def drop_outcome(self, run_id: UUID) -> None:
        """Remove an outcome: its run is reopened."""
        ...

    def open_children(self, run_id: UUID) -> Sequence[UUID]:
        """The runs started by this one that have a live row, in the order of their ids."""
        ...

    # -- history -----------------------------------------------------------------------------------------------

    def append(self, run_id: UUID, first: int, events: Sequence[Event]) -> None:
        """Insert events under the numbers `first`, `first + 1`, …."""
        ...

    def events(self, run_id: UUID, after: int) -> Sequence[Event]:
        """The events whose number is above `after`, in order."""
        ...

    def is_new_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        """Take down the id of a signal; False when it was there."""
        ...

    def knows_signal(self, run_id: UUID, dedupe_id: str) -> bool:
        """Whether the id of a signal was taken down."""
        ...

    def put_published(self, row: PublishedRow) -> None:
        """Insert or replace what is seen under a key."""
        ...

    def drop_events(self, run_id: UUID) -> None:
        """Remove a run's history: the next event has the number 1."""
        ...

    # -- owed work ---------------------------------------------------------------------------------------------

    def task(self, run_id: UUID, position: str) -> TaskRow | None:
        """One task, locked."""
        ...

    def tasks(self, run_id: UUID) -> Sequence[TaskRow]:
        """The tasks of a run."""
        ...

    def tasks_under(self, run_id: UUID, position: str) -> Sequence[TaskRow]:
        """The tasks of the calls of a map at a position, locked."""
        ...

    def drop_idle_tasks(self, run_id: UUID, position: str) -> None:
        """Remove those of them of which no attempt has begun."""
        ...

    def tasks_of(self, worker: int) -> Sequence[TaskRow]:
        """The tasks a worker is in the middle of."""
        ...

    def due_tasks(self, limit: int, queues: Sequence[str] | None) -> Sequence[TaskRow]:
        """Tasks whose `ring_at` has come, the longest due first; those another session works on are left out."""
        ...

    def rung_tasks(self, until: datetime, limit: int) -> Sequence[TaskRow]:
        """Tasks that are ready and nobody's, to be rung for again after now and by then, the first ones first."""
        ...

    def put_task(self, row: TaskRow) -> None:
        """Insert or replace a task."""
        ...

    def drop_task(self, run_id: UUID, position: str) -> None:
        """Remove a task."""
        ...

    def timer(self, run_id: UUID, position: str) -> TimerRow | None:
        """One timer."""
        ...

    def due_timers(self, limit: int) -> Sequence[TimerRow]:
        """Timers that are due, the longest due first; those another session works on are left out."""
        ...

    def put_timer(self, row: TimerRow) -> None:
        """Insert or replace the timer of a command."""
        ...

    def drop_timer(self, run_id: UUID, position: str) -> None:
        """Remove a timer."""
        ...

    def drop_work(self, run_id: UUID) -> None:
        """Remove all tasks and timers of a run."""
        ...

    # -- workers -----------------------------------------------------------------------------------------------

    def worker(self, worker: int) -> WorkerRow | None:
        """One worker."""
        ...

    def workers(self) -> Sequence[WorkerRow]:
        """All workers, dead ones included."""
        ...

    def put_worker(self, row: WorkerRow) -> None:
        """Insert or replace a worker."""
        ...

    def drop_worker(self, worker: int) -> None:
        """Remove a worker, and free its duties."""
        ...

    def lead(self, duty: str, worker: int, lease: timedelta) -> bool:
        """Take or keep a duty until `now + lease`, unless another worker has it."""
        ...

    # -- secrets -----------------------------------------------------------------------------------------------

    def secret(self, name: str) -> bytes | None:
        """What is kept under a name."""
        ...

    def put_secret(self, name: str, value: bytes) -> None:
        """Keep a secret under a name that has none yet."""
        ...

    # -- who lives ---------------------------------------------------------------------------------------------

    def is_alive(self, row: WorkerRow) -> bool:
        """Whether a worker's lease holds; a store whose workers share this machine may look at their processes."""
        ...
