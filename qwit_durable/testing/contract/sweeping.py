# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Timers, lost bells, and workers that come and go."""

from __future__ import annotations

from qwit_durable.core import (
    CancelRequested,
    DeadlinePassed,
    SignalReceived,
    Status,
    TimerFired,
    Verb,
)
from qwit_durable.stores.answers import Acquired, Rings
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.rows import TURN, TimerRow
from qwit_durable.stores.writes import (
    Deliver,
    FireTimers,
    Reap,
    Release,
    RingDue,
    WakeStuck,
)
from qwit_durable.testing.contract.stage import Hold, Stage, seconds, task

__all__ = ["Sweeping"]


class Sweeping:
    """What is due happens once; what was lost is found again."""

    def test_signals_that_keep_coming_do_not_put_off_a_lost_bell(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release()
        for _ in range(4):
            stage.do(Deliver(run_id=hold.id, event=SignalReceived(name="go"), ring_after=seconds(2)))
            stage.wait(1)

        rings = stage.do(RingDue()).rings

        assert [ring.run_id for ring in rings] == [hold.id]

    def test_a_due_timer_fires_once_and_wakes_its_run(self, stage: Stage) -> None:
        hold = _sleeping(stage, 5)
        stage.wait(4)
        early = stage.do(FireTimers())
        stage.wait(1)

        fired, again = stage.do(FireTimers()), stage.do(FireTimers())

        assert early == Rings(next_timer_at=stage.clock.now())
        assert [(ring.run_id, ring.position) for ring in fired.rings] == [(hold.id, TURN)]
        assert again == Rings()
        assert stage.events(hold.id) == [TimerFired(position="0")]
        assert stage.store.timers(hold.id) == []

    def test_one_timer_alone_can_be_fired_when_it_is_due(self, stage: Stage) -> None:
        hold, other = _sleeping(stage, 5), _sleeping(stage, 5)

        early = stage.do(FireTimers(run_id=hold.id, position="0"))
        stage.wait(5)
        fired = stage.do(FireTimers(run_id=hold.id, position="0"))

        assert early.rings == ()
        assert [ring.run_id for ring in fired.rings] == [hold.id]
        assert stage.events(other.id) == []

    def test_timers_are_fired_in_portions_the_longest_due_first(self, stage: Stage) -> None:
        holds = [_sleeping(stage, after) for after in (3, 1, 2)]
        stage.wait(5)

        first, second, third = (stage.do(FireTimers(limit=limit)) for limit in (2, 1, 1))

        assert {ring.run_id for ring in first.rings} == {holds[1].id, holds[2].id}
        assert [ring.run_id for ring in second.rings] == [holds[0].id]
        assert (first.more, third) == (True, Rings())
        assert first.next_timer_at == stage.clock.now() - seconds(2)

    def test_a_timer_of_a_held_run_is_recorded_and_rings_nobody(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(timers=(_timer(stage, hold, 1),))
        stage.wait(1)

        fired = stage.do(FireTimers())

        assert fired.rings == ()
        assert stage.events(hold.id) == [TimerFired(position="0")]

    def test_a_deadline_is_recorded_unless_the_run_unwinds_or_is_cancelled(self, stage: Stage) -> None:
        late, unwinding, cancelled = (stage.begin(deadline=seconds(5)) for _ in range(3))
        late.release()
        unwinding.release(status=Status.COMPENSATING)
        cancelled.release()
        stage.tell(cancelled.id, CancelRequested())
        stage.wait(5)

        fired = stage.do(FireTimers())

        assert [ring.run_id for ring in fired.rings] == [late.id]
        assert stage.events(late.id) == [DeadlinePassed()]
        assert stage.events(unwinding.id) == []
        assert stage.events(cancelled.id) == [CancelRequested()]

    def test_bells_are_rung_again_ever_more_rarely(self, stage: Stage) -> None:
        run = stage.start().run
        rung_at: list[int] = []

        for second in range(130):
            if stage.do(RingDue()).rings:
                rung_at.append(second)
            stage.wait(1)

        assert rung_at == [0, 2, 6, 14, 30, 62, 122]
        assert stage.tasks(run.id)[TURN].rings == 7

    def test_fresh_work_is_left_to_the_bell_that_was_rung_for_it(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))

        fresh = stage.do(RingDue())
        stage.wait(2)
        old = stage.do(RingDue())

        assert fresh.rings == ()
        assert [ring.position for ring in old.rings] == ["0"]

    def test_bells_are_rung_in_portions_and_for_the_queues_asked_for(self, stage: Stage) -> None:
        runs = [stage.start(row=stage.row(queue=queue)).run for queue in ("mail", "mail", "print")]

        none = stage.do(RingDue(queues=()))
        mail = stage.do(RingDue(limit=1, queues=("mail",)))
        rest = stage.do(RingDue())

        assert none.rings == ()
        assert (len(mail.rings), mail.more) == (1, True)
        assert mail.rings[0].queue == "mail"
        assert {ring.run_id for ring in (*mail.rings, *rest.rings)} == {run.id for run in runs}

    def test_an_attempt_under_way_is_not_rung_for(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.beat(5)
        stage.claimed(hold.id, "0", worker=5)
        stage.wait(9)
        stage.beat(5)
        stage.wait(1)

        assert stage.do(RingDue()).rings == ()

    def test_a_deploy_wakes_what_was_stuck_over_its_code_and_nothing_else(self, stage: Stage) -> None:
        code = [stage.begin() for _ in range(2)]
        undo = stage.begin()
        for hold in code:
            reason = Reason(kind="code", text="no step 'pack'", was=Status.COMPENSATING)
            hold.release(status=Status.STUCK, reason=reason.encode())
        undo.release(status=Status.STUCK, reason=Reason(kind="undo", text="refund gave up").encode())

        rings = [stage.do(WakeStuck(limit=1)).rings for _ in range(3)]

        assert [len(found) for found in rings] == [1, 1, 0]
        assert {ring.run_id for found in rings for ring in found} == {hold.id for hold in code}
        assert stage.live(code[0].id).status is Status.COMPENSATING
        assert stage.live(undo.id).status is Status.STUCK
        assert isinstance(stage.acquire(code[0].id), Acquired)

    def test_work_that_is_freed_of_a_paused_run_waits_until_it_is_resumed(self, stage: Stage) -> None:
        stage.beat(1)
        hold = stage.begin(worker=1)
        stage.operate(hold.id, Verb.PAUSE)
        stage.wait(11)

        reaped = stage.do(Reap())
        resumed = stage.operate(hold.id, Verb.RESUME)

        assert reaped.rings == ()
        assert [ring.run_id for ring in resumed.rings] == [hold.id]

    def test_a_run_that_was_let_go_for_later_is_rung_for_then(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(release=Release(wake_at=stage.clock.now() + seconds(5)))

        early = stage.do(RingDue())
        stage.wait(5)
        due = stage.do(RingDue())

        assert early.rings == ()
        assert [ring.run_id for ring in due.rings] == [hold.id]


def _timer(stage: Stage, hold: Hold, after: float) -> TimerRow:
    return TimerRow(run_id=hold.id, position="0", fire_at=stage.clock.now() + seconds(after))


def _sleeping(stage: Stage, after: float) -> Hold:
    hold = stage.begin()
    hold.release(timers=(_timer(stage, hold, after),))
    return hold
