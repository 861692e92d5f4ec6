"""Moments and durations as people read them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from qwit_durable.client.when import When, span_text

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


@pytest.mark.parametrize(
    ("span", "text"),
    [
        (timedelta(0), "0 s"),
        (timedelta(milliseconds=340), "0.3 s"),
        (timedelta(seconds=59), "59 s"),
        (timedelta(seconds=59.9), "1 min"),
        (timedelta(minutes=5, seconds=3), "5 min 3 s"),
        (timedelta(hours=2, minutes=5, seconds=3), "2 h 5 min"),
        (timedelta(days=1), "1 day"),
        (timedelta(days=2, hours=4), "2 days 4 h"),
        (-timedelta(minutes=1), "1 min"),
    ],
)
def test_a_duration_is_told_in_its_two_largest_units(span: timedelta, text: str) -> None:
    assert span_text(span) == text


def test_a_moment_of_today_has_no_date() -> None:
    assert When(NOON).at(NOON + timedelta(hours=1)) == "13:00:00 UTC"
    assert When(NOON).at(NOON + timedelta(days=1)) == "2026-01-02 12:00:00 UTC"


def test_a_moment_is_told_in_utc() -> None:
    there = datetime(2026, 1, 1, 13, tzinfo=timezone(timedelta(hours=1)))

    assert When(NOON).told(there) == "12:00:00 UTC (now)"


def test_what_is_past_its_time_is_due() -> None:
    when = When(NOON)

    assert when.until(NOON + timedelta(minutes=5)) == "until 12:05:00 UTC (in 5 min)"
    assert when.until(NOON - timedelta(minutes=5)) == "due 11:55:00 UTC (5 min ago)"
