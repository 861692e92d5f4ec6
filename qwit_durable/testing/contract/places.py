"""Places in lanes: when they are taken, kept and given up."""

from __future__ import annotations

from qwit_durable.core import CancelRequested, Status, Verb
from qwit_durable.stores.answers import Accepted, Refused
from qwit_durable.stores.writes import FireTimers
from qwit_durable.testing.contract.stage import NAMESPACE, Stage, seconds

__all__ = ["Places"]


class Places:
    """What the place of a run in its lane promises."""

    def test_a_delayed_run_takes_its_place_when_it_is_due(self, stage: Stage) -> None:
        late = stage.join(delay=seconds(20)).run.id
        later = stage.join(delay=seconds(30)).run.id
        first = stage.join().run.id
        assert (stage.lane().waiting, stage.store.before(late)) == (0, None)

        stage.wait(25)
        fired = stage.do(FireTimers())
        second = stage.join().run.id
        stage.hold(first).end()
        head = stage.head()

        assert fired.rings == ()
        assert head == late
        assert [stage.store.before(run_id) for run_id in (late, second, later)] == [None, 1, None]
        stage.hold(late)

    def test_a_run_started_in_a_long_transaction_takes_its_place_afterwards(self, stage: Stage) -> None:
        within = stage.start(row=stage.row(lane="left"), within=True)
        free = stage.start(within=True)
        first = stage.join().run.id

        fired = stage.do(FireTimers(run_id=within.run.id, position="start"))

        assert (within.status, free.status) == (Status.SCHEDULED, Status.RUNNING)
        assert fired.rings == ()
        assert stage.head() == first
        assert stage.store.before(within.run.id) == 1

    def test_a_delayed_run_is_the_head_of_an_empty_lane_when_it_is_due(self, stage: Stage) -> None:
        late = stage.join(delay=seconds(20)).run.id

        stage.wait(20)
        fired = stage.do(FireTimers())

        assert [ring.run_id for ring in fired.rings] == [late]
        assert stage.head() == late
        assert stage.live(late).status is Status.RUNNING

    def test_runs_that_are_due_at_once_take_their_places_by_their_times(self, stage: Stage) -> None:
        late, early = (stage.join(delay=seconds(count)).run.id for count in (20, 10))

        stage.wait(60)
        stage.do(FireTimers())

        assert stage.head() == early
        assert stage.store.before(late) == 1

    def test_a_cancelled_run_gives_its_place_up(self, stage: Stage) -> None:
        first, second, third = stage.queue(3)

        answer = stage.tell(second, CancelRequested(reason="enough"))
        waiting = (stage.lane().waiting, stage.store.before(second), stage.store.before(third))
        stage.hold(second).end(status=Status.CANCELLED)
        stage.hold(first).end()

        assert [ring.run_id for ring in answer.rings] == [second]
        assert waiting == (1, None, 1)
        assert stage.head() == third

    def test_a_run_that_is_rolled_back_before_it_began_gives_its_place_up(self, stage: Stage) -> None:
        _, second, third = stage.queue(3)
        late = stage.join(delay=seconds(20)).run.id
        stage.operate(third, Verb.PAUSE)

        rings = [stage.operate(run_id, Verb.ROLLBACK).rings for run_id in (second, third, late)]
        stage.wait(20)
        stage.do(FireTimers())

        assert [[ring.run_id for ring in found] for found in rings] == [[second], [third], [late]]
        assert stage.lane().waiting == 0
        stage.hold(third).end(status=Status.FAILED)

    def test_a_head_that_is_cancelled_before_it_begins_holds_its_lane_until_its_end(
        self, stage: Stage
    ) -> None:
        first, second, third = stage.queue(3)
        stage.hold(first).end()

        stage.tell(second, CancelRequested(reason="enough"))
        head = stage.head()
        ended = stage.hold(second).end(status=Status.CANCELLED)

        assert head == second
        assert [ring.run_id for ring in ended.rings] == [third]
        assert stage.head() == third

    def test_a_terminated_run_leaves_its_lane(self, stage: Stage) -> None:
        first, second, third = stage.queue(3)

        waiting = stage.operate(second, Verb.TERMINATE)
        head = stage.operate(first, Verb.TERMINATE)

        assert waiting == Accepted()
        assert [ring.run_id for ring in head.rings] == [third]
        assert (stage.head(), stage.lane().waiting) == (third, 0)
        stage.operate(third, Verb.TERMINATE)
        assert stage.store.lane(NAMESPACE, "left") is None

    def test_a_run_that_is_paused_while_it_waits_keeps_its_place(self, stage: Stage) -> None:
        first, second, third = stage.queue(3)

        stage.operate(second, Verb.PAUSE)
        before = stage.store.before(second)
        stage.operate(second, Verb.RESUME)
        resumed = stage.live(second).status
        stage.operate(second, Verb.PAUSE)
        stage.hold(first).end()
        refused = stage.acquire(second), stage.acquire(third)
        answer = stage.operate(second, Verb.RESUME)

        assert (before, resumed) == (1, Status.SCHEDULED)
        assert refused[0] == Refused(reason="paused", status=Status.PAUSED)
        assert refused[1] == Refused(reason="early", status=Status.SCHEDULED)
        assert [ring.run_id for ring in answer.rings] == [second]
        assert stage.hold(second).acquired.live.status is Status.RUNNING

    def test_a_run_that_is_paused_before_it_is_due_takes_its_place_all_the_same(self, stage: Stage) -> None:
        late = stage.join(delay=seconds(20)).run.id
        stage.operate(late, Verb.PAUSE)

        stage.wait(20)
        fired = stage.do(FireTimers())
        waiting = stage.join()
        stage.operate(late, Verb.RESUME)

        assert fired.rings == ()
        assert waiting.status is Status.SCHEDULED
        assert stage.head() == late
        assert stage.live(late).status is Status.RUNNING

    def test_a_paused_run_that_is_cancelled_gives_its_place_up(self, stage: Stage) -> None:
        _, second, third = stage.queue(3)
        stage.operate(second, Verb.PAUSE)

        stage.tell(second, CancelRequested(reason="enough"))
        status = stage.live(second).status
        stage.operate(second, Verb.RESUME)

        assert status is Status.PAUSED
        assert stage.live(second).status is Status.RUNNING
        assert stage.store.before(third) == 1

    def test_a_run_cancelled_before_it_is_due_takes_no_place(self, stage: Stage) -> None:
        late = stage.join(delay=seconds(20)).run.id
        paused = stage.join(delay=seconds(20)).run.id
        stage.operate(paused, Verb.PAUSE)

        for run_id in (late, paused):
            stage.tell(run_id, CancelRequested(reason="enough"))
        stage.wait(20)
        stage.do(FireTimers())

        assert stage.store.lane(NAMESPACE, "left") is None
        stage.hold(late).end(status=Status.CANCELLED)

    def test_a_deadline_that_passes_while_a_run_waits_ends_its_waiting(self, stage: Stage) -> None:
        first = stage.join().run.id
        second = stage.join(deadline=seconds(20)).run.id
        third = stage.join().run.id

        stage.wait(20)
        fired = stage.do(FireTimers())
        stage.hold(second).end(status=Status.FAILED)

        assert [ring.run_id for ring in fired.rings] == [second]
        assert stage.head() == first
        assert stage.store.before(third) == 1

    def test_attaching_to_a_run_gives_it_no_second_place(self, stage: Stage) -> None:
        stage.queue(1)
        row = stage.row("order-1", lane="left")

        stage.start(row=row)
        stage.start(row=stage.row("order-1", lane="left"))

        assert stage.lane().waiting == 1
