"""Schedules in virtual time: policies, verbs, definitions, and deaths around every write."""

from __future__ import annotations

import logging
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from typing import Any

import attrs
import pytest

from qwit_durable.clock import ManualClock
from qwit_durable.core import Status
from qwit_durable.engine.tending.schedules import plan
from qwit_durable.errors import DefinitionError, OperationRefused, ScheduleNotFound
from qwit_durable.language.step import step
from qwit_durable.language.verbs import sleep
from qwit_durable.language.workflow import Workflow, workflow
from qwit_durable.observers import Observer
from qwit_durable.stores import open_store
from qwit_durable.stores.memory import MemoryStore
from qwit_durable.stores.protocol import RunQuery, Store
from qwit_durable.testing.environment import Environment
from tests.engine.mortal import MortalStore, ProcessDied

START = datetime(2026, 1, 1, tzinfo=UTC)
HOUR = timedelta(hours=1)
sent: list[str] = []


@pytest.fixture(autouse=True)
def nothing_sent() -> None:
    sent.clear()


@step
def send(what: str) -> None:
    sent.append(what)


@workflow
def report(what: str) -> Workflow[str]:
    yield from send(what)
    return what


@workflow
def long_report(hours: float) -> Workflow[None]:
    yield from sleep(timedelta(hours=hours))


@pytest.fixture
def environment() -> Iterator[Environment]:
    with Environment() as found:
        yield found


def until(environment: Environment, hours: float) -> None:
    environment.settle(until=START + HOUR * hours)


def started(environment: Environment) -> list[str]:
    """The due times that have a run, the oldest first."""
    runs = environment.store.runs(RunQuery(namespace="default", limit=10_000))
    return sorted(view.run.key.partition("@")[2].removeprefix("2026-01-01T") for view in runs)


def kinds(environment: Environment, name: str = "hourly") -> list[str]:
    return [f"{one.kind} {one.count}" for one in environment.get_schedule(name).describe().recent]


def test_each_due_time_starts_one_run_that_says_whose_it_is(environment: Environment) -> None:
    environment.schedule("hourly", report, "sales", cron="0 * * * *", attributes={"tenant": "acme"})

    until(environment, 3.5)

    assert started(environment) == ["01:00:00Z", "02:00:00Z", "03:00:00Z"]
    assert sent == ["sales"] * 3
    run = environment.get("hourly@2026-01-01T02:00:00Z").run()
    assert run.status is Status.COMPLETED
    assert run.attributes == {"tenant": "acme", "schedule": "hourly", "due_at": "2026-01-01T02:00:00Z"}
    assert [found.id for found in environment.get_schedule("hourly").runs(1)] == [
        "hourly@2026-01-01T03:00:00Z"
    ]


@pytest.mark.parametrize(
    ("zone_day", "expected"),
    [
        (datetime(2026, 3, 29, tzinfo=UTC), ["2026-03-29T01:00:00Z"]),
        (datetime(2026, 10, 25, tzinfo=UTC), ["2026-10-25T00:30:00Z"]),
    ],
)
def test_a_job_at_half_past_two_runs_once_on_the_days_on_which_clocks_change(zone_day, expected) -> None:
    with Environment(clock=ManualClock(zone_day - timedelta(hours=6))) as environment:
        environment.schedule("nightly", report, "x", cron="30 2 * * *", timezone="Europe/Zurich")

        environment.settle(until=zone_day + timedelta(hours=12))

        assert started(environment) == expected


def test_an_interval_goes_on_through_the_hour_that_comes_twice() -> None:
    day = datetime(2026, 10, 25, tzinfo=UTC)
    with Environment(clock=ManualClock(day - timedelta(minutes=5))) as environment:
        environment.schedule("often", report, "x", every=timedelta(minutes=20), timezone="Europe/Zurich")

        environment.settle(until=day + timedelta(hours=3))

        assert len(started(environment)) == 10


@pytest.mark.parametrize(
    ("overlap", "expected", "statuses"),
    [
        ("skip", ["01:00:00Z", "04:00:00Z"], {"completed": 1, "running": 1}),
        ("allow", ["01:00:00Z", "02:00:00Z", "03:00:00Z", "04:00:00Z"], {"completed": 1, "running": 3}),
        (
            "queue",
            ["01:00:00Z", "02:00:00Z", "03:00:00Z", "04:00:00Z"],
            {"completed": 1, "running": 1, "scheduled": 2},
        ),
        ("cancel", ["01:00:00Z", "02:00:00Z", "03:00:00Z", "04:00:00Z"], {"cancelled": 3, "running": 1}),
    ],
)
def test_what_happens_while_the_last_run_is_open(environment, overlap, expected, statuses) -> None:
    environment.schedule("hourly", long_report, 2.5, every=HOUR, overlap=overlap)

    until(environment, 4.2)

    assert started(environment) == expected
    counts = environment.store.counts("default")
    assert {status.value: count for status, count in counts.items()} == statuses


def test_what_is_queued_runs_one_after_the_other_in_the_order_of_due_times(environment) -> None:
    environment.schedule("hourly", long_report, 2, every=HOUR, overlap="queue")
    until(environment, 4.2)
    environment.get_schedule("hourly").pause()

    environment.settle()

    runs = [environment.get(f"hourly@2026-01-01T0{hour}:00:00Z").run() for hour in (1, 2, 3, 4)]
    assert [run.ended_at for run in runs] == [START + HOUR * hour for hour in (3, 5, 7, 9)]
    assert {run.lane for run in runs} == {"schedule:hourly"}


def test_a_backfill_runs_one_after_the_other_unless_told_otherwise(environment) -> None:
    environment.clock.advance(HOUR)
    handle = environment.schedule("hourly", long_report, 2, every=HOUR)

    queued = handle.backfill(START - HOUR * 2, START - HOUR)
    at_once = handle.backfill(START, START + HOUR, overlap="allow")
    environment.settle(until=environment.clock.now())

    assert [run.status() for run in queued] == [Status.RUNNING, Status.SCHEDULED]
    assert {run.status() for run in at_once} == {Status.RUNNING}


@pytest.mark.parametrize(
    ("catch_up", "window", "expected"),
    [
        ("latest", None, ["09:00:00Z"]),
        ("latest", timedelta(minutes=10), []),
        ("all", None, [f"0{n}:00:00Z" for n in range(1, 10)]),
        ("all", timedelta(hours=2.2), ["08:00:00Z", "09:00:00Z"]),
        ("none", None, []),
    ],
)
def test_what_was_missed_is_caught_up_with_as_the_policy_says(
    environment, catch_up, window, expected
) -> None:
    environment.schedule(
        "hourly", report, "x", every=HOUR, overlap="allow", catch_up=catch_up, catch_up_window=window
    )
    environment.clock.advance(HOUR * 9.5)

    environment.settle()

    schedule = environment.get_schedule("hourly").describe()
    assert started(environment) == expected
    assert (schedule.started, schedule.missed) == (len(expected), 9 - len(expected))
    assert schedule.next_at == START + HOUR * 10


@pytest.mark.parametrize("catch_up", ["latest", "all", "none"])
def test_a_due_time_is_on_time_for_a_minute(environment, catch_up) -> None:
    environment.schedule(
        "often", report, "x", every=timedelta(seconds=10), overlap="allow", catch_up=catch_up
    )
    environment.clock.advance(timedelta(seconds=45))

    environment.settle()

    assert started(environment) == [f"00:00:{n}Z" for n in (10, 20, 30, 40)]


def test_more_than_can_be_started_at_once_is_started_all_the_same(environment: Environment) -> None:
    environment.schedule("often", report, "x", every=timedelta(minutes=1), overlap="allow", catch_up="all")
    environment.clock.advance(HOUR * 5)

    environment.settle()

    assert len(started(environment)) == 300
    assert environment.get_schedule("often").describe().next_at == START + timedelta(hours=5, minutes=1)


def test_what_is_skipped_and_missed_is_told(environment, caplog) -> None:
    caplog.set_level(logging.INFO, "qwit_durable.schedules")
    environment.schedule("hourly", long_report, 99, every=HOUR)

    until(environment, 2)
    environment.clock.advance(HOUR * 3.5)
    environment.settle(until=environment.clock.now())

    text = str(environment.get_schedule("hourly").describe())
    assert kinds(environment) == ["started 1", "skipped 1", "missed 2", "skipped 1"]
    assert "1 started, 2 skipped, 2 missed" in text
    assert "2026-01-01 02:00:00 UTC skipped: hourly@2026-01-01T01:00:00Z was open" in text
    assert "2026-01-01 04:00:00 UTC missed, as were 1 before" in text
    assert "run hourly@2026-01-01T01:00:00Z is still open" in caplog.text
    assert "2 due times up to 2026-01-01 04:00:00 UTC missed and given up" in caplog.text


def test_a_paused_schedule_starts_nothing_and_goes_on_from_then(environment: Environment) -> None:
    handle = environment.schedule("hourly", report, "x", every=HOUR, catch_up="all")
    until(environment, 1.5)

    handle.pause("holidays")
    until(environment, 4.5)
    paused = handle.describe()
    handle.resume()
    until(environment, 5.5)

    assert (paused.is_paused, paused.note, paused.next_at) == (True, "holidays", None)
    assert paused.next_times[0] == START + HOUR * 5
    assert started(environment) == ["01:00:00Z", "05:00:00Z"]
    assert handle.describe().missed == 0


def test_a_schedule_can_be_run_now_even_if_it_is_paused(environment: Environment) -> None:
    handle = environment.schedule("hourly", report, "now", every=HOUR, paused=True)

    run = handle.run_now()
    environment.settle()

    assert run.result(0) == "now"
    assert run.id == "hourly@2026-01-01T00:00:00Z"
    assert handle.describe().next_at is None


def test_running_now_is_refused_while_the_last_run_is_open_unless_told_otherwise(environment) -> None:
    handle = environment.schedule("hourly", long_report, 99, every=HOUR)
    first = handle.run_now()
    environment.clock.advance(timedelta(seconds=1))

    with pytest.raises(OperationRefused, match="is still open"):
        handle.run_now()
    second = handle.run_now(overlap="allow")

    assert first.id != second.id
    assert {first.status(), second.status()} == {Status.RUNNING}


def test_a_backfill_fills_the_holes_and_nothing_else(environment: Environment) -> None:
    handle = environment.schedule("hourly", report, "x", every=HOUR)
    until(environment, 1.5)
    environment.clock.advance(HOUR * 3)
    environment.settle()

    runs = handle.backfill(START - HOUR, START + HOUR * 4)
    again = handle.backfill(START - HOUR, START + HOUR * 4)
    environment.settle()

    assert [run.id for run in runs] == [run.id for run in again]
    assert [run.id.partition("@")[2] for run in runs[:2]] == ["2025-12-31T23:00:00Z", "2026-01-01T00:00:00Z"]
    assert (len(runs), len(sent)) == (6, 6)


@pytest.mark.parametrize(
    ("start", "end", "message"),
    [
        (START, START + HOUR * 9, "no time in the past"),
        (START, START - HOUR, "no time in the past"),
        (START - HOUR * 2000, START, "more than 1000 due times"),
    ],
)
def test_a_backfill_that_makes_no_sense_is_refused(environment, start, end, message) -> None:
    handle = environment.schedule("hourly", report, "x", every=HOUR)

    with pytest.raises(ValueError, match=message):
        handle.backfill(start, end)


# -- definitions -------------------------------------------------------------------------------------------------


def test_the_same_definition_again_changes_nothing(environment: Environment) -> None:
    for _ in range(3):
        environment.schedule("hourly", report, "x", cron="0 * * * *", attributes={"a": 1})

    row = environment.store.schedule("default", "hourly")
    assert row is not None
    assert row.revision == 1


def test_another_definition_is_taken_over_and_what_it_did_stays(environment: Environment) -> None:
    environment.schedule("hourly", report, "old", every=HOUR)
    until(environment, 1.2)

    handle = environment.schedule("hourly", report, "new", cron="30 * * * *", overlap="allow")
    until(environment, 2.1)

    schedule = handle.describe()
    assert sent == ["old", "new"]
    assert started(environment) == ["01:00:00Z", "01:30:00Z"]
    assert (schedule.started, schedule.overlap, schedule.args) == (2, "allow", {"what": "new"})


def test_what_is_due_when_the_definition_changes_is_not_forgotten(environment: Environment) -> None:
    environment.schedule("hourly", report, "old", every=HOUR)
    environment.clock.advance(HOUR + timedelta(seconds=2))

    environment.schedule("hourly", report, "new", cron="30 * * * *")
    environment.settle()

    assert started(environment) == ["01:00:00Z"]
    assert environment.get_schedule("hourly").describe().next_at == START + HOUR * 1.5


def test_a_new_definition_leaves_a_paused_schedule_paused(environment: Environment) -> None:
    environment.schedule("hourly", report, "x", every=HOUR).pause()

    environment.schedule("hourly", report, "x", every=HOUR * 2)
    until(environment, 5)

    assert started(environment) == []


def test_a_deleted_schedule_starts_nothing_and_its_runs_stay(environment: Environment) -> None:
    handle = environment.schedule("hourly", report, "x", every=HOUR)
    until(environment, 1.2)

    handle.delete()
    until(environment, 5)

    assert started(environment) == ["01:00:00Z"]
    assert list(environment.schedules()) == []
    with pytest.raises(ScheduleNotFound, match="no schedule 'hourly' in namespace 'default'"):
        environment.get_schedule("hourly")
    with pytest.raises(ScheduleNotFound):
        handle.describe()


def test_a_deleted_schedule_that_is_made_again_starts_no_due_time_twice(environment: Environment) -> None:
    environment.schedule("hourly", report, "x", every=HOUR)
    until(environment, 1.2)
    environment.get_schedule("hourly").delete()

    environment.schedule("hourly", report, "x", every=HOUR).backfill(START, START + HOUR)
    environment.settle()

    assert started(environment) == ["00:00:00Z", "01:00:00Z"]
    assert len(sent) == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({}, "either cron= or every="),
        ({"every": HOUR, "overlap": "sometimes"}, "overlap is one of 'skip', 'allow', 'queue', 'cancel'"),
        ({"every": HOUR, "catch_up": "some"}, "catch_up is one of"),
        ({"every": HOUR, "catch_up_window": 60}, "catch_up_window is a timedelta"),
        ({"every": HOUR, "attributes": {"due_at": "x"}}, "'due_at' is the schedule's own"),
    ],
)
def test_a_definition_that_makes_no_sense_is_refused(environment, options, message) -> None:
    with pytest.raises(DefinitionError, match=message):
        environment.schedule("hourly", report, "x", **options)

    assert list(environment.schedules()) == []


def test_arguments_that_do_not_fit_are_refused_at_once(environment: Environment) -> None:
    with pytest.raises(TypeError, match="missing"):
        environment.schedule("hourly", report, every=HOUR)
    with pytest.raises(DefinitionError, match="second argument is a workflow"):
        environment.schedule("hourly", report.fn, "x", every=HOUR)  # type: ignore[arg-type]
    with pytest.raises(DefinitionError, match="options of one start"):
        environment.schedule("hourly", report.options(id="a"), "x", every=HOUR)


def test_options_of_the_workflow_hold_for_each_run(environment: Environment) -> None:
    bound = long_report.options(deadline=HOUR * 2, attributes={"tenant": "acme"})
    environment.schedule("daily", bound, kwargs={"hours": 99}, every=HOUR * 6)

    until(environment, 9)

    run = environment.get("daily@2026-01-01T06:00:00Z").run()
    assert run.status is Status.FAILED
    assert run.attributes["tenant"] == "acme"


def test_a_schedule_says_when_nobody_is_there_to_fire_it() -> None:
    alone = Environment()

    handle = alone.schedule("hourly", report, "x", every=HOUR)
    before = handle.describe().warning
    alone.settle()

    assert before is not None
    assert before.startswith("no worker is alive to fire it; start a worker")
    assert handle.describe().warning is None


def test_one_that_can_not_be_read_stands_in_nobodys_way(environment, caplog) -> None:
    environment.schedule("a", report, "a", every=HOUR)
    environment.schedule("b", report, "b", every=HOUR)
    rows = environment.store._rows.schedule
    rows[("default", "a")] = attrs.evolve(rows[("default", "a")], timetable='{"cron": ["?"]}')
    environment.clock.advance(HOUR)

    environment.settle()

    assert sent == ["b"]
    assert "schedule a of namespace 'default' can't be fired" in caplog.text


class Told(Observer):
    def __init__(self) -> None:
        self.runs: list[str] = []

    def run_started(self, run: Any) -> None:
        self.runs.append(run.key)


def test_observers_are_told_of_each_run_once() -> None:
    told = Told()
    with Environment(observers=[told]) as environment:
        environment.schedule("hourly", report, "x", every=HOUR)

        until(environment, 2.5)

    assert told.runs == ["hourly@2026-01-01T01:00:00Z", "hourly@2026-01-01T02:00:00Z"]


def test_nothing_is_planned_for_what_is_not_due(environment: Environment) -> None:
    environment.schedule("hourly", report, "x", every=HOUR)
    row = environment.store.schedule("default", "hourly")
    assert row is not None

    assert plan(row, START) is None
    assert plan(row, START + HOUR) is not None


# -- deaths ------------------------------------------------------------------------------------------------------


def play(truth: Store, clock: ManualClock, *, dies_at: int | None = None, after: bool = False) -> int:
    """Three hours of a schedule in one process, and once that has died, the rest in a second one."""
    mortal = MortalStore(truth, dies_at=dies_at, after=after)
    first = Environment(mortal, clock=clock)
    try:
        first.schedule("hourly", report, "x", every=HOUR, overlap="allow")
        first.settle(until=START + HOUR * 3.5)
    except ProcessDied:
        pass
    second = Environment(truth, clock=clock)
    second.schedule("hourly", report, "x", every=HOUR, overlap="allow")
    second.settle(until=START + HOUR * 3.5)
    second.settle()
    return mortal.calls


_WRITES = 60


def check(truth: Store) -> None:
    views = truth.runs(RunQuery(namespace="default", limit=100))
    assert sorted(view.run.key for view in views) == [
        f"hourly@2026-01-01T0{hour}:00:00Z" for hour in (1, 2, 3)
    ]
    assert {view.status for view in views} == {Status.COMPLETED}
    row = truth.schedule("default", "hourly")
    assert row is not None
    assert (row.started, row.missed, row.skipped) == (3, 0, 0)
    assert row.next_at == START + HOUR * 4


def test_the_yardstick_of_deaths() -> None:
    clock = ManualClock()
    truth = MemoryStore(clock)

    calls = play(truth, clock)

    check(truth)
    assert calls < _WRITES, "raise _WRITES: some crash points are not tried"


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(1, _WRITES))
def test_death_around_any_write_loses_and_repeats_no_due_time(dies_at: int, after: bool) -> None:
    clock = ManualClock()
    truth = MemoryStore(clock)

    play(truth, clock, dies_at=dies_at, after=after)

    check(truth)


@pytest.mark.parametrize("after", [False, True])
@pytest.mark.parametrize("dies_at", range(2, _WRITES, 9))
def test_death_around_writes_to_postgres_loses_and_repeats_no_due_time(
    dies_at: int, after: bool, postgres_url: str
) -> None:
    open_store(postgres_url).migrate()
    clock = ManualClock()
    truth = open_store(postgres_url, clock=clock)

    play(truth, clock, dies_at=dies_at, after=after)

    check(truth)
    truth.close()
