# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Queued steps: attempts that are claimed, settled and recorded once."""

from __future__ import annotations

from typing import Any
from uuid import UUID

from qwit_durable.core import AttemptFailed, CancelRequested, Dropped, Resolved, Status, Verb
from qwit_durable.errors import AttemptLost, Failure
from qwit_durable.stores.answers import Accepted, Claimed, Conflict, Fenced, Refused
from qwit_durable.stores.kernel.waking import ring_for
from qwit_durable.stores.rows import TURN, TaskRow
from qwit_durable.stores.writes import FailTask, LeaveTask, Reap, ResolveTask, Unclaim
from qwit_durable.testing.contract.stage import BROKEN, LEASE, Hold, Stage, failed, resolved, seconds, task

__all__ = ["Queued"]


class Queued:
    """At least one attempt, exactly one outcome."""

    def test_a_claim_counts_an_attempt_before_any_code_runs(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")

        answer = stage.claim(hold.id, "0", worker=5)

        assert isinstance(answer, Claimed)
        assert answer.run == hold.run
        assert (answer.task.attempt, answer.task.owner, answer.lost) == (1, 5, False)
        assert answer.task.began_at == answer.task.claimed_at == answer.now == stage.clock.now()
        assert answer.task.ring_at == stage.clock.now() + LEASE
        assert stage.tasks(hold.id)["0"] == answer.task

    def test_an_attempt_under_way_is_not_begun_twice(self, stage: Stage) -> None:
        stage.beat(5, 6)
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)

        assert stage.claim(hold.id, "0", worker=6) == Refused(reason="held")

    def test_a_dead_workers_attempt_is_lost_and_recorded(self, stage: Stage) -> None:
        stage.beat(5)
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)
        stage.wait(11)

        cautious = stage.claim(hold.id, "0", worker=6, may_take_over=False)
        answer = stage.claim(hold.id, "0", worker=6)

        assert cautious == Refused(reason="held")
        assert (answer.task.attempt, answer.task.owner, answer.lost) == (2, 6, True)
        (event,) = stage.events(hold.id)
        assert isinstance(event, AttemptFailed)
        assert (event.position, event.attempt) == ("0", 1)
        assert event.failure.is_a(AttemptLost)
        assert event.failure.outcome_unknown
        assert _resolve(stage, hold.id, 5, 1) == Fenced()

    def test_a_dead_workers_attempt_is_left_to_those_who_want_it_too(self, stage: Stage) -> None:
        stage.beat(5)
        hold = stage.begin()
        hold.release(tasks=(task("0"), task("1")))
        stage.claimed(hold.id, "0", worker=5)
        stage.wait(11)
        stage.beat(6)

        refused = stage.claim(hold.id, "0", worker=6, lost_too=False)
        fresh = stage.claim(hold.id, "1", worker=6, lost_too=False)

        ring = ring_for(stage.tasks(hold.id)["0"])
        assert refused == Refused(reason="lost", status=Status.RUNNING, ring=ring)
        assert fresh.task.owner == 6
        assert stage.events(hold.id) == []
        assert stage.claim(hold.id, "0", worker=6).lost

    def test_a_reaped_attempt_is_rung_for_and_counts(self, stage: Stage) -> None:
        stage.beat(5, 6)
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)
        stage.wait(11)
        stage.beat(6)

        rings = stage.do(Reap()).rings

        assert [(ring.run_id, ring.position) for ring in rings] == [(hold.id, "0")]
        assert stage.claim(hold.id, "0", worker=6).lost

    def test_what_cannot_be_claimed_is_refused_with_its_reason(self, stage: Stage) -> None:
        hold, paused, ended = _waiting(stage, "0"), _waiting(stage, "0"), _waiting(stage, "0")
        stage.operate(paused.id, Verb.PAUSE)
        stage.operate(ended.id, Verb.TERMINATE)

        reasons = [
            stage.claim(run_id, position).reason
            for run_id, position in ((hold.id, "7"), (paused.id, "0"), (ended.id, "0"), (UUID(int=0), "0"))
        ]

        assert reasons == ["ended", "paused", "ended", "missing"]

    def test_a_worker_that_does_not_know_the_step_says_why_until_another_begins(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        leave = LeaveTask(run_id=hold.id, position="0", note="no step 'pack' here")

        first, again = stage.do(leave), stage.do(leave)
        note = stage.tasks(hold.id)["0"].note
        begun = stage.claimed(hold.id, "0")
        late = stage.do(leave)

        assert (first, again, late) == (Accepted(), Accepted(repeated=True), Accepted(repeated=True))
        assert note == "no step 'pack' here"
        assert begun.note is None
        assert stage.tasks(hold.id)["0"].note is None

    def test_an_attempt_that_is_given_back_never_was(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)
        write = Unclaim(worker=5, run_id=hold.id, position="0", attempt=1)

        given, again = stage.do(write), stage.do(write)

        assert [(ring.run_id, ring.position) for ring in given.rings] == [(hold.id, "0")]
        assert again == Fenced()
        assert stage.events(hold.id) == []
        taken = stage.claim(hold.id, "0", worker=6)
        assert (taken.task.attempt, taken.task.owner, taken.lost) == (1, 6, False)

    def test_nobody_gives_back_what_is_not_his(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)

        answers = [
            stage.do(Unclaim(worker=worker, run_id=hold.id, position="0", attempt=attempt))
            for worker, attempt in ((6, 1), (5, 2))
        ]

        assert answers == [Fenced()] * 2
        assert stage.tasks(hold.id)["0"].owner == 5

    def test_an_outcome_is_recorded_once_and_wakes_the_run(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)

        first = _resolve(stage, hold.id, 5, 1)
        again = _resolve(stage, hold.id, 5, 1)

        assert [(ring.run_id, ring.position) for ring in first.rings] == [(hold.id, TURN)]
        assert again == Fenced()
        assert stage.events(hold.id) == [resolved("0")]
        assert list(stage.tasks(hold.id)) == [TURN]

    def test_a_fan_out_counts_down_and_wakes_once(self, stage: Stage) -> None:
        hold = stage.begin()
        positions = [f"0.{member}" for member in range(4)]
        hold.release(tasks=tuple(map(task, positions)), awaiting=4)
        for position in positions:
            stage.claimed(hold.id, position, worker=5)
        writes = [
            ResolveTask(worker=5, run_id=hold.id, attempt=1, event=resolved(position), lets_none=True)
            for position in positions
        ]

        first, rest = stage.store.apply(writes[:1]), stage.store.apply(writes[1:])

        assert [len(getattr(answer, "rings", ())) for answer in (*first, *rest)] == [0, 0, 0, 1]
        assert [e.position for e in stage.events(hold.id) if isinstance(e, Resolved)] == positions
        assert stage.live(hold.id).awaiting == 0

    def test_a_failure_wakes_at_once(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0.0"), task("0.1")), awaiting=2)
        stage.claimed(hold.id, "0.0", worker=5)

        answer = stage.do(
            ResolveTask(worker=5, run_id=hold.id, attempt=1, event=failed("0.0"), lets_none=True)
        )

        assert [ring.run_id for ring in answer.rings] == [hold.id]

    def test_an_outcome_that_comes_while_the_run_is_held_is_seen_before_it_is_let_go(
        self, stage: Stage
    ) -> None:
        hold = stage.begin()
        hold.committed(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=5)

        answer = _resolve(stage, hold.id, 5, 1)

        assert answer == Accepted(head=1)
        assert hold.commit(resolved("1")) == Conflict(head=1)

    def test_a_failed_attempt_is_tried_again_when_it_is_due(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        claimed = stage.claimed(hold.id, "0", worker=5)
        event = _attempt_failed(stage, claimed, retry_after=30)

        answer = stage.do(FailTask(worker=5, run_id=hold.id, event=event))

        assert answer == Accepted(head=1)
        assert stage.events(hold.id) == [event]
        found = stage.tasks(hold.id)["0"]
        assert (found.attempt, found.owner, found.ready_at, found.ring_at) == (
            1,
            None,
            event.retry_at,
            event.retry_at,
        )
        assert stage.claim(hold.id, "0") == Refused(reason="early")
        stage.wait(30)
        second = stage.claimed(hold.id, "0", worker=6)
        assert (second.attempt, second.began_at) == (2, claimed.began_at)

    def test_who_does_not_own_the_attempt_can_record_nothing(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        claimed = stage.claimed(hold.id, "0", worker=5)
        event = _attempt_failed(stage, claimed, retry_after=1)

        answers = [
            _resolve(stage, hold.id, 6, 1),
            _resolve(stage, hold.id, 5, 2),
            stage.do(FailTask(worker=6, run_id=hold.id, event=event)),
        ]

        assert answers == [Fenced()] * 3
        assert stage.events(hold.id) == []

    def test_settling_drops_what_has_not_begun(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(task("0"), task("1")))
        tried = stage.claimed(hold.id, "1", worker=5)
        stage.do(FailTask(worker=5, run_id=hold.id, event=_attempt_failed(stage, tried, retry_after=60)))

        answer = hold.committed(settle=(_dropped("0"), _dropped("1")), head=None)

        assert answer.settled == (_dropped("0"), resolved("1", Dropped(begun=True)))
        assert stage.tasks(hold.id) == {}
        assert answer.head == 3

    def test_settling_asks_an_attempt_under_way_to_stop_and_waits_for_it(self, stage: Stage) -> None:
        hold, claimed = _settling(stage)

        assert stage.tasks(hold.id)["0"].cancelled
        assert stage.store.cancel_asked(hold.id, "0")
        answer = _resolve(stage, hold.id, 5, claimed.attempt)
        assert [ring.run_id for ring in answer.rings] == [hold.id]
        assert stage.events(hold.id) == [resolved("0")]

    def test_no_attempt_follows_one_that_was_asked_to_stop(self, stage: Stage) -> None:
        hold, claimed = _settling(stage)

        answer = stage.do(
            FailTask(worker=5, run_id=hold.id, event=_attempt_failed(stage, claimed, retry_after=5))
        )

        assert [ring.run_id for ring in answer.rings] == [hold.id]
        assert stage.events(hold.id) == [failed("0")]
        assert stage.claim(hold.id, "0") == Refused(reason="ended")

    def test_no_attempt_follows_one_that_was_asked_to_stop_and_died(self, stage: Stage) -> None:
        hold, _ = _settling(stage)
        stage.wait(11)
        stage.do(Reap())

        answer = stage.claim(hold.id, "0", worker=6)

        assert answer == Refused(reason="ended")
        (event,) = stage.events(hold.id)
        assert isinstance(event, Resolved)
        assert isinstance(event.outcome, Failure)
        assert event.outcome.is_a(AttemptLost)
        assert list(stage.tasks(hold.id)) == [TURN]

    def test_settling_drops_the_attempt_of_a_dead_worker(self, stage: Stage) -> None:
        stage.beat(5)
        hold = stage.begin()
        hold.committed(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=5)
        stage.wait(11)

        answer = hold.committed(settle=(_dropped("0"),))

        assert answer.settled == (resolved("0", Dropped(begun=True)),)

    def test_settling_what_is_not_owed_records_it_as_given(self, stage: Stage) -> None:
        hold = stage.begin()

        answer = hold.committed(resolved("1"), settle=(_dropped("0"),))

        assert answer.settled == (_dropped("0"),)
        assert stage.events(hold.id) == [resolved("1"), _dropped("0")]

    def test_a_late_outcome_of_an_ended_run_is_refused(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=5)
        hold.end()

        assert _resolve(stage, hold.id, 5, 1) == Fenced()
        assert stage.store.cancel_asked(hold.id, "0")

    def test_an_attempt_is_asked_to_stop_when_its_run_is_cancelled(self, stage: Stage) -> None:
        hold = _waiting(stage, "0")
        stage.claimed(hold.id, "0", worker=5)
        before = stage.store.cancel_asked(hold.id, "0")

        stage.tell(hold.id, CancelRequested())

        assert not before
        assert stage.store.cancel_asked(hold.id, "0")


def _waiting(stage: Stage, position: str) -> Hold:
    """A free run that waits for one queued step."""
    hold = stage.begin()
    hold.release(tasks=(task(position),))
    return hold


def _settling(stage: Stage) -> tuple[Hold, TaskRow]:
    """A free run, one attempt of which is under way and has been asked to stop."""
    stage.beat(5)
    hold = stage.begin()
    hold.committed(tasks=(task("0"),))
    claimed = stage.claimed(hold.id, "0", worker=5)
    answer = hold.release(settle=(_dropped("0"),))
    assert answer.settled == ()
    return hold, claimed


def _dropped(position: str) -> Resolved:
    return resolved(position, Dropped())


def _resolve(stage: Stage, run_id: UUID, worker: int, attempt: int) -> Any:
    return stage.do(
        ResolveTask(worker=worker, run_id=run_id, attempt=attempt, event=resolved("0"), lets_none=True)
    )


def _attempt_failed(stage: Stage, claimed: TaskRow, *, retry_after: float) -> AttemptFailed:
    return AttemptFailed(
        position=claimed.position,
        name=claimed.name,
        attempt=claimed.attempt,
        failure=BROKEN,
        retry_at=stage.clock.now() + seconds(retry_after),
        began_at=claimed.began_at,
    )
