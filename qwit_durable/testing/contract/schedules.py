# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Schedules: made and changed by one at a time, fired once for each due time."""

from __future__ import annotations

from datetime import datetime, timedelta
from threading import Barrier, Thread
from typing import Any

import attrs

from qwit_durable.core import CancelRequested, Status
from qwit_durable.stores.answers import Accepted, Rings
from qwit_durable.stores.protocol import RunQuery, Store
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.schedules import (
    DropSchedule,
    DueRun,
    Fired,
    FireSchedule,
    PutSchedule,
    Scheduled,
    ScheduleRow,
)
from qwit_durable.stores.writes import FireTimers
from qwit_durable.testing.contract.stage import NAMESPACE, Stage, seconds

__all__ = ["Schedules"]

HOUR = timedelta(hours=1)


class Schedules:
    """A due time has one run, however many come to fire it."""

    def test_a_schedule_is_made_once_and_read_as_it_was_put(self, stage: Stage) -> None:
        row = _row(
            stage,
            version="2",
            overlap="queue",
            catch_up="all",
            window=HOUR,
            lane="mail",
            deadline=HOUR,
            attributes={"tenant": "acme", "n": 1},
            note="why",
        )

        made, again = (stage.do(PutSchedule(row=row)) for _ in range(2))

        stored = attrs.evolve(row, revision=1)
        assert made == Scheduled(row=stored, done=True)
        assert again == Scheduled(row=stored, done=False)
        assert stage.store.schedule(NAMESPACE, "nightly") == stored
        assert stage.store.schedules(NAMESPACE) == [stored]
        assert stage.store.schedules("another") == []
        assert stage.store.schedule("another", "nightly") is None

    def test_a_change_is_refused_to_whoever_has_not_seen_the_one_before(self, stage: Stage) -> None:
        row = _put(stage)
        stage.wait(5)
        paused = attrs.evolve(row, paused=True, next_at=None)

        first = stage.do(PutSchedule(row=paused, revision=1))
        second = stage.do(PutSchedule(row=attrs.evolve(row, note="late"), revision=1))

        assert first.row == attrs.evolve(paused, revision=2, changed_at=stage.clock.now())
        assert second == Scheduled(row=first.row, done=False)

    def test_a_removed_schedule_is_gone(self, stage: Stage) -> None:
        row = _put(stage)

        dropped, again = (stage.do(DropSchedule(namespace=NAMESPACE, id="nightly")) for _ in range(2))

        assert (dropped, again) == (Accepted(), Accepted(repeated=True))
        assert stage.store.schedules(NAMESPACE) == []
        assert _fire(stage, row, 1) == Fired(row=None, done=False)

    def test_the_sweep_names_the_schedules_that_are_due_the_longest_due_first(self, stage: Stage) -> None:
        now = stage.clock.now()
        for name, after in (("b", 5), ("a", 3), ("later", 9)):
            _put(stage, id=name, next_at=now + seconds(after))
        _put(stage, id="paused", next_at=None)
        stage.wait(4)

        early, due = stage.do(FireTimers()), stage.do(FireTimers())
        stage.wait(1)
        both = stage.do(FireTimers())

        assert [row.id for row in due.schedules] == ["a"]
        assert early == due
        assert (due.next_schedule_at, due.now) == (now + seconds(3), now + seconds(4))
        assert [row.id for row in both.schedules] == ["a", "b"]

    def test_nothing_is_named_where_nothing_is_due(self, stage: Stage) -> None:
        row = _put(stage)

        found = stage.do(FireTimers())

        assert found == Rings(next_schedule_at=row.next_at)

    def test_a_due_time_starts_one_run_and_moves_on(self, stage: Stage) -> None:
        row = _put(stage)
        stage.wait(3600)

        fired, again = _fire(stage, row, 1), _fire(stage, row, 1)

        (run,) = fired.runs
        assert (fired.done, again.done, again.runs) == (True, False, ())
        assert [(ring.run_id, ring.position) for ring in fired.rings] == [(run.id, TURN)]
        stored = stage.store.schedule(NAMESPACE, "nightly")
        assert stored == fired.row == again.row
        assert stored is not None
        assert (stored.last_run, stored.last_run_id, stored.last_due_at) == (run.key, run.id, row.next_at)
        assert stored.next_at == stage.clock.now() + HOUR
        assert [(one.kind, one.run) for one in stored.recent] == [("started", run.key)]
        assert stage.live(run.id).status is Status.RUNNING

    def test_a_due_time_that_has_a_run_gets_no_other_one(self, stage: Stage) -> None:
        row = _put(stage)
        stage.wait(3600)
        _fire(stage, row, 1)
        stage.do(DropSchedule(namespace=NAMESPACE, id="nightly"))
        made_again = _put(stage, next_at=row.next_at)

        fired = _fire(stage, made_again, 1)

        assert (fired.done, fired.runs) == (True, ())
        assert len(stage.store.runs(_all())) == 1
        assert (fired.row.started, fired.row.last_run) == (0, "nightly@1")

    def test_skip_starts_nothing_while_the_last_run_is_open(self, stage: Stage) -> None:
        row = _put(stage)
        stage.wait(3600)
        first = _fire(stage, row, 1)
        second = _fire(stage, first.row, 2)
        stage.hold(first.runs[0].id).end()
        third = _fire(stage, second.row, 3)

        assert (second.done, second.runs, second.row.skipped) == (True, (), 1)
        assert [(one.kind, one.run) for one in second.firings] == [("skipped", "nightly@1")]
        assert [run.key for run in third.runs] == ["nightly@3"]

    def test_skip_starts_one_of_several_due_times(self, stage: Stage) -> None:
        row = _put(stage)
        stage.wait(3600)

        fired = _fire(stage, row, 1, 2, 3)

        assert [one.kind for one in fired.firings] == ["started", "skipped", "skipped"]
        assert (fired.row.started, fired.row.skipped) == (1, 2)

    def test_allow_starts_all(self, stage: Stage) -> None:
        row = _put(stage, overlap="allow")
        stage.wait(3600)

        fired = _fire(stage, row, 1, 2, 3, missed=(stage.clock.now() - HOUR, 7))

        assert [run.key for run in fired.runs] == ["nightly@1", "nightly@2", "nightly@3"]
        assert [(one.kind, one.count) for one in fired.firings[:1]] == [("missed", 7)]
        assert (fired.row.started, fired.row.missed, fired.row.skipped) == (3, 7, 0)

    def test_cancel_asks_the_last_run_to_stop_and_starts_the_newest(self, stage: Stage) -> None:
        row = _put(stage, overlap="cancel")
        stage.wait(3600)
        first = _fire(stage, row, 1)
        last = first.runs[0].id

        fired = _fire(stage, first.row, 2, 3, cancels=last)

        assert stage.events(last) == [CancelRequested(reason="schedule 'nightly' is due again")]
        assert [run.key for run in fired.runs] == ["nightly@3"]
        assert [(one.kind, one.run) for one in fired.firings] == [("skipped", None), ("started", "nightly@3")]
        assert {ring.run_id for ring in fired.rings} == {last, fired.runs[0].id}

    def test_a_firing_by_hand_moves_nothing_but_the_last_run(self, stage: Stage) -> None:
        row = _put(stage, overlap="allow")
        stage.wait(60)

        fired = stage.do(attrs.evolve(_firing(stage, row, 9), revision=None))

        assert fired.row.next_at == row.next_at
        assert fired.row.last_due_at is None
        assert (fired.row.last_run, fired.row.started) == ("nightly@9", 1)

    def test_the_last_firings_are_kept_and_no_more(self, stage: Stage) -> None:
        row = _put(stage, overlap="allow")
        stage.wait(3600)

        fired = _fire(stage, row, *range(14))

        assert [one.run for one in fired.row.recent] == [f"nightly@{n}" for n in range(4, 14)]
        assert stage.store.schedule(NAMESPACE, "nightly") == fired.row

    def test_processes_that_fire_at_once_start_one_run(self, stage: Stage, another: Any) -> None:
        row = _put(stage, overlap="allow")
        stage.wait(3600)
        stores: list[Store] = [another() for _ in range(4)]
        barrier, answers = Barrier(len(stores)), list[Any]()

        def fire(store: Store) -> None:
            write = _firing(stage, row, 1, 2)
            barrier.wait(10)
            answers.extend(store.apply([write]))

        _together([lambda store=store: fire(store) for store in stores])

        assert sorted(answer.done for answer in answers) == [False, False, False, True]
        assert sum(len(answer.runs) for answer in answers) == 2
        assert len(stage.store.runs(_all())) == 2


def _together(jobs: list[Any]) -> None:
    threads = [Thread(target=job) for job in jobs]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)


def _all() -> Any:

    return RunQuery(namespace=NAMESPACE)


def _row(stage: Stage, **changes: Any) -> ScheduleRow:
    now = stage.clock.now()
    found = ScheduleRow(
        namespace=NAMESPACE,
        id="nightly",
        workflow="ship",
        version=None,
        queue="shipping",
        args=b'["order"]',
        timetable="{}",
        created_at=now,
        changed_at=now,
        next_at=now + HOUR,
    )
    return attrs.evolve(found, **changes)


def _put(stage: Stage, **changes: Any) -> ScheduleRow:
    answer = stage.do(PutSchedule(row=_row(stage, **changes)))
    assert answer.done
    found: ScheduleRow = answer.row
    return found


def _fire(stage: Stage, row: ScheduleRow, *numbers: int, **options: Any) -> Any:
    return stage.do(_firing(stage, row, *numbers, **options))


def _firing(stage: Stage, row: ScheduleRow, *numbers: int, **options: Any) -> FireSchedule:
    due_at = row.next_at or stage.clock.now()
    due = tuple(_due(stage, number, due_at + seconds(number - 1)) for number in numbers)
    return FireSchedule(
        namespace=NAMESPACE,
        id=row.id,
        due=due,
        next_at=stage.clock.now() + HOUR,
        revision=row.revision,
        **options,
    )


def _due(stage: Stage, number: int, due_at: datetime) -> DueRun:
    return DueRun(due_at=due_at, run=stage.row(f"nightly@{number}"))
