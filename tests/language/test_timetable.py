"""When schedules are due: cron on the days on which clocks change, intervals, several expressions, and their text."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from itertools import islice, pairwise
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from qwit_durable.errors import DefinitionError
from qwit_durable.language.timetable import Timetable

ZURICH = "Europe/Zurich"
SPRING = datetime(2026, 3, 28, 12, tzinfo=UTC)  # clocks go from 2:00 to 3:00 in the night after
AUTUMN = datetime(2026, 10, 24, 12, tzinfo=UTC)  # and from 3:00 to 2:00


def due(table: Timetable, after: datetime, count: int) -> list[str]:
    return [f"{moment:%m-%d %H:%M:%S}" for moment in islice(table.times(after), count)]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        pytest.param("30 2 * * *", SPRING, ["03-29 01:00:00", "03-30 00:30:00"], id="in the gap: after it"),
        pytest.param("30 2 * * *", AUTUMN, ["10-25 00:30:00", "10-26 01:30:00"], id="twice: the first"),
        pytest.param("30 3 * * *", SPRING, ["03-29 01:30:00", "03-30 01:30:00"], id="after the gap: as ever"),
        pytest.param("*/30 2 * * *", SPRING, ["03-30 00:00:00", "03-30 00:30:00"], id="wildcard: none in the gap"),
        pytest.param(
            "*/30 2 * * *",
            AUTUMN,
            ["10-25 00:00:00", "10-25 00:30:00", "10-25 01:00:00", "10-25 01:30:00", "10-26 01:00:00"],
            id="wildcard: in both hours",
        ),
        pytest.param(
            "0 * * * *",
            datetime(2026, 3, 28, 23, 30, tzinfo=UTC),
            ["03-29 00:00:00", "03-29 01:00:00", "03-29 02:00:00"],
            id="hourly in spring: each hour that there is",
        ),
        pytest.param(
            "0 * * * *",
            datetime(2026, 10, 24, 23, 30, tzinfo=UTC),
            ["10-25 00:00:00", "10-25 01:00:00", "10-25 02:00:00"],
            id="hourly in autumn: each hour that there is",
        ),
        pytest.param("@daily", SPRING, ["03-28 23:00:00", "03-29 22:00:00"], id="midnight"),
    ],
)  # fmt: skip
def test_cron_on_the_days_on_which_clocks_change(cron, after, expected):
    table = Timetable(cron=cron, timezone=ZURICH)

    found = due(table, after, len(expected))

    assert found == expected


def test_what_comes_twice_is_not_due_again_for_whoever_asks_in_the_second_hour():
    table = Timetable(cron="30 2 * * *", timezone=ZURICH)
    in_the_second_hour = datetime(2026, 10, 25, 1, 15, tzinfo=UTC)

    found = due(table, in_the_second_hour, 1)

    assert found == ["10-26 01:30:00"]


@pytest.mark.parametrize(
    ("cron", "after", "expected"),
    [
        pytest.param(
            "5 */2 * * *", (2026, 4, 4), ["13:05", "15:35", "17:35"], id="back: none is passed over"
        ),
        pytest.param("45 * * * *", (2026, 4, 4), ["12:45", "13:45", "14:45", "15:15"], id="back: twice"),
        pytest.param(
            "45 * * * *", (2026, 10, 3), ["12:15", "13:15", "14:15", "15:15", "15:45"], id="forward"
        ),
        pytest.param("5 */2 * * *", (2026, 10, 3), ["13:35", "17:05"], id="forward: none in the gap"),
    ],
)
def test_clocks_that_change_by_half_an_hour_show_each_time_that_there_is(cron, after, expected):
    table = Timetable(cron=cron, timezone="Australia/Lord_Howe")

    found = islice(table.times(datetime(*after, 12, tzinfo=UTC)), len(expected))

    assert [f"{moment:%H:%M}" for moment in found] == expected


@pytest.mark.parametrize("after", [SPRING, AUTUMN])
def test_an_interval_is_elapsed_time_whatever_clocks_do(after):
    table = Timetable(every=timedelta(hours=6), timezone=ZURICH)

    found = list(islice(table.times(after), 8))

    assert {later - earlier for earlier, later in pairwise(found)} == {timedelta(hours=6)}
    assert all(moment.hour % 6 == 0 for moment in found)


def test_an_interval_is_counted_from_its_anchor_backwards_too():
    table = Timetable(every=timedelta(minutes=10), anchor=datetime(2030, 1, 1, 0, 3, tzinfo=UTC))

    found = due(table, SPRING, 2)

    assert found == ["03-28 12:03:00", "03-28 12:13:00"]


def test_several_expressions_are_due_whenever_one_is_and_once_where_two_are():
    table = Timetable(cron=["0 8 * * MON-FRI", "0 8,10 * * SAT,FRI"])

    found = due(table, datetime(2026, 3, 26, 12, tzinfo=UTC), 5)

    assert found == ["03-27 08:00:00", "03-27 10:00:00", "03-28 08:00:00", "03-28 10:00:00", "03-30 08:00:00"]


def test_nothing_is_due_before_its_beginning_or_after_its_end():
    begin, end = datetime(2026, 5, 1, tzinfo=UTC), datetime(2026, 5, 2, tzinfo=UTC)
    table = Timetable(cron="0 0,12 * * *", begins_at=begin, ends_at=end)

    found = due(table, SPRING, 9)

    assert found == ["05-01 00:00:00", "05-01 12:00:00", "05-02 00:00:00"]
    assert table.after(end) is None


TABLES = st.sampled_from(
    [
        Timetable(cron="30 2 * * *", timezone=ZURICH),
        Timetable(cron="*/7 1-3 * * *", timezone=ZURICH),
        Timetable(cron="15,45 1-3 * * *", timezone="America/New_York"),
        Timetable(cron=["5 */2 * * *", "0 3 * * 0"], timezone="Australia/Lord_Howe"),
        Timetable(every=timedelta(seconds=1234.5)),
    ]
)
ZONES = [ZURICH, "Australia/Lord_Howe", "America/Santiago", "Africa/Cairo", "Antarctica/Troll", "UTC"]
MOMENTS = st.one_of(
    st.datetimes(datetime(2026, 3, 7), datetime(2026, 4, 6), timezones=st.just(UTC)),
    st.datetimes(datetime(2026, 10, 3), datetime(2026, 11, 2), timezones=st.just(UTC)),
)


@settings(max_examples=150, deadline=None)
@given(table=TABLES, moment=MOMENTS)
def test_due_times_are_the_same_from_wherever_one_begins_to_look(table, moment):
    from_afar = [*islice((one for one in table.times(moment - timedelta(days=2)) if one > moment), 5)]

    step_by_step, last = [], moment
    for _ in from_afar:
        last = table.after(last)
        step_by_step.append(last)

    assert step_by_step == from_afar
    assert all(due.utcoffset() == timedelta(0) for due in step_by_step)


@settings(max_examples=60, deadline=None)
@given(zone=st.sampled_from(ZONES), moment=MOMENTS)
def test_wildcards_are_due_whenever_the_clock_shows_them(zone, moment):
    until = moment + timedelta(hours=8)

    found = [*Timetable(cron="*/5 */2 * * *", timezone=zone).between(moment, until)]

    full = moment.replace(second=0, microsecond=0)
    minutes = ((full + timedelta(minutes=n)).astimezone(ZoneInfo(zone)) for n in range(1, 8 * 60 + 1))
    # In UTC: a time of an hour that comes twice equals none of another zone.
    assert found == [one.astimezone(UTC) for one in minutes if one.minute % 5 == 0 and one.hour % 2 == 0]


@settings(max_examples=100, deadline=None)
@given(table=TABLES, moment=MOMENTS, hours=st.integers(0, 60))
def test_the_latest_due_time_is_the_last_of_all(table, moment, hours):
    until = moment + timedelta(hours=hours)

    found = table.latest(moment, until)

    assert found == ([None, *table.between(moment, until)][-1])


@settings(max_examples=30)
@given(table=TABLES)
def test_a_timetable_is_read_as_it_was_written(table):
    assert Timetable.from_json(table.to_json()) == table


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({}, "either cron= or every=, got neither"),
        ({"cron": "0 3 * * *", "every": timedelta(hours=1)}, "got both"),
        ({"cron": "0 25 * * *"}, "is no cron expression: Bad hour"),
        ({"cron": "0 0 31 2,4 *"}, "Bad day-of-month"),
        ({"cron": "every day"}, "Wrong number of fields"),
        ({"cron": "0 3 * * *", "timezone": "Mars/Olympus"}, "no time zone 'Mars/Olympus'"),
        ({"every": 60}, r"every is a timedelta, got 60(.*\n)*  right:  every=timedelta\(seconds=60\)"),
        ({"every": timedelta(milliseconds=10)}, "at least a second"),
        ({"every": timedelta(hours=1), "begins_at": datetime(2026, 1, 1)}, "begins_at has no time zone"),
    ],
)
def test_what_makes_no_sense_is_refused_with_the_right_form(given, message):
    with pytest.raises(DefinitionError, match=message):
        Timetable(**given)
