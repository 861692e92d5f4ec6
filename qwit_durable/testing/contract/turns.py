# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Holding runs and committing transitions."""

from __future__ import annotations

from uuid import UUID

from qwit_durable.core import CancelRequested, Kind, Resolved, Scheduled, SignalReceived, Status, Verb
from qwit_durable.stores.answers import Acquired, Committed, Conflict, Fenced, Refused
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.rows import TURN, Ring, TimerRow
from qwit_durable.stores.writes import Acquire, Commit, FireTimers, Reap, Release, Retire, Write
from qwit_durable.testing.contract.stage import Stage, failed, resolved, seconds, task

__all__ = ["Turns"]

_NOBODY = UUID(int=0)


class Turns:
    """One holder at a time; every write of a holder carries its epoch."""

    def test_acquiring_a_free_run_gives_its_row_and_takes_its_turn_away(self, stage: Stage) -> None:
        started = stage.start()

        found = stage.acquire(started.run.id, worker=7)

        assert isinstance(found, Acquired)
        assert found.run == started.run
        assert (found.live.owner, found.live.epoch, found.live.begun, found.live.lost) == (7, 1, True, 0)
        assert found.live == stage.live(started.run.id)
        assert found.now == stage.clock.now()
        assert stage.tasks(started.run.id) == {}

    def test_a_history_comes_from_where_the_caller_knows_it(self, stage: Stage) -> None:
        hold = stage.begin()
        events = [resolved(str(position)) for position in range(5)]
        hold.release(*events)

        whole = stage.acquire(hold.id, worker=2)
        stage.do(Retire(worker=2))
        rest = stage.acquire(hold.id, worker=3, after=3)

        assert whole.events == tuple(events)
        assert rest.events == tuple(events[3:])

    def test_a_run_has_one_holder(self, stage: Stage) -> None:
        stage.beat(1, 2)
        hold = stage.begin(worker=1)

        second = stage.acquire(hold.id, worker=2)
        same = stage.acquire(hold.id, worker=1)

        assert second == Refused(reason="held", status=Status.RUNNING)
        assert same == Refused(reason="held", status=Status.RUNNING)
        assert stage.live(hold.id).epoch == hold.epoch

    def test_a_dead_holder_is_taken_over_under_a_new_epoch_and_its_start_counts(self, stage: Stage) -> None:
        stage.beat(1, 2)
        hold = stage.begin(worker=1)
        stage.wait(9)
        stage.beat(2)
        alive = stage.acquire(hold.id, worker=2)
        stage.wait(1)

        cautious = stage.acquire(hold.id, worker=2, may_take_over=False)
        taken = stage.acquire(hold.id, worker=2)

        assert alive == Refused(reason="held", status=Status.RUNNING)
        assert cautious == Refused(reason="held", status=Status.RUNNING)
        assert (taken.live.owner, taken.live.epoch, taken.live.lost) == (2, hold.epoch + 1, 1)
        assert hold.commit(resolved("0")) == Fenced()

    def test_starts_that_are_lost_add_up_until_there_is_progress(self, stage: Stage) -> None:
        hold = stage.begin(worker=1)
        for worker in (2, 3):
            hold = stage.hold(hold.id, worker)

        lost = hold.acquired.live.lost
        hold.committed(resolved("0"))

        assert lost == 2
        assert stage.live(hold.id).lost == 0

    def test_a_release_burns_no_start(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release()

        again = stage.hold(hold.id, worker=2)

        assert again.acquired.live.lost == 0

    def test_a_release_may_keep_what_was_lost(self, stage: Stage) -> None:
        stage.begin(key="one")
        run = stage.start("one").run
        hold = stage.hold(run.id, worker=2)
        hold.committed(release=Release(keep_lost=True))

        assert stage.hold(run.id, worker=3).acquired.live.lost == 1

    def test_a_run_of_which_a_holder_has_died_is_left_to_those_who_want_it_too(self, stage: Stage) -> None:
        stage.beat(1, 2)
        held, reaped, counted = stage.begin(worker=1), stage.begin(worker=1), stage.begin(worker=1)
        stage.wait(11)
        stage.beat(2)
        held_refused = stage.acquire(held.id, worker=2, lost_too=False)
        stage.do(Reap())
        stage.hold(counted.id, worker=2).committed(release=Release(keep_lost=True))
        holds = [held, reaped, counted]
        before = [stage.live(hold.id) for hold in holds]

        refused = [held_refused, *(stage.acquire(hold.id, worker=2, lost_too=False) for hold in holds)]
        untouched = [stage.live(hold.id) for hold in holds]
        wanted = [stage.acquire(hold.id, worker=2) for hold in holds]

        rings = [
            Ring(run_id=hold.id, position=TURN, queue=hold.run.queue, name=hold.run.workflow)
            for hold in (held, *holds)
        ]
        assert refused == [Refused(reason="lost", status=Status.RUNNING, ring=ring) for ring in rings]
        assert untouched == before
        assert [found.live.lost for found in wanted] == [1, 1, 1]

    def test_a_run_that_lost_nothing_is_everybodys(self, stage: Stage) -> None:
        hold = stage.begin(worker=1)
        hold.committed(resolved("0"), release=Release())

        assert isinstance(stage.acquire(hold.id, worker=2, lost_too=False), Acquired)

    def test_runs_that_are_not_there_or_stand_still_are_refused(self, stage: Stage) -> None:
        ended, paused, stuck = stage.begin(), stage.begin(), stage.begin()
        ended.end()
        paused.release()
        stage.operate(paused.id, Verb.PAUSE)
        reason = Reason(kind="undo", text="gave up").encode()
        stuck.release(status=Status.STUCK, reason=reason)

        answers = [stage.acquire(run_id) for run_id in (_NOBODY, ended.id, paused.id, stuck.id)]

        assert answers == [
            Refused(reason="missing"),
            Refused(reason="ended"),
            Refused(reason="paused", status=Status.PAUSED),
            Refused(reason="stuck", status=Status.STUCK),
        ]
        assert stage.live(stuck.id).reason == reason

    def test_a_turn_that_is_put_off_is_early(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(release=Release(wake_at=stage.clock.now() + seconds(5), note="unknown workflow"))

        early = stage.acquire(hold.id)
        stage.wait(5)

        assert early == Refused(reason="early", status=Status.RUNNING)
        assert stage.live(hold.id).note == "unknown workflow"
        assert stage.hold(hold.id).acquired.live.note is None

    def test_events_are_numbered_and_timed_as_they_are_recorded(self, stage: Stage) -> None:
        hold = stage.begin()
        first = hold.committed(resolved("0"))
        stage.wait(3)
        second = hold.committed(resolved("1"), failed("2"))

        history = stage.store.history(hold.id)

        assert (first.head, second.head) == (1, 3)
        assert second.now == stage.clock.now()
        assert [recorded.number for recorded in history] == [1, 2, 3]
        assert [recorded.at for recorded in history] == [first.now, second.now, second.now]
        assert [recorded.event for recorded in history] == [resolved("0"), resolved("1"), failed("2")]
        assert stage.store.history(hold.id, after=2) == history[2:]
        assert stage.live(hold.id).updated_at == second.now

    def test_a_stale_epoch_a_stranger_and_an_ended_run_are_fenced(self, stage: Stage) -> None:
        hold, ended = stage.begin(), stage.begin()
        ended.end()

        answers = [
            hold.commit(resolved("0"), epoch=hold.epoch - 1),
            hold.commit(resolved("0"), worker=9),
            hold.commit(resolved("0"), epoch=hold.epoch + 1, timers=(_timer(stage, hold.id, "9"),)),
            ended.commit(resolved("0")),
            stage.do(Commit(run_id=_NOBODY, worker=1, epoch=1, head=0, events=(resolved("0"),))),
        ]

        assert answers == [Fenced()] * 5
        assert stage.events(hold.id) == []
        assert stage.store.timers(hold.id) == []

    def test_a_history_that_has_grown_is_a_conflict_and_nothing_is_written(self, stage: Stage) -> None:
        hold = stage.begin()
        stage.tell(hold.id, SignalReceived(name="go"))

        bare = hold.commit(resolved("0"))
        full = hold.commit(resolved("0"), tasks=(task("1"),), release=Release())

        assert [bare, full] == [Conflict(head=1), Conflict(head=1)]
        assert stage.events(hold.id) == [SignalReceived(name="go")]
        assert stage.tasks(hold.id) == {}
        assert stage.live(hold.id).owner == 1

    def test_a_commit_without_a_head_takes_the_one_there_is(self, stage: Stage) -> None:
        hold = stage.begin()
        stage.tell(hold.id, SignalReceived(name="go"))

        answer = hold.committed(resolved("0"), head=None)

        assert answer.head == 2
        assert stage.events(hold.id) == [SignalReceived(name="go"), resolved("0")]

    def test_winners_and_losers_of_one_batch_are_told_apart(self, stage: Stage) -> None:
        holds = [stage.begin() for _ in range(4)]
        stage.tell(holds[1].id, SignalReceived(name="go"))
        writes = [
            Commit(
                run_id=hold.id, worker=worker, epoch=hold.epoch, head=0, events=(resolved("0"), resolved("1"))
            )
            for hold, worker in zip(holds, (1, 1, 9, 1), strict=True)
        ]

        answers = stage.store.apply(writes)

        won = Committed(head=2, now=stage.clock.now())
        assert answers == [won, Conflict(head=1), Fenced(), won]
        assert [len(stage.events(hold.id)) for hold in holds] == [2, 1, 0, 2]

    def test_a_holder_learns_that_a_cancel_has_been_asked(self, stage: Stage) -> None:
        hold, other = stage.begin(), stage.begin()
        hold.committed(resolved("0"))
        stage.tell(hold.id, CancelRequested(reason="enough"))

        assert hold.committed(resolved("1"), head=None).cancel_asked
        assert not other.committed(resolved("0")).cancel_asked

    def test_several_writes_of_one_run_in_a_batch_see_each_other(self, stage: Stage) -> None:
        run = stage.start().run
        writes: list[Write] = [
            Acquire(run_id=run.id, worker=1),
            Commit(run_id=run.id, worker=1, epoch=1, head=0, events=(resolved("0"),)),
            Commit(run_id=run.id, worker=1, epoch=1, head=1, events=(resolved("1"),), release=Release()),
            Acquire(run_id=run.id, worker=2),
        ]

        answers = stage.store.apply(writes)

        last = answers[-1]
        assert isinstance(last, Acquired)
        assert last.events == (resolved("0"), resolved("1"))
        assert (last.live.epoch, last.live.head) == (2, 2)
        assert stage.live(run.id) == last.live

    def test_a_transition_brings_its_tasks_timers_and_status_along(self, stage: Stage) -> None:
        hold = stage.begin()
        scheduled = Scheduled(position="0", kind=Kind.STEP, name="pack", args=b"[1]", queued=True)
        timer = _timer(stage, hold.id, "1")

        answer = hold.release(
            scheduled, tasks=(task("0", priority=5),), timers=(timer,), status=Status.COMPENSATING, awaiting=2
        )

        found = stage.tasks(hold.id)["0"]
        assert found.spec == task("0").spec
        assert (found.queue, found.priority, found.attempt, found.owner) == ("packing", 5, 0, None)
        assert [(ring.position, ring.queue, ring.priority) for ring in answer.rings] == [("0", "packing", 5)]
        assert stage.store.timers(hold.id) == [timer]
        live = stage.live(hold.id)
        assert (live.status, live.owner, live.awaiting, live.begun) == (Status.COMPENSATING, None, 2, False)

    def test_a_timer_can_be_replaced_and_dropped(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(timers=(_timer(stage, hold.id, "0"), _timer(stage, hold.id, "1")))
        later = TimerRow(run_id=hold.id, position="0", fire_at=stage.clock.now() + seconds(60))

        hold.committed(timers=(later,), drop_timers=("1",))

        assert stage.store.timers(hold.id) == [later]

    def test_an_ended_run_leaves_its_outcome_and_nothing_that_is_owed(self, stage: Stage) -> None:
        hold = stage.begin(deadline=seconds(60))
        hold.committed(tasks=(task("0"),), timers=(_timer(stage, hold.id, "1"),))
        stage.wait(2)

        hold.end(
            resolved("9"), status=Status.FAILED, failure=failed("9").outcome, undone=("refund", "unpack")
        )

        outcome = stage.outcome(hold.id)
        assert (outcome.status, outcome.ended_at) == (Status.FAILED, stage.clock.now())
        assert (outcome.failure, outcome.undone) == (failed("9").outcome, ("refund", "unpack"))
        assert (outcome.epoch, outcome.head) == (hold.epoch, 1)
        assert stage.tasks(hold.id) == {}
        assert stage.store.timers(hold.id) == []
        stage.wait(100)
        assert stage.do(FireTimers()).rings == ()

    def test_a_freed_run_of_a_dead_worker_is_owed_a_turn(self, stage: Stage) -> None:
        stage.beat(1, 2)
        hold = stage.begin(worker=1)
        stage.wait(11)
        stage.beat(2)

        rings = stage.do(Reap()).rings

        assert [(ring.run_id, ring.position) for ring in rings] == [(hold.id, TURN)]
        assert stage.live(hold.id).owner is None
        assert stage.hold(hold.id, worker=2).acquired.live.lost == 1

    def test_the_first_outcome_at_a_position_stays(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(resolved("0"))

        again = hold.commit(resolved("0"), head=0)

        assert again == Conflict(head=1)
        assert [e for e in stage.events(hold.id) if isinstance(e, Resolved)] == [resolved("0")]


def _timer(stage: Stage, run_id: UUID, position: str) -> TimerRow:
    return TimerRow(run_id=run_id, position=position, fire_at=stage.clock.now() + seconds(5))
