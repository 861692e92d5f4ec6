# ruff: noqa: PLR2004 - a literal in a test is the expected value
"""Sub-workflows: started and reopened with their parent's transition, and reported back to it."""

from __future__ import annotations

from qwit_durable.core import (
    CancelRequested,
    Cause,
    Dropped,
    Kind,
    Reopened,
    Resolved,
    SignalReceived,
    Status,
    Value,
)
from qwit_durable.stores.answers import Accepted, Acquired, Conflict, Refused
from qwit_durable.stores.rows import TURN, RunRow
from qwit_durable.stores.writes import Reopen
from qwit_durable.testing.contract.stage import BROKEN, Hold, Stage, resolved

__all__ = ["Children"]


class Children:
    """A parent waits as a row; its last child wakes it once."""

    def test_a_child_starts_with_its_parents_transition(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")

        answer = hold.release(starts=(child,))

        assert [(ring.run_id, ring.queue) for ring in answer.rings] == [(child.id, "shipping")]
        assert [view.run for view in stage.store.children(hold.id)] == [child]
        assert isinstance(stage.acquire(child.id), Acquired)

    def test_starting_a_child_twice_is_a_no_op(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,))
        stage.hold(child.id, worker=2).committed(resolved("0"))

        answer = hold.committed(starts=(child,))

        assert answer.rings == ()
        assert stage.live(child.id).head == 1
        assert len(stage.store.children(hold.id)) == 1

    def test_the_last_awaited_child_wakes_its_parent_once(self, stage: Stage) -> None:
        hold = stage.begin()
        children = [stage.child_of(hold, f"0.{member}") for member in range(3)]
        hold.release(starts=tuple(children), awaiting=3)

        rings = [
            stage.hold(child.id, worker=2).end(value=b"%d" % n).rings for n, child in enumerate(children)
        ]

        assert [[(ring.run_id, ring.position) for ring in found] for found in rings] == [
            [],
            [],
            [(hold.id, TURN)],
        ]
        found = stage.hold(hold.id).acquired.events
        assert [e.position for e in found if isinstance(e, Resolved)] == ["0.0", "0.1", "0.2"]
        assert [e.outcome for e in found if isinstance(e, Resolved)] == [
            Value(b"0"),
            Value(b"1"),
            Value(b"2"),
        ]

    def test_a_childs_failure_wakes_its_parent_at_once(self, stage: Stage) -> None:
        hold = stage.begin()
        children = [stage.child_of(hold, f"0.{member}") for member in range(2)]
        hold.release(starts=tuple(children), awaiting=2)

        rings = stage.hold(children[0].id).end(status=Status.FAILED, failure=BROKEN).rings

        assert [ring.run_id for ring in rings] == [hold.id]

    def test_a_child_that_ends_while_its_parent_is_held_is_seen_before_it_is_let_go(
        self, stage: Stage
    ) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,))

        rings = stage.hold(child.id, worker=2).end(value=b"1").rings

        assert rings == ()
        assert hold.commit(resolved("9"), head=0) == Conflict(head=1)

    def test_a_parent_that_has_ended_hears_nothing(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,))
        hold.end()

        answer = stage.hold(child.id, worker=2).end(value=b"1")

        assert answer.rings == ()
        assert stage.events(hold.id) == []

    def test_settling_cancels_a_child_and_waits_for_its_outcome(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,))
        stage.hold(child.id, worker=2).release()

        answer = hold.committed(settle=(_dropped_child("0"),))

        assert answer.settled == ()
        assert [ring.run_id for ring in answer.rings] == [child.id]
        assert stage.live(child.id).cancel_asked
        assert isinstance(stage.events(child.id)[0], CancelRequested)

    def test_settling_a_child_that_has_ended_records_it(self, stage: Stage) -> None:
        hold = stage.begin()
        child = stage.child_of(hold, "0")
        hold.committed(starts=(child,))
        stage.hold(child.id, worker=2).end()

        answer = hold.committed(settle=(_dropped_child("0"),), head=None)

        assert answer.settled == (_dropped_child("0"),)

    def test_a_completed_child_is_reopened_to_undo_what_it_did(self, stage: Stage) -> None:
        hold, child = _with_ended_child(stage)
        cause = Cause(failure=BROKEN)

        answer = hold.release(reopens=(Reopen(run_id=child.id, cause=cause, at="~0"),))

        assert [(ring.run_id, ring.position) for ring in answer.rings] == [(child.id, TURN)]
        live = stage.live(child.id)
        assert (live.status, live.head, live.epoch) == (Status.COMPENSATING, 2, 1)
        assert stage.events(child.id) == [resolved("0"), Reopened(cause=cause, at="~0")]
        again = stage.hold(child.id, worker=2)
        assert again.epoch == 2
        again.end(status=Status.COMPENSATED)
        assert stage.outcome(child.id).status is Status.COMPENSATED

    def test_reopening_a_child_that_is_open_is_a_no_op(self, stage: Stage) -> None:
        hold, child = _with_ended_child(stage)
        reopen = Reopen(run_id=child.id, cause=Cause(failure=BROKEN), at="~0")
        hold.committed(reopens=(reopen,))

        answer = hold.committed(reopens=(reopen,))

        assert answer.rings == ()
        assert stage.live(child.id).head == 2

    def test_an_ended_child_can_be_told_nothing_until_it_is_reopened(self, stage: Stage) -> None:
        hold, child = _with_ended_child(stage)
        signal = SignalReceived(name="go")
        before = stage.tell(child.id, signal)

        hold.committed(reopens=(Reopen(run_id=child.id, cause=Cause(failure=BROKEN), at="~0"),))

        assert before == Refused(reason="ended", status=Status.COMPLETED)
        assert isinstance(stage.tell(child.id, signal), Accepted)


def _dropped_child(position: str) -> Resolved:
    return resolved(position, Dropped(), kind=Kind.WORKFLOW, name="pack_all")


def _with_ended_child(stage: Stage) -> tuple[Hold, RunRow]:
    """A held run, and its sub-workflow that has completed."""
    hold = stage.begin()
    child = stage.child_of(hold, "0")
    hold.committed(starts=(child,))
    stage.hold(child.id, worker=2).end(resolved("0"), value=b"1")
    hold.head = 1
    return hold, child
