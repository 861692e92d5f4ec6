"""Moments and durations as a person reads them: absolute and in UTC, with how long ago or how soon beside them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import attrs

__all__ = ["When", "span_text"]

_UNITS = ((86_400, "day"), (3_600, "h"), (60, "min"))
_SHORT_SECONDS = 10
_NOW_SECONDS = 1


def span_text(span: timedelta) -> str:
    """A duration in its two largest units.

    >>> span_text(timedelta(hours=2, minutes=5, seconds=3))
    '2 h 5 min'
    """
    seconds = abs(span.total_seconds())
    if seconds < _SHORT_SECONDS:
        return f"{round(seconds, 1):g} s"
    left = round(seconds)
    parts: list[str] = []
    for size, unit in _UNITS:
        count, left = divmod(left, size)
        if count:
            parts.append(f"{count} {unit}{'s' if unit == 'day' and count > 1 else ''}")
    if left:
        parts.append(f"{left} s")
    return " ".join(parts[:2])


@attrs.frozen
class When:
    """Tells moments from the point of view of `now`.

    >>> When(datetime(2026, 1, 1, 12, 5, tzinfo=UTC)).since(datetime(2026, 1, 1, 12, tzinfo=UTC))
    'since 12:00:00 UTC (5 min ago)'
    """

    now: datetime

    def at(self, moment: datetime) -> str:
        """The moment alone; without its date if that is today's."""
        moment = moment.astimezone(UTC)
        is_today = moment.date() == self.now.astimezone(UTC).date()
        return f"{moment:%H:%M:%S} UTC" if is_today else f"{moment:%Y-%m-%d %H:%M:%S} UTC"

    def distance(self, moment: datetime) -> str:
        """`5 min ago`, `in 2 days`, or `now`."""
        span = moment - self.now
        if abs(span.total_seconds()) < _NOW_SECONDS:
            return "now"
        return f"in {span_text(span)}" if moment > self.now else f"{span_text(span)} ago"

    def told(self, moment: datetime) -> str:
        """The moment and its distance."""
        return f"{self.at(moment)} ({self.distance(moment)})"

    def since(self, moment: datetime) -> str:
        """Since when."""
        return f"since {self.told(moment)}"

    def until(self, moment: datetime) -> str:
        """Until when, or since when it is overdue."""
        return f"until {self.told(moment)}" if moment >= self.now else f"due {self.told(moment)}"
