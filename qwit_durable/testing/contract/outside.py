# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""What comes from outside: signals, cancels and operators' verbs."""

from __future__ import annotations

from uuid import UUID

import pytest

from qwit_durable.core import CancelRequested, OperatorActed, Resolved, SignalReceived, Status, Verb
from qwit_durable.errors import Failure
from qwit_durable.stores.answers import Accepted, Acquired, Fenced, Refused
from qwit_durable.stores.reasons import Reason, read_reason
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import Deliver, FireTimers, ResolveTask, RingDue
from qwit_durable.testing.contract.stage import Hold, Stage, resolved, seconds, task

__all__ = ["Outside"]


class Outside:
    """Recorded once, in order, and only where the run's status allows it."""

    def test_a_signal_is_recorded_and_wakes_a_free_run(self, stage: Stage) -> None:
        hold = _free(stage)
        event = SignalReceived(name="approved", value=b'{"by":"ann"}')

        answer = stage.tell(hold.id, event)

        assert [(ring.run_id, ring.position) for ring in answer.rings] == [(hold.id, TURN)]
        assert stage.hold(hold.id).acquired.events == (event,)

    def test_a_signal_rings_nobody_while_a_bell_for_the_run_is_under_way(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release()
        tell = Deliver(run_id=hold.id, event=SignalReceived(name="go"), ring_after=seconds(2))

        first = stage.do(tell)
        stage.wait(0.5)
        second = stage.do(tell)
        stage.wait(1.6)
        lost = stage.do(RingDue())
        overdue = stage.do(tell)
        again = stage.hold(hold.id)
        again.release()
        afterwards = stage.do(tell)

        assert [len(answer.rings) for answer in (first, second, lost, overdue, afterwards)] == [1, 0, 1, 1, 1]
        assert len(again.acquired.events) == 3

    def test_the_sweep_rings_at_once_for_those_who_ring_nobody(self, stage: Stage) -> None:
        alone, ringing = _free(stage), _free(stage)
        event = SignalReceived(name="approved")

        stage.do(Deliver(run_id=alone.id, event=event))
        stage.do(Deliver(run_id=ringing.id, event=event, ring_after=seconds(2)))

        assert [ring.run_id for ring in stage.do(RingDue()).rings] == [alone.id]
        stage.wait(2)
        assert {ring.run_id for ring in stage.do(RingDue()).rings} == {alone.id, ringing.id}

    def test_signals_are_kept_in_the_order_in_which_they_came(self, stage: Stage) -> None:
        hold = _free(stage)
        signals = [SignalReceived(name=name, value=b"%d" % n) for n, name in enumerate("abab")]

        for signal in signals:
            stage.tell(hold.id, signal)

        assert stage.events(hold.id) == signals

    def test_a_signal_with_an_id_is_taken_once(self, stage: Stage) -> None:
        hold, other = _free(stage), _free(stage)
        event = SignalReceived(name="approved", dedupe_id="click-1")

        first, again = stage.tell(hold.id, event), stage.tell(hold.id, event)
        elsewhere = stage.tell(other.id, event)

        assert not first.repeated
        assert again == Accepted(repeated=True)
        assert not elsewhere.repeated
        assert stage.events(hold.id) == [event]

    def test_nothing_can_be_told_to_a_run_that_is_not_there_or_has_ended(self, stage: Stage) -> None:
        ended = stage.begin()
        ended.end()
        signal = SignalReceived(name="approved")

        assert stage.tell(UUID(int=0), signal) == Refused(reason="missing")
        assert stage.tell(ended.id, signal) == Refused(reason="ended", status=Status.COMPLETED)
        assert stage.events(ended.id) == []

    def test_the_first_cancel_wins(self, stage: Stage) -> None:
        hold = _free(stage)

        first = stage.tell(hold.id, CancelRequested(reason="too late"))
        second = stage.tell(hold.id, CancelRequested(reason="never mind", compensate=False))

        assert [ring.run_id for ring in first.rings] == [hold.id]
        assert second == Accepted(repeated=True)
        assert stage.events(hold.id) == [CancelRequested(reason="too late")]
        assert stage.live(hold.id).cancel_asked

    def test_a_cancel_does_not_change_why_a_run_is_unwound(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(status=Status.COMPENSATING)

        stage.tell(hold.id, CancelRequested(reason="too late"))

        assert stage.events(hold.id) == []
        assert not stage.live(hold.id).cancel_asked

    def test_a_cancelled_run_may_be_cancelled_again_and_other_ends_not(self, stage: Stage) -> None:
        cancelled, completed = stage.begin(), stage.begin()
        cancelled.end(status=Status.CANCELLED)
        completed.end()

        assert stage.tell(cancelled.id, CancelRequested()) == Accepted(repeated=True)
        assert stage.tell(completed.id, CancelRequested()) == Refused(reason="ended", status=Status.COMPLETED)

    def test_a_scheduled_run_can_be_cancelled_before_it_begins(self, stage: Stage) -> None:
        run = stage.start(delay=seconds(60)).run

        answer = stage.tell(run.id, CancelRequested())

        assert [ring.run_id for ring in answer.rings] == [run.id]
        assert isinstance(stage.acquire(run.id), Acquired)

    def test_a_paused_run_stands_still_and_goes_on_where_it_was(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(status=Status.COMPENSATING)
        paused = stage.operate(hold.id, Verb.PAUSE, reason="audit")
        stage.tell(hold.id, SignalReceived(name="go"))

        still = stage.acquire(hold.id)
        reason = read_reason(stage.live(hold.id).reason)
        resumed = stage.operate(hold.id, Verb.RESUME)

        assert paused == Accepted()
        assert still == Refused(reason="paused", status=Status.PAUSED)
        assert reason is not None
        assert (reason.kind, reason.text, reason.was) == ("operator", "audit", Status.COMPENSATING)
        assert [ring.run_id for ring in resumed.rings] == [hold.id]
        assert (stage.live(hold.id).status, stage.live(hold.id).reason) == (Status.COMPENSATING, None)
        assert stage.hold(hold.id).acquired.events == (
            OperatorActed(verb=Verb.PAUSE, reason="audit"),
            SignalReceived(name="go"),
            OperatorActed(verb=Verb.RESUME),
        )

    def test_pausing_and_resuming_twice_is_once(self, stage: Stage) -> None:
        hold = _free(stage)
        stage.operate(hold.id, Verb.PAUSE)

        again = stage.operate(hold.id, Verb.PAUSE)
        stage.operate(hold.id, Verb.RESUME)
        running = stage.operate(hold.id, Verb.RESUME)

        assert again == running == Accepted(repeated=True)
        assert len(stage.events(hold.id)) == 2

    def test_a_scheduled_run_whose_time_came_while_it_was_paused_begins_when_it_is_resumed(
        self, stage: Stage
    ) -> None:
        run = stage.start(delay=seconds(5)).run
        stage.operate(run.id, Verb.PAUSE)
        stage.wait(6)
        stage.do(FireTimers())

        answer = stage.operate(run.id, Verb.RESUME)

        assert [ring.run_id for ring in answer.rings] == [run.id]
        assert isinstance(stage.acquire(run.id), Acquired)

    def test_a_scheduled_run_that_is_resumed_early_waits_on(self, stage: Stage) -> None:
        run = stage.start(delay=seconds(5)).run
        stage.operate(run.id, Verb.PAUSE)

        answer = stage.operate(run.id, Verb.RESUME)

        assert answer.rings == ()
        assert stage.live(run.id).status is Status.SCHEDULED

    def test_a_stuck_run_goes_on_after_retry(self, stage: Stage) -> None:
        hold = _stuck(stage, was=Status.COMPENSATING)

        answer = stage.operate(hold.id, Verb.RETRY)

        assert [ring.run_id for ring in answer.rings] == [hold.id]
        live = stage.live(hold.id)
        assert (live.status, live.reason, live.owner) == (Status.COMPENSATING, None, None)
        assert stage.events(hold.id) == [OperatorActed(verb=Verb.RETRY)]

    def test_skipping_carries_the_value_to_be_used(self, stage: Stage) -> None:
        hold = _stuck(stage)

        stage.operate(hold.id, Verb.SKIP, value=b'"by hand"', reason="done by hand")

        assert stage.events(hold.id) == [
            OperatorActed(verb=Verb.SKIP, value=b'"by hand"', reason="done by hand")
        ]

    @pytest.mark.parametrize("verb", [Verb.RETRY, Verb.SKIP])
    def test_only_a_stuck_run_is_retried_or_skipped(self, stage: Stage, verb: Verb) -> None:
        hold = _free(stage)

        assert stage.operate(hold.id, verb) == Refused(reason="status", status=Status.RUNNING)

    def test_terminating_ends_a_run_and_everything_below_it_where_it_stands(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,), tasks=(task("1"),))
        below = stage.hold(child.id, worker=2)
        grandchild = stage.child_of(below, "0")
        below.release(starts=(grandchild,))
        stage.claimed(hold.id, "1", worker=5)

        answer = stage.operate(hold.id, Verb.TERMINATE, reason="enough")

        assert answer == Accepted()
        for run_id in (hold.id, child.id, grandchild.id):
            outcome = stage.outcome(run_id)
            assert outcome.status is Status.TERMINATED
            assert outcome.failure is not None
            assert outcome.failure.message == "enough"
            assert stage.tasks(run_id) == {}
            assert stage.events(run_id)[-1] == OperatorActed(verb=Verb.TERMINATE, reason="enough")
        late = ResolveTask(worker=5, run_id=hold.id, attempt=1, event=resolved("1"))
        assert stage.do(late) == Fenced()
        assert hold.commit(resolved("2")) == Fenced()
        assert stage.operate(hold.id, Verb.TERMINATE) == Accepted(repeated=True)

    def test_a_terminated_child_is_a_failure_to_its_parent(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.release(starts=(child,), awaiting=1)

        answer = stage.operate(child.id, Verb.TERMINATE)

        assert [ring.run_id for ring in answer.rings] == [hold.id]
        (event,) = stage.events(hold.id)
        assert isinstance(event, Resolved)
        assert event.position == "0"
        assert isinstance(event.outcome, Failure)
        assert event.outcome.type == "WorkflowTerminated"


def _free(stage: Stage) -> Hold:
    hold = stage.begin()
    hold.release()
    return hold


def _stuck(stage: Stage, was: Status = Status.RUNNING) -> Hold:
    hold = stage.begin()
    reason = Reason(kind="undo", text="refund gave up", was=was)
    hold.release(status=Status.STUCK, reason=reason.encode())
    return hold
