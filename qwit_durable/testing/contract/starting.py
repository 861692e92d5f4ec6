"""Starting runs."""

from __future__ import annotations

import attrs

from qwit_durable.core import Status
from qwit_durable.stores.answers import Acquired, Refused
from qwit_durable.stores.rows import TURN
from qwit_durable.stores.writes import FireTimers, RingDue, Start
from qwit_durable.testing.contract.stage import Hold, Stage, seconds

__all__ = ["Starting"]


class Starting:
    """A run is stored when its start is answered, once per id."""

    def test_whoever_starts_a_run_may_have_its_first_turn_by_the_same_write(self, stage: Stage) -> None:
        stage.beat(7)

        plain = stage.start("a", holder=7)
        bound = stage.start("bb", holder=7, deadline=seconds(20))
        head = stage.start(row=stage.row(lane="left"), holder=7)

        for started in (plain, bound, head):
            live = stage.live(started.run.id)
            assert started.acquired == Acquired(run=started.run, live=live, events=(), now=stage.clock.now())
            assert (live.owner, live.epoch, live.begun, started.ring) == (7, 1, True, None)
            assert stage.tasks(started.run.id) == {}
        assert plain.acquired is not None
        assert Hold(stage, plain.acquired, 7).end().head == 0

    def test_a_run_that_stands_already_or_has_to_wait_is_nobodys(self, stage: Stage) -> None:
        there, head = stage.start("a"), stage.start(row=stage.row(lane="left"))

        again = stage.start("a", holder=7)
        later = stage.start("b", holder=7, delay=seconds(5))
        second = stage.start(row=stage.row(lane="left"), holder=7)

        assert (again.run, again.created, again.acquired) == (there.run, False, None)
        assert (later.acquired, later.ring, second.acquired, second.ring) == (None, None, None, None)
        assert {stage.live(one.run.id).owner for one in (there, head, later, second)} == {None}

    def test_a_started_run_is_stored_as_it_was_given(self, stage: Stage) -> None:
        row = stage.row(
            "order-1",
            version=None,
            attributes={"tenant": "acme", "tries": 3, "share": 0.25, "vip": True},
            trace=None,
        )

        answer = stage.start(row=row)

        assert answer.run == row
        assert answer.created
        assert answer.status is Status.RUNNING
        view = stage.store.view(row.id)
        assert view is not None
        assert view.run == row
        assert view.status is Status.RUNNING
        assert stage.live(row.id).awaiting == 0

    def test_the_stores_time_counts_and_not_the_callers(self, stage: Stage) -> None:
        row = stage.row(created_at=stage.clock.now() - seconds(3600))

        answer = stage.start(row=row, delay=seconds(5), deadline=seconds(60))

        now = stage.clock.now()
        assert answer.run == attrs.evolve(
            row, created_at=now, start_at=now + seconds(5), deadline_at=now + seconds(60)
        )

    def test_a_started_run_is_owed_a_turn_and_its_bell(self, stage: Stage) -> None:
        answer = stage.start(ring_after=seconds(3))

        turn = stage.tasks(answer.run.id)[TURN]
        assert (turn.queue, turn.name, turn.ready_at) == ("shipping", "ship", stage.clock.now())
        assert turn.ring_at == stage.clock.now() + seconds(3)
        assert answer.ring is not None
        assert (answer.ring.run_id, answer.ring.position, answer.ring.queue) == (
            answer.run.id,
            TURN,
            "shipping",
        )

    def test_starting_a_key_again_answers_the_run_that_stands_there(self, stage: Stage) -> None:
        first = stage.start("order-1")

        again = stage.start("order-1", on_conflict="fail")

        assert not again.created
        assert again.run == first.run
        assert again.ring is None
        assert len(stage.store.children(first.run.id)) == 0
        assert stage.store.counts("contract") == {Status.RUNNING: 1}

    def test_repeating_a_start_whose_answer_was_lost_makes_no_second_run(self, stage: Stage) -> None:
        row = stage.row()
        stage.start(row=row)

        again = stage.start(row=row)

        assert again.run.id == row.id
        assert stage.store.counts("contract") == {Status.RUNNING: 1}

    def test_a_run_whose_id_nobody_chose_stands_under_its_uuid(self, stage: Stage) -> None:
        row = stage.row()
        hold = stage.hold(stage.start(row=attrs.evolve(row, key=str(row.id))).run.id)

        again, elsewhere = (
            stage.start(str(row.id)),
            stage.start(row=stage.row(str(row.id), namespace="other")),
        )
        hold.end()
        replaced = stage.start(str(row.id), on_conflict="replace")

        assert (again.created, again.run.id) == (False, row.id)
        assert elsewhere.created
        assert replaced.created
        found = stage.store.find("contract", str(row.id))
        assert found is not None
        assert found.run == replaced.run
        assert stage.start(str(row.id)).run.id == replaced.run.id

    def test_the_uuid_of_a_sub_workflow_is_no_id_of_a_root(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,))

        assert stage.start(child.key).created

    def test_one_key_in_two_namespaces_is_two_runs(self, stage: Stage) -> None:
        first = stage.start("order-1")

        second = stage.start(row=stage.row("order-1", namespace="elsewhere"))

        assert second.created
        assert second.run.id != first.run.id

    def test_replace_starts_afresh_once_the_run_has_ended(self, stage: Stage) -> None:
        hold = stage.begin(key="order-1")
        refused = stage.start("order-1", on_conflict="replace")
        hold.end(value=b"1")

        replaced = stage.start("order-1", on_conflict="replace")

        assert not refused.created
        assert replaced.created
        found = stage.store.find("contract", "order-1")
        assert found is not None
        assert found.run == replaced.run
        assert stage.outcome(hold.id).value == b"1"

    def test_attach_answers_an_ended_run_with_its_status(self, stage: Stage) -> None:
        stage.begin(key="order-1").end(status=Status.FAILED)

        assert stage.start("order-1").status is Status.FAILED

    def test_two_starts_of_one_key_in_a_batch_are_one_run(self, stage: Stage) -> None:
        writes = [Start(run=stage.row("order-1")), Start(run=stage.row("order-1"))]

        first, second = stage.store.apply(writes)

        assert getattr(first, "created", None) is True
        assert getattr(second, "created", None) is False
        assert getattr(first, "run", None) == getattr(second, "run", None)

    def test_a_delayed_run_is_scheduled_until_it_is_due(self, stage: Stage) -> None:
        answer = stage.start(delay=seconds(30))
        early = stage.acquire(answer.run.id)

        stage.wait(30)
        fired = stage.do(FireTimers())

        assert answer.status is Status.SCHEDULED
        assert answer.ring is None
        assert early == Refused(reason="early", status=Status.SCHEDULED)
        assert [ring.run_id for ring in fired.rings] == [answer.run.id]
        assert stage.live(answer.run.id).status is Status.RUNNING
        stage.hold(answer.run.id)

    def test_a_run_that_nobody_rang_for_is_rung_by_the_sweep(self, stage: Stage) -> None:
        answer = stage.start()

        rings = stage.do(RingDue()).rings

        assert rings == (answer.ring,)
