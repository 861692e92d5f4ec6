# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Workers that come, live, go and die, and their duties."""

from __future__ import annotations

import pytest

from qwit_durable.errors import AttemptLost
from qwit_durable.stores.answers import Accepted, Fenced, Refused, Rings
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import Beat, Disown, Lead, Reap, Release, Retire, RingDue, Write
from qwit_durable.testing.contract.stage import LEASE, Stage, resolved, seconds, task

__all__ = ["Workers"]


class Workers:
    """What is held by the dead, or by mistake, is freed; what is held by the living is not."""

    def test_a_beat_writes_a_workers_row_and_prolongs_its_lease(self, stage: Stage) -> None:
        stage.beat(3)
        stage.wait(4)
        stage.beat(3)

        (row,) = stage.store.workers()

        now = stage.clock.now()
        assert (row.id, row.beat_at, row.expires_at) == (3, now, now + LEASE)
        assert row.queues == ("shipping", "packing")
        assert row.process_started == 12.25

    def test_a_worker_that_retires_burns_nothing(self, stage: Stage) -> None:
        stage.beat(1)
        hold = stage.begin(worker=1)
        waiting = stage.begin(worker=1)
        waiting.release(tasks=(task("0"),))
        stage.claimed(waiting.id, "0", worker=1)

        rings = stage.do(Retire(worker=1)).rings

        assert {(ring.run_id, ring.position) for ring in rings} == {(hold.id, TURN), (waiting.id, "0")}
        assert stage.store.workers() == []
        assert stage.hold(hold.id, worker=2).acquired.live.lost == 0
        assert stage.claimed(waiting.id, "0", worker=2).attempt == 1
        assert hold.commit(resolved("0")) == Fenced()

    def test_what_nobody_heard_of_is_due_when_its_worker_retires(self, stage: Stage) -> None:
        stage.beat(1)
        stage.beat(2)
        held, rung, claimed, unheard_of = (stage.begin(worker=1) for _ in range(4))
        for hold in (rung, claimed, unheard_of):
            hold.release(tasks=(task("0"),))
        stage.claimed(claimed.id, "0", worker=2)
        gone = (stage.row().id, TURN)

        answer = stage.do(Retire(worker=1, unheard=frozenset({(rung.id, "0"), (claimed.id, "0"), gone})))
        due = stage.do(RingDue()).rings

        assert answer == Rings()
        assert {(ring.run_id, ring.position) for ring in due} == {(held.id, TURN), (rung.id, "0")}

    @pytest.mark.parametrize("others", [(), (3,)])
    def test_what_was_rung_for_is_due_at_once_for_a_worker_that_starts_alone(
        self, others: tuple[int, ...], stage: Stage
    ) -> None:
        for worker in (2, *others):
            stage.beat(worker)
        rung, claimed, later = (stage.begin(worker=2) for _ in range(3))
        rung.release(tasks=(task("0"),))
        claimed.release(tasks=(task("0"),))
        later.committed(release=Release(wake_at=stage.clock.now() + seconds(30)))
        stage.claimed(claimed.id, "0", worker=2)
        before = stage.do(RingDue())

        rings = stage.do(Reap(alone=2))
        due = stage.do(RingDue()).rings

        assert (before, rings) == (Rings(), Rings())
        assert [(ring.run_id, ring.position) for ring in due] == ([] if others else [(rung.id, "0")])

    def test_only_the_dead_are_reaped(self, stage: Stage) -> None:
        stage.beat(1)
        stage.wait(6)
        stage.beat(2)
        dead, alive = stage.begin(worker=1), stage.begin(worker=2)
        stage.wait(5)

        rings = stage.do(Reap()).rings

        assert [ring.run_id for ring in rings] == [dead.id]
        assert [row.id for row in stage.store.workers()] == [2]
        assert alive.commit(resolved("0")).head == 1
        assert stage.do(Reap()) == Rings()

    def test_what_a_worker_without_a_row_holds_is_freed_when_it_is_named(self, stage: Stage) -> None:
        stage.beat(1)
        hold, held, free = stage.begin(worker=8), stage.begin(worker=1), stage.start().run

        without = stage.do(Reap())
        with_orphans = stage.do(Reap(orphans=(hold.id, held.id, free.id, stage.row().id)))

        assert without == Rings()
        assert [(ring.run_id, ring.position) for ring in with_orphans.rings] == [(hold.id, TURN)]
        assert stage.live(hold.id).owner is None
        assert stage.live(held.id).owner == 1

    def test_a_task_of_a_worker_without_a_row_is_rung_for(self, stage: Stage) -> None:
        hold = stage.begin()
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=8)
        stage.wait(10)

        rings = stage.do(RingDue()).rings

        assert [ring.position for ring in rings] == ["0"]
        assert stage.claim(hold.id, "0", worker=2).lost

    def test_what_a_living_worker_holds_by_mistake_is_freed(self, stage: Stage) -> None:
        stage.beat(1)
        known, forgotten = stage.begin(worker=1), stage.begin(worker=1)
        waiting = stage.begin(worker=1)
        waiting.release(tasks=(task("0"), task("1")))
        for position in "01":
            stage.claimed(waiting.id, position, worker=1)
        stage.wait(5)
        fresh = stage.begin(worker=1)
        disown = Disown(
            worker=1,
            runs=frozenset({forgotten.id, fresh.id, waiting.id}),
            tasks=frozenset({(waiting.id, "0")}),
            older_than=seconds(3),
        )

        rings = stage.do(disown).rings

        assert {(ring.run_id, ring.position) for ring in rings} == {(forgotten.id, TURN), (waiting.id, "0")}
        assert stage.live(fresh.id).owner == stage.live(known.id).owner == 1
        assert stage.hold(forgotten.id, worker=2).acquired.live.lost == 1

    def test_an_attempt_that_is_disowned_counts(self, stage: Stage) -> None:
        stage.beat(1)
        hold = stage.begin(worker=1)
        hold.release(tasks=(task("0"),))
        stage.claimed(hold.id, "0", worker=1)
        stage.wait(5)

        tasks = frozenset({(hold.id, "0")})
        stage.do(Disown(worker=1, runs=frozenset(), tasks=tasks, older_than=seconds(3)))

        taken = stage.claim(hold.id, "0", worker=1)
        assert (taken.task.attempt, taken.task.owner, taken.lost) == (1, 1, False)
        assert taken.task.ended.is_a(AttemptLost)
        assert taken.task.ended.outcome_unknown

    def test_a_duty_has_one_holder_until_its_lease_ends(self, stage: Stage) -> None:
        def lead(worker: int, duty: str = "sweep") -> Accepted | Refused:
            found: Accepted | Refused = stage.do(Lead(duty=duty, worker=worker, lease=seconds(5)))
            return found

        first, second, other = lead(1), lead(2), lead(2, "prune")
        stage.wait(4)
        kept = lead(1)
        stage.wait(4)
        refused = lead(2)
        stage.wait(1)
        taken = lead(2)

        assert (first, second, other) == (Accepted(), Refused(reason="held"), Accepted())
        assert (kept, refused, taken) == (Accepted(), Refused(reason="held"), Accepted())

    def test_a_beat_asks_for_a_duty_with_the_same_breath(self, stage: Stage) -> None:
        def beat(worker: int) -> Accepted | Refused:
            asks = Lead(duty="sweep", worker=worker, lease=seconds(5))
            found: Accepted | Refused = stage.do(Beat(worker=stage.worker(worker), lease=LEASE, asks=asks))
            return found

        first, second = beat(1), beat(2)
        stage.wait(5)
        taken = beat(2)

        assert (first, second, taken) == (Accepted(), Refused(reason="held"), Accepted())
        assert [row.id for row in stage.store.workers()] == [1, 2]
        assert {row.beat_at for row in stage.store.workers() if row.id == 2} == {stage.clock.now()}

    @pytest.mark.parametrize("end", [Retire(worker=1), Reap()])
    def test_the_duties_of_a_worker_end_with_it(self, stage: Stage, end: Write) -> None:
        stage.beat(1)
        stage.do(Lead(duty="sweep", worker=1, lease=seconds(60)))
        stage.wait(11)
        before = stage.do(Lead(duty="sweep", worker=2, lease=seconds(5)))

        stage.do(end)

        assert before == Refused(reason="held")
        assert stage.do(Lead(duty="sweep", worker=2, lease=seconds(5))) == Accepted()
