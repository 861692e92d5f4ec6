"""A schedule as a record: its definition, how far it has come, and whether anybody is there to fire it."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from itertools import islice
from typing import Any
from zoneinfo import ZoneInfo

import attrs

from qwit_durable.client.plain import decoded, shortened
from qwit_durable.client.when import When, span_text
from qwit_durable.client.workers import Workers
from qwit_durable.language.timetable import Timetable
from qwit_durable.stores.schedules import CatchUp, Firing, Overlap, ScheduleRow

__all__ = ["Schedule"]

_NEXT = 5
_ARGS_CHARS = 200


@attrs.frozen(kw_only=True)
class Schedule:
    """A schedule as it stood when it was read.

    Attributes:
        args: The workflow's arguments, as JSON data.
        due: When it is due, in words.
        catch_up_window: How old a missed due time may be to be caught up with; None for any age.
        next_times: The next due times; for a paused one, those it would have.
        last_due_at: The due time that was dealt with last, whatever came of it.
        last_run: The id of the run it started last.
        started: How many runs it has started; `skipped` and `missed` count due times without one.
        recent: What came of the last due times, the newest last.
        warning: Why nothing would be started now although it is due, or None.

    >>> hourly = shop.schedule("hourly", report, "sales", every=timedelta(hours=1), paused=True)
    >>> schedule = hourly.describe()
    >>> schedule.due, schedule.overlap, schedule.is_paused
    ('every 1:00:00', 'skip', True)
    """

    id: str
    workflow: str
    args: Any
    due: str
    timezone: str
    overlap: Overlap
    catch_up: CatchUp
    catch_up_window: timedelta | None
    attributes: Mapping[str, str | int | float | bool]
    is_paused: bool
    note: str | None
    next_times: tuple[datetime, ...]
    last_due_at: datetime | None
    last_run: str | None
    started: int
    skipped: int
    missed: int
    recent: tuple[Firing, ...]
    created_at: datetime
    changed_at: datetime
    read_at: datetime
    warning: str | None

    @property
    def next_at(self) -> datetime | None:
        """When it is due next; None while it is paused and when it is over."""
        return self.next_times[0] if self.next_times and not self.is_paused else None

    @classmethod
    def of(cls, row: ScheduleRow, workers: Workers) -> Schedule:
        """The record of a row."""
        timetable = Timetable.from_json(row.timetable)
        return cls(
            id=row.id,
            workflow=row.workflow,
            args=decoded(row.args),
            due=str(timetable),
            timezone=timetable.timezone,
            overlap=row.overlap,
            catch_up=row.catch_up,
            catch_up_window=row.window,
            attributes=row.attributes,
            is_paused=row.paused,
            note=row.note,
            next_times=_next_times(row, timetable, workers.now),
            last_due_at=row.last_due_at,
            last_run=row.last_run,
            started=row.started,
            skipped=row.skipped,
            missed=row.missed,
            recent=row.recent,
            created_at=row.created_at,
            changed_at=row.changed_at,
            read_at=workers.now,
            warning=_warning(row, workers),
        )

    def __str__(self) -> str:
        when = When(self.read_at)
        state = "paused" if self.is_paused else "active" if self.next_times else "over"
        note = f": {self.note}" if self.note else ""
        window = "" if self.catch_up_window is None else f" within {span_text(self.catch_up_window)}"
        lines = [
            f"schedule {self.id}: {state}{note}",
            f"  starts   {self.workflow} {shortened(self.args, _ARGS_CHARS)}",
            f"  due      {self.due}",
            f"  overlap  {self.overlap}; catches up: {self.catch_up}{window}",
        ]
        if self.attributes:
            lines.append(
                f"  with     {', '.join(f'{name}={value}' for name, value in self.attributes.items())}"
            )
        zone = ZoneInfo(self.timezone)
        label = "would be" if self.is_paused else "next"
        for due in self.next_times:
            local = "" if self.timezone == "UTC" else f", {due.astimezone(zone):%Y-%m-%d %H:%M:%S %Z}"
            lines.append(f"  {label:8} {when.told(due)}{local}")
            label = ""
        lines.append(f"  so far   {self.started} started, {self.skipped} skipped, {self.missed} missed")
        lines += [f"  {_told(firing)}" for firing in self.recent]
        if self.warning is not None:
            lines.append(f"  warning: {self.warning}")
        return "\n".join(lines)


def _told(firing: Firing) -> str:
    due = f"{firing.due_at.astimezone(UTC):%Y-%m-%d %H:%M:%S} UTC"
    match firing.kind:
        case "started":
            return f"         {due} started {firing.run}"
        case "skipped":
            why = "a later one was due" if firing.run is None else f"{firing.run} was open"
            return f"         {due} skipped: {why}"
        case "missed":
            return f"         {due} missed" + (
                f", as were {firing.count - 1} before" if firing.count > 1 else ""
            )


def _next_times(row: ScheduleRow, timetable: Timetable, now: datetime) -> tuple[datetime, ...]:
    if row.paused:
        return tuple(islice(timetable.times(now), _NEXT))
    if row.next_at is None:
        return ()
    return (row.next_at, *islice(timetable.times(row.next_at), _NEXT - 1))


def _warning(row: ScheduleRow, workers: Workers) -> str | None:
    if not workers.alive:
        return f"no worker is alive to fire it; {workers.remedy()[0]}"
    remedy = workers.remedy(row.queue)
    return f"no live worker would go on with its runs; {remedy[0]}" if remedy else None
