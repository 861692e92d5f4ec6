"""When something is due: cron expressions in a time zone, or an interval. Pure: no clock, no store.

Cron is evaluated by `cronsim`, which follows Debian's cron on the two days of the year on which clocks change:

- A time that is given outright (`30 2 * * *`: no wildcard in minute or hour) happens once a day. Where clocks go
  forward over it, it is due at the moment after the gap; where they go back over it, at the first of the two.
- A time that is given by wildcards (`*/15 * * * *`, `0 * * * *`) follows the clock as it goes: none in the gap, and
  twice what lies in the hour that comes twice.
- An interval is elapsed time, counted from `anchor`: clocks that change do not touch it.

Names of days, `L`, `#`, a sixth field for seconds (the first) and `@daily` and its like are understood.
"""

from __future__ import annotations

import json
from bisect import bisect_left
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta, timezone
from functools import cache
from typing import Any
from zoneinfo import ZoneInfo

import attrs
from cronsim import CronSim, CronSimError

from qwit_durable.errors import DefinitionError, describe
from qwit_durable.language.options import check_duration, check_moment

__all__ = ["Timetable"]

_NAMED = {
    "@yearly": "0 0 1 1 *",
    "@annually": "0 0 1 1 *",
    "@monthly": "0 0 1 * *",
    "@weekly": "0 0 * * 0",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@hourly": "0 * * * *",
}
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_SHORTEST = timedelta(seconds=1)
_DAY_SECONDS = 24 * 60 * 60
_MICROSECOND = timedelta(microseconds=1)
_FORM = '  right:  cron="0 3 * * *", timezone="Europe/Zurich"  or  every=timedelta(minutes=10)'


@cache
def _zone(name: str) -> ZoneInfo:
    return ZoneInfo(name)


def _expressions(value: Any) -> tuple[str, ...]:
    if value is None:
        return ()
    given = (value,) if isinstance(value, str) else tuple(value)
    return tuple(" ".join(str(one).split()) for one in given)


def _in_utc(value: Any) -> Any:
    return value.astimezone(UTC) if isinstance(value, datetime) and value.utcoffset() is not None else value


@attrs.frozen(kw_only=True)
class Timetable:
    """The due times of a schedule.

    Attributes:
        cron: One expression or several: due whenever one of them is.
        every: An interval instead, of at least a second.
        anchor: A due time of the interval, from which all others are counted; by default the beginning of 1970 in
            UTC, so that every full hour and every midnight in UTC is one.
        timezone: In which `cron` is read, as the tz database names it.
        begins_at: Nothing is due before.
        ends_at: Nothing is due after.

    Raises:
        DefinitionError: It makes no sense; the message shows the right form.

    >>> Timetable(cron="0 3 * * *", timezone="Europe/Zurich").after(datetime(2026, 3, 28, 12, tzinfo=UTC))
    datetime.datetime(2026, 3, 29, 1, 0, tzinfo=datetime.timezone.utc)
    """

    cron: tuple[str, ...] = attrs.field(default=(), converter=_expressions)
    every: timedelta | None = None
    anchor: datetime = attrs.field(default=_EPOCH, converter=_in_utc)
    timezone: str = "UTC"
    begins_at: datetime | None = attrs.field(default=None, converter=_in_utc)
    ends_at: datetime | None = attrs.field(default=None, converter=_in_utc)

    def __attrs_post_init__(self) -> None:
        try:
            self._check()
        except (TypeError, ValueError) as error:
            raise DefinitionError(str(error)) from None

    def _check(self) -> None:
        if bool(self.cron) == (self.every is not None):
            msg = f"schedule: give either cron= or every=, got {'both' if self.cron else 'neither'}\n{_FORM}"
            raise ValueError(msg)
        for name, moment in (
            ("anchor", self.anchor),
            ("begins_at", self.begins_at),
            ("ends_at", self.ends_at),
        ):
            if moment is not None:
                check_moment(moment, name, "schedule")
        if self.every is not None:
            check_duration(self.every, "every", "schedule", may_be_zero=False)
            if self.every < _SHORTEST:
                msg = f"schedule: every is at least a second, got {self.every!r}"
                raise ValueError(msg)
        try:
            zone = _zone(self.timezone)
        except (LookupError, OSError, TypeError, ValueError):
            msg = (
                f"schedule: there is no time zone {describe(self.timezone)}\n"
                f'  right:  a name of the tz database, as timezone="Europe/Zurich"'
            )
            raise ValueError(msg) from None
        for expression in self.cron:
            try:
                CronSim(_NAMED.get(expression, expression), _EPOCH.astimezone(zone))
            except CronSimError as error:
                msg = (
                    f"schedule: {describe(expression)} is no cron expression: {error}\n"
                    f'  right:  minute hour day-of-month month day-of-week, as "0 3 * * *" for every day at 3'
                )
                raise ValueError(msg) from None

    # -- due times ---------------------------------------------------------------------------------------------

    def after(self, moment: datetime) -> datetime | None:
        """The first due time after a moment, in UTC; None if there is none any more."""
        return next(self.times(moment), None)

    def times(self, moment: datetime) -> Iterator[datetime]:
        """The due times after a moment, in UTC and in order, without end unless the timetable has one."""
        moment = moment.astimezone(UTC)
        if self.begins_at is not None and moment < self.begins_at:
            moment = self.begins_at - _MICROSECOND
        found = self._interval(moment) if self.every is not None else self._union(moment)
        for due in found:
            if self.ends_at is not None and due > self.ends_at:
                return
            yield due

    def between(self, after: datetime, until: datetime) -> Iterator[datetime]:
        """The due times after a moment, up to another and including it."""
        for due in self.times(after):
            if due > until:
                return
            yield due

    def latest(self, after: datetime, until: datetime) -> datetime | None:
        """The last due time in `between(after, until)`, without walking over all of them; None if there is none."""
        span = timedelta(minutes=1)
        while True:
            begin = max(after, until - span)
            found = [*self.between(begin, until)]
            if found or begin == after:
                return found[-1] if found else None
            span *= 2

    def _interval(self, moment: datetime) -> Iterator[datetime]:
        assert self.every is not None
        number = (moment - self.anchor) // self.every
        while True:
            number += 1
            try:
                yield self.anchor + number * self.every
            except OverflowError:  # the end of time
                return

    def _union(self, moment: datetime) -> Iterator[datetime]:
        clocks = [self._one(expression, moment) for expression in self.cron]
        upcoming = [next(clock, None) for clock in clocks]
        while (due := min((one for one in upcoming if one is not None), default=None)) is not None:
            yield due
            upcoming = [
                next(clock, None) if one == due else one for clock, one in zip(clocks, upcoming, strict=True)
            ]

    def _one(self, expression: str, moment: datetime) -> Iterator[datetime]:
        named = _NAMED.get(expression, expression)
        clock = CronSim(named, moment.astimezone(_zone(self.timezone)))
        if clock.fixup_tz is None:
            yield from self._by_the_clock(named, moment)
            return
        last = moment
        for local in clock:
            due = local.astimezone(UTC)
            # In the hour that comes twice it may answer with a time of the first pass.
            if due > last:
                yield due
                last = due

    def _by_the_clock(self, expression: str, moment: datetime) -> Iterator[datetime]:
        """What the clock shows, followed from one change to the next: `cronsim` takes each for one by whole hours."""
        last = since = moment
        while True:
            shown = self._offset(last)
            for local in CronSim(expression, since.astimezone(timezone(shown))):
                due = local.astimezone(UTC)
                change = self._change(shown, last, due)
                if change is not None:
                    break
                yield due
                last = due
            else:
                return
            # What the clock shows once it has changed is due at that very moment.
            last, since = change, change - _SHORTEST

    def _offset(self, moment: datetime) -> timedelta:
        return moment.astimezone(_zone(self.timezone)).utcoffset() or timedelta(0)

    def _change(self, shown: timedelta, after: datetime, until: datetime) -> datetime | None:
        """The first second, up to `until`, at which the clock has another offset; no clock changes twice a day."""
        begin = after.replace(microsecond=0)
        total = (until - begin) // _SHORTEST

        def has_changed(seconds: int) -> bool:
            return self._offset(begin + seconds * _SHORTEST) != shown

        for upto in (*range(_DAY_SECONDS, total, _DAY_SECONDS), total):
            if has_changed(upto):
                seconds = bisect_left(range(upto), 1, lo=max(upto - _DAY_SECONDS, 0), key=has_changed)
                return begin + seconds * _SHORTEST
        return None

    # -- as text -----------------------------------------------------------------------------------------------

    def to_json(self) -> str:
        """As it lies in the store."""
        times = {
            name: None if moment is None else moment.isoformat()
            for name, moment in (
                ("anchor", self.anchor),
                ("begins_at", self.begins_at),
                ("ends_at", self.ends_at),
            )
        }
        every = None if self.every is None else self.every // _MICROSECOND
        found = {"cron": self.cron, "every_us": every, "timezone": self.timezone, **times}
        return json.dumps(found, sort_keys=True)

    @classmethod
    def from_json(cls, text: str) -> Timetable:
        """What `to_json` wrote."""
        found: dict[str, Any] = json.loads(text)
        every = found["every_us"]
        begins_at, ends_at = found["begins_at"], found["ends_at"]
        return cls(
            cron=found["cron"],
            every=None if every is None else every * _MICROSECOND,
            timezone=found["timezone"],
            anchor=datetime.fromisoformat(found["anchor"]),
            begins_at=None if begins_at is None else datetime.fromisoformat(begins_at),
            ends_at=None if ends_at is None else datetime.fromisoformat(ends_at),
        )

    def __str__(self) -> str:
        told = f"every {self.every}" if self.every is not None else " and ".join(self.cron)
        zone = f" {self.timezone}" if self.cron else ""
        begin = f", from {self.begins_at:%Y-%m-%d %H:%M:%S} UTC" if self.begins_at is not None else ""
        end = f", until {self.ends_at:%Y-%m-%d %H:%M:%S} UTC" if self.ends_at is not None else ""
        return f"{told}{zone}{begin}{end}"
