"""Making schedules and talking to them: `durable.schedule(...)`, `durable.schedules()`, `durable.get_schedule(id)`."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any, Literal

import attrs

from qwit_durable.client.access import Access
from qwit_durable.client.handle import Handle
from qwit_durable.client.runs import Run, list_runs
from qwit_durable.client.schedule import Schedule
from qwit_durable.client.workers import Workers
from qwit_durable.engine.tending.schedules import due_run, tell_fired
from qwit_durable.errors import OperationRefused, ScheduleNotFound
from qwit_durable.language.options import check_moment
from qwit_durable.language.timetable import Timetable
from qwit_durable.observers.base import Observer, Observers
from qwit_durable.stores.answers import Started
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.protocol import RunQuery
from qwit_durable.stores.rows import RunRow
from qwit_durable.stores.schedules import (
    DropSchedule,
    DueRun,
    Fired,
    FireSchedule,
    Overlap,
    PutSchedule,
    Scheduled,
    ScheduleRow,
)
from qwit_durable.stores.writes import Start

__all__ = ["ScheduleHandle", "find_schedule", "list_schedules", "put_definition"]

_BACKFILLED = 1000


class ScheduleHandle:
    """One schedule, seen from outside. It holds no state: every call asks the store.

    >>> nightly = shop.schedule("nightly", report, "sales", cron="0 3 * * *")
    >>> nightly.run_now().result()
    'a box with sales'
    >>> [str(run.status) for run in nightly.runs()]
    ['completed']
    """

    def __init__(self, access: Access, schedule_id: str, observers: Sequence[Observer] = ()) -> None:
        self._access = access
        self._observers = Observers(observers)
        self.id = schedule_id

    def __repr__(self) -> str:
        return f"<ScheduleHandle of {self.id}>"

    def describe(self) -> Schedule:
        """Tell how it is defined, when it is due next, and what came of the last due times.

        Raises:
            ScheduleNotFound: It is not there any more.

        >>> made = durable.schedule("nightly", checkout, order, cron="0 3 * * *")
        >>> print(durable.get_schedule("nightly").describe())
        schedule nightly: active
          starts   checkout ...
          due      0 3 * * * UTC
          overlap  skip; catches up: latest
          ...
        """
        return Schedule.of(self._row(), _workers(self._access))

    def next_times(self, count: int = 5, *, after: datetime | None = None) -> tuple[datetime, ...]:
        """The next due times of its timetable, in UTC, whether it is paused or not.

        Args:
            count: How many at most.
            after: Later than this moment; the present one by default.
        """
        if after is not None:
            check_moment(after, "after", "next_times()")
        timetable = Timetable.from_json(self._row().timetable)
        return tuple(islice(timetable.times(after or self._access.reader.now()), count))

    def runs(self, limit: int | None = None) -> Iterator[Run]:
        """The runs it has started, newest first."""
        query = RunQuery(namespace=self._access.namespace, attributes={"schedule": self.id}, roots_only=True)
        return list_runs(self._access, query, limit)

    def pause(self, note: str | None = None) -> None:
        """Start nothing until `resume`; what is due meanwhile is not caught up with. Open runs go on.

        Args:
            note: Why, for whoever looks at it.
        """
        self._change(lambda row, _: attrs.evolve(row, paused=True, note=note, next_at=None))

    def resume(self) -> None:
        """Go on with the next due time from now. On one that is not paused it changes nothing."""

        def resumed(row: ScheduleRow, now: datetime) -> ScheduleRow:
            if not row.paused:
                return row
            next_at = Timetable.from_json(row.timetable).after(now)
            return attrs.evolve(row, paused=False, note=None, next_at=next_at)

        self._change(resumed)

    def delete(self) -> None:
        """Remove it; its runs stay. Deleting one that is gone changes nothing. Its definition would make it again."""
        self._access.write(DropSchedule(namespace=self._access.namespace, id=self.id))

    def run_now(self, *, overlap: Overlap | None = None) -> Handle[Any]:
        """Start its workflow now, paused or not, beside its timetable.

        Args:
            overlap: What happens if the run before is still open, instead of what the schedule says.

        Raises:
            OperationRefused: The run before is still open, and `overlap` is `skip`.
            ScheduleNotFound: It is not there any more.
        """
        row, now = self._row(), self._access.reader.now()
        chosen = overlap or row.overlap
        run = due_run(row, now, now, overlap=chosen, observers=self._observers)
        answer = self._access.write(
            FireSchedule(
                namespace=row.namespace,
                id=row.id,
                due=(DueRun(due_at=now, run=run),),
                next_at=None,
                revision=None,
                overlap=chosen,
                cancels=row.last_run_id if chosen == "cancel" else None,
                ring_after=self._ring_after(),
            )
        )
        assert isinstance(answer, Fired)
        if answer.row is None:
            raise _not_found(self._access, self.id)
        tell_fired(self._observers, answer)
        self._access.ring(answer.rings)
        (firing,) = answer.firings
        if firing.kind == "skipped":
            msg = (
                f"schedule {self.id!r}: run {firing.run} is still open, and overlap is 'skip'\n"
                f'  way out: wait for it, or run_now(overlap="allow")'
            )
            raise OperationRefused(msg)
        return Handle(self._access, run.id, run.key)

    def backfill(
        self,
        start: datetime,
        end: datetime,
        *,
        overlap: Literal["queue", "allow"] = "queue",
        limit: int = _BACKFILLED,
    ) -> list[Handle[Any]]:
        """Start a run for each due time of the past that has none: missed, skipped, or older than the schedule.

        A due time that has a run keeps it, whatever became of that. So repeating a backfill that broke off does the
        rest.

        Args:
            start: The first moment.
            end: The last moment, not in the future.
            overlap: `queue`: one after the other, the oldest first. `allow`: all at once.
            limit: At most so many due times.

        Returns:
            The runs of all due times between the two moments, the oldest first.

        Raises:
            ValueError: The end is before the start or in the future, or there are more due times than `limit`.
        """
        check_moment(start, "start", "backfill()")
        check_moment(end, "end", "backfill()")
        row, now = self._row(), self._access.reader.now()
        if not start <= end <= now:
            msg = (
                f"backfill() of schedule {self.id!r}: from {start} until {end} is no time in the past, "
                f"which ends at {now}: what is due later is fired by itself"
            )
            raise ValueError(msg)
        just_before = start.astimezone(UTC) - timedelta(microseconds=1)
        due_times = [*islice(Timetable.from_json(row.timetable).between(just_before, end), limit + 1)]
        if len(due_times) > limit:
            msg = (
                f"backfill() of schedule {self.id!r}: more than {limit} due times between {start} and {end}\n"
                f"  way out: a shorter time, or a higher limit="
            )
            raise ValueError(msg)
        chosen = attrs.evolve(row, lane=None) if overlap == "allow" else row
        return [
            self._start(row, due_run(chosen, due, now, overlap=overlap, observers=self._observers))
            for due in due_times
        ]

    # -- inside ------------------------------------------------------------------------------------------------

    def _start(self, row: ScheduleRow, run: RunRow) -> Handle[Any]:
        started = self._access.write(Start(run=run, deadline=row.deadline, ring_after=self._ring_after()))
        assert isinstance(started, Started)
        if started.created:
            self._observers.tell("run_started", started.run)
        if started.ring is not None:
            self._access.ring([started.ring])
        return Handle(self._access, started.run.id, started.run.key)

    def _ring_after(self) -> timedelta:
        return RING_GRACE if self._access.can_ring else timedelta(0)

    def _row(self) -> ScheduleRow:
        return _found(self._access, self.id)

    def _change(self, changed: Callable[[ScheduleRow, datetime], ScheduleRow]) -> None:
        """Change the row, however often others come first."""
        while True:
            row = self._row()
            wanted = changed(row, self._access.reader.now())
            if wanted == row:
                return
            answer = self._access.write(PutSchedule(row=wanted, revision=row.revision))
            assert isinstance(answer, Scheduled)
            if answer.done:
                return


# -- for `Durable` -----------------------------------------------------------------------------------------------


def put_definition(access: Access, row: ScheduleRow) -> None:
    """Make a schedule, or change the one there is where its definition differs; what it has done stays.

    A due time that has come and is not fired yet stays due.
    """
    while True:
        found = access.reader.schedule(row.namespace, row.id)
        now = access.reader.now()
        next_at = Timetable.from_json(row.timetable).after(now)
        if found is None:
            wanted = attrs.evolve(row, next_at=None if row.paused else next_at)
        else:
            wanted = _redefined(found, row)
            if wanted == found:
                return
            is_due = found.next_at is not None and found.next_at <= now
            if wanted.timetable != found.timetable and not found.paused and not is_due:
                wanted = attrs.evolve(wanted, next_at=next_at)
        answer = access.write(PutSchedule(row=wanted, revision=None if found is None else found.revision))
        assert isinstance(answer, Scheduled)
        if answer.done:
            return


def _redefined(found: ScheduleRow, row: ScheduleRow) -> ScheduleRow:
    return attrs.evolve(
        found,
        workflow=row.workflow,
        version=row.version,
        queue=row.queue,
        args=row.args,
        timetable=row.timetable,
        overlap=row.overlap,
        catch_up=row.catch_up,
        window=row.window,
        lane=row.lane,
        deadline=row.deadline,
        attributes=row.attributes,
    )


def find_schedule(access: Access, schedule_id: str, observers: Sequence[Observer]) -> ScheduleHandle:
    """The handle of a schedule. Raises ScheduleNotFound."""
    _found(access, schedule_id)
    return ScheduleHandle(access, schedule_id, observers)


def list_schedules(access: Access) -> Iterator[Schedule]:
    """All schedules of a namespace, in the order of their ids."""
    rows, workers = access.reader.schedules(access.namespace), _workers(access)
    return iter([Schedule.of(row, workers) for row in rows])


def _workers(access: Access) -> Workers:
    return Workers(access.reader.workers(), access.reader.now())


def _found(access: Access, schedule_id: str) -> ScheduleRow:
    row = access.reader.schedule(access.namespace, schedule_id)
    if row is None:
        raise _not_found(access, schedule_id)
    return row


def _not_found(access: Access, schedule_id: str) -> ScheduleNotFound:
    return ScheduleNotFound(
        f"no schedule {schedule_id!r} in namespace {access.namespace!r}\n"
        f"  likely cause: another namespace or another store, or it was deleted\n"
        f"  way out: durable.schedules() lists what is there"
    )
