# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""What the sweep asks before it writes."""

from __future__ import annotations

from qwit_durable.stores.outlook import Outlook, Walk
from qwit_durable.stores.rows import TURN, TimerRow
from qwit_durable.stores.schedules import PutSchedule, ScheduleRow
from qwit_durable.testing.contract.stage import NAMESPACE, Stage, seconds, task

__all__ = ["Looking"]


class Looking:
    """A look tells what is due and when the next will be, and changes nothing."""

    def test_a_store_without_runs_has_nothing_to_do(self, stage: Stage) -> None:
        assert stage.store.outlook() == Outlook(now=stage.clock.now())
        assert stage.store.walk(None, 10, 1) == Walk()
        assert list(stage.store.claimed(1)) == []
        assert stage.store.unbegun([]) == 0

    def test_the_outlook_names_what_comes_first_of_each_kind(self, stage: Stage) -> None:
        now = stage.clock.now()
        for after in (30, 20):
            hold = stage.begin()
            hold.release(timers=(TimerRow(run_id=hold.id, position="0", fire_at=now + seconds(after)),))
        for _ in range(2):
            stage.start(ring_after=seconds(4))
        stage.do(PutSchedule(row=_schedule(stage, 7)))
        stage.beat(1)

        outlook = stage.store.outlook()

        assert outlook == Outlook(
            now=now, timer_at=now + seconds(20), ring_at=now + seconds(4), schedule_at=now + seconds(7)
        )

    def test_the_outlook_tells_that_a_worker_is_dead(self, stage: Stage) -> None:
        stage.beat(1)
        stage.wait(9)
        stage.beat(2)
        before = stage.store.outlook()
        stage.wait(1)

        after = stage.store.outlook()

        assert (before.has_dead, after.has_dead) == (False, True)

    def test_a_walk_comes_by_every_open_run_and_names_what_is_held_by_the_walker_and_by_nobody_known(
        self, stage: Stage
    ) -> None:
        stage.beat(1, 2)
        mine, theirs, orphan = stage.begin(worker=1), stage.begin(worker=2), stage.begin(worker=8)
        stage.start()
        stage.begin(worker=1).end()

        stretches: list[Walk] = []
        after = None
        while not stretches or after is not None:
            stretches.append(stage.store.walk(after, 3, 1))
            after = stretches[-1].last

        assert len(stretches) == 2
        assert [run_id for one in stretches for run_id in one.mine] == [mine.id]
        assert [run_id for one in stretches for run_id in one.orphans] == [orphan.id]
        assert theirs.id not in stretches[0].mine

    def test_claimed_tasks_are_named_for_their_worker_and_are_not_unbegun(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"), task("1")))
        keys = [(hold.id, "0"), (hold.id, "1"), (hold.id, "2"), (stage.start().run.id, TURN)]
        before = stage.store.unbegun(keys)

        stage.claimed(hold.id, "0", worker=3)

        assert (before, stage.store.unbegun(keys)) == (3, 2)
        assert list(stage.store.claimed(3)) == [(hold.id, "0")]
        assert list(stage.store.claimed(4)) == []


def _schedule(stage: Stage, after: float) -> ScheduleRow:
    now = stage.clock.now()
    return ScheduleRow(
        namespace=NAMESPACE,
        id="nightly",
        workflow="ship",
        version=None,
        queue="shipping",
        args=b"[]",
        timetable="{}",
        created_at=now,
        changed_at=now,
        next_at=now + seconds(after),
    )
