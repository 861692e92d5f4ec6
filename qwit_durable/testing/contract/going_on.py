"""Outcomes with which the worker that records them takes the run's turn."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs

from qwit_durable.core import Kind, Scheduled, SignalReceived, Status, Verb
from qwit_durable.stores.answers import Accepted, Fenced, Refused, Standing
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import Acquire, Commit, Reap, Release, ResolveTask
from qwit_durable.testing.contract.stage import LEASE, Stage, failed, resolved, task

__all__ = ["GoingOn"]

_WORKER = 5
_SCHEDULED = Scheduled(position="1", kind=Kind.STEP, name="s", queued=True)


class GoingOn:
    """Who makes a turn due takes it, if that is wanted, and nobody is rung for it."""

    def test_an_outcome_takes_the_turn_that_it_makes_due(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)

        answer = _resolve(stage, hold.id, "0")

        assert (answer.rings, answer.head) == ((), 1)
        acquired = answer.acquired
        assert acquired.events == (resolved("0"),)
        assert acquired.run == hold.run
        assert (acquired.live.owner, acquired.live.epoch, acquired.live.begun) == (
            _WORKER,
            hold.epoch + 1,
            True,
        )
        assert stage.live(hold.id) == acquired.live
        assert stage.tasks(hold.id) == {}

    def test_a_turn_that_comes_with_an_outcome_brings_what_was_not_known(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(resolved("7"))
        hold.release(tasks=(task("0"), task("1")), awaiting=2)
        for position in ("0", "1"):
            stage.claimed(hold.id, position, worker=_WORKER)

        first = _resolve(stage, hold.id, "0", after=1)
        second = _resolve(stage, hold.id, "1", after=1)

        assert first == Accepted(head=2)
        assert second.acquired.events == (resolved("0"), resolved("1"))

    def test_no_turn_of_a_run_that_is_held_or_paused_comes_with_an_outcome(self, stage: Stage) -> None:
        held, paused = stage.begin(), stage.begin()
        held.committed(tasks=(task("0"),))
        paused.release(tasks=(task("0"),))
        for run_id in (held.id, paused.id):
            stage.claimed(run_id, "0", worker=_WORKER)
        stage.operate(paused.id, Verb.PAUSE)

        answers = [_resolve(stage, run_id, "0") for run_id in (held.id, paused.id)]

        assert [(answer.rings, answer.acquired) for answer in answers] == [((), None)] * 2

    def test_a_turn_that_was_owed_already_is_taken_with_the_outcome(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"), task("1")), awaiting=2)
        for position in ("0", "1"):
            stage.claimed(hold.id, position, worker=_WORKER)
        stage.do(ResolveTask(worker=_WORKER, run_id=hold.id, attempt=1, event=failed("0")))
        owed = TURN in stage.tasks(hold.id)

        answer = _resolve(stage, hold.id, "1")

        assert owed
        assert [event.position for event in answer.acquired.events] == ["0", "1"]
        assert stage.tasks(hold.id) == {}

    def test_several_outcomes_in_one_batch_bring_one_turn(self, stage: Stage) -> None:
        hold = stage.begin()
        positions = [f"0.{member}" for member in range(4)]
        hold.release(tasks=tuple(map(task, positions)), awaiting=3)
        for position in positions:
            stage.claimed(hold.id, position, worker=_WORKER)
        writes = [_with_turn(hold.id, position) for position in positions]

        answers: list[Any] = list(stage.store.apply(writes))

        assert [answer.acquired is not None for answer in answers] == [False, False, True, False]
        assert answers[2].acquired.events == tuple(map(resolved, positions[:3]))
        assert [answer.head for answer in answers] == [1, 2, 3, 4]
        assert stage.store.apply(writes) == [Fenced()] * 4

    def test_a_claim_says_how_the_run_stands_if_its_outcome_makes_a_turn_due(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.committed(resolved("7"), resolved("8"))
        hold.release(tasks=(task("0"),))
        turn = Acquire(run_id=hold.id, worker=_WORKER, after=1)

        claimed = stage.claim(hold.id, "0", worker=_WORKER, turn=turn)

        assert claimed.standing == Standing(head=2, status=Status.RUNNING, events=(resolved("8"),))

    def test_a_claim_says_nothing_of_a_run_that_waits_for_more_or_is_held(self, stage: Stage) -> None:
        waiting, held = stage.begin(), stage.begin()
        waiting.release(tasks=(task("0"), task("1")), awaiting=2)
        held.committed(tasks=(task("0"),))

        claims = [
            stage.claim(hold.id, "0", worker=_WORKER, turn=Acquire(run_id=hold.id, worker=_WORKER))
            for hold in (waiting, held)
        ]

        assert [claimed.standing for claimed in claims] == [None, None]

    def test_an_outcome_brings_the_whole_turn_that_follows_from_it(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)

        answer = stage.do(_with_all(hold.id, "0", head=1))

        assert (answer.head, answer.acquired, answer.rings) == (1, None, ())
        assert (answer.committed.head, [ring.position for ring in answer.committed.rings]) == (2, ["1"])
        assert stage.events(hold.id) == [resolved("0"), _SCHEDULED]
        assert list(stage.tasks(hold.id)) == ["1"]
        live = stage.live(hold.id)
        assert (live.owner, live.epoch, live.head, live.awaiting, live.begun) == (
            None,
            hold.epoch + 1,
            2,
            1,
            False,
        )

    def test_a_step_that_its_worker_begins_at_once_is_rung_for_by_nobody(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)

        answer = stage.do(_with_all(hold.id, "0", head=1, begins=True))

        assert answer.committed.rings == ()
        begun = stage.tasks(hold.id)["1"]
        now = answer.committed.now
        assert (begun.owner, begun.attempt, begun.began_at, begun.claimed_at) == (_WORKER, 1, now, now)
        assert begun.ring_at == now + LEASE
        assert stage.claim(hold.id, "1", worker=7, may_take_over=False) == Refused(reason="held")
        assert stage.do(_with_turn(hold.id, "1")).acquired is not None

    def test_a_turn_that_was_foreseen_from_another_history_is_only_taken(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)
        signal = SignalReceived(name="go")
        stage.tell(hold.id, signal)

        answer = stage.do(_with_all(hold.id, "0", head=1))

        assert answer.committed is None
        assert answer.acquired.events == (signal, resolved("0"))
        assert stage.tasks(hold.id) == {}
        assert stage.live(hold.id).owner == _WORKER

    def test_an_outcome_of_an_attempt_that_is_lost_brings_no_turn(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=_WORKER)
        stage.do(_with_turn(hold.id, "0"))

        answer = stage.do(_with_all(hold.id, "0", head=1))

        assert answer == Fenced()
        assert stage.events(hold.id) == [resolved("0")]

    def test_the_attempts_lost_by_its_holders_are_counted_by_a_turn_with_an_outcome(
        self, stage: Stage
    ) -> None:
        stage.beat(1, _WORKER)
        hold = stage.begin()
        hold.committed(tasks=(task("0"),))
        stage.wait(11)
        stage.beat(_WORKER)
        stage.do(Reap())
        stage.claimed(hold.id, "0", worker=_WORKER)

        answer = _resolve(stage, hold.id, "0")

        assert answer.acquired.live.lost == 1


def _with_turn(run_id: UUID, position: str, after: int = 0) -> ResolveTask:
    turn = Acquire(run_id=run_id, worker=_WORKER, after=after)
    return ResolveTask(
        worker=_WORKER, run_id=run_id, attempt=1, event=resolved(position), lets_none=True, turn=turn
    )


def _with_all(run_id: UUID, position: str, head: int, *, begins: bool = False) -> ResolveTask:
    new = task("1", attempt=1, quiet=LEASE) if begins else task("1")
    then = Commit(
        run_id=run_id,
        worker=_WORKER,
        epoch=0,
        head=head,
        events=(_SCHEDULED,),
        tasks=(new,),
        release=Release(),
    )
    return attrs.evolve(_with_turn(run_id, position), then=then)


def _resolve(stage: Stage, run_id: UUID, position: str, after: int = 0) -> Any:
    return stage.do(_with_turn(run_id, position, after))
