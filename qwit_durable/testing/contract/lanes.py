"""Lanes: one run at a time, in the order of their places, whatever happens to the head."""

from __future__ import annotations

from typing import Any
from uuid import UUID

import attrs

from qwit_durable.core import CancelRequested, Restarted, SignalReceived, Status, Verb
from qwit_durable.stores.answers import Acquired, Conflict, Fenced, Refused
from qwit_durable.stores.protocol import RunQuery
from qwit_durable.stores.reasons import Reason
from qwit_durable.stores.rows import TURN, OutcomeRow
from qwit_durable.stores.writes import Acquire, Commit, Reap, Release, RingDue, Start
from qwit_durable.testing.contract.stage import LEASE, NAMESPACE, Hold, Stage, resolved

__all__ = ["Lanes"]

_STUCK = Reason(kind="undo", text="an undo gave up").encode()


class Lanes:
    """What a lane promises."""

    def test_a_lane_exists_while_a_run_is_in_it(self, stage: Stage) -> None:
        before = stage.store.lane(NAMESPACE, "left")

        answer = stage.join()
        during = stage.lane()
        stage.hold(answer.run.id).end()

        assert before is None
        assert answer.status is Status.RUNNING
        assert (during.head, during.waiting, during.since) == (answer.run.id, 0, stage.clock.now())
        assert stage.store.lane(NAMESPACE, "left") is None

    def test_a_run_behind_another_waits(self, stage: Stage) -> None:
        stage.queue(1)

        answer = stage.join()

        assert answer.status is Status.SCHEDULED
        assert answer.ring is None
        assert stage.acquire(answer.run.id) == Refused(reason="early", status=Status.SCHEDULED)
        assert stage.store.before(answer.run.id) == 1
        assert stage.tasks(answer.run.id) == {}

    def test_the_end_of_a_head_begins_the_next_one(self, stage: Stage) -> None:
        first, second, third = stage.queue(3)

        ended = stage.hold(first).end()
        held = stage.hold(second)

        assert [(ring.run_id, ring.position) for ring in ended.rings] == [(second, TURN)]
        assert held.acquired.live.status is Status.RUNNING
        assert stage.head() == second
        assert [stage.store.before(run_id) for run_id in (first, second, third)] == [None, None, 1]

    def test_whoever_ends_a_head_may_have_the_turn_of_the_next_one(self, stage: Stage) -> None:
        first, second, _ = stage.queue(3)
        hold = stage.hold(first)
        stage.beat(1)
        stage.wait(1)

        ended = hold.end(takes_next=True)

        acquired = ended.acquired
        assert acquired is not None
        assert (acquired.run.id, acquired.live, acquired.now) == (second, stage.live(second), ended.now)
        assert (acquired.live.status, acquired.live.owner, acquired.live.epoch) == (Status.RUNNING, 1, 1)
        assert acquired.live.begun
        assert ended.rings == ()
        assert stage.tasks(second) == {}
        assert stage.head() == second
        assert stage.acquire(second, worker=2) == Refused(reason="held", status=Status.RUNNING)

    def test_the_turn_of_the_next_one_brings_what_it_was_told_while_it_waited(self, stage: Stage) -> None:
        first, second = stage.queue(2)
        signal = SignalReceived(name="go", value=b"1")
        stage.tell(second, signal)

        acquired = stage.hold(first).end(takes_next=True).acquired

        assert acquired is not None
        assert acquired.events == (signal,)
        assert acquired.live.head == 1

    def test_who_has_the_turn_of_the_next_one_goes_through_the_whole_lane(self, stage: Stage) -> None:
        runs = stage.queue(5)
        acquired: Acquired | None = stage.hold(runs[0]).acquired

        passed: list[UUID] = []
        while acquired is not None:
            passed.append(acquired.run.id)
            acquired = Hold(stage, acquired, 1).end(resolved("0"), takes_next=True).acquired

        assert passed == runs
        assert stage.store.lane(NAMESPACE, "left") is None
        assert [stage.outcome(run_id).head for run_id in runs] == [1] * 5

    def test_a_next_run_that_is_paused_is_owed_its_turn(self, stage: Stage) -> None:
        first, second = stage.queue(2)
        stage.operate(second, Verb.PAUSE)

        ended = stage.hold(first).end(takes_next=True)
        paused = stage.live(second)
        stage.operate(second, Verb.RESUME)

        assert ended.acquired is None
        assert [ring.run_id for ring in ended.rings] == [second]
        assert (paused.status, paused.owner) == (Status.PAUSED, None)
        stage.hold(second)

    def test_a_next_run_of_another_queue_is_owed_its_turn(self, stage: Stage) -> None:
        first = stage.join().run.id
        other = stage.start(row=stage.row(lane="left", queue="mailing")).run.id

        ended = stage.hold(first).end(takes_next=True)

        assert ended.acquired is None
        assert [(ring.run_id, ring.queue) for ring in ended.rings] == [(other, "mailing")]
        stage.hold(other, worker=2)

    def test_an_end_that_is_refused_takes_no_turn(self, stage: Stage) -> None:
        first, second = stage.queue(2)
        hold = stage.hold(first)
        outcome = OutcomeRow(run_id=first, status=Status.COMPLETED, ended_at=stage.clock.now())

        conflict = hold.commit(head=7, outcome=outcome, takes_next=True)
        fenced = hold.commit(epoch=7, outcome=outcome, takes_next=True)

        assert [type(answer) for answer in (conflict, fenced)] == [Conflict, Fenced]
        assert stage.head() == first
        assert stage.live(second).status is Status.SCHEDULED

    def test_the_ends_of_several_heads_go_on_with_their_lanes_in_one_batch(self, stage: Stage) -> None:
        lanes = [stage.queue(1 + turn % 3, f"lane-{turn}") for turn in range(6)]
        writes = [
            Commit(
                run_id=runs[0],
                worker=1,
                epoch=stage.hold(runs[0]).epoch,
                head=0,
                outcome=OutcomeRow(run_id=runs[0], status=Status.COMPLETED, ended_at=stage.clock.now()),
                takes_next=turn != 1,
            )
            for turn, runs in enumerate(lanes)
        ]

        answers: list[Any] = list(stage.store.apply(writes))

        acquired = [answer.acquired and answer.acquired.run.id for answer in answers]
        assert acquired == [None, None, *(runs[1] if runs[1:] else None for runs in lanes[2:])]
        assert [ring.run_id for answer in answers for ring in answer.rings] == [lanes[1][1]]

    def test_runs_begin_in_the_order_of_their_places(self, stage: Stage) -> None:
        runs = stage.queue(6)

        begun: list[UUID] = []
        while (lane := stage.store.lane(NAMESPACE, "left")) is not None:
            begun.append(lane.head)
            stage.hold(lane.head).end()

        assert begun == runs

    def test_a_lost_bell_of_a_new_head_is_rung_by_the_sweep(self, stage: Stage) -> None:
        first, second = stage.queue(2)
        rings = stage.hold(first).end().rings

        stage.wait(5)

        assert stage.do(RingDue()).rings == rings
        assert stage.hold(second).acquired.live.status is Status.RUNNING

    def test_a_head_holds_its_lane_through_waiting_getting_stuck_and_going_on(self, stage: Stage) -> None:
        first, second = stage.queue(2)

        stage.hold(first).release()
        released = stage.acquire(second)
        stage.operate(first, Verb.PAUSE)
        paused = stage.acquire(second)
        stage.operate(first, Verb.RESUME)
        stage.hold(first).committed(status=Status.STUCK, reason=_STUCK, release=Release())
        stuck = stage.acquire(second)
        stage.operate(first, Verb.RETRY)
        hold = stage.hold(first)
        retried = stage.acquire(second)
        hold.committed(status=Status.COMPENSATING)
        compensating = stage.acquire(second)
        hold.end(status=Status.COMPENSATED)

        early = Refused(reason="early", status=Status.SCHEDULED)
        assert [released, paused, stuck, retried, compensating] == [early] * 5
        stage.hold(second)

    def test_a_restarted_body_keeps_its_lane(self, stage: Stage) -> None:
        first, second = stage.queue(2)

        hold = stage.hold(first)
        hold.committed(restart=Restarted(args=b"[2]"))

        assert stage.head() == first
        assert isinstance(stage.acquire(second), Refused)

    def test_nobody_waits_for_another_lane_or_another_namespace(self, stage: Stage) -> None:
        stage.queue(2)

        right = stage.join("right")
        elsewhere = stage.start(row=stage.row(lane="left", namespace="elsewhere"))
        free = stage.start()

        assert [answer.status for answer in (right, elsewhere, free)] == [Status.RUNNING] * 3
        assert stage.store.lane("elsewhere", "left") == attrs.evolve(
            stage.lane(), namespace="elsewhere", head=elsewhere.run.id, last=1, waiting=0,
            since=stage.clock.now(),
        )  # fmt: skip

    def test_a_dead_holder_keeps_its_lane_and_a_stale_one_cannot_let_go_of_it(self, stage: Stage) -> None:
        first, second = stage.queue(2)
        stage.beat(1, 2)
        stale = stage.hold(first, worker=1)
        stage.wait(LEASE.total_seconds())
        stage.beat(2)

        stage.do(Reap())
        taken = stage.hold(first, worker=2)
        outcome = OutcomeRow(run_id=first, status=Status.COMPLETED, ended_at=stage.clock.now())
        refused = stale.commit(outcome=outcome)

        assert refused == Fenced()
        assert isinstance(stage.acquire(second), Refused)
        taken.end()
        stage.hold(second, worker=2)

    def test_an_end_told_twice_moves_a_lane_once(self, stage: Stage) -> None:
        first, second, _ = stage.queue(3)
        hold = stage.hold(first)
        outcome = OutcomeRow(run_id=first, status=Status.COMPLETED, ended_at=stage.clock.now())

        hold.committed(outcome=outcome)
        again = hold.commit(outcome=outcome)

        assert again == Fenced()
        assert stage.head() == second

    def test_an_end_that_conflicts_keeps_its_lane(self, stage: Stage) -> None:
        first, _ = stage.queue(2)
        hold = stage.hold(first)
        stage.tell(first, CancelRequested(reason="enough"))

        hold.commit(outcome=OutcomeRow(run_id=first, status=Status.COMPLETED, ended_at=stage.clock.now()))

        assert stage.head() == first

    def test_a_whole_lane_may_pass_in_one_batch(self, stage: Stage) -> None:
        rows = [stage.row(lane="left") for _ in range(4)]
        writes: list[Any] = [Start(run=row) for row in rows]
        for row in rows:
            outcome = OutcomeRow(run_id=row.id, status=Status.COMPLETED, ended_at=stage.clock.now())
            writes.append(Acquire(run_id=row.id, worker=1))
            writes.append(Commit(run_id=row.id, worker=1, epoch=1, head=0, outcome=outcome))

        answers = stage.store.apply(writes)

        assert [type(answer) for answer in answers[4::2]] == [Acquired] * 4
        assert stage.store.lane(NAMESPACE, "left") is None

    def test_those_who_left_are_passed_over_in_the_batch_of_the_end(self, stage: Stage) -> None:
        first, second, third = stage.queue(3)
        hold = stage.hold(first)
        outcome = OutcomeRow(run_id=first, status=Status.COMPLETED, ended_at=stage.clock.now())

        stage.operate(second, Verb.TERMINATE)
        fourth = stage.row(lane="left")
        stage.store.apply(
            [
                Commit(run_id=first, worker=1, epoch=hold.epoch, head=0, outcome=outcome),
                Start(run=fourth),
            ]
        )

        assert stage.head() == third
        assert stage.store.before(fourth.id) == 1

    def test_sub_workflows_are_in_no_lane_of_their_own(self, stage: Stage) -> None:
        first, second = stage.queue(2)
        hold = stage.hold(first)
        child = stage.child_of(hold, "0")

        hold.committed(starts=(child,))
        stage.hold(child.id, worker=2).end()

        assert stage.head() == first
        assert isinstance(stage.acquire(second), Refused)

    def test_runs_of_a_lane_can_be_listed(self, stage: Stage) -> None:
        runs = stage.queue(3)
        stage.queue(2, "right")
        stage.hold(runs[0]).end()

        found = stage.store.runs(RunQuery(namespace=NAMESPACE, lane="left"))

        assert [view.run.id for view in found] == runs[::-1]
        assert {view.run.lane for view in found} == {"left"}
