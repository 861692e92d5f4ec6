"""Firing schedules: which due times there are, which of them start a run, and when the next one is.

`plan` is pure: from a row and the store's time it makes the write, which fires each due time at most once whoever
brings it and however often. A due time is on time for a minute, however busy the store is; later it counts as missed,
and the schedule's policy says what becomes of it. Neighbours: `language.timetable` knows when something is due,
`stores.kernel.schedules` what a firing does, the sweeper asks for it.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import chain, islice

from qwit_durable.engine.ports import Services
from qwit_durable.ids import new_run_id
from qwit_durable.language.timetable import Timetable
from qwit_durable.observers.base import Observers
from qwit_durable.stores.kernel.waking import RING_GRACE
from qwit_durable.stores.rows import RunRow
from qwit_durable.stores.schedules import DueRun, Fired, FireSchedule, Firing, Overlap, ScheduleRow

__all__ = ["due_run", "fire", "lane_of", "plan", "tell_fired"]

_logger = logging.getLogger("qwit_durable.schedules")
_PROMPT = timedelta(minutes=1)
_MICROSECOND = timedelta(microseconds=1)
_AT_ONCE = 100
_COUNTED = 10_000


def plan(row: ScheduleRow, now: datetime, observers: Observers | None = None) -> FireSchedule | None:
    """What is to be written about a schedule at this moment; None if it is not due."""
    first = row.next_at
    if first is None or first > now:
        return None
    timetable = Timetable.from_json(row.timetable)

    def due_times(begin: datetime) -> Iterator[datetime]:
        # What is due first may be left over from an older timetable.
        head = (first,) if begin <= first else ()
        return chain(head, timetable.between(max(first, begin - _MICROSECOND), now))

    kept_from = _kept_from(row, timetable, first, now)
    kept = [*islice(due_times(kept_from), _AT_ONCE + 1)]
    missed = None
    if first < kept_from:
        until = kept[0] - _MICROSECOND if kept else now
        last = timetable.latest(first, until) or first
        missed = last, sum(1 for due in islice(due_times(first), _COUNTED) if due <= last)
    return FireSchedule(
        namespace=row.namespace,
        id=row.id,
        due=tuple(
            DueRun(due_at=due, run=due_run(row, due, now, observers=observers)) for due in kept[:_AT_ONCE]
        ),
        next_at=kept[_AT_ONCE] if len(kept) > _AT_ONCE else timetable.after(now),
        revision=row.revision,
        missed=missed,
        cancels=row.last_run_id if row.overlap == "cancel" else None,
        ring_after=RING_GRACE,
    )


def _kept_from(row: ScheduleRow, timetable: Timetable, first: datetime, now: datetime) -> datetime:
    """From when on due times start runs; those before are given up."""
    on_time = now - _PROMPT
    if first >= on_time:
        return first
    oldest = first if row.window is None else max(first, now - row.window)
    match row.catch_up:
        case "all":
            return min(oldest, on_time)
        case "latest":
            last = timetable.latest(first, now) or first
            return min(on_time, max(last, oldest))
        case "none":
            return on_time


def due_run(
    row: ScheduleRow,
    due_at: datetime,
    now: datetime,
    *,
    overlap: Overlap | None = None,
    observers: Observers | None = None,
) -> RunRow:
    """The run of one due time. Its id from outside follows from the schedule's and the time: so there is one."""
    due = due_at.astimezone(UTC).isoformat().replace("+00:00", "Z")
    key = f"{row.id}@{due}"
    run_id = new_run_id(now)
    return RunRow(
        id=run_id,
        namespace=row.namespace,
        key=key,
        workflow=row.workflow,
        version=row.version,
        queue=row.queue,
        root_id=run_id,
        args=row.args,
        created_at=now,
        lane=lane_of(row, overlap or row.overlap),
        attributes={**row.attributes, "schedule": row.id, "due_at": due},
        trace=None if observers is None else observers.trace_for_start(row.workflow, key),
    )


def lane_of(row: ScheduleRow, overlap: Overlap) -> str | None:
    """The lane in which the runs of a schedule come one after the other."""
    if row.lane is not None:
        return row.lane
    return f"schedule:{row.id}" if overlap in ("queue", "cancel") else None


def fire(services: Services, row: ScheduleRow, now: datetime) -> None:
    """Fire a schedule that is due. Losing the race against another process is fine."""
    write = plan(row, now, services.observers)
    if write is None:
        return
    answer = services.committer.write(write)
    assert isinstance(answer, Fired)
    tell_fired(services.observers, answer)
    services.bells.ring(answer.rings)


def tell_fired(observers: Observers, fired: Fired) -> None:
    """Tell observers and the log what came of a firing."""
    if fired.row is None:
        return
    for firing in fired.firings:
        _log(fired.row, firing)
    for run in fired.runs:
        observers.tell("run_started", run)


def _log(row: ScheduleRow, firing: Firing) -> None:
    due = f"{firing.due_at:%Y-%m-%d %H:%M:%S} UTC"
    match firing.kind:
        case "started":
            _logger.info("schedule %s: due at %s: started run %s", row.id, due, firing.run)
        case "skipped":
            why = "a later one is due" if firing.run is None else f"run {firing.run} is still open"
            _logger.warning("schedule %s: due at %s: skipped, %s", row.id, due, why)
        case "missed":
            count = "1 due time" if firing.count == 1 else f"{firing.count} due times"
            _logger.warning("schedule %s: %s up to %s missed and given up", row.id, count, due)
