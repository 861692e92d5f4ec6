"""Where sweeps begin, and that nothing is passed over for long."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest

from qwit_durable.stores.sql import walks
from qwit_durable.stores.sql.walks import Walk

NOW = datetime(2026, 1, 1, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


class Stopwatch:
    seconds = 1000.0

    def __call__(self) -> float:
        return self.seconds


@pytest.fixture
def stopwatch(monkeypatch: pytest.MonkeyPatch) -> Stopwatch:
    found = Stopwatch()
    monkeypatch.setattr(walks, "monotonic", found)
    return found


def begin_of(walk: Walk) -> datetime | None:
    return None if walk.since.year == 1970 else walk.since


def test_a_quick_walk_begins_at_the_beginning_each_time(stopwatch: Stopwatch) -> None:
    walk = Walk()

    walk.taken(walk.since, NOW, 0.01, left_none=True)

    assert begin_of(walk) is None


def test_after_a_long_one_walks_begin_shortly_before_where_the_last_one_found_nothing_left(
    stopwatch: Stopwatch,
) -> None:
    walk = Walk()

    walk.taken(walk.since, NOW, 0.2, left_none=True)
    first = begin_of(walk)
    walk.taken(walk.since, NOW + MINUTE, 0.2, left_none=True)
    second = begin_of(walk)
    walk.taken(walk.since, NOW + MINUTE * 2, 0.2, left_none=False)

    assert first is not None
    assert NOW - MINUTE < first < NOW
    assert (second, begin_of(walk)) == (first + MINUTE, first + MINUTE)


def test_now_and_then_one_begins_at_the_beginning_seldom_enough_to_cost_little(stopwatch: Stopwatch) -> None:
    walk = Walk()
    walk.taken(walk.since, NOW, 0.2, left_none=True)

    stopwatch.seconds += 9
    before = begin_of(walk)
    stopwatch.seconds += 2
    after = begin_of(walk)
    walk.taken(walk.since, NOW, 1000.0, left_none=True)
    stopwatch.seconds += 61

    assert before is not None
    assert (after, begin_of(walk)) == (None, None)


def test_a_long_walk_that_left_something_is_gone_on_with(stopwatch: Stopwatch) -> None:
    walk = Walk()

    walk.taken(walk.since, NOW, 0.2, left_none=False)

    assert begin_of(walk) is None


def test_what_is_put_behind_the_beginning_is_seen_by_the_next_walk(stopwatch: Stopwatch) -> None:
    walk = Walk()
    walk.taken(walk.since, NOW, 0.2, left_none=True)

    walk.due(NOW)
    before = begin_of(walk)
    walk.due(NOW - MINUTE)

    assert before is not None
    assert begin_of(walk) is None
