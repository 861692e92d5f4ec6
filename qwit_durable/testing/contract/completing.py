"""Attempts that are left open, completed and failed from outside, and report their progress."""

from __future__ import annotations

from datetime import timedelta
from typing import Any
from uuid import UUID

from qwit_durable.core import (
    AttemptFailed,
    CancelRequested,
    Dropped,
    Resolved,
    Restarted,
    Status,
    Value,
    Verb,
)
from qwit_durable.errors import AttemptTimedOut, Failure
from qwit_durable.stores.answers import Accepted, Claimed, Fenced, Kept, Refused
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.task_writes import CompleteTask, KeepSecret, OpenTask, ParkTask, ReportProgress
from qwit_durable.stores.writes import FailTask, FireTimers, Reap, ResolveTask, Retire
from qwit_durable.testing.contract.stage import BROKEN, Hold, Stage, failed, resolved, seconds, task

__all__ = ["Completing"]

_WORKER = 5


class Completing:
    """Steps that are left open."""

    def test_a_parked_attempt_is_owned_by_nobody_and_nobody_is_rung_for(self, stage: Stage) -> None:
        run_id = _parked(stage)

        stage.wait(100_000)

        parked = stage.tasks(run_id)["0"]
        assert (parked.owner, parked.opened, parked.attempt) == (None, 1, 1)
        assert parked.parked_at == stage.clock.now() - seconds(100_000)
        assert stage.claim(run_id, "0") == Refused(reason="early")

    def test_a_value_resolves_it_and_wakes_the_run(self, stage: Stage) -> None:
        run_id = _parked(stage)

        answer = _complete(stage, run_id, Value(b'"yes"'))

        assert [ring.run_id for ring in answer.rings] == [run_id]
        assert stage.events(run_id) == [resolved("0", Value(b'"yes"'))]
        assert list(stage.tasks(run_id)) == [TURN]

    def test_a_value_may_come_before_the_attempt_is_parked(self, stage: Stage) -> None:
        run_id = _claimed(stage)

        answer = _complete(stage, run_id, Value(b'"yes"'))

        assert not answer.repeated
        assert _park(stage, run_id) == Fenced()
        assert stage.events(run_id) == [resolved("0", Value(b'"yes"'))]

    def test_a_second_value_changes_nothing(self, stage: Stage) -> None:
        run_id = _parked(stage)
        _complete(stage, run_id, Value(b"1"))

        answer = _complete(stage, run_id, Value(b"2"))

        assert answer == Accepted(repeated=True)
        assert stage.events(run_id) == [resolved("0", Value(b"1"))]

    def test_a_failure_makes_it_due_and_whoever_claims_it_learns_of_it(self, stage: Stage) -> None:
        run_id = _parked(stage)

        answer = _complete(stage, run_id, BROKEN)
        claimed = stage.claim(run_id, "0", worker=6)

        assert [(ring.run_id, ring.position) for ring in answer.rings] == [(run_id, "0")]
        assert isinstance(claimed, Claimed)
        assert (claimed.task.attempt, claimed.task.ended, claimed.lost) == (1, BROKEN, False)
        assert stage.events(run_id) == []

    def test_who_claims_a_failure_and_dies_leaves_it_to_the_next(self, stage: Stage) -> None:
        stage.beat(6)
        run_id = _parked(stage)
        _complete(stage, run_id, BROKEN)
        stage.claim(run_id, "0", worker=6)
        stage.wait(11)
        stage.do(Reap())

        claimed = stage.claim(run_id, "0", worker=7)

        assert isinstance(claimed, Claimed)
        assert (claimed.task.attempt, claimed.task.ended, claimed.lost) == (1, BROKEN, False)

    def test_a_failure_before_the_attempt_is_parked_is_told_to_its_worker(self, stage: Stage) -> None:
        run_id = _claimed(stage)

        answers = [_complete(stage, run_id, BROKEN), _complete(stage, run_id, BROKEN)]

        assert answers == [Accepted(), Accepted(repeated=True)]
        assert _park(stage, run_id) == Accepted(ended=BROKEN)
        event = AttemptFailed(
            position="0", name="pack", attempt=1, failure=BROKEN, retry_at=stage.clock.now() + seconds(5)
        )
        assert stage.do(FailTask(worker=_WORKER, run_id=run_id, event=event)) == Accepted(head=1)
        assert stage.tasks(run_id)["0"].ended is None

    def test_a_failure_of_an_attempt_that_has_ended_changes_nothing(self, stage: Stage) -> None:
        run_id = _parked(stage)
        _complete(stage, run_id, BROKEN)
        claimed = stage.claimed(run_id, "0", worker=6)
        event = AttemptFailed(
            position="0", name="pack", attempt=1, failure=BROKEN, retry_at=stage.clock.now()
        )
        stage.do(FailTask(worker=6, run_id=run_id, event=event))
        waiting = _complete(stage, run_id, BROKEN)
        stage.claimed(run_id, "0", worker=6)

        superseded = _complete(stage, run_id, BROKEN)

        assert claimed.attempt == 1
        assert (waiting, superseded) == (Accepted(repeated=True), Accepted(repeated=True))
        assert stage.tasks(run_id)["0"].ended is None

    def test_the_value_of_an_attempt_that_was_lost_wins(self, stage: Stage) -> None:
        stage.beat(_WORKER)
        run_id = _claimed(stage)
        stage.wait(11)
        second = stage.claimed(run_id, "0", worker=6)

        answer = _complete(stage, run_id, Value(b"1"))

        assert second.attempt == 2  # noqa: PLR2004 - the second
        assert not answer.repeated
        assert stage.events(run_id)[1:] == [resolved("0", Value(b"1"))]

    def test_a_value_is_refused_where_the_step_has_failed(self, stage: Stage) -> None:
        run_id = _claimed(stage)
        _complete(stage, run_id, BROKEN)
        _park(stage, run_id)
        _resolve_failed(stage, run_id)

        answer = _complete(stage, run_id, Value(b"1"))

        assert answer == Refused(reason="failed", status=Status.RUNNING, failure=BROKEN)

    def test_a_failure_is_refused_where_the_step_has_a_value(self, stage: Stage) -> None:
        run_id = _parked(stage)
        _complete(stage, run_id, Value(b"1"))

        assert _complete(stage, run_id, BROKEN) == Refused(reason="completed", status=Status.RUNNING)

    def test_nothing_is_taken_for_a_run_that_has_ended(self, stage: Stage) -> None:
        run_id = _parked(stage)
        stage.operate(run_id, Verb.TERMINATE)

        answer = _complete(stage, run_id, Value(b"1"))

        assert answer == Refused(reason="ended", status=Status.TERMINATED)

    def test_nothing_is_taken_for_a_body_that_has_begun_anew(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(restart=Restarted(args=b"[]"))
        hold.committed(tasks=(task("0"),), head=None)
        stage.claimed(hold.id, "0", worker=_WORKER)

        old = _complete(stage, hold.id, Value(b"1"))
        new = _complete(stage, hold.id, Value(b"1"), generation=1)

        assert old == Refused(reason="restarted", status=Status.RUNNING)
        assert isinstance(new, Accepted)

    def test_nothing_is_taken_for_a_run_that_is_not_there(self, stage: Stage) -> None:
        assert _complete(stage, UUID(int=7), Value(b"1")) == Refused(reason="missing")

    def test_settling_drops_a_parked_attempt_and_its_deadline(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)
        _park(stage, hold.id, until=60)

        answer = hold.committed(settle=(resolved("0", Dropped()),))

        assert answer.settled == (resolved("0", Dropped(begun=True)),)
        assert stage.tasks(hold.id) == {}
        assert not stage.store.timers(hold.id)
        assert _complete(stage, hold.id, Value(b"1")) == Refused(reason="settled", status=Status.RUNNING)

    def test_parking_what_was_asked_to_stop_settles_it(self, stage: Stage) -> None:
        stage.beat(_WORKER)
        hold = stage.begin()
        hold.committed(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)
        hold.release(settle=(resolved("0", Dropped()),))

        answer = _park(stage, hold.id)

        assert [ring.run_id for ring in answer.rings] == [hold.id]
        assert stage.events(hold.id) == [resolved("0", Dropped(begun=True))]

    def test_its_deadline_fails_it_for_good(self, stage: Stage) -> None:
        run_id = _parked(stage, until=60)
        stage.wait(61)

        answer = stage.do(FireTimers())

        assert [ring.run_id for ring in answer.rings] == [run_id]
        (event,) = stage.events(run_id)
        assert isinstance(event, Resolved)
        assert isinstance(event.outcome, Failure)
        assert event.outcome.is_a(AttemptTimedOut)
        assert event.outcome.outcome_unknown

    def test_its_deadline_does_nothing_once_the_attempt_has_ended(self, stage: Stage) -> None:
        run_id = _parked(stage, until=60)
        _complete(stage, run_id, BROKEN)
        stage.wait(61)

        stage.do(FireTimers())

        assert stage.events(run_id) == []
        assert stage.tasks(run_id)["0"].ended == BROKEN

    def test_a_held_run_sees_the_value_before_it_is_let_go(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(tasks=(task("0", attempt=1, opened=True),))

        answer = _complete(stage, hold.id, Value(b"1"))

        assert answer == Accepted(head=1)
        assert stage.live(hold.id).owner == hold.worker

    def test_a_holder_can_hand_over_the_attempt_that_it_makes(self, stage: Stage) -> None:
        hold = stage.begin(worker=_WORKER)

        answer = hold.committed(tasks=(task("0", attempt=3, opened=True, progress=b"7"),))

        found = stage.tasks(hold.id)["0"]
        assert answer.rings == ()
        assert (found.owner, found.attempt, found.opened, found.progress) == (_WORKER, 3, 3, b"7")

    def test_progress_is_kept_for_the_next_attempt(self, stage: Stage) -> None:
        stage.beat(_WORKER)
        run_id = _claimed(stage)

        answer = stage.do(_progress(run_id, b'{"page":7}'))
        stage.wait(11)
        second = stage.claimed(run_id, "0", worker=6)

        assert answer == Accepted()
        assert (second.attempt, second.progress) == (2, b'{"page":7}')

    def test_the_progress_of_a_failed_attempt_is_taken_down_with_it(self, stage: Stage) -> None:
        run_id = _claimed(stage)
        event = AttemptFailed(
            position="0", name="pack", attempt=1, failure=BROKEN, retry_at=stage.clock.now()
        )

        stage.do(FailTask(worker=_WORKER, run_id=run_id, event=event, progress=b"8"))

        assert stage.claimed(run_id, "0", worker=6).progress == b"8"

    def test_who_reports_learns_that_the_attempt_is_asked_to_stop(self, stage: Stage) -> None:
        run_id = _claimed(stage)
        stage.tell(run_id, CancelRequested())

        assert stage.do(_progress(run_id, b"1")) == Accepted(cancel_asked=True)

    def test_who_has_lost_the_attempt_can_neither_open_nor_park_nor_report(self, stage: Stage) -> None:
        run_id = _claimed(stage)
        names: dict[str, Any] = {"run_id": run_id, "position": "0"}

        answers = [
            stage.do(OpenTask(worker=6, attempt=1, **names)),
            stage.do(ParkTask(worker=6, attempt=1, **names)),
            stage.do(ReportProgress(worker=_WORKER, attempt=2, detail=b"1", **names)),
        ]

        assert answers == [Fenced()] * 3

    def test_an_attempt_that_gave_out_a_token_is_burnt_by_a_worker_that_retires(self, stage: Stage) -> None:
        run_id = _claimed(stage)
        stage.do(OpenTask(worker=_WORKER, run_id=run_id, position="0", attempt=1))

        stage.do(Retire(worker=_WORKER))

        assert stage.claimed(run_id, "0", worker=6).attempt == 2  # noqa: PLR2004 - not the first one again

    def test_the_first_secret_of_a_name_stands(self, stage: Stage) -> None:
        answers = [stage.do(KeepSecret(name=name, value=value)) for name, value in _SECRETS]

        assert answers == [Kept(value=b"\x01"), Kept(value=b"\x01"), Kept(value=b"\xff\x00")]


_SECRETS = (("a", b"\x01"), ("a", b"2"), ("b", b"\xff\x00"))


def _claimed(stage: Stage) -> UUID:
    """A free run with an attempt under way."""
    hold: Hold = stage.begin()
    hold.release(tasks=(task("0"),))
    stage.claimed(hold.id, "0", worker=_WORKER)
    return hold.id


def _parked(stage: Stage, until: float | None = None) -> UUID:
    """A free run with an attempt that is left open."""
    run_id = _claimed(stage)
    assert _park(stage, run_id, until=until) == Accepted()
    return run_id


def _park(stage: Stage, run_id: UUID, until: float | None = None) -> Any:
    at = None if until is None else stage.clock.now() + timedelta(seconds=until)
    return stage.do(ParkTask(worker=_WORKER, run_id=run_id, position="0", attempt=1, until=at))


def _progress(run_id: UUID, detail: bytes) -> ReportProgress:
    return ReportProgress(worker=_WORKER, run_id=run_id, position="0", attempt=1, detail=detail)


def _complete(stage: Stage, run_id: UUID, outcome: Value | Failure, generation: int = 0) -> Any:
    return stage.do(
        CompleteTask(run_id=run_id, generation=generation, position="0", attempt=1, outcome=outcome)
    )


def _resolve_failed(stage: Stage, run_id: UUID) -> None:
    stage.do(ResolveTask(worker=_WORKER, run_id=run_id, attempt=1, event=failed("0")))
