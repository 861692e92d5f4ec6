"""Schedules as the stores know them: rows, the writes about them, and the access that stores give.

A store does not know when anything is due: whoever fires a schedule says when it is due next
(`engine.tending.schedules`). What makes one due time fire once is here: every change of a row counts up its `revision`,
a firing names the revision it has seen, and the run's id from outside is made of the schedule's id and the due time.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Literal, Protocol
from uuid import UUID

import attrs

from qwit_durable.stores.rows import Ring, RunRow

__all__ = [
    "CatchUp",
    "DropSchedule",
    "DueRun",
    "FireSchedule",
    "Fired",
    "Firing",
    "Overlap",
    "PutSchedule",
    "ScheduleReader",
    "ScheduleRow",
    "ScheduleSession",
    "Scheduled",
]

Overlap = Literal["skip", "allow", "queue", "cancel"]
CatchUp = Literal["latest", "all", "none"]
FiringKind = Literal["started", "skipped", "missed"]

#: How many of the last firings a row keeps.
RECENT = 10


@attrs.frozen(kw_only=True)
class Firing:
    """What came of a due time.

    Attributes:
        kind: `started` a run; `skipped`, because a run before it is still open, or a later one is due already;
            `missed`, because no worker was there in time and the schedule does not catch up with it.
        run: The id from outside of the run that was started, or stood in the way.
        count: How many due times in a row, up to this one.
    """

    due_at: datetime
    at: datetime
    kind: FiringKind
    run: str | None = None
    count: int = 1


@attrs.frozen(kw_only=True)
class ScheduleRow:
    """A schedule: its definition, and how far it has come.

    Attributes:
        timetable: When it is due, as text that only those who fire it understand.
        window: Due times that were missed longer ago than this are given up; None for no limit.
        next_at: When it is due next; None while it is paused and once its timetable is over.
        last_due_at: The due time that was dealt with last.
        last_run_id: The run it started last, if any.
        last_run: That run's id from outside.
        started: How many runs it has started; `skipped` and `missed` count due times without one.
        recent: What came of the last due times, the newest last.
        revision: Counts the changes of the row.
    """

    namespace: str
    id: str
    workflow: str
    version: str | None
    queue: str
    args: bytes
    timetable: str
    overlap: Overlap = "skip"
    catch_up: CatchUp = "latest"
    window: timedelta | None = None
    lane: str | None = None
    deadline: timedelta | None = None
    attributes: dict[str, str | int | float | bool] = attrs.field(
        factory=dict[str, "str | int | float | bool"]
    )
    created_at: datetime
    changed_at: datetime
    next_at: datetime | None
    paused: bool = False
    note: str | None = None
    last_due_at: datetime | None = None
    last_run_id: UUID | None = None
    last_run: str | None = None
    started: int = 0
    skipped: int = 0
    missed: int = 0
    recent: tuple[Firing, ...] = ()
    revision: int = 0


# -- writes ----------------------------------------------------------------------------------------------------


@attrs.frozen(kw_only=True)
class PutSchedule:
    """Make a schedule, or change one that is still at `revision`. Whoever comes second is answered the row there is.

    `created_at` of a new one, `changed_at` and `revision` are the store's.
    """

    row: ScheduleRow
    revision: int | None = None


@attrs.frozen(kw_only=True)
class DropSchedule:
    """Remove a schedule. The runs it started go on."""

    namespace: str
    id: str


@attrs.frozen(kw_only=True)
class DueRun:
    """One due time and the run it starts, unless `overlap` stands in the way."""

    due_at: datetime
    run: RunRow


@attrs.frozen(kw_only=True)
class FireSchedule:
    """Deal with due times of a schedule that is still at `revision`; whoever comes second changes nothing.

    Each run is started under its id from outside, so a due time that has a run already gets no other one.
    Without a `revision` it is a firing by hand: it moves nothing but the last run.

    Attributes:
        due: The due times, in order.
        missed: The last of the due times that are given up, and how many they are.
        next_at: When it is due next.
        overlap: Instead of the schedule's own.
        cancels: With `overlap="cancel"`, the run that was started last: asked to stop, whatever it does.
        ring_after: As in `Start`.
    """

    namespace: str
    id: str
    due: tuple[DueRun, ...]
    next_at: datetime | None
    revision: int | None
    missed: tuple[datetime, int] | None = None
    overlap: Overlap | None = None
    cancels: UUID | None = None
    ring_after: timedelta = timedelta(0)


@attrs.frozen(kw_only=True)
class Scheduled:
    """The row as it stands now, if there is one, and whether this write did what it says."""

    row: ScheduleRow | None
    done: bool


@attrs.frozen(kw_only=True)
class Fired:
    """What came of a firing, and the runs it made. `row` is None where there is no such schedule.

    `done` is False where somebody else had changed the row first.
    """

    row: ScheduleRow | None
    done: bool
    firings: tuple[Firing, ...] = ()
    runs: tuple[RunRow, ...] = ()
    rings: tuple[Ring, ...] = ()


# -- access ----------------------------------------------------------------------------------------------------


class ScheduleSession(Protocol):
    """Rows of schedules within a transaction: part of `stores.session.Session`."""

    def schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """One schedule, locked."""
        ...

    def put_schedule(self, row: ScheduleRow) -> None:
        """Insert or replace a schedule."""
        ...

    def drop_schedule(self, namespace: str, schedule_id: str) -> None:
        """Remove a schedule."""
        ...

    def due_schedules(self, limit: int) -> Sequence[ScheduleRow]:
        """Schedules whose `next_at` has come, the longest due first; none is locked."""
        ...

    def next_due(self) -> tuple[datetime | None, datetime | None]:
        """When the next timer is due, and when the next schedule."""
        ...

    def is_open(self, run_id: UUID) -> bool:
        """Whether a run has a live row; locks nothing."""
        ...


class ScheduleReader(Protocol):
    """Schedules for readers: part of `stores.protocol.Reader`."""

    def schedule(self, namespace: str, schedule_id: str) -> ScheduleRow | None:
        """One schedule."""
        ...

    def schedules(self, namespace: str) -> Sequence[ScheduleRow]:
        """All schedules, in the order of their ids."""
        ...
