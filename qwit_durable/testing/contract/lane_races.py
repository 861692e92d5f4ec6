# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Lanes with several at work in them at once: one head, no gap, no lane lost."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any
from uuid import UUID

from qwit_durable.core import Status, Verb
from qwit_durable.stores.answers import Acquired
from qwit_durable.stores.protocol import Store
from qwit_durable.stores.rows import TURN, OutcomeRow
from qwit_durable.stores.writes import Acquire, Commit, Start
from qwit_durable.testing.contract.racing import at_once
from qwit_durable.testing.contract.stage import NAMESPACE, Hold, Stage

__all__ = ["LaneRaces"]


class LaneRaces:
    """`another` opens the same data as another process would."""

    def test_concurrent_starts_into_one_lane_have_one_head(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        def start(store: Store) -> Callable[[], list[Any]]:
            rows = [stage.row(lane=f"lane-{turn}") for turn in range(8) for _ in range(2)]
            return lambda: [store.apply([Start(run=row)])[0] for row in rows]

        found = at_once([start(store) for store in (stage.store, another(), another(), another())])

        for turn in range(8):
            answers = [a for part in found for a in part if a.run.lane == f"lane-{turn}"]
            heads = [answer.run.id for answer in answers if answer.status is Status.RUNNING]
            lane = stage.lane(f"lane-{turn}")
            waiting = [stage.store.before(a.run.id) for a in answers if a.run.id not in heads]
            assert heads == [lane.head]
            assert lane.waiting == 7
            assert sorted(count or 0 for count in waiting) == [*range(1, 8)]

    def test_batches_that_cross_each_other_in_their_lanes_all_succeed(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        def start(store: Store, lanes: list[str]) -> Callable[[], Any]:
            return lambda: [
                store.apply([Start(run=stage.row(lane=lane)) for lane in lanes]) for _ in range(8)
            ]

        lanes = [f"lane-{turn}" for turn in range(6)]
        at_once([start(stage.store, lanes), start(another(), lanes[::-1])])

        assert [stage.lane(lane).waiting for lane in lanes] == [15] * 6

    def test_a_head_that_ends_while_others_start_leaves_one_head_and_no_gap(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        ended: list[UUID] = []

        def start(store: Store) -> Callable[[], Any]:
            return lambda: [store.apply([Start(run=stage.row(lane="left"))]) for _ in range(10)]

        def end(store: Store) -> Callable[[], Any]:
            def go() -> None:
                while len(ended) < 20:
                    if (head := _ended(store, "left")) is not None:
                        ended.append(head)

            return go

        at_once([start(another()), start(another()), end(stage.store)])

        assert len(set(ended)) == 20
        assert stage.store.lane(NAMESPACE, "left") is None

    def test_terminating_a_run_while_it_becomes_head_loses_no_lane(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        queues = [stage.queue(3, f"lane-{turn}") for turn in range(8)]
        holds = [stage.hold(first) for first, _, _ in queues]
        mine, other = stage.store, another()

        def end() -> None:
            for hold in holds:
                mine.apply([_ending(hold)])

        def terminate() -> None:
            elsewhere = Stage(other, stage.clock)
            for _, second, _ in queues:
                elsewhere.operate(second, Verb.TERMINATE)

        at_once([end, terminate])

        for turn, (_, _, third) in enumerate(queues):
            lane = stage.lane(f"lane-{turn}")
            assert (lane.head, lane.waiting) == (third, 0)
            stage.hold(third)

    def test_pausing_and_resuming_a_run_while_it_becomes_head_loses_no_turn(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        queues = [stage.queue(2, f"lane-{turn}") for turn in range(8)]
        holds = [stage.hold(first) for first, _ in queues]
        mine, other = stage.store, another()

        def end() -> None:
            for hold in holds:
                mine.apply([_ending(hold)])

        def pause() -> None:
            elsewhere = Stage(other, stage.clock)
            for _, second in queues:
                elsewhere.operate(second, Verb.PAUSE)
                elsewhere.operate(second, Verb.RESUME)

        at_once([end, pause])

        for turn, (_, second) in enumerate(queues):
            assert stage.head(f"lane-{turn}") == second
            assert TURN in stage.tasks(second)
            stage.hold(second)

    def test_turns_taken_with_ends_while_others_start_leave_one_head_and_no_gap(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        ended: list[UUID] = []

        def start(store: Store) -> Callable[[], Any]:
            return lambda: [store.apply([Start(run=stage.row(lane="left"))]) for _ in range(20)]

        def end(store: Store) -> Callable[[], Any]:
            def go() -> None:
                while len(ended) < 40:
                    ended.extend(_passed(store, "left"))

            return go

        at_once([start(another()), start(another()), end(stage.store)])

        assert len(ended) == len(set(ended)) == 40
        assert stage.store.lane(NAMESPACE, "left") is None

    def test_a_turn_taken_while_the_next_one_is_acted_upon_is_taken_or_owed(
        self, stage: Stage, another: Callable[[], Store]
    ) -> None:
        queues = [stage.queue(3, f"lane-{turn}") for turn in range(12)]
        holds = [stage.hold(first) for first, _, _ in queues]
        mine, other = stage.store, another()
        answers: list[Any] = []

        def end() -> None:
            answers.extend(mine.apply([_ending(hold, takes_next=True)])[0] for hold in holds)

        def act() -> None:
            elsewhere = Stage(other, stage.clock)
            for turn, (_, second, _) in enumerate(queues):
                elsewhere.operate(second, Verb.TERMINATE if turn % 2 else Verb.PAUSE)
                elsewhere.operate(second, Verb.RESUME)

        at_once([end, act])

        for turn, (_, second, third) in enumerate(queues):
            head = stage.head(f"lane-{turn}")
            live = stage.live(head)
            assert head == (third if turn % 2 else second)
            # Held; or it was, and has been told since; or nobody has had it yet.
            assert live.owner == 1 or TURN in stage.tasks(head)
            acquired = answers[turn].acquired
            assert acquired is None or acquired.run.id in (second, third)


def _ending(hold: Hold, *, takes_next: bool = False) -> Commit:
    outcome = OutcomeRow(run_id=hold.id, status=Status.COMPLETED, ended_at=hold.run.created_at)
    return Commit(
        run_id=hold.id,
        worker=hold.worker,
        epoch=hold.epoch,
        head=None,
        outcome=outcome,
        takes_next=takes_next,
    )


def _passed(store: Store, lane: str) -> list[UUID]:
    """Acquire and end the head of a lane, if there is one, and all that come with the ends of those before them."""
    found = store.lane(NAMESPACE, lane)
    acquired: Any = None if found is None else store.apply([Acquire(run_id=found.head, worker=1)])[0]
    passed: list[UUID] = []
    while acquired is not None:
        assert isinstance(acquired, Acquired), acquired
        run_id, epoch = acquired.run.id, acquired.live.epoch
        outcome = OutcomeRow(run_id=run_id, status=Status.COMPLETED, ended_at=acquired.now)
        write = Commit(run_id=run_id, worker=1, epoch=epoch, head=0, outcome=outcome, takes_next=True)
        answer: Any = store.apply([write])[0]
        passed.append(run_id)
        acquired = answer.acquired
    return passed


def _ended(store: Store, lane: str) -> UUID | None:
    """Acquire and end the head of a lane, if there is one."""
    found = store.lane(NAMESPACE, lane)
    if found is None:
        return None
    acquired = store.apply([Acquire(run_id=found.head, worker=1)])[0]
    assert isinstance(acquired, Acquired), acquired
    outcome = OutcomeRow(run_id=found.head, status=Status.COMPLETED, ended_at=acquired.now)
    store.apply([Commit(run_id=found.head, worker=1, epoch=acquired.live.epoch, head=0, outcome=outcome)])
    return found.head
