"""Schedules: made, changed, removed, and fired once for each due time."""

from __future__ import annotations

import attrs

from qwit_durable.core import CancelRequested
from qwit_durable.stores.answers import Accepted
from qwit_durable.stores.kernel.settling import cancel_run
from qwit_durable.stores.kernel.starting import start
from qwit_durable.stores.rows import Ring, RunRow
from qwit_durable.stores.schedules import (
    RECENT,
    DropSchedule,
    DueRun,
    Fired,
    FireSchedule,
    Firing,
    PutSchedule,
    Scheduled,
    ScheduleRow,
)
from qwit_durable.stores.session import Session
from qwit_durable.stores.writes import Start

__all__ = ["drop_schedule", "fire_schedule", "put_schedule"]


def put_schedule(session: Session, write: PutSchedule) -> Scheduled:
    """Insert or change a row, if nobody came before."""
    found = session.schedule(write.row.namespace, write.row.id)
    if (None if found is None else found.revision) != write.revision:
        return Scheduled(row=found, done=False)
    row = attrs.evolve(
        write.row,
        created_at=session.now if found is None else found.created_at,
        changed_at=session.now,
        revision=1 if found is None else found.revision + 1,
    )
    session.put_schedule(row)
    return Scheduled(row=row, done=True)


def drop_schedule(session: Session, write: DropSchedule) -> Accepted:
    """Remove a row."""
    is_there = session.schedule(write.namespace, write.id) is not None
    session.drop_schedule(write.namespace, write.id)
    return Accepted(repeated=not is_there)


def fire_schedule(session: Session, write: FireSchedule) -> Fired:
    """Start what is due, note what is not started, and set the next due time: all of it or nothing."""
    row = session.schedule(write.namespace, write.id)
    if row is None or (write.revision is not None and row.revision != write.revision):
        return Fired(row=row, done=False)
    firings: list[Firing] = []
    runs: list[RunRow] = []
    rings: list[Ring] = []
    if write.missed is not None:
        due_at, count = write.missed
        firings.append(Firing(due_at=due_at, at=session.now, kind="missed", count=count))
    overlap = write.overlap or row.overlap
    if overlap == "cancel" and write.cancels is not None and write.due:
        reason = f"schedule {row.id!r} is due again"
        rings += cancel_run(session, write.cancels, CancelRequested(reason=reason), grace=write.ring_after)
    for number, due in enumerate(write.due, 1):
        was_overtaken = overlap == "cancel" and number < len(write.due)
        stands_in_the_way = (
            overlap == "skip" and row.last_run_id is not None and session.is_open(row.last_run_id)
        )
        if was_overtaken or stands_in_the_way:
            run = row.last_run if stands_in_the_way else None
            firings.append(Firing(due_at=due.due_at, at=session.now, kind="skipped", run=run))
            continue
        row = _start(session, row, due, write, firings, runs, rings)
    row = attrs.evolve(
        row,
        skipped=row.skipped + sum(one.count for one in firings if one.kind == "skipped"),
        missed=row.missed + sum(one.count for one in firings if one.kind == "missed"),
        recent=(*row.recent, *firings)[-RECENT:],
        revision=row.revision + 1,
    )
    if write.revision is not None:
        row = attrs.evolve(row, next_at=write.next_at, last_due_at=max(one.due_at for one in firings))
    session.put_schedule(row)
    return Fired(row=row, done=True, firings=tuple(firings), runs=tuple(runs), rings=tuple(rings))


def _start(
    session: Session,
    row: ScheduleRow,
    due: DueRun,
    write: FireSchedule,
    firings: list[Firing],
    runs: list[RunRow],
    rings: list[Ring],
) -> ScheduleRow:
    started = start(session, Start(run=due.run, deadline=row.deadline, ring_after=write.ring_after))
    firings.append(Firing(due_at=due.due_at, at=session.now, kind="started", run=started.run.key))
    if started.created:
        runs.append(started.run)
    if started.ring is not None:
        rings.append(started.ring)
    return attrs.evolve(
        row,
        last_run_id=started.run.id,
        last_run=started.run.key,
        started=row.started + int(started.created),
    )
